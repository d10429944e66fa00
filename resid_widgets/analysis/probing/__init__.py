"""What the stream encodes, layer by layer, with controls."""
