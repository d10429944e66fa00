"""Activations of many prompts, in bounded memory or in a store."""
