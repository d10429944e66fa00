"""Explorers of attention."""
