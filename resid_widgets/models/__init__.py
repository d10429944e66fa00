"""Everything that runs a forward pass."""
