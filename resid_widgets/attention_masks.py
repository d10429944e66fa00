"""Which tokens an attention mask keeps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from resid_widgets.errors import InputError

_REMEDY = "Give the tokenizer's own, or leave it out."


def rows_of(name: str, masks: Any) -> list[Any]:
    """Return the entries of a mask, or one mask a prompt.

    Raises
    ------
    InputError
        If it is no list or array.
    """
    masks = _plain(masks)
    if isinstance(masks, str) or not isinstance(masks, Iterable):
        raise InputError.about(name, masks, "a list of 0 and 1 is needed", _REMEDY)
    return list(masks)


def kept_range(name: str, mask: Any, n: int) -> tuple[int, int]:
    """Return the first of `n` positions that a mask keeps, and the one after the last.

    Raises
    ------
    InputError
        If the mask is not one 0 or 1 a position, keeps nothing, or leaves out what is between tokens that it keeps.
    """
    entries = [_plain(entry) for entry in rows_of(name, mask)]
    entries = entries[0] if len(entries) == 1 and isinstance(entries[0], list) else entries
    if len(entries) != n:
        raise InputError.about(name, entries, f"it has {len(entries)} entries for {n} ids", _REMEDY)
    if not all(isinstance(entry, bool | int | float | np.generic) and entry in (0, 1) for entry in entries):
        raise InputError.about(name, entries, "its entries must be 0 or 1", _REMEDY)
    kept = [pos for pos, entry in enumerate(entries) if entry]
    if not kept:
        raise InputError.about(name, entries, "it leaves out every token", "Give a prompt with a token.")
    low, high = kept[0], kept[-1] + 1
    if len(kept) < high - low:
        hole = next(pos for pos in range(low, high) if not entries[pos])
        rule = f"it leaves out position {hole}, between tokens that it keeps"
        raise InputError.about(name, entries, rule, "A mask may leave out the beginning and the end: padding.")
    return low, high


def _plain(value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return value.tolist() if hasattr(value, "tolist") else value
