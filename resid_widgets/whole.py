"""Whole numbers as arguments: Python's, NumPy's and PyTorch's, one or several, and no booleans."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping

from resid_widgets.errors import InputError


def whole(value: object) -> int | None:
    """Return a whole number as Python's own, or None if it is none.

    Python's, NumPy's of any width, and arrays and tensors without a dimension that hold one. True and False are none,
    and neither is 3.0.
    """
    if type(value) is int:
        return value
    if isinstance(value, bool) or getattr(value, "ndim", 0) != 0 or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return None


def is_whole(value: object) -> bool:
    """Tell whether `value` is a whole number; True and False are none."""
    return whole(value) is not None


def several_whole(given: object) -> tuple[int, ...] | None:
    """Return one or several whole numbers (a list, range, array, tensor, Series ...), or None if they are none.

    Nothing in it gives an empty tuple.
    """
    one = whole(given)
    if one is not None:
        return (one,)
    if isinstance(given, str | bytes | bytearray | Mapping) or getattr(given, "ndim", 1) != 1:
        return None
    if not isinstance(given, Iterable):
        return None
    found = tuple(whole(item) for item in given)
    return None if None in found else found  # type: ignore[return-value]


def whole_number(name: str, value: object, low: int, high: int, remedy: str) -> int:
    """Return `value` as an int in ``low..high``.

    Raises
    ------
    InputError
        If it is no whole number (booleans are none) or out of range.
    """
    found = whole(value)
    if found is None or not low <= found <= high:
        raise InputError.about(name, value, f"a whole number from {low} to {high} is needed", remedy)
    return found


def from_zero(name: str, value: object, n: int, there_are: str) -> int:
    """Return a number of one of `n` things counted from 0; negative counts from the end.

    Raises
    ------
    InputError
        If it is out of range.
    """
    found = whole(value)
    if found is None or not -n <= found < n:
        raise InputError.about(name, value, f"{there_are} 0 .. {n - 1}", "Choose one of them.")
    return found % n
