"""One prompt's pass with its residual stream."""
