"""Where heads look, what comes of it, and why they look there."""
