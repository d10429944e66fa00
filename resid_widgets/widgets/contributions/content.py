"""Bars as they travel, and what the side panel says of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resid_widgets import interventions as ops
from resid_widgets.analysis.contributions.bars import bars_of
from resid_widgets.analysis.contributions.opened import OpenedContributions
from resid_widgets.analysis.contributions.promoted import attention_weight, promoted
from resid_widgets.analysis.contributions.tree import Address, Part
from resid_widgets.analysis.metrics import Metric
from resid_widgets.analysis.sweeps.ablation import ablation
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.interventions import Intervention
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import WRITES, Site
from resid_widgets.tokens import visible
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.frame import plain

UNITS = "logits over the mean of all tokens"


def waterfall_part(result: OpenedContributions) -> dict[str, Any]:
    """Return the bars on show, and those within closed ones where they are few."""
    count = len(result.first.totals)
    return {
        "label": result.first.label,
        "units": result.first.units,
        "shape": result.shape,
        "prompts": count,
        "bars": [
            {
                "key": bar.part.key,
                "name": bar.part.name,
                "told": list(bar.part.told),
                "at": bar.part.at,
                "depth": bar.depth,
                "value": bar.part.value,
                "start": bar.start,
                **dict(zip(("low", "high"), bar.part.amount.interval or (None, None), strict=True)),
                "opens": "known" if bar.part.parts else "ask" if bar.part.asks else "",
            }
            for bar in bars_of(result.tree, result.opened, at_hand=True)
        ],
    }


def removal_of(at: Mapping[str, Any]) -> list[Intervention]:
    """Return what sets a part to zero at all positions; nothing for what has no site of its own."""
    layer = at.get("layer")
    if layer is None or "pos" in at:
        return []
    if "head" in at:
        return [ops.zero(Site("z", layer, head=at["head"]))]
    if "neuron" in at:
        return [ops.zero(Site("mlp_post", layer, neuron=at["neuron"]))]
    names = [name for name in WRITES if at.get("component", name) == name]
    return [ops.zero(Site(name, layer)) for name in names]


def details_of(result: OpenedContributions, part: Part, run: Run | None, metric: Metric | None) -> dict[str, Any]:
    """Return what is known of one bar.

    Parameters
    ----------
    run, metric
        To measure what else it does; None where there is none.
    """
    total = result.first.total
    rows = [("direct effect", part.value)]
    if part.key != "total" and total:
        rows.append(("share of the total, %", 100 * part.value / total))
    interval = part.amount.interval
    if interval is not None:
        rows += [("95 % interval from", interval[0]), ("to", interval[1])]
    made: dict[str, Any] = {}
    if run is not None and metric is not None:
        positions = tuple(run.pos(pos) for pos in metric.pos)
        rows += _beyond(part, total, run, metric, positions)
        made = _writes(part.at, run, positions)
    return {**panel.details(rows), **made}


def _beyond(part: Part, total: float, run: Run, metric: Metric, positions: Sequence[int]) -> list[tuple[str, float]]:
    """Return the effect when it is ablated and what that has beyond the direct one; of a source the attention."""
    at = part.at
    try:
        if "pos" in at:
            weight = attention_weight(run, int(at["layer"]), int(at["head"]), positions, int(at["pos"]))
            return [("attention weight", weight)]
        gone = removal_of(at)
        if not gone:
            return []
        found = ablation(run, gone, metric)
    except (InputError, UnsupportedModelError):  # it cannot be written here
        return []
    lost = total - found.after  # of an intervened run `before` is that of the run without
    return [("effect when set to zero", lost), ("self-repair and indirect", lost - part.value)]


def _writes(at: Address, run: Run, positions: Sequence[int]) -> dict[str, Any]:
    """Return the tokens that it promotes, where it writes something of its own."""
    if "part" in at or str(at.get("component", "embed")) not in ("embed", *WRITES):
        return {}
    try:
        found = promoted(run, at, positions)
    except UnsupportedModelError:
        return {}
    many = len(positions) > 1
    where = f"{len(positions)} positions" if many else visible(run.tokens[positions[0]])
    tokens = [{"token": each.token, "value": float(f"{each.value:.4g}")} for each in found]
    return {"writes": plain({"told": ["Writes at", where, UNITS], "tokens": tokens})}
