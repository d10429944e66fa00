"""Contributions as bars that open."""
