"""The dashboard of a probe."""
