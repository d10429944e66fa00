"""Exact reuse: what an edit cannot have changed is never computed again."""
