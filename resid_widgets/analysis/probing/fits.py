"""The fits of a probe analysis: each layer, each fold, the labels and their controls on the same rows."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets.analysis.probing.blas_threads import one_blas_thread
from resid_widgets.analysis.probing.controls import LEAST_SEEN, control_labels, seen_units, shuffled_by_group
from resid_widgets.analysis.probing.data import ProbeData
from resid_widgets.analysis.probing.directions import AGREEMENT, least_cosine, neighbours
from resid_widgets.analysis.probing.fit import Recipe, mean_difference
from resid_widgets.analysis.probing.fitted import Fitted, Linear, Outcome
from resid_widgets.analysis.probing.folds import Fold
from resid_widgets.analysis.probing.mdl import online_code
from resid_widgets.analysis.probing.score import constant_score, score_fold
from resid_widgets.analysis.sweeps.sweep import StoppedError, Sweeping

LOOK_SECONDS = 0.2
"""Between two looks at whether to stop, while folds are fitted at the same time."""

_Fit = tuple[str, NDArray[Any], NDArray[np.bool_], Fitted]
"""Which of `SCORED`, its labels of all samples, the test rows that count, and the probe."""

_OfFold = tuple[list[_Fit], dict[str, NDArray[np.float64]]]
"""What is fitted on the training rows of a fold, and the directions ``[d_model, column]`` of its labels by kind."""

SCORED = ("accuracy", "majority", "chance", "shuffled", "control")


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be fitted.

    Attributes
    ----------
    data, codes
        The samples, and their classes as numbers from 0 (or the numbers themselves).
    recipes, folds, seeds
        Probes, divisions, and the seeds of the divisions.
    metric
        Key of `resid_widgets.analysis.probing.score.METRICS`.
    n_inner, mdl
        Inner folds; whether code lengths are wanted.
    at_once
        Folds that are fitted at the same time.
    """

    data: ProbeData
    codes: NDArray[Any]
    recipes: tuple[Recipe, ...]
    folds: tuple[Fold, ...]
    seeds: tuple[int, ...]
    metric: str
    n_inner: int
    mdl: bool
    at_once: int = 1

    @property
    def n_classes(self) -> int:
        """0 for numbers."""
        return self.recipes[0].n_classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Kinds, components, layers."""
        return len(self.recipes), len(self.data.components), len(self.data.layers)


class Fitting:
    """Everything that was found so far, NaN where nothing was.

    Attributes
    ----------
    scored
        ``[kind, component, layer, fold]`` of each of `SCORED`.
    penalty
        The same, of the label's own probe.
    scores
        ``[kind, component, layer, sample]``: held-out score, mean over seeds.
    predicted
        ``[kind, component, layer, seed, sample]``: held-out prediction.
    readouts
        Kind to ``[component, layer, column, d_model]``, fitted on all samples.
    agreement
        What directions are compared, one of `AGREEMENT`, to kind to ``[component, layer, column]``: their least cosine.
    bits
        ``[kind, component, layer, seed]``: code length.
    inexact
        How many probes scikit-learn's own solver had to fit.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, n = plan, len(plan.codes)
        shape = plan.shape
        self.scored = {name: np.full((*shape, len(plan.folds)), np.nan) for name in SCORED}
        self.penalty = np.full((*shape, len(plan.folds)), np.nan)
        self.scores = np.full((*shape, n), np.nan)
        self.predicted = np.full((*shape, len(plan.seeds), n), -1 if plan.n_classes else np.nan)
        self.readouts: dict[str, NDArray[np.float64]] = {}
        self.agreement: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in AGREEMENT}
        self.bits = np.full((*shape, len(plan.seeds)), np.nan)
        self.inexact = 0
        self.score_units = ""
        data, codes = plan.data, plan.codes
        self.shuffled = {seed: shuffled_by_group(codes, data.groups, seed) for seed in plan.seeds}
        units = data.units
        self.control = {} if units is None else {seed: control_labels(codes, units, seed) for seed in plan.seeds}
        self.seen = [None if units is None else seen_units(units, fold.train, fold.test) for fold in plan.folds]

    def run(self, tracker: Sweeping) -> None:
        """Fit everything, or until the tracker is stopped."""
        plan = self.plan
        tracker.total = int(np.prod(plan.shape)) * len(plan.folds)
        try:
            for c, component in enumerate(plan.data.components):
                for number, layer in enumerate(plan.data.layers):
                    tracker.look()
                    x = plan.data.matrix(component, layer)
                    for kind, recipe in enumerate(plan.recipes):
                        self._layer(x, recipe, (kind, c, number), tracker)
        except StoppedError:
            pass

    def _layer(self, x: NDArray[np.float64], recipe: Recipe, at: tuple[int, int, int], tracker: Sweeping) -> None:
        plan, codes = self.plan, self.plan.codes
        totals = np.zeros((2, len(codes)))  # score, and how often it was given
        losses: list[NDArray[np.float64]] = []
        directions: dict[str, list[NDArray[np.float64]]] = {}
        with closing(self._fitted(x, recipe, tracker)) as folds:
            for n, (fold, (fitted, found)) in enumerate(zip(plan.folds, folds, strict=True)):
                for kind, weights in found.items():
                    directions.setdefault(kind, []).append(weights)
                train, test = fold.train, fold.test
                for name, labels, rows, probe in fitted:
                    outcome = probe.outcome(x[test])
                    self.inexact += not probe.exact
                    score = None if outcome.score is None else outcome.score[rows]
                    self.scored[name][*at, n] = score_fold(
                        plan.metric, labels[test][rows], outcome.predicted[rows], score, plan.n_classes
                    )
                    if name == "accuracy":
                        self.penalty[*at, n] = probe.penalty
                        losses.append(probe.losses)
                        self.predicted[*at, plan.seeds.index(fold.seed), test] = outcome.predicted
                        totals[:, test] += self._shown(outcome, codes[test]), np.ones(len(test))
                plain = "accuracy" if plan.n_classes else "r2"
                for name, metric in (("majority", plain), ("chance", plan.metric)):
                    self.scored[name][*at, n] = constant_score(metric, codes[train], codes[test], plan.n_classes)
                tracker.advance(1, self.scored["accuracy"])
        self.scores[at] = totals[0] / totals[1]
        self._everything(x, recipe, at, losses, directions)

    def _fitted(self, x: NDArray[np.float64], recipe: Recipe, tracker: Sweeping) -> Generator[_OfFold]:
        """Yield what is fitted on each fold's training rows; several folds at once where that is faster."""
        numbers = range(len(self.plan.folds))
        at_once = 1 if recipe.kind == "estimator" else self.plan.at_once  # a user's may share a random generator
        with one_blas_thread() if at_once > 1 else nullcontext(False) as alone:
            if not alone:
                for n in numbers:
                    tracker.look()
                    yield self._fold(x, recipe, n)
                return
            with ThreadPoolExecutor(at_once) as pool:
                pending = [pool.submit(self._fold, x, recipe, n) for n in numbers]
                try:
                    for future in pending:
                        while wait([future], LOOK_SECONDS).not_done:
                            tracker.look()
                        yield future.result()
                finally:
                    for future in pending:
                        future.cancel()

    def _fold(self, x: NDArray[np.float64], recipe: Recipe, n: int) -> _OfFold:
        """Fit the labels and their controls on one fold's training rows."""
        fold, seen, codes = self.plan.folds[n], self.seen[n], self.plan.codes
        every = np.ones(len(fold.test), dtype=bool)
        wanted = [("accuracy", self.plan.codes, every), ("shuffled", self.shuffled[fold.seed], every)]
        if seen is not None and seen.mean() >= LEAST_SEEN:
            wanted.append(("control", self.control[fold.seed], seen))
        wanted = [each for each in wanted if self._whole(each[1][fold.train])]
        rows = x[fold.train]
        probes = recipe.fit(rows, [labels[fold.train] for _, labels, _ in wanted], fold.inner)
        directions = {}
        if wanted and wanted[0][0] == "accuracy":
            directions = self._directions(rows, codes[fold.train], recipe.kind, probes[0])
        return [(*each, probe) for each, probe in zip(wanted, probes, strict=True)], directions

    def _directions(
        self, x: NDArray[np.float64], codes: NDArray[Any], kind: str, probe: Fitted
    ) -> dict[str, NDArray[np.float64]]:
        """Return the directions ``[d_model, column]`` of a probe, and of the class means of its rows."""
        found = {kind: probe.readout()}
        if self.plan.n_classes:
            found.setdefault("mean_difference", mean_difference(x, codes, self.plan.n_classes).readout())
        return {name: each for name, each in found.items() if each is not None and each.shape[0] == x.shape[1]}

    def _everything(
        self,
        x: NDArray[np.float64],
        recipe: Recipe,
        at: tuple[int, int, int],
        losses: Sequence[NDArray[np.float64]],
        of_folds: Mapping[str, Sequence[NDArray[np.float64]]],
    ) -> None:
        """Fit on all samples, for the direction; the penalty is the one that was best over all folds."""
        plan = self.plan
        mean = np.mean([loss for loss in losses if np.isfinite(loss).all()] or [np.empty(0)], axis=0)
        penalty = recipe.penalties[int(mean.argmin())] if mean.size else 1.0
        tried = [penalty, *(neighbours(recipe.penalties, penalty) if recipe.penalised else [])]
        whole, *beside = recipe.fit(x, [plan.codes] * len(tried), (), tried)
        found = self._directions(x, plan.codes, recipe.kind, whole)
        for kind, weights in found.items():
            self._keep(self.readouts, kind, at, weights.T)
            if len(of_folds.get(kind, ())) > 1:
                self._keep(self.agreement["folds"], kind, at, least_cosine(of_folds[kind]))
        if beside:
            others = [each.weights for each in beside if isinstance(each, Linear)]
            self._keep(self.agreement["penalties"], recipe.kind, at, least_cosine(others, found[recipe.kind]))
            if plan.n_classes and (whole.outcome(x).predicted == plan.codes).all():
                means = [found["mean_difference"]]
                self._keep(self.agreement["means"], recipe.kind, at, least_cosine(means, found[recipe.kind]))
        if plan.mdl:
            for n, seed in enumerate(plan.seeds):
                self.bits[*at, n] = online_code(recipe, x, plan.codes, plan.data.groups, seed, plan.n_inner)

    def _keep(self, kept: dict[str, Any], kind: str, at: tuple[int, int, int], values: NDArray[np.float64]) -> None:
        """Put what is known of one layer's directions where ``[component, layer]`` has it."""
        kept.setdefault(kind, np.full((*self.plan.shape[1:], *values.shape), np.nan))[at[1:]] = values

    def _whole(self, target: NDArray[Any]) -> bool:
        return self.plan.n_classes == 0 or len(np.unique(target)) == self.plan.n_classes

    def _shown(self, outcome: Outcome, truth: NDArray[Any]) -> NDArray[np.float64]:
        """Return one number a sample: of two classes that of the second, of more that of the true one."""
        if self.plan.n_classes == 0:
            self.score_units = "prediction"
            return outcome.predicted
        if outcome.score is None:
            self.score_units = "0 or 1"
            return (outcome.predicted if self.plan.n_classes == 2 else outcome.predicted == truth).astype(np.float64)
        column = np.ones(len(truth), dtype=np.int64) if self.plan.n_classes == 2 else truth
        score = outcome.score[np.arange(len(truth)), column]
        self.score_units = "probability" if outcome.log_proba else "margin"
        return np.exp(score) if outcome.log_proba else score
