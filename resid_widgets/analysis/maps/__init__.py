"""One number for each layer and token."""
