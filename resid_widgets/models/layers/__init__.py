"""Facts of a model that are facts of a layer: what it shows, in which shape, and what can be written."""
