"""Fitting probes while somebody watches: what to fit, how far it is, and how it is stopped."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets import tasks
from resid_widgets.analysis.probing.probe import probe
from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.sweeps.sweep import Progress
from resid_widgets.errors import InputError
from resid_widgets.models.collecting.collect import collect
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import structure_of
from resid_widgets.sites import RESIDUAL
from resid_widgets.whole import whole_number

POSITIONS = {"given": "each prompt's own", "last": "last", "not_first": "all but the first", "all": "all"}
"""Position rules that the dashboard offers, and what they are called there."""

YOURS = "your prompts"
PROMPTS = 200
COLLECTING = 0.3
"""Share of the progress bar that collecting takes."""

OPTIONS = ("seeds", "metric", "kind", "estimator", "k", "penalties", "inner", "mdl")
"""Options of `resid_widgets.probe` that a dashboard's fits take."""

Report = Callable[[float, str, Sequence[int], "NDArray[np.float64] | None"], None]
"""Told the share that is done, what is being done, and the curve so far."""


class CancelledError(Exception):
    """Stopped before anything was known."""


@dataclass(frozen=True)
class Wish:
    """What is to be fitted.

    Attributes
    ----------
    task
        One of `resid_widgets.tasks.names`, or `YOURS`.
    component
        Which vectors of the stream.
    positions
        A key of `POSITIONS`.
    folds, prompts
        How many; of your own prompts all are taken.
    """

    task: str
    component: str = "resid_post"
    positions: str = "given"
    folds: int = 5
    prompts: int = PROMPTS

    @property
    def name(self) -> str:
        """What the curve is called, beside others."""
        return self.task if self.positions == "given" else f"{self.task} ({POSITIONS[self.positions]})"


@dataclass(frozen=True)
class Fitted:
    """What came of it: the probe, and the pairs of prompts of its task, for the causal test."""

    wish: Wish
    result: Probe
    pairs: Sequence[Any]


def check_wish(model: ResidualModel, wish: Wish, own: Sequence[Any] | None) -> None:
    """Refuse what cannot be fitted, before anything is computed.

    Raises
    ------
    InputError
        If there is no such task, component or position rule, or a number is out of range.
    """
    known = [*tasks.names(), *([YOURS] if own else [])]
    for name, value, allowed in (
        ("task", wish.task, known),
        ("component", wish.component, components_of(model)),
        ("positions", wish.positions, list(POSITIONS)),
    ):
        if value not in allowed:
            raise InputError.about(name, value, f"must be one of {', '.join(allowed)}", "Choose one of them.")
    whole_number("folds", wish.folds, 2, 20, "5 is the default.")
    whole_number("prompts", wish.prompts, 20, 5000, f"{PROMPTS} is the default.")


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what is no option of a fit (a typing error would be found only when somebody fits).

    Raises
    ------
    InputError
        For the first unknown name.
    """
    for name in options:
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(f"ProbeCurves has no option {name!r}. {hint}Its options are folds, {', '.join(OPTIONS)}.")


def components_of(model: ResidualModel) -> list[str]:
    """Return the parts of the stream that a model has."""
    return [name for name in RESIDUAL if name in structure_of(model).components]


def fit(
    model: ResidualModel,
    wish: Wish,
    own: Sequence[Any] | None,
    options: Mapping[str, Any],
    report: Report,
    stop: Event,
) -> Fitted:
    """Collect and probe. Stopped in the middle, it gives the layers that are known.

    Raises
    ------
    CancelledError
        If it was stopped before a layer was known.
    InputError
        If the task cannot be written with the model's tokens, or there are fewer groups than folds.
    """
    layers: list[int] = []

    def collected(done: int, total: int) -> None:
        if stop.is_set():
            raise CancelledError
        report(COLLECTING * done / max(1, total), "Collecting activations ...", (), None)

    def probed(progress: Progress) -> None:
        curve = np.asarray(progress.values, dtype=np.float64)[0, 0]
        known = np.isfinite(curve).any(axis=-1)
        means = np.full(len(curve), np.nan)
        means[known] = np.nanmean(curve[known], axis=-1)
        share = COLLECTING + (1 - COLLECTING) * progress.done / max(1, progress.total)
        report(share, "Fitting probes ...", layers, means)

    report(0.0, "Collecting activations ...", (), None)
    task = None if wish.task == YOURS else tasks.load(wish.task, model, n=wish.prompts)
    prompts = list(own or ()) if task is None else task.prompts
    found = collect(model, prompts, wish.component, wish.positions, progress=collected)
    layers += found.layers
    result = probe(found, folds=wish.folds, progress=probed, stop=stop.is_set, **options)
    if stop.is_set() and not np.isfinite(result.values.values).any():
        raise CancelledError
    return Fitted(wish, result, () if task is None else task.pairs)
