"""A picture as it travels: one atomic value, arrays as bytes, never a float that JSON cannot say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resid_widgets.results import Check

TRAIT_LIMIT = 256 * 1024  # bytes of arrays; a host fetches every live trait again when its page is reloaded

Buffers = dict[str, bytes]


class Words(NamedTuple):
    """What the frame around a picture says: its title, a sentence, what it was made from, and the checks."""

    title: str
    sentence: str
    footer: str
    checks: Sequence[Mapping[str, Any]]


def told(check: Check, of: str = "") -> dict[str, Any]:
    """Return a check as it travels; `of` names what it is about, where a picture shows several things."""
    fields = {name: getattr(check, name) for name in ("name", "level", "value", "limit", "text")}
    return {**fields, "of": of} if of else fields


def framed(frame_id: int, words: Words, parts: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], Buffers]:
    """Return the value of the `frame` trait, and its arrays where they are too large to be in it.

    Parameters
    ----------
    frame_id
        Names this picture.
    words
        What stands around it.
    parts
        What each part of the front-end shows, by the name that the entry in ``js/widgets`` gives it: plain data with
        ``bytes`` in place of arrays.

    Returns
    -------
    frame
        Plain data, with ``bytes`` in place of arrays, or None where they are too large.
    buffers
        Name to bytes, in the order of ``frame["buffers"]``. Empty if they are in the frame.
    """
    shown = plain(parts)
    found = dict(_arrays(shown))
    frame = plain({"id": frame_id, **words._asdict(), "buffers": list(found)})
    if sum(map(len, found.values())) <= TRAIT_LIMIT:
        return {**frame, "parts": shown}, {}
    return {**frame, "parts": _without_bytes(shown)}, found


def restored(frame: Mapping[str, Any], buffers: Buffers) -> dict[str, Any]:
    """Return a frame with its arrays in it, however large."""
    return {**frame, "parts": _filled(frame["parts"], buffers)} if buffers else dict(frame)


def floats(array: NDArray[Any]) -> bytes:
    """Return the little-endian float32 bytes of an array, row by row. NaN and infinities are safe there."""
    return np.ascontiguousarray(array, dtype="<f4").tobytes()


def plain(value: Any) -> Any:
    """Return `value` as what JSON and every host can carry: no NaN, no numpy, no lone surrogates, no tuples."""
    match value:
        case None | bool() | bytes():
            return value
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} does not belong in a message: {value!r}")


def _arrays(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield every array in nested mappings with its path, as ``heatmap.text.index``."""
    for key, item in value.items():
        if isinstance(item, bytes):
            yield path + key, item
        elif isinstance(item, Mapping):
            yield from _arrays(item, f"{path}{key}.")


def _filled(value: Mapping[str, Any], buffers: Buffers, path: str = "") -> dict[str, Any]:
    """Return nested mappings with the arrays of `buffers` at their paths."""
    inside = {k: _filled(v, buffers, f"{path}{k}.") if isinstance(v, Mapping) else v for k, v in value.items()}
    return {key: buffers.get(path + key, item) for key, item in inside.items()}


def _without_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """Return nested mappings with None in place of bytes."""
    return {
        key: None if isinstance(item, bytes) else _without_bytes(item) if isinstance(item, dict) else item
        for key, item in value.items()
    }
