"""From a name, a folder, a file or a live model to a checked `ResidualModel`."""
