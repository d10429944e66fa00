"""What is asked of attention, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resid_widgets.analysis.metrics import Metric, Reading, require_metric
from resid_widgets.analysis.sweeps.attribution_patch import require_differentiable
from resid_widgets.errors import InputError
from resid_widgets.models.components import require_offered
from resid_widgets.models.layers.shapes import head_count
from resid_widgets.models.layers.writes import require_writable
from resid_widgets.models.runs.run import Run
from resid_widgets.whole import from_zero, several_whole, whole_number

OPTIONS: dict[str, tuple[str, ...]] = {
    "pattern": (),
    "value_weighted": (),
    "rollout": (),
    "gradient": ("metric",),
    "integrated": ("metric", "steps"),
    "knockout": ("metric", "renormalise", "pos", "stop", "budget"),
    "change": (),
}
"""The kinds, and what each of them takes beside run, layer and head."""

STEPS = 20
_RUN = "Make one first: run = rw.run(model, prompt)."


@dataclass(frozen=True, eq=False)
class Asked:
    """A question about the attention of one layer.

    Attributes
    ----------
    run, layer, kind
        From 0.
    heads
        Those that are shown, from 0.
    one
        Whether a single head was named.
    reading
        The metric, ready for the run; None where the kind has none.
    steps, renormalise, queries
        Of ``"integrated"`` and ``"knockout"``.
    """

    run: Run
    layer: int
    kind: str
    heads: tuple[int, ...]
    one: bool
    reading: Reading | None
    steps: int
    renormalise: bool
    queries: tuple[int, ...]

    @property
    def metric(self) -> Reading:
        """The metric, of a kind that has one."""
        assert self.reading is not None, "the kind has a metric"
        return self.reading


def require_run(run: object) -> Run:
    """Return `run` if it is one, of two tokens or more.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", _RUN)
    if run.n_pos < 2:
        rule = "a single token can look at nothing but itself"
        raise InputError.about("run", run.tokens, rule, "Run a prompt of two tokens or more.")
    return run


def head_of(run: Run, layer: int, head: object) -> int:
    """Return `head` counted from 0; raises where the layer has no such head, or no patterns."""
    require_offered(run.model, "pattern")
    return from_zero("head", head, head_count(run.model, "pattern", layer), f"layer {layer} has heads")


def asked(run: object, layer: object, head: object, kind: object, given: dict[str, Any]) -> Asked:
    """Return the question, checked.

    Parameters
    ----------
    given
        The options of some kinds, by name; None is not given.

    Raises
    ------
    InputError
        If one does not fit.
    UnsupportedModelError
        If the pattern cannot be written, where it must be.
    """
    run = require_run(run)
    if not isinstance(kind, str) or kind not in OPTIONS:
        raise InputError.about("kind", kind, "there is no such kind", f"Use one of {', '.join(OPTIONS)}.")
    at = run.layer(layer)
    require_offered(run.model, "pattern")
    count = head_count(run.model, "pattern", at)  # which says why the layer has none
    one = () if head is None else (head_of(run, at, head),)
    for name, value in given.items():
        if value is not None and name not in OPTIONS[kind]:
            kinds = [f"kind={each!r}" for each, names in OPTIONS.items() if name in names]
            raise InputError.about(
                name, value, f"kind={kind!r} has none", f"Leave it out, or use {' or '.join(kinds)}."
            )
    if kind == "rollout" and one:
        raise InputError.about("head", head, "rollout is over the mean of the heads", "Leave it out.")
    if kind == "change" and run.base is None:
        rule = "this run has no interventions, so that nothing has changed"
        raise InputError.about("run", run, rule, "Change something first: rw.intervene(run, rw.zero(...)).")
    if kind in ("gradient", "integrated") and run.base is not None:
        rule = f"kind={kind!r} is of a run without interventions"
        raise InputError.about("run", run, rule, "Use run.base, or kind='knockout', which is exact.")
    reading = _reading(run, kind, given.get("metric"))
    if reading is not None:
        require_writable(run.model, "pattern", at)
    steps = whole_number("steps", STEPS if given.get("steps") is None else given["steps"], 1, 10_000, "20, say.")
    again = given.get("renormalise")
    if again is not None and not isinstance(again, bool):
        raise InputError.about("renormalise", again, "True or False is needed", "True is the default.")
    if given.get("stop") is not None and not callable(given["stop"]):
        raise InputError.about("stop", given["stop"], "a function is needed", "Returning True, it stops the sweep.")
    if given.get("budget") is not None:
        whole_number("budget", given["budget"], 1, 2**63, "Bytes that may be in use at once.")
    queries = _queries(run, given.get("pos"))
    return Asked(run, at, kind, one or tuple(range(count)), bool(one), reading, steps, again is not False, queries)


def _reading(run: Run, kind: str, metric: Any) -> Reading | None:
    if "metric" not in OPTIONS[kind]:
        return None
    if metric is None:
        remedy = "For example metric=rw.logit_diff(' Mary', ' John')."
        raise InputError.about("metric", metric, f"kind={kind!r} is towards a metric", remedy)
    checked: Metric = require_metric(metric)
    if kind != "knockout":
        require_differentiable(checked)
    return checked.bound(run)


def _queries(run: Run, pos: Any) -> tuple[int, ...]:
    if pos is None:
        return tuple(range(run.n_pos))
    items = several_whole(pos)
    if not items:
        raise InputError.about("pos", pos, "positions of tokens that look are needed", "Leave it out for all.")
    return tuple(dict.fromkeys(run.pos(item) for item in items))
