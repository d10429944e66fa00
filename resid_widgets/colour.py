"""Colour limits that a few extreme cells cannot own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resid_widgets.results import Scale


def robust_scale(
    values: NDArray[np.floating],
    marked: Sequence[int] = (),
    *,
    signed: bool,
    label: str,
    units: str = "",
    percentiles: tuple[float, float] = (2.0, 98.0),
    bounds: tuple[float | None, float | None] = (None, None),
) -> Scale:
    """Choose the limits of a colour scale from the unmarked, finite cells.

    Parameters
    ----------
    values
        ``[layer, pos]``, in `units`. Cells that are not finite are left out.
    marked
        Positions (columns) left out of the limits: attention sinks. Where every position is marked, none is left out.
    signed
        True gives a diverging scale, symmetric about zero; False a sequential one.
    label, units
        What the colour bar says.
    percentiles
        The limits are these percentiles of the cells (of their absolute values' upper one, when signed).
    bounds
        The least and greatest value that the quantity can take, where it has one: limits stay inside.

    Returns
    -------
    Scale
        ``low < high`` always, both finite; ``under`` / ``over`` say whether an unmarked cell lies outside.
    """
    cells = finite_cells(values, marked)
    if cells.size == 0:
        low, high = (-1.0, 1.0) if signed else (0.0, 1.0)
    elif signed:
        high = float(np.percentile(np.abs(cells), percentiles[1]))
        low = -high
    else:
        low, high = (float(v) for v in np.percentile(cells, percentiles))
    low, high = _apart(low, high, signed, bounds)
    tolerance = 1e-6 * max(abs(low), abs(high))  # a percentile is interpolated, and may miss its own cell by rounding
    return Scale(
        kind="diverging" if signed else "sequential",
        low=low,
        high=high,
        under=bool(cells.size and cells.min() < low - tolerance),
        over=bool(cells.size and cells.max() > high + tolerance),
        label=label,
        units=units,
    )


def finite_cells(values: NDArray[np.floating], marked: Sequence[int]) -> NDArray[np.float64]:
    """Return the finite cells of the unmarked columns, or of all columns where the rest have none, flat."""
    values = np.asarray(values, dtype=np.float64)
    kept = np.delete(values, list(marked), axis=1)
    cells = kept[np.isfinite(kept)]
    return cells if cells.size else values[np.isfinite(values)]


def _apart(low: float, high: float, signed: bool, bounds: tuple[float | None, float | None]) -> tuple[float, float]:
    """Widen limits that coincide (all cells equal), keeping the cells inside and the limits within `bounds`."""
    if high - low > 1e-6 * max(abs(low), abs(high)):
        return low, high
    if signed:
        return -1.0, 1.0
    room = abs(low) * 0.05 or 1.0
    least, most = (low - room if low else 0.0), high + room
    return max(least, -np.inf if bounds[0] is None else bounds[0]), min(
        most, np.inf if bounds[1] is None else bounds[1]
    )
