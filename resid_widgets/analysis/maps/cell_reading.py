"""What one cell of the stream holds: every statistic that needs no argument, and the lens' likeliest tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from resid_widgets.analysis.grid import check_component
from resid_widgets.analysis.maps.statistics import STATS, Rows, Stat
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.runs.run import Run
from resid_widgets.whole import whole_number


@dataclass(frozen=True)
class CellReading:
    """One cell of one component.

    Attributes
    ----------
    stats
        Label and value of each statistic; NaN where it is not defined.
    top
        The likeliest tokens (raw strings) with their probabilities, best first; empty where the logits are not finite.
    """

    stats: tuple[tuple[str, float], ...]
    top: tuple[tuple[str, float], ...]


def simple_stats() -> dict[str, Stat]:
    """Return the statistics that need no dimension and no direction."""
    return {name: stat for name, stat in STATS.items() if not {"dim", "direction"} & set(stat.needs)}


@plain_state()
def cell_reading(run: Run, component: str, layer: Any, pos: Any, *, top: Any = 3, top_k: Any = 5) -> CellReading:
    """Read one vector of the stream in every way that is quick.

    Parameters
    ----------
    run
        From `resid_widgets.run`.
    component
        One of ``run.components``.
    layer, pos
        The cell; negative counts from the end.
    top
        How many dimensions count for the share of the largest ones.
    top_k
        How many tokens of the lens to return.

    Raises
    ------
    InputError
        If the run has no such component or cell.
    """
    component = check_component(run, component)
    layer, pos = run.layer(layer), run.pos(pos)
    top_k = whole_number("top_k", top_k, 0, 10**9, "5 is the default.")
    row = slice(pos, pos + 1)
    h = run.tensor(component, layer)[row]
    before = None
    if layer > 0:
        before = run.tensor(component, layer - 1)[row].to(h.device, torch.float32)
    elif component == "resid_post" and "resid_pre" in run.components:
        before = run.tensor("resid_pre", 0)[row].to(h.device, torch.float32)
    final = None
    if "resid_post" in run.components:
        final = run.tensor("resid_post", run.model.n_layers - 1)[row].to(h.device, torch.float32)

    have = {"previous": before is not None, "final": final is not None}
    rows = Rows(h.float(), before, final, top=min(top, run.model.d_model))
    stats = tuple(
        (
            stat.label.format(top=rows.top),
            stat.compute(rows).item() if all(have[need] for need in stat.needs) else float("nan"),
        )
        for stat in simple_stats().values()
    )
    probs = run.model.unembed(h[0]).softmax(dim=-1)
    if not torch.isfinite(probs).all():
        return CellReading(stats, ())
    best = probs.topk(min(top_k, probs.shape[-1]))
    tokens = run.model.token_strings(best.indices.tolist())
    return CellReading(stats, tuple(zip(tokens, best.values.tolist(), strict=True)))
