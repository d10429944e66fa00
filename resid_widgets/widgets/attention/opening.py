"""One head at full size, of any kind that is offered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from resid_widgets.analysis.attention.attention import attention
from resid_widgets.analysis.attention.head_writes import norms_written
from resid_widgets.analysis.metrics import Metric
from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.runs.run import Run
from resid_widgets.widgets.attention.explored import Opened

WHOLE = 64
"""Tokens up to which all edges of a head are cut; of longer prompts those of one token."""


@dataclass(frozen=True)
class Kind:
    """What can be shown of a head.

    Attributes
    ----------
    label
        Of its button.
    of
        What it needs beside the run: nothing, a ``"metric"`` (``"gradient"``: one with a gradient), or ``"base"``.
    """

    label: str
    of: str = ""


KINDS: Mapping[str, Kind] = {
    "pattern": Kind("pattern"),
    "value_weighted": Kind("value-weighted"),
    "gradient": Kind("gradient", "gradient"),
    "knockout": Kind("knockout", "metric"),
    "change": Kind("change", "base"),
}


def offered(run: Run, metric: Metric) -> list[str]:
    """Return the kinds that can be had: changes where there are interventions, gradients where there are none."""
    plain = run.base is None
    has = {"": True, "metric": True, "gradient": plain and metric.kind != "rank", "base": not plain}
    return [name for name, kind in KINDS.items() if has[kind.of]]


def opened_head(
    run: Run,
    layer: int,
    head: int,
    kind: str,
    metric: Metric | None,
    pos: int | None = None,
    progress: Callable[[Any], Any] | bool = False,
) -> Opened:
    """Return one head at full size.

    Parameters
    ----------
    metric
        What effects are on.
    pos
        Of knockout in long prompts: the token that looks, whose edges are cut; by default where the metric is read.
    progress
        Of knockout.
    """
    asked: dict[str, Any] = {}
    if KINDS[kind].of in ("metric", "gradient"):
        asked["metric"] = metric
    if kind == "knockout":
        asked["progress"] = progress
        if run.n_pos > WHOLE and metric is not None:
            asked["pos"] = [run.pos(metric.pos[0]) if pos is None else pos]
    found = attention(run, layer, head, kind, **asked)
    try:
        written = norms_written(run, layer, head)
    except UnsupportedModelError:
        written = None
    return Opened(found, layer, head, asked.get("pos", [None])[0], written)
