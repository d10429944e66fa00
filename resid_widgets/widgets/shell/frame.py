"""A result as it travels: one atomic value, arrays as bytes, never a float that JSON cannot say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.lens.logit_lens import LogitLens
from resid_widgets.tokens import visible

TRAIT_LIMIT = 256 * 1024  # bytes of arrays; a host fetches every live trait again when its page is reloaded

Buffers = dict[str, bytes]


def encode(
    result: GridResult,
    frame_id: int,
    lens: LogitLens | None = None,
    also: Sequence[tuple[str, NDArray[Any]]] = (),
) -> tuple[dict[str, Any], Buffers]:
    """Return the value of the `frame` trait, and its arrays where they are too large to be in it.

    Parameters
    ----------
    result
        What is drawn: ``[layer, pos]``.
    frame_id
        Names this picture.
    lens
        Where given, its likeliest tokens come along, for the tooltip and the side panel.
    also
        Further numbers of each cell for the tooltip: their labels and ``[layer, pos]`` arrays.

    Returns
    -------
    frame
        Plain data, with ``bytes`` in place of arrays, or None where they are too large.
    buffers
        Name to bytes, in the order of ``frame["buffers"]``. Empty if they are in the frame.
    """
    frame: dict[str, Any] = {
        "id": frame_id,
        "shape": list(result.values.shape),
        "dtype": "float32",
        "data": floats(result.values.values),
        "rows": [int(row) for row in result.values.coords["layer"].values],
        "row_name": "layer",
        "tokens": list(result.tokens_visible),
        "marked": list(result.marked),
        "unknown": list(result.unknown),
        "scale": asdict(result.scale),
        "text": None if result.cell_text is None else _indexed(result.cell_text),
        "top": None if lens is None else _top(lens),
        "also": {"labels": [label for label, _ in also], **{str(n): floats(array) for n, (_, array) in enumerate(also)}}
        if also
        else None,
        "title": result.title,
        "sentence": result.sentence,
        "footer": result.provenance.describe(),
        "checks": [
            {"name": c.name, "level": c.level, "value": c.value, "limit": c.limit, "text": c.text}
            for c in result.checks
        ],
    }
    frame = plain(frame)
    found = {"data": frame["data"]}
    for part in ("text", "top", "also"):
        for name, value in (frame[part] or {}).items():
            if isinstance(value, bytes):
                found[f"{part}.{name}"] = value
    frame["buffers"] = list(found)
    if sum(map(len, found.values())) <= TRAIT_LIMIT:
        return frame, {}
    return _without_bytes(frame), found


def restored(frame: Mapping[str, Any], buffers: Buffers) -> dict[str, Any]:
    """Return a frame with its arrays in it, however large."""
    whole = {key: dict(value) if isinstance(value, Mapping) else value for key, value in frame.items()}
    for name, data in buffers.items():
        part, _, key = name.rpartition(".")
        (whole[part] if part else whole)[key] = data
    return whole


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


def _indexed(strings: NDArray[Any]) -> dict[str, Any]:
    """Return each string once, and for every cell which one it is."""
    flat = strings.ravel().tolist()
    place = {text: i for i, text in enumerate(dict.fromkeys(flat))}
    index = np.fromiter((place[text] for text in flat), dtype="<u4", count=len(flat))
    return {"strings": list(place), "index": index.tobytes()}


def _top(lens: LogitLens) -> dict[str, Any]:
    """Return the likeliest tokens of every cell, visible, with their probabilities."""
    raw = lens.tokens.values
    known = {text: visible(text) for text in set(raw.ravel().tolist())}
    shown = np.array([known[text] for text in raw.ravel().tolist()], dtype=object).reshape(raw.shape)
    return {"k": int(raw.shape[-1]), **_indexed(shown), "probs": floats(lens.probs.values)}


def _without_bytes(frame: dict[str, Any]) -> dict[str, Any]:
    """Return the frame with None in place of bytes."""
    return {
        key: None if isinstance(value, bytes) else _without_bytes(value) if isinstance(value, dict) else value
        for key, value in frame.items()
    }
