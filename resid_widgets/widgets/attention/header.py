"""What the header of an attention explorer offers, and what its options may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resid_widgets.analysis.attention.head_scores import SCORES
from resid_widgets.analysis.attention.overview import AttentionOverview
from resid_widgets.analysis.metrics import Metric, logit
from resid_widgets.errors import InputError
from resid_widgets.interventions import mean, zero
from resid_widgets.models.runs.run import Run
from resid_widgets.widgets.attention.explored import Explored, ablated_heads
from resid_widgets.widgets.attention.opening import KINDS, offered
from resid_widgets.widgets.editing.history import history_actions
from resid_widgets.widgets.editing.metric_controls import metric_controls
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.state import State

VIEWS = ("grid", "arcs")
HOWS = {"mean": mean, "zero": zero}


def choices(run: Run, result: Explored, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the controls."""
    linear = bool(options["metric"].coefficients)
    known = [n for n in SCORES if n in result.overview.known or n == "causal" or (n == "direct" and linear)]
    return [
        panel.choice(
            "kind",
            "show",
            options["kind"],
            [(name, KINDS[name].label) for name in offered(result.run or run, options["metric"])],
        ),
        panel.select("score", "under each head", result.score, [(name, SCORES[name].label) for name in known]),
        panel.check("sort", "sort by it", options["sort"]),
        *metric_controls(run, options["metric"]),
        panel.select("how", "ablate by", options["how"], list(HOWS)),
    ]


def buttons(state: State) -> list[dict[str, Any]]:
    """Return the buttons: one for the open head, those of the history, and one that copies the code."""
    at = open_head(state)
    name = "head" if at is None else f"head {at[0]}.{at[1]}"
    off = at in ablated_heads(state.options["interventions"])
    hint = "Take its ablation back" if off else f"Put its {state.options['how']} in the place of what it writes"
    button = panel.action("ablate", f"{'Restore' if off else 'Ablate'} {name}", at is not None, hint)
    return [button, *history_actions(state, state.result.ablation.code())]


def require_choices(options: Mapping[str, Any]) -> None:
    """Refuse an option that is none of what is offered.

    Raises
    ------
    InputError
        For the first one.
    """
    for name, allowed in (("kind", tuple(KINDS)), ("view", VIEWS), ("how", tuple(HOWS))):
        if options[name] not in allowed:
            raise InputError.about(name, options[name], f"must be one of {', '.join(allowed)}", "Choose one.")
    if options["score"] is not None and options["score"] not in SCORES:
        raise InputError.about("score", options["score"], f"must be one of {', '.join(SCORES)}", "Choose one.")


def default_metric(run: Run) -> Metric:
    """Return the logit of the token that is likeliest next: it is linear, so that parts add up to it."""
    return logit(int(run.final_logits.argmax()))


def first_score(overview: AttentionOverview) -> str:
    """Return induction where some token repeats, else the attention to the token before."""
    return "induction" if np.isfinite(overview.score("induction").values).any() else "previous_token"


def open_head(state: State) -> tuple[int, int] | None:
    """Return layer and head of what is selected, where both are."""
    at = state.selection
    return (at["layer"], at["head"]) if "layer" in at and "head" in at else None
