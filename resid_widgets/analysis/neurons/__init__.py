"""What neurons answer to, and what they write."""
