"""Pictures of layers by tokens that are looked at."""
