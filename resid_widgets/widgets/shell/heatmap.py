"""The heat map of a layer-by-column result, as its part of the front-end (``js/lib/parts/heatmap.ts``) takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.lens.logit_lens import LogitLens
from resid_widgets.tokens import visible
from resid_widgets.widgets.shell.frame import floats


def heatmap(
    result: GridResult,
    lens: LogitLens | None = None,
    also: Sequence[tuple[str, NDArray[Any]]] = (),
    columns: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return what the heat map shows.

    Parameters
    ----------
    result
        What is drawn: ``[layer, pos]``, or ``[layer, head]`` and the like.
    lens
        Where given, its likeliest tokens come along, for the tooltip and the side panel.
    also
        Further numbers of each cell for the tooltip: their labels and ``[layer, pos]`` arrays.
    columns
        Numbers of the columns, where they are not counted from 0.
    """
    rows, column = result.values.dims
    shown = {
        "shape": list(result.values.shape),
        "dtype": "float32",
        "data": floats(result.values.values),
        "axes": [str(rows), str(column)],
        "rows": [int(row) for row in result.values.coords[rows].values],
        "cols": None if columns is None else list(columns),
        "row_name": str(rows),
        "tokens": list(result.tokens_visible),
        "marked": list(result.marked),
        "unknown": list(result.unknown),
        "scale": asdict(result.scale),
        "text": None if result.cell_text is None else indexed(result.cell_text),
        "top": None if lens is None else _top(lens),
        "also": {"labels": [label for label, _ in also], **{str(n): floats(array) for n, (_, array) in enumerate(also)}}
        if also
        else None,
    }
    return shown if column == "pos" else {**shown, "column_name": COLUMNS.get(str(column), str(column))}


COLUMNS = {"kv_head": "key-value head"}
"""What a column is called, where its dim is no word."""


def indexed(strings: NDArray[Any]) -> dict[str, Any]:
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
    return {"k": int(raw.shape[-1]), **indexed(shown), "probs": floats(lens.probs.values)}
