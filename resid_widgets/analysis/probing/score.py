"""What a probe's predictions are worth: the metrics of a fold, and intervals over folds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from scipy import stats

METRICS = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "auroc": "area under the ROC curve",
    "r2": "R²",
}


def bounds_of(metric: str, difference: bool = False) -> tuple[float, float]:
    """Return what a metric (or the difference of two of its values) can be at least and at most."""
    if metric == "r2":
        return (-np.inf, np.inf if difference else 1.0)
    return (-1.0 if difference else 0.0, 1.0)


def axis_limits(parts: Iterable[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the ends of an axis that holds all these scores, with a little room; 1 is on it."""
    known = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
    known = known[np.isfinite(known)]
    if known.size == 0:
        return 0.0, 1.0
    low, high = float(known.min()), max(1.0, float(known.max()))
    room = 0.04 * (high - low)
    return low - room, high + room


def score_fold(
    metric: str,
    truth: Shaped[NDArray, " test"],
    predicted: Shaped[NDArray, " test"],
    score: Float[NDArray, "test class"] | None,
    n_classes: int,
) -> float:
    """Return a metric of one fold; NaN where it is not defined (one class only in the test part, say).

    Parameters
    ----------
    metric
        Key of `METRICS`.
    score
        The larger, the likelier the class; needed for ``"auroc"`` (of more than two classes: mean of one against rest).
    """
    if len(truth) == 0:
        return np.nan
    if metric == "r2":
        total = ((truth - truth.mean()) ** 2).sum()
        return float(1 - ((truth - predicted) ** 2).sum() / total) if total > 0 else np.nan
    if metric == "accuracy":
        return float((truth == predicted).mean())
    if metric == "auroc":
        return _auroc(truth, score, n_classes)
    counts = np.bincount(truth, minlength=n_classes)
    hits = np.bincount(truth[truth == predicted], minlength=n_classes)
    return float((hits[counts > 0] / counts[counts > 0]).mean())


def _auroc(truth: NDArray[np.int64], score: NDArray[np.float64] | None, n_classes: int) -> float:
    from sklearn.metrics import roc_auc_score

    counts = np.bincount(truth, minlength=n_classes)
    wanted = [n_classes - 1] if n_classes == 2 else range(n_classes)
    known = [c for c in wanted if score is not None and 0 < counts[c] < len(truth)]
    return (
        float(np.mean([roc_auc_score(truth == c, score[:, c]) for c in known]))
        if known and score is not None
        else np.nan
    )


def constant_score(
    metric: str, train: Shaped[NDArray, " train"], test: Shaped[NDArray, " test"], n_classes: int
) -> float:
    """Return what an answer without any look at the stream scores: training's commonest class, or its mean."""
    if metric == "auroc":
        return 0.5
    if metric == "r2":
        return score_fold("r2", test, np.full(len(test), train.mean()), None, n_classes)
    common = int(np.bincount(train, minlength=n_classes).argmax())
    return score_fold(metric, test, np.full(len(test), common, dtype=np.int64), None, n_classes)


def interval_over_folds(
    values: Float[NDArray, "*lead fold"],
    n_folds: int,
    level: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper end of the confidence interval of the mean over folds and seeds.

    Parameters
    ----------
    bounds
        What the mean cannot lie outside of; the interval ends there (which leaves out nothing that could be).

    Notes
    -----
    The corrected resampled t interval (Nadeau & Bengio 2003; for repeated cross-validation Bouckaert & Frank 2004):
    folds share training samples, so that the variance of the mean over J = folds x seeds values is
    ``(1/J + n_test/n_train) * variance``, not ``variance / J``; J - 1 degrees of freedom. NaN for fewer than two.
    """
    count = np.isfinite(values).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, np.nansum(values, axis=-1) / count, np.nan)
        variance = np.nansum((values - mean[..., None]) ** 2, axis=-1) / (count - 1)
        half = stats.t.ppf((1 + level) / 2, np.maximum(count - 1, 1)) * np.sqrt(
            (1 / count + 1 / (n_folds - 1)) * variance
        )
    half = np.where(count > 1, half, np.nan)
    return np.clip(mean - half, *bounds), np.clip(mean + half, *bounds)
