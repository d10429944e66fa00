"""What tells one state of a model from another."""
