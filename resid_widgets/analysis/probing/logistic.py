"""Ridge-penalised logistic regressions on the same rows, all fitted at once.

A probe needs many fits on one matrix: each penalty of the grid, for the labels, for shuffled and for control labels.
They differ in their targets only, so that one product with the matrix serves all of them, and the axes that make the
problem round are found once. The minimum is scikit-learn's (`sklearn.linear_model.LogisticRegression`), to `TOLERANCE`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.special import expit, log_expit, log_softmax, logsumexp, softmax

TOLERANCE = 1e-8
"""Largest entry of the gradient of the mean loss at which a fit counts as done; scikit-learn's default is 1e-4."""

NEWTON_STEPS, CG_STEPS = 60, 200
FEW = 0.8
"""Share of problems still open under which a search goes on with those alone."""
BUDGET = 32 * 2**20
"""Bytes of one array over rows, problems and classes. Small ones stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Fits:
    """Fitted problems.

    Attributes
    ----------
    weights
        ``[problem, feature, column]``: one column for two classes, one a class for more.
    bias
        ``[problem, column]``.
    done
        ``[problem]``: whether the gradient is below the tolerance.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    done: NDArray[np.bool_]

    def log_proba(self, x: Float[NDArray, "row feature"], n_classes: int) -> Float[NDArray, "problem row class"]:
        """Return the log-probability of each class."""
        n_problems, n_features, columns = self.weights.shape
        flat = self.weights.transpose(1, 0, 2).reshape(n_features, -1)
        score = (x @ flat).reshape(len(x), n_problems, columns).transpose(1, 0, 2) + self.bias[:, None]
        if n_classes == 2:
            return log_expit(np.concatenate([-score, score], axis=-1))
        return log_softmax(score, axis=-1)


