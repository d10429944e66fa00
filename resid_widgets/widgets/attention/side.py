"""What the side panel says of the open head, of a token in it, and of what it takes from one token to another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from resid_widgets.analysis.attention.head_scores import SCORES
from resid_widgets.analysis.attention.head_writes import HeadWrites, head_writes
from resid_widgets.analysis.attention.overview import AttentionOverview
from resid_widgets.analysis.grid import visible_tokens
from resid_widgets.analysis.metrics import Metric
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.widgets.attention.explored import Explored, Opened
from resid_widgets.widgets.attention.why import why
from resid_widgets.widgets.shell import panel

ROUNDING = 1e-4
"""Logits, and share of a stream, that are only the order of a sum."""

SHOWN_AS = {
    "pattern": "attention weight",
    "value_weighted": "size of what is written",
    "gradient": "gradient × attention",
    "knockout": "effect of the cut",
    "change": "change of attention",
}
"""What the number of a cell is called, by kind."""

SHOWN = 4
"""Tokens on either side."""


def of_token(shown: Explored, opened: Opened, at: Mapping[str, Any], metric: Metric | None) -> dict[str, Any]:
    """Return the side panel of what is selected in the open head: a token, or from where to where it looks."""
    pos, key_pos = at.get("pos"), at.get("key_pos")
    if pos is None:
        return panel.details([])
    assert shown.run is not None
    tokens = visible_tokens(shown.run)
    shows = [] if key_pos is None else [_shown(opened, pos, key_pos)]
    if key_pos is not None and key_pos > pos and shown.overview.causal:
        return {**panel.details([]), "rows": [_row("weight", "none: a token cannot look ahead")]}
    looks = [] if key_pos is None else [why(shown.run, opened.layer, opened.head, pos, key_pos)]
    try:
        found = head_writes(shown.run, opened.layer, opened.head, pos, key_pos, metric, top_k=SHOWN)
    except (InputError, UnsupportedModelError) as error:
        refused = {**panel.section("What it carries", "", (), none=str(error))}
        return {**panel.details([]), "rows": [_row(*row) for row in shows], "sections": [*looks, refused]}
    verb = "writes" if key_pos is None else "carries"
    rows = [
        *shows,
        (f"{verb}, norm", panel.number_text(float(f"{found.norm:.3g}"))),
        ("of the stream there", _percent(found.share)),
    ]
    if found.metric is not None:
        if not math.isnan(found.direct):
            rows.append(("direct effect", _effect(found.direct)))
        rows.append(("effect when taken away", _effect(found.cut)))
    heading = f"What it {verb}" if key_pos is not None else f"Writes at {tokens[pos]}"
    return {
        **panel.details([]),
        "rows": [_row(*row) for row in rows],
        "sections": [*looks, _tokens(heading, found)],
    }


def _shown(opened: Opened, pos: int, key_pos: int) -> tuple[str, str]:
    """Return what the picture shows at a cell: its name and its number."""
    found, value = opened.attention, float(opened.values[pos, key_pos])
    name = SHOWN_AS.get(found.kind, found.kind)
    if found.metric and abs(value) <= found.rounding:
        return name, "no effect"
    return name, panel.number_text(float(f"{value:.3g}"))


def _tokens(heading: str, found: HeadWrites) -> dict[str, Any]:
    """Return the tokens that it speaks for and against."""
    bars = [
        (str(text), float(value)) for text, value in zip(found.values["text"].values, found.values.values, strict=True)
    ]
    none = "no effect on any logit" if bars else "the model caps its logits: not told"
    return panel.section(heading, "into the logits there", bars, rounding=ROUNDING, none=none)


def of_head(overview: AttentionOverview, layer: int, head: int) -> dict[str, Any]:
    """Return the side panel of a head: its scores."""
    rows = [(SCORES[name].label, float(overview.score(name).sel(layer=layer, head=head))) for name in overview.known]
    return panel.details(rows, missing="no token repeats")


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def _effect(value: float) -> str:
    return "no effect" if abs(value) < ROUNDING else panel.signed_text(value)


def _row(label: str, value: str) -> dict[str, str]:
    return {"label": label, "value": value}
