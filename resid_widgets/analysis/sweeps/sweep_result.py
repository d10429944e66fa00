"""The result of a sweep: one number for each site that was visited, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.sweeps.cells import Cells
from resid_widgets.analysis.sweeps.opening import Opening
from resid_widgets.colour import robust_scale
from resid_widgets.results import Scale
from resid_widgets.tokens import visible

COLUMN_NAMES = {"pos": "pos", "head": "head", "kv_head": "key-value head", "neuron": "neuron", "sender": "sender"}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SweepResult(GridResult):
    """One number for each site.

    Attributes
    ----------
    values
        ``[layer, pos]``, ``[layer, head]``, ``[layer, pos, head]`` or ``[layer, neuron]``; for k and v the heads' dim
        is ``kv_head``. NaN where the sweep was stopped before.
    raw
        The metric itself, the same dims.
    metric
        What was measured, in words.
    cells
        Which sites.
    opening
        What is done in each cell, so that it can be opened in an explorer; None where interventions cannot say it.
    """

    raw: xr.DataArray
    metric: str
    cells: Cells
    opening: Opening | None = None

    @property
    def untouched(self) -> float:
        """What stands in `values` where nothing changes."""
        return 0.0

    def drawn(self) -> SweepResult:
        """Return a result of two dims: of three, for each layer and position the head with the largest effect."""
        if self.values.ndim == 2:
            return self
        last = str(self.values.dims[-1])
        largest = abs(self.values - self.untouched).fillna(-1.0).argmax(dim=last)
        return replace(
            self,
            values=self.values.isel({last: largest}, drop=True),
            raw=self.raw.isel({last: largest}, drop=True),
            opening=None if self.opening is None else self.opening.drawn(largest.values),
            title=f"{self.title} · the head with the largest effect",
        )


def sweep_array(data: NDArray[Any], cells: Cells, tokens: dict[str, tuple[str, ...]], **attrs: str) -> xr.DataArray:
    """Label the numbers of a sweep.

    Parameters
    ----------
    tokens
        Name and raw token strings of each non-index coord on ``pos``.
    """
    coords: dict[str, Any] = {name: np.array(of) for name, of in zip(cells.dims, cells.coords, strict=True)}
    if "pos" in cells.dims:
        coords |= {name: ("pos", np.array([visible(t) for t in of], dtype=object)) for name, of in tokens.items()}
    return xr.DataArray(data, dims=cells.dims, coords=coords, name=attrs.pop("name", None), attrs=attrs)


def column_labels(cells: Cells, tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Return what stands under each column of the picture."""
    if cells.dims[1] == "pos":
        return tuple(map(visible, tokens))
    return tuple(f"{COLUMN_NAMES[cells.dims[1]]} {number}" for number in cells.coords[1])


def sweep_scale(values: NDArray[Any], label: str, units: str, least: float = 0.0) -> Scale:
    """Return the colours of a sweep, centred on zero. Effects at marked positions are effects like others.

    A few cells of more than twice the size of all others (of 99 % of them) do not own the scale. Nor does rounding:
    where all are smaller than `least`, that is the limit.
    """
    flat = values.reshape(values.shape[0], -1)
    whole, most = (
        robust_scale(flat, (), signed=True, label=label, units=units, percentiles=(0.0, upto)) for upto in (100.0, 99.0)
    )
    if whole.high < least:
        return replace(whole, low=-least, high=least, under=False, over=False)
    return whole if whole.high <= 2 * most.high else most
