"""Why a head looks there: the parts of its score, as bars of the side panel."""

from __future__ import annotations

import math
from typing import Any

from resid_widgets.analysis.attention.attention_scores import attention_scores
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.runs.run import Run
from resid_widgets.widgets.shell import panel

SHOWN = 5
"""Pairs of writers; the others are one bar."""


def why(run: Run, layer: int, head: int, pos: int, key_pos: int) -> dict[str, Any]:
    """Return the bars: what wrote the query times what wrote the key, the largest first, and the rest in one."""
    heading = "Why it looks there"
    try:
        found = attention_scores(run, layer, head, pos, key_pos, by="head")
    except (InputError, UnsupportedModelError) as error:
        return panel.section(heading, "", (), none=str(error))
    rows = found.top(SHOWN)
    bars = [
        (_pair(str(query), str(key)), float(score))
        for query, key, score in zip(rows["query_component"], rows["key_component"], rows["score"], strict=True)
    ]
    gap = math.nan if found.score is None else abs(found.total - found.score)
    told = "" if math.isnan(gap) else f", gap {gap:.1g}"
    return panel.section(heading, f"score {panel.number_text(float(f'{found.total:.3g}'))} = sum of{told}", bars)


def _pair(query: str, key: str) -> str:
    return query if not key else f"q {_short(query)} × k {_short(key)}"


def _short(name: str) -> str:
    """Return a writer's name as short as it can be told: ``2.1``, ``0.mlp``, ``emb``."""
    return {"embed": "emb"}.get(name, name.removesuffix("_out").removesuffix(".attn"))