def fit_logistic(
    x: Float[NDArray, "row feature"],
    targets: Int[NDArray, "problem row"],
    cs: Float[NDArray, " problem"],
    n_classes: int,
    tolerance: float = TOLERANCE,
    start: Float[NDArray, "problem parameter column"] | None = None,
) -> Fits:
    """Minimise, for each problem, ``C * (sum of log losses) + |weights|^2 / 2``; the bias is not penalised.

    Parameters
    ----------
    x
        Float64. Columns that are nearly uncorrelated (principal axes) converge fast; any others converge too.
    targets
        Class numbers from 0. Every class must be there in each problem.
    cs
        scikit-learn's C.
    tolerance
        Largest entry of the gradient at which a fit counts as done.
    start
        Where to begin: weights, then the bias as the last row. By default at zero.

    Returns
    -------
    Fits
        What is not `done` has to be fitted in another way.

    Notes
    -----
    Truncated Newton (Dembo & Steihaug 1983; Nocedal & Wright, algorithm 7.1): conjugate gradients on the Newton
    equation, with the diagonal of the Hessian as preconditioner, then halving of the step.
    """
    columns = 1 if n_classes == 2 else n_classes
    step = max(1, BUDGET // (8 * len(x) * columns))
    parts = [slice(start, start + step) for start in range(0, len(cs), step)]
    begin = np.zeros((len(cs), x.shape[1] + 1, columns)) if start is None else start
    found = [_Newton(x, targets[part], cs[part], begin[part], tolerance).solve() for part in parts]
    return Fits(*(np.concatenate([getattr(each, name) for each in found]) for name in ("weights", "bias", "done")))


class _Newton:
    """State of some problems: parameters ``[feature + 1, problem, column]``, the last row the bias."""

    def __init__(
        self,
        x: Float[NDArray, "row feature"],
        targets: Int[NDArray, "problem row"],
        cs: Float[NDArray, " problem"],
        start: Float[NDArray, "problem parameter column"],
        tolerance: float,
    ) -> None:
        columns = start.shape[-1]
        self.x, self.columns, self.tolerance, n = x, columns, tolerance, len(x)
        # The mean loss, so that one tolerance serves any number of rows.
        self.penalty = np.zeros((x.shape[1] + 1, len(cs), 1))
        self.penalty[:-1] = 1 / (n * cs)[:, None]
        self.squares = (x**2).T
        if columns == 1:
            self.y = targets.T[:, :, None].astype(np.float64)
        else:
            self.y = (targets.T[:, :, None] == np.arange(columns)).astype(np.float64)
        self.ones = np.ones((columns, columns))  # a product with it is a sum over so few columns, and much faster
        self.parameters = start.transpose(1, 0, 2).copy()
        self.done = np.zeros(len(cs), dtype=bool)

    def solve(self) -> Fits:
        live = np.arange(len(self.done))
        score = self._forward(self.parameters)
        for _ in range(NEWTON_STEPS):
            w, y, penalty = self.parameters[:, live], self.y[:, live], self.penalty[:, live]
            chance = expit(score) if self.columns == 1 else softmax(score, axis=-1)
            gradient = self._back(chance - y) + penalty * w
            done = np.abs(gradient).max(axis=(0, 2)) <= self.tolerance
            self.done[live[done]] = True
            if done.all():
                break
            live, keep = live[~done], ~done
            w, y, penalty, score, chance = w[:, keep], y[:, keep], penalty[:, keep], score[:, keep], chance[:, keep]
            direction, moved = self._newton_direction(gradient[:, keep], chance, penalty)
            size = self._step(w, y, penalty, score, direction, moved, gradient[:, keep])
            self.parameters[:, live] = w + size * direction
            score = score + size * moved
        weights = self.parameters.transpose(1, 0, 2)
        return Fits(weights[:, :-1], weights[:, -1], self.done)

    def _forward(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the score of each row ``[row, problem, column]``."""
        flat = parameters.reshape(len(parameters), -1)
        return (self.x @ flat[:-1] + flat[-1]).reshape(len(self.x), *parameters.shape[1:])

    def _back(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over rows of their parts of a gradient."""
        flat = rows.reshape(len(rows), -1)
        found = np.concatenate([self.x.T @ flat, flat.sum(axis=0, keepdims=True)]) / len(rows)
        return found.reshape(-1, *rows.shape[1:])

    def _curved(self, chance: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the second derivative of each row's loss, applied to a change of its score."""
        if self.columns == 1:
            return chance * (1 - chance) * moved
        there = chance * moved
        return there - chance * (there @ self.ones)

    def _balanced(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take out what is the same for all classes: it changes no probability, and would only slow the search."""
        return parameters if self.columns == 1 else parameters - parameters @ (self.ones / self.columns)

    def _newton_direction(
        self, gradient: NDArray[np.float64], chance: NDArray[np.float64], penalty: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Solve the Newton equation roughly: more exactly the nearer the minimum. The scores' change comes with it."""
        weight = (chance * (1 - chance)).reshape(len(chance), -1) / len(chance)
        diagonal = np.concatenate([self.squares @ weight, weight.sum(axis=0, keepdims=True)])
        scale = 1 / (diagonal.reshape(gradient.shape) + penalty + np.finfo(np.float64).tiny)
        norm = _dot(gradient, gradient) ** 0.5
        goal = norm * np.minimum(0.1, norm**0.5)
        live = np.arange(gradient.shape[1])
        found, found_moved = np.zeros_like(gradient), np.zeros_like(chance)
        residual, direction, moved = -gradient, found.copy(), found_moved.copy()
        way = self._balanced(scale * residual)
        size = _dot(residual, way)
        for _ in range(CG_STEPS):
            there = self._forward(way)
            bent = self._back(self._curved(chance, there)) + penalty * way
            curvature = _dot(way, bent)
            open_ = (_dot(residual, residual) ** 0.5 > goal) & (curvature > 0)
            keep = open_[0, :, 0]
            if not keep.any():
                break
            if keep.mean() < FEW:  # leave the finished ones behind: they cost as much as the others
                found[:, live], found_moved[:, live] = direction, moved
                live = live[keep]
                chance, penalty, goal, scale = (each[:, keep] for each in (chance, penalty, goal, scale))
                residual, direction, moved = (each[:, keep] for each in (residual, direction, moved))
                way, size, there, bent = (each[:, keep] for each in (way, size, there, bent))
                curvature, open_ = curvature[:, keep], open_[:, keep]
            length = np.where(open_, size / np.where(open_, curvature, 1), 0)
            direction += length * way
            moved += length * there
            residual = residual - length * bent
            scaled = self._balanced(scale * residual)
            new = _dot(residual, scaled)
            way = scaled + np.where(size > 0, new / np.where(size > 0, size, 1), 0) * way
            size = new
        found[:, live], found_moved[:, live] = direction, moved
        return found, found_moved

    def _step(
        self,
        w: NDArray[np.float64],
        y: NDArray[np.float64],
        penalty: NDArray[np.float64],
        score: NDArray[np.float64],
        direction: NDArray[np.float64],
        moved: NDArray[np.float64],
        gradient: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Halve the step of each problem until its loss falls (Armijo); scores are linear in the step."""
        slope = _dot(gradient, direction)
        before = self._loss(w, y, penalty, score)
        slack = 1e-12 * np.abs(before)  # near the minimum the fall is smaller than what a sum rounds away
        size = np.ones_like(slope)
        for _ in range(30):
            after = self._loss(w + size * direction, y, penalty, score + size * moved)
            high: Bool[NDArray, ...] = after > before + 1e-4 * size * slope + slack
            if not high.any():
                break
            size = np.where(high, size / 2, size)
        return size

    def _loss(
        self, w: NDArray[np.float64], y: NDArray[np.float64], penalty: NDArray[np.float64], score: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self.columns == 1:
            rows = np.logaddexp(0, score) - y * score
        else:
            rows = logsumexp(score, axis=-1, keepdims=True) - (y * score).sum(axis=-1, keepdims=True)
        return rows.mean(axis=0, keepdims=True).sum(-1, keepdims=True) + _dot(penalty * w, w) / 2


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inner product of each problem, ``[1, problem, 1]``."""
    return np.einsum("fpc,fpc->p", a, b)[None, :, None]
