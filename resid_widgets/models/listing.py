"""Long lists in one line."""

from __future__ import annotations

from collections.abc import Sequence

LISTED = 3  # items that a sentence names before it says how many more there are


def listed(items: Sequence[str], most: int = LISTED) -> str:
    """Join the first few items and say how many more there are."""
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
