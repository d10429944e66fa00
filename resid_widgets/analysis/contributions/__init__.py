"""What each part of a model adds to its stream, and to what is read from it."""
