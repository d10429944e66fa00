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
        True gives a diverging scale, symmetric about zero, where there are values on both sides of it, and a sequential
        one from zero where there are not; False a sequential one.
    label, units
        What the colour bar says.
    percentiles
        The limits are these percentiles of the cells (of their absolute values' upper one, when signed), widened to
        the next round number.
    bounds
        The least and greatest value that the quantity can take, where it has one: limits stay inside.

    Returns
    -------
    Scale
        ``low < high`` always, both finite; ``under`` / ``over`` say whether an unmarked cell lies outside.
    """
    cells = finite_cells(values, marked)
    both = signed and (cells.size == 0 or bool(cells.min() < 0 < cells.max()) or not cells.any())
    if cells.size == 0:
        low, high = (-1.0, 1.0) if both else (0.0, 1.0)
    elif signed:
        most = float(np.percentile(np.abs(cells), percentiles[1]))
        low, high = (-most, most) if both else (0.0, most) if cells.max() > 0 else (-most, 0.0)
    else:
        low, high = (float(v) for v in np.percentile(cells, percentiles))
    low, high = _rounded(*_apart(low, high, both, bounds), bounds)
    tolerance = 1e-6 * max(abs(low), abs(high))  # a percentile is interpolated, and may miss its own cell by rounding
    return Scale(
        kind="diverging" if both else "sequential",
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


def _rounded(low: float, high: float, bounds: tuple[float | None, float | None]) -> tuple[float, float]:
    """Widen limits to round numbers, by a twentieth of their distance at most, within `bounds`."""
    rough = (high - low) / 20
    if not 1e-300 < rough < np.inf:
        return low, high
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * max(each for each in (1, 2, 5) if each * power <= rough * (1 + 1e-9))
    ends = np.floor(low / step + 1e-9) * step, np.ceil(high / step - 1e-9) * step
    least, most = (float(f"{end:.12g}") + 0.0 for end in ends)  # no minus zero
    first, last = (-np.inf if bounds[0] is None else bounds[0]), (np.inf if bounds[1] is None else bounds[1])
    return max(least, first), min(most, last)
