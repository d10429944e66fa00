"""Neurons over prompts."""
