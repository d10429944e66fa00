"""Means over pairs or seeds, with what is known about them from so many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True, eq=False)
class Mean:
    """A mean over the first axis.

    Attributes
    ----------
    mean
        Of all.
    spread
        Standard deviation (of the sample, n - 1); NaN for one.
    low, high
        95 % confidence interval of the mean (Student's t); NaN for one.
    count
        How many there were.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: int


def mean_of(values: Float[NDArray, "n ..."]) -> Mean:
    """Return mean, spread and interval over the first axis."""
    values = np.asarray(values, dtype=np.float64)
    count, mean = len(values), np.asarray(values.mean(axis=0))
    if count == 1:
        unknown = np.full_like(mean, np.nan)
        return Mean(mean, unknown, unknown, unknown, 1)
    spread = np.asarray(values.std(axis=0, ddof=1))
    half = np.asarray(stats.t.ppf(0.975, count - 1) * spread / np.sqrt(count))
    return Mean(mean, spread, np.asarray(mean - half), np.asarray(mean + half), count)
