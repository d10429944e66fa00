"""Fitted probes: what they say of rows, and their weights in stream coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a probe says of some rows.

    Attributes
    ----------
    predicted
        ``[row]``: class numbers or numbers.
    score
        ``[row, class]``: log-probability, or a margin where the probe has no probabilities; None for numbers, and
        where an estimator gives none.
    log_proba
        Whether `score` is a log-probability.
    """

    predicted: Shaped[NDArray, " row"]
    score: Float[NDArray, "row class"] | None
    log_proba: bool


@dataclass(frozen=True, eq=False)
class Linear:
    """A probe that is linear in the stream.

    Attributes
    ----------
    weights, bias
        ``[d_model, column]`` and ``[column]`` in raw stream coordinates; one column for two classes and for numbers.
    n_classes
        0 for numbers.
    penalty
        C or alpha that was chosen; NaN where there is none.
    losses
        Mean inner loss of each penalty; empty where none was chosen.
    exact
        False where scikit-learn's own solver had to step in.
    log_proba
        Whether its scores are log-probabilities.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    n_classes: int
    penalty: float = np.nan
    losses: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    exact: bool = True
    log_proba: bool = True

    def outcome(self, x: NDArray[np.float64]) -> Outcome:
        """Return what the probe says of rows in stream coordinates."""
        score = x @ self.weights + self.bias
        if self.n_classes == 0:
            return Outcome(score[:, 0], None, False)
        predicted = (score[:, 0] > 0).astype(np.int64) if self.n_classes == 2 else score.argmax(axis=1)
        if self.n_classes == 2:
            score = np.concatenate([-score, score], axis=1)
        if self.log_proba:
            score = log_expit(score) if self.n_classes == 2 else log_softmax(score, axis=1)
        return Outcome(predicted, score, self.log_proba)

    def readout(self) -> NDArray[np.float64] | None:
        """Return its weights in stream coordinates ``[d_model, column]``."""
        return self.weights


@dataclass(frozen=True, eq=False)
class Foreign:
    """A user's estimator, fitted on standardised rows."""

    scaler: Any
    estimator: Any
    n_classes: int
    penalty: float = np.nan
    losses: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    exact: bool = True

    def outcome(self, x: NDArray[np.float64]) -> Outcome:
        """Return what the probe says of rows in stream coordinates."""
        z = self.scaler.transform(x)
        predicted = np.asarray(self.estimator.predict(z))
        if self.n_classes == 0:
            return Outcome(predicted.reshape(len(x)).astype(np.float64), None, False)
        known = np.asarray(self.estimator.classes_, dtype=np.int64)
        score, log_proba = np.full((len(x), self.n_classes), -np.inf), hasattr(self.estimator, "predict_proba")
        if log_proba:
            with np.errstate(divide="ignore"):
                score[:, known] = np.log(self.estimator.predict_proba(z))
        elif hasattr(self.estimator, "decision_function"):
            margin = np.asarray(self.estimator.decision_function(z), dtype=np.float64)
            score[:, known] = np.stack([-margin, margin], axis=1) if margin.ndim == 1 else margin
        else:
            return Outcome(predicted.astype(np.int64), None, False)
        return Outcome(predicted.astype(np.int64), score, log_proba)

    def readout(self) -> NDArray[np.float64] | None:
        """Return its weights in stream coordinates, if the estimator has ``coef_``."""
        coef = getattr(self.estimator, "coef_", None)
        return None if coef is None else (np.atleast_2d(np.asarray(coef)) / self.scaler.scale_).T


Fitted = Linear | Foreign
