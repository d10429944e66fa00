"""Minimum description length: how many bits the labels cost somebody who has the activations and learns from them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from resid_widgets.analysis.probing.fit import Recipe
from resid_widgets.analysis.probing.folds import split_inner

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Shares of the samples at which the probe is trained anew (Voita & Titov 2020)."""


def online_code(
    recipe: Recipe,
    x: Float[NDArray, "sample d_model"],
    codes: Int[NDArray, " sample"],
    groups: Int[NDArray, " sample"],
    seed: int,
    n_inner: int,
) -> float:
    """Return the length in bits of the online (prequential) code of the labels.

    Groups come in a random order. The first block costs ``log2(classes)`` a label. Each later block is coded with the
    probabilities of a probe that was trained on all blocks before it, its penalty chosen within them; while a class
    has not been seen yet, the block costs as much as the first.

    Parameters
    ----------
    recipe
        A probe that gives probabilities.
    seed
        Of the order.

    Notes
    -----
    Rissanen 1984; Blier & Ollivier 2018; Voita & Titov 2020. Blocks end with whole groups, so that a group is never
    coded by a probe that has seen a part of it.
    """
    rng = np.random.default_rng([seed, 3])
    place = rng.permutation(int(groups.max()) + 1)[groups]
    order = np.argsort(place, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(place[order])) + 1, len(order))  # where a group ends
    cuts = np.unique([ends[min(np.searchsorted(ends, share * len(order)), len(ends) - 1)] for share in FRACTIONS])
    uniform = np.log2(recipe.n_classes)
    bits = float(cuts[0] * uniform)
    for start, stop in pairwise(cuts):
        seen, block = order[:start], order[start:stop]
        if len(np.unique(codes[seen])) < recipe.n_classes:
            bits += len(block) * uniform
            continue
        inner = split_inner(codes[seen], groups[seen], n_inner, seed)
        # A sample too small to choose by takes the strongest penalty: then it says little, and costs little.
        strongest = None if inner else [recipe.penalties[0]]
        (fitted,) = recipe.fit(x[seen], [codes[seen]], inner, strongest)
        outcome = fitted.outcome(x[block])
        if outcome.score is None or not outcome.log_proba:
            return np.nan
        bits -= float(outcome.score[np.arange(len(block)), codes[block]].sum()) / np.log(2)
    return bits
