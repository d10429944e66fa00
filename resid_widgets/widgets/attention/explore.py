"""What an attention explorer computes for its options: what it has already is not computed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from resid_widgets.analysis.attention.head_scores import EFFECTS
from resid_widgets.analysis.attention.overview import attention_overview, with_effect
from resid_widgets.analysis.metrics import Metric
from resid_widgets.analysis.sweeps.ablation import ablation
from resid_widgets.errors import InputError
from resid_widgets.interventions import Intervention
from resid_widgets.models.reuse.intervene import intervene
from resid_widgets.models.runs.run import Run
from resid_widgets.widgets.attention.explored import Explored
from resid_widgets.widgets.attention.header import first_score
from resid_widgets.widgets.attention.opening import KINDS, offered
from resid_widgets.widgets.shell.state import State

KEPT = ("resid_pre", "attn_out", "resid_post")
"""What is recorded of a run with interventions: what its heads' writes are read from."""

_REASONS = {
    "base": "nothing is changed yet",
    "gradient": "a gradient needs a metric that has one, and a run without interventions",
}


def explore(
    run: Run,
    items: tuple[Intervention, ...],
    metric: Metric,
    options: Mapping[str, Any],
    old: State | None,
    progress: Callable[[Any], Any],
) -> Explored:
    """Return all heads of a run under some interventions, no head open but one that would be the same.

    Parameters
    ----------
    run
        Without interventions.
    old
        What is shown so far.
    progress
        Of ablating each head.

    Raises
    ------
    InputError
        If a score or kind cannot be had.
    """
    before = None if old is None else old.result
    there = None if before is None or before.run is None else before.run
    measured = old is not None and old.options["metric"] == metric
    if before is not None and there is not None and (there.base or there) is run and there.interventions == items:
        again = old is not None and old.options["how"] != options["how"]
        shown, kept = there, before.overview.without(() if measured and not again else EFFECTS)
        done, opened = (before.ablation, before.opened) if measured else (None, None)
    else:
        shown = intervene(run, items, keep=KEPT) if items else run
        kept, done, opened = attention_overview(shown), None, None
    score = options["score"]
    if score is None or (score == "change" and not items):
        score = first_score(kept)
    if score not in kept.known and score in EFFECTS:
        far = {"progress": progress} if score == "causal" else {}
        kept = with_effect(kept, shown, metric, score, how=options["how"], **far)
    kept.score(score)  # says what there is
    kind = options["kind"]
    if kind not in offered(shown, metric):
        if old is None or old.options["kind"] != kind:
            reason = _REASONS[KINDS[kind].of]
            raise InputError.about("kind", kind, reason, f"There are {', '.join(offered(shown, metric))}.")
        kind = "pattern"  # it could be had before something else was changed
    return Explored(
        run=shown,
        overview=kept,
        ablation=ablation(run, items, metric) if done is None else done,
        kind=kind,
        score=score,
        sort=bool(options["sort"]),
        view=options["view"],
        opened=opened if opened is not None and opened.kind == kind else None,
    )
