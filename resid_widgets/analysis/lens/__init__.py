"""What the model would say if it stopped at each layer."""
