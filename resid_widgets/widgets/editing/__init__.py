"""Pictures that change the stream."""
