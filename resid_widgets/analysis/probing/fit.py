"""Probes: fitted on training rows, with their penalty chosen within them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from resid_widgets.analysis.probing.fitted import Fitted, Foreign, Linear, Outcome
from resid_widgets.analysis.probing.logistic import TOLERANCE, fit_logistic

Inner = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]

KINDS = ("full", "mean_difference", "sparse")
CS = tuple(float(c) for c in np.logspace(-4, 2, 7))
"""Penalties to choose from for classes: scikit-learn's C, strongest first."""
ALPHAS = tuple(float(a) for a in np.logspace(5, -2, 8))
"""Penalties to choose from for numbers: scikit-learn's alpha of Ridge, strongest first."""
ROUGH, NEAR = 1e-4, 0.1
"""Tolerance of the fits that only show which penalties are worth an exact one; how near to the least loss these are."""


@dataclass(frozen=True)
class Recipe:
    """How a probe is fitted.

    Attributes
    ----------
    kind
        One of `KINDS`, or ``"estimator"``.
    n_classes
        0 for numbers.
    penalties
        The grid, strongest first.
    k
        Dimensions of a sparse probe.
    estimator
        A scikit-learn estimator that is cloned for each fit.
    """

    kind: str
    n_classes: int
    penalties: tuple[float, ...]
    k: int = 16
    estimator: Any = None

    @property
    def penalised(self) -> bool:
        """Whether there is a penalty to choose."""
        return self.kind in ("full", "sparse")

    def fit(
        self,
        x: Float[NDArray, "row d_model"],
        targets: Sequence[NDArray[Any]],
        inner: Inner,
        chosen: Sequence[float] | None = None,
    ) -> list[Fitted]:
        """Fit one probe for each target, on the same rows.

        Parameters
        ----------
        x
            Training rows, raw. They are standardised here (scikit-learn's StandardScaler), by themselves alone.
        targets
            Class numbers or numbers, one array a target. Each has every class.
        inner
            Divisions of the rows by which the penalty is chosen: least mean loss on the held-out rows (log-loss, or
            squared error), the strongest of equals.
        chosen
            One penalty a target, instead of a choice.
        """
        if self.kind == "mean_difference":
            return [mean_difference(x, target, self.n_classes) for target in targets]
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(x)
        z: Any = scaler.transform(x)
        if self.kind == "estimator":
            return [self._foreign(scaler, z, target) for target in targets]
        if self.kind == "full":
            found = self._penalised(z, targets, inner, chosen)
            return [_raw(probe, scaler, None) for probe in found]
        made: list[Fitted] = []
        for n, target in enumerate(targets):
            kept = chosen_dims(z, target, self.n_classes, self.k)
            (probe,) = self._penalised(z[:, kept], [target], inner, chosen and chosen[n : n + 1])
            made.append(_raw(probe, scaler, kept))
        return made

    def _foreign(self, scaler: Any, z: NDArray[np.float64], target: NDArray[Any]) -> Foreign:
        from sklearn.base import clone

        fresh: Any = clone(self.estimator)
        return Foreign(scaler, fresh.fit(z, target), self.n_classes)

    def _penalised(
        self, z: NDArray[np.float64], targets: Sequence[NDArray[Any]], inner: Inner, chosen: Sequence[float] | None
    ) -> list[Linear]:
        axes = principal_axes(z)
        x, stacked = z @ axes, np.stack(targets)
        grid = np.asarray(self.penalties)
        values, losses = np.asarray(chosen), np.full((len(targets), len(grid)), np.nan)
        if chosen is None:
            losses = inner_losses(x, stacked, inner, grid, self.n_classes)
            known = np.isfinite(losses).all(axis=1)
            best = np.where(known, np.argmin(np.nan_to_num(losses), axis=1), np.abs(np.log(grid)).argmin())
            values = grid[best]
        # Each target has a penalty of its own now: one problem each, still in one go.
        final = _each(x, stacked, values, self.n_classes)
        return [
            Linear(axes @ probe.weights, probe.bias, self.n_classes, float(value), loss, probe.exact)
            for probe, value, loss in zip(final, values, losses, strict=True)
        ]


def inner_losses(
    x: Float[NDArray, "row axis"],
    targets: Shaped[NDArray, "target row"],
    inner: Inner,
    grid: Float[NDArray, " penalty"],
    n_classes: int,
) -> Float[NDArray, "target penalty"]:
    """Return the mean loss on held-out rows over the inner folds whose training rows have every class; NaN without any.

    Classes are fitted roughly at first. What comes near the least loss, and then whatever is least, is fitted to the
    end, so that the choice is that of exact fits; the losses of the others are good to a few percent.
    """
    usable = [np.array([_whole(target[train], n_classes) for target in targets]) for train, _ in inner]
    losses = np.full((len(inner), len(targets), len(grid)), np.nan)
    fits: dict[tuple[int, int, int], Linear] = {}

    def measure(wanted: NDArray[np.bool_], rough: bool) -> NDArray[np.float64]:
        for number, (train, test) in enumerate(inner):
            problems = [(t, p) for t, p in zip(*np.nonzero(wanted), strict=True) if usable[number][t]]
            if not problems:
                continue
            which, at = np.array(problems).T
            start = None if rough or n_classes == 0 else [fits[number, t, p] for t, p in problems]
            found = _each(x[train], targets[which][:, train], grid[at], n_classes, rough=rough, start=start)
            for (t, p), probe in zip(problems, found, strict=True):
                fits[number, t, p] = probe
                losses[number, t, p] = _loss(probe.outcome(x[test]), targets[t][test])
        counts = np.isfinite(losses).sum(axis=0)
        return np.where(counts > 0, np.nansum(losses, axis=0) / np.maximum(counts, 1), np.nan)

    every = np.ones((len(targets), len(grid)), dtype=bool)
    if n_classes == 0:
        return measure(every, rough=False)
    mean = measure(every, rough=True)
    exact: NDArray[np.bool_] = np.isnan(mean)
    rows = np.arange(len(targets))
    while not exact[rows, np.argmin(np.nan_to_num(mean), axis=1)].all():
        near = (mean <= (1 + NEAR) * mean.min(axis=1, keepdims=True)) & ~exact
        mean, exact = measure(near, rough=False), exact | near
    return mean


