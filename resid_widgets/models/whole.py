"""Whole numbers as arguments: Python's and NumPy's, and no booleans."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from resid_widgets.errors import InputError


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether `value` is a whole number; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def from_zero(name: str, value: object, n: int, there_are: str) -> int:
    """Return a number of one of `n` things counted from 0; negative counts from the end.

    Raises
    ------
    InputError
        If it is out of range.
    """
    if not is_whole(value) or not -n <= value < n:
        raise InputError.about(name, value, f"{there_are} 0 .. {n - 1}", "Choose one of them.")
    return int(value) % n
