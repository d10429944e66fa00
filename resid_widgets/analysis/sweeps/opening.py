"""What stands behind the cells of a sweep: each is a run with interventions, which can be made again and built upon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets.analysis.metrics import Metric
from resid_widgets.held import Captured
from resid_widgets.interventions import Intervention, patch

Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Opening:
    """The run and the interventions of each cell.

    Attributes
    ----------
    token_ids
        What is run.
    metric
        What is measured.
    always
        Interventions that all cells have; those of a cell come after them.
    cells
        By the cell's place in the sweep's array.
    about
        What the cells have in common, in a sentence.
    """

    token_ids: tuple[int, ...]
    metric: Metric
    always: tuple[Intervention, ...]
    cells: Mapping[Index, tuple[Intervention, ...]]
    about: str

    def of(self, *index: int) -> tuple[Intervention, ...]:
        """Return all that is done in one cell."""
        return (*self.always, *self.cells[index])

    def drawn(self, chosen: NDArray[Any]) -> Opening:
        """Return the opening of a picture that shows, of each row and column, the one cell that is `chosen`."""
        shown = {index: self.cells[(*index, int(chosen[index]))] for index in np.ndindex(chosen.shape)}
        return replace(self, cells=shown)


def lasting(item: Intervention) -> Intervention | None:
    """Return an intervention as a result may keep one for each cell: with the prompt in place of values of its run.

    None where only the values can say it: those of a run that had interventions itself.
    """
    source = item.option("source")
    if not isinstance(source, Captured):
        return item
    return patch(item.site, list(source.token_ids)) if source.plain else None
