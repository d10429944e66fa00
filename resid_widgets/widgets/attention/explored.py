"""What an attention explorer shows at one moment, and how it travels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.attention.head_scores import SCORES
from resid_widgets.analysis.attention.overview import AttentionOverview
from resid_widgets.analysis.attention.result import Attention
from resid_widgets.analysis.sweeps.ablation import Ablation
from resid_widgets.interventions import Intervention
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check, Provenance
from resid_widgets.widgets.shell.frame import floats

TO_BYTE = 255
"""Thumbnails travel as one byte a pixel, in steps of 1/255 of all attention."""


@dataclass(frozen=True, eq=False)
class Opened:
    """One head at full size.

    Attributes
    ----------
    attention
        Of one head.
    layer, head
        Which.
    pos
        The token whose edges alone were cut; None where it is all of them, or no knockout.
    written
        ``[pos]``: the norm of what it adds to the stream at each position; None where that cannot be told.
    """

    attention: Attention
    layer: int
    head: int
    pos: int | None = None
    written: Float[NDArray, " pos"] | None = None

    @property
    def kind(self) -> str:
        """What is shown of it."""
        return self.attention.kind

    def shows(self, layer: int, head: int, kind: str, pos: int | None) -> bool:
        """Whether it is this; `pos` is the selected token, where there is one."""
        cut = self.pos is None or pos in (None, self.pos)
        return (self.layer, self.head, self.kind) == (layer, head, kind) and cut

    @property
    def values(self) -> Float[NDArray, "pos key_pos"]:
        """The numbers."""
        return self.attention.values.values

    @property
    def checks(self) -> tuple[Check, ...]:
        """Of the numbers."""
        return self.attention.checks


@dataclass(frozen=True, eq=False)
class Explored:
    """All heads of a run, and the one that is open.

    Attributes
    ----------
    run
        With the interventions, if there are any; None for an overview that has no run behind it.
    overview, ablation
        Of it; the ablation has the metric before and after.
    opened
        The head that is shown at full size, or None.
    kind, score, sort, view
        See `resid_widgets.AttentionExplorer`.
    """

    run: Run | None
    overview: AttentionOverview
    ablation: Ablation | None
    kind: str
    score: str
    sort: bool
    view: str
    opened: Opened | None = None

    @property
    def provenance(self) -> Provenance:
        """Where all of it came from."""
        return self.overview.provenance

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks of everything that is shown, each once."""
        found = [
            *self.overview.checks,
            *(self.ablation.checks if self.ablation else ()),
            *(self.opened.checks if self.opened else ()),
        ]
        return tuple({check.name: check for check in found}.values())


def heads_part(shown: Explored) -> dict[str, Any]:
    """Return all heads as they travel: a small picture and all numbers of each."""
    overview = shown.overview
    heads = overview.heads
    rows = {int(layer): row for row, layer in enumerate(overview.values["layer"].values)}
    places = tuple(np.array([(rows[layer], head) for layer, head in heads]).T)
    pictures = np.rint(overview.thumbnails[places] * TO_BYTE).clip(0, TO_BYTE).astype(np.uint8)
    scores = list(overview.known)
    numbers = np.stack([overview.score(name).values[places] for name in scores])
    order = overview.order(shown.score)
    place = {at: n for n, at in enumerate(heads)}
    return {
        "layers": [layer for layer, _ in heads],
        "heads": [head for _, head in heads],
        "side": int(pictures.shape[-1]),
        "block": overview.block,
        "n": len(overview.tokens_visible),
        "pictures": pictures.tobytes(),
        "scale": asdict(overview.scale),
        "score": scores.index(shown.score),
        "labels": [SCORES[name].label for name in scores],
        "says": [SCORES[name].sentence for name in scores],
        "numbers": floats(numbers),
        "sort": shown.sort,
        "order": np.array([place[at] for at in order], dtype="<u4").tobytes(),
        "causal": overview.causal,
        "note": _note(overview),
        "ablated": [] if shown.run is None else [list(at) for at in ablated_heads(shown.run.interventions)],
    }


def head_part(shown: Explored) -> dict[str, Any]:
    """Return the open head as it travels; without one, what there is to be said."""
    opened, run = shown.opened, shown.run
    if opened is None or run is None:
        need = "Opening a head needs the run: rw.AttentionExplorer(run)."
        return {"open": False, "blank": need if run is None else "Click a head to open it."}
    found = opened.attention
    return {
        "open": True,
        "layer": opened.layer,
        "head": opened.head,
        "kind": opened.kind,
        "n": run.n_pos,
        "data": floats(opened.values),
        "tokens": list(found.tokens_visible),
        "marked": [] if found.metric else list(found.marked),  # effects at sinks are effects like others
        "unknown": list(found.unknown),
        "scale": asdict(found.scale),
        "causal": shown.overview.causal,
        "view": shown.view,
        "rounding": found.rounding,
        "note": _open_note(opened),
        "written": None if opened.written is None else floats(opened.written),
    }


def _open_note(opened: Opened) -> str:
    """Say what a person would else not expect of the picture."""
    found = opened.attention
    largest = float(np.nanmax(np.abs(found.values.values), initial=0.0))
    if largest <= found.rounding:
        return f"no effect: nothing is larger than rounding ({found.rounding:.1g})"
    if opened.pos is not None:
        return f"only edges of {found.tokens_visible[opened.pos]} at {opened.pos} were cut: select another token"
    return ""


def ablated_heads(items: Sequence[Intervention]) -> list[tuple[int, int]]:
    """Return layer and head of the interventions on a whole head's output."""
    sites = [item.site for item in items]
    return [(s.layer, s.head) for s in sites if s.component == "z" and s.head is not None and s.pos is None]


def _note(overview: AttentionOverview) -> str:
    """Say what the colours mean, and how much of all attention is left out of them."""
    scale = overview.scale
    said = f"Colours from 0 to {'≥ ' if scale.over else ''}{scale.high:.2g}"
    if not overview.marked:
        return said
    share = float(np.nanmean(overview.sinks.values))
    if len(overview.marked) == 1:
        pos = overview.marked[0]
        what = f"“{overview.tokens_visible[pos]}” at position {pos}, which takes"
    else:
        what = f"{len(overview.marked)} marked positions, which take"
    return f"{said}, set without {what} {share:.2f} of all attention"
