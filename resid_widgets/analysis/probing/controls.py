"""Labels that carry no information about the stream: what a probe scores on them is its own doing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int, Shaped
from numpy.typing import NDArray

LEAST_SEEN = 0.5
"""Share of a fold's test samples whose unit must be known from training, for a control task to mean something."""


def shuffled_by_group(
    labels: Shaped[NDArray, " sample"], groups: Int[NDArray, " sample"], seed: int
) -> Shaped[NDArray, " sample"]:
    """Give each group the labels of another group, in random order.

    A group of one label stays one of one label, so that samples of a group stay as alike as they were; what ties a
    label to the stream, to a position included, is gone. A group that is larger than the one it draws from repeats its
    labels.
    """
    rng = np.random.default_rng([seed, 1])
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order[:1]] - 1))
    rows = np.split(order, starts[1:])
    shuffled = np.empty_like(labels)
    for own, donor in zip(rows, rng.permutation(len(rows)), strict=True):
        shuffled[own] = np.resize(labels[rng.permutation(rows[donor])], len(own))
    return shuffled


def control_labels(
    labels: Shaped[NDArray, " sample"], units: Int[NDArray, " sample"], seed: int
) -> Shaped[NDArray, " sample"]:
    """Give each unit (a token type) one random label, the labels in the shares that they have among the samples.

    Notes
    -----
    The control task of Hewitt & Liang 2019. A probe can learn it only by remembering units.
    """
    rng = np.random.default_rng([seed, 2])
    kinds, place = np.unique(units, return_inverse=True)
    # Evenly spaced quantiles have the shares of the whole, even for few units.
    at = (np.arange(len(kinds)) + rng.random()) / len(kinds) * len(labels)
    drawn = np.sort(labels)[np.minimum(at.astype(np.int64), len(labels) - 1)]
    return rng.permutation(drawn)[place]


def seen_units(
    units: Int[NDArray, " sample"], train: Int[NDArray, " train"], test: Int[NDArray, " test"]
) -> Bool[NDArray, " test"]:
    """Return which test samples have a unit that training has as well."""
    return np.isin(units[test], units[train])
