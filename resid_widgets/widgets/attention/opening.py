"""One head at full size, of any kind that is offered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from resid_widgets.analysis.attention.head_writes import norms_written
from resid_widgets.colour import robust_scale
from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.widgets.attention.explored import Opened


@dataclass(frozen=True)
class Kind:
    """What can be shown of a head."""

    label: str


KINDS: Mapping[str, Kind] = {"pattern": Kind("pattern")}


def opened_head(run: Run, layer: int, head: int, kind: str) -> Opened:
    """Return one head at full size."""
    pattern = one_layer(run, "pattern", layer)[head].float().cpu().numpy()
    kept = np.tril(np.ones_like(pattern, dtype=bool))
    scale = robust_scale(
        np.where(kept, pattern, np.nan),
        run.marked,
        signed=False,
        label="attention weight",
        percentiles=(0.0, 100.0),
        bounds=(0.0, 1.0),
    )
    scale = replace(scale, low=0.0, under=False)
    sentence = (
        f"Where head {layer}.{head} looks: each row is a position, and how much it takes from each position across. "
        "Where a head looks is not what it does: ablate it."
    )
    try:
        written = norms_written(run, layer, head)
    except UnsupportedModelError:
        written = None
    return Opened(layer, head, kind, pattern, scale, sentence, (), written)
