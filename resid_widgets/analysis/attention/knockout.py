"""Edges of attention cut one after the other: what the metric loses without each of them, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.attention.arguments import Asked
from resid_widgets.analysis.sweeps.sweep import Cell, Sweeping, run_cells, work_of
from resid_widgets.models.reuse.edits import Edit
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.structure import structure_of
from resid_widgets.results import Check


@dataclass(frozen=True, eq=False)
class Cuts:
    """What cutting each edge does.

    Attributes
    ----------
    values
        ``[head, pos, key_pos]``: the metric after the cut minus before. 0 where nothing is cut or nothing can follow
        from it; NaN for queries that were not asked for, where the sweep was stopped, and where nothing is left in a
        row that it could be renormalised to.
    alone
        How many edges are their row's only one, so that it cannot be renormalised.
    check
        How the numbers were made.
    """

    values: Float[NDArray, "head pos key_pos"]
    alone: int
    check: Check


def cut(key: int, renormalise: bool, sink: bool, row: Tensor) -> Tensor:
    """Return rows of a pattern without one key.

    Parameters
    ----------
    renormalise
        Whether the others take its share, as if its score were minus infinity.
    sink
        Whether a row sums to less than 1, the rest having gone to no token: then that grows as the others do.
    """
    new = row.double()
    lost = 1.0 - new.sum(-1, keepdim=True) if sink else 0.0
    new[..., key] = 0.0
    return (new / (new.sum(-1, keepdim=True) + lost) if renormalise else new).to(row)


def cuts(asked: Asked, tracker: Sweeping, budget: Any) -> Cuts:
    """Cut each edge of some heads, in copies of the run that re-use what a cut cannot change."""
    run, layer, reading = asked.run, asked.layer, asked.metric
    pattern = one_layer(run, "pattern", layer)[list(asked.heads)].double().cpu().numpy()
    engine = engine_of(run, {"pattern"})
    sink = bool((1.0 - pattern.sum(-1) > run.model.gap_limit).any())
    lost = run.model.gap_limit if sink else 1.0  # a row has no more to give to no token than this
    late = _too_late(asked)
    shape = pattern.shape
    known, cells, alone = np.full(shape, np.nan), [], 0
    for place in np.ndindex(shape):
        n, query, key = place
        weight = pattern[place]
        if query not in asked.queries:
            continue
        if weight == 0.0 or query in late:
            known[place] = reading.of_base()
        elif asked.renormalise and np.count_nonzero(pattern[n, query]) == 1 and 1.0 - weight <= lost:
            alone += 1
        else:
            change = partial(cut, key, asked.renormalise, sink)
            edit = Edit("pattern", layer, query, query + 1, asked.heads[n], None, change)
            cells.append(Cell(place, (edit,)))
    tracker.total = work_of(engine, cells)
    after = run_cells(engine, reading, cells, shape, tracker, budget, known)
    return Cuts(after - reading.of_base(), alone, engine.check)


def _too_late(asked: Asked) -> set[int]:
    """Return the queries from which nothing can reach the metric: later tokens, and in the last layer all others."""
    run, read = asked.run, asked.metric.positions
    if not structure_of(run.model).causal:
        return set()
    if asked.layer == run.model.n_layers - 1:
        return set(range(run.n_pos)) - set(read)
    return set(range(max(read) + 1, run.n_pos))