def _whole(target: NDArray[Any], n_classes: int) -> bool:
    """Whether every class is there."""
    return n_classes == 0 or len(np.unique(target)) == n_classes


def principal_axes(z: Float[NDArray, "row feature"]) -> Float[NDArray, "feature axis"]:
    """Return orthonormal axes of what the rows span, in which their features are uncorrelated.

    A ridge penalty is the same in any such axes, and the weights lie in the span of the rows: nothing is lost.
    """
    wide = z.shape[1] > z.shape[0]
    sizes, axes = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    keep = sizes > sizes.max(initial=0.0) * 1e-12
    if not keep.any():
        return np.eye(z.shape[1])[:, :1]
    if wide:
        return z.T @ axes[:, keep] / np.sqrt(sizes[keep])
    return np.ascontiguousarray(axes[:, keep])


def chosen_dims(
    z: Float[NDArray, "row d_model"], target: Shaped[NDArray, " row"], n_classes: int, k: int
) -> NDArray[np.int64]:
    """Return the `k` stream dimensions whose class means differ most beside their spread, by F value; ascending.

    Gurnee et al. 2023 (sparse probing); for two classes the order of the t statistic. For numbers, the correlation.
    """
    from sklearn.feature_selection import f_classif, f_regression

    moving = z.std(axis=0) > 0
    value = np.full(z.shape[1], -np.inf)
    value[moving] = (f_classif if n_classes else f_regression)(z[:, moving], target)[0]
    return np.sort(np.argsort(-value, kind="stable")[: min(k, z.shape[1])])


def mean_difference(x: Float[NDArray, "row d_model"], target: Shaped[NDArray, " row"], n_classes: int) -> Linear:
    """Return the probe that answers with the nearest class mean, in raw stream coordinates.

    For two classes its direction is the difference of the means (Marks & Tegmark 2023, "mass-mean"), with the
    threshold halfway; for more, a class's is its mean less the mean of all class means.
    """
    means = np.stack([x[target == code].mean(axis=0) for code in range(n_classes)])
    centre = means.mean(axis=0)
    means = means - centre
    bias = -(means**2).sum(axis=1) / 2 - means @ centre
    weights = means.T
    if n_classes == 2:
        weights, bias = weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]
    return Linear(weights, bias, n_classes, log_proba=False)


def _raw(probe: Linear, scaler: Any, kept: NDArray[np.int64] | None) -> Linear:
    """Return a probe of standardised features in stream coordinates: w / sigma."""
    weights = np.zeros((len(scaler.scale_), probe.weights.shape[1]))
    weights[slice(None) if kept is None else kept] = probe.weights
    weights = weights / scaler.scale_[:, None]
    bias = probe.bias - scaler.mean_ @ weights
    return Linear(weights, bias, probe.n_classes, probe.penalty, probe.losses, probe.exact)


def _loss(outcome: Outcome, target: NDArray[Any]) -> float:
    """Return the mean log-loss, or squared error."""
    if outcome.score is None:
        return float(((outcome.predicted - target) ** 2).mean())
    return float(-outcome.score[np.arange(len(target)), target].mean())


def _each(
    x: NDArray[np.float64],
    targets: NDArray[Any],
    penalties: NDArray[np.float64],
    n_classes: int,
    rough: bool = False,
    start: Sequence[Linear] | None = None,
) -> list[Linear]:
    """Fit each target with its own penalty; to the end, or roughly."""
    if n_classes == 0:
        return _ridges(x, targets, penalties)
    begin = None if start is None else np.stack([np.vstack([probe.weights, probe.bias]) for probe in start])
    fits = fit_logistic(x, targets, penalties, n_classes, ROUGH if rough else TOLERANCE, begin)
    made = []
    for n, done in enumerate(fits.done):
        if done or rough:
            made.append(Linear(fits.weights[n], fits.bias[n], n_classes))
        else:
            made.append(_by_sklearn(x, targets[n], float(penalties[n])))
    return made


def _by_sklearn(x: NDArray[np.float64], target: NDArray[np.int64], c: float) -> Linear:
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-8, max_iter=1000).fit(x, target)
    return Linear(found.coef_.T, found.intercept_, len(found.classes_), exact=False)


def _ridges(x: NDArray[np.float64], targets: NDArray[Any], alphas: NDArray[np.float64]) -> list[Linear]:
    """Fit each target with its alpha (scikit-learn's Ridge), from one singular value decomposition."""
    centre = x.mean(axis=0)
    u, sizes, vt = np.linalg.svd(x - centre, full_matrices=False)
    made = []
    for target, alpha in zip(targets, alphas, strict=True):
        mean = target.mean()
        weights = vt.T @ (sizes / (sizes**2 + alpha) * (u.T @ (target - mean)))
        made.append(Linear(weights[:, None], np.array([mean - centre @ weights]), 0))
    return made
