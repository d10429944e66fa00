"""How much memory fitting probes takes: one layer at a time, whatever their number."""

from __future__ import annotations

import os

from resid_widgets.analysis.probing.logistic import BUDGET

ROWS = 8.0
"""Copies of a layer's rows in float64 at once: as read, as numbers, a fold's training part raw, standardised and in
principal axes, an inner fold's part of that; and what the allocator holds back of freed ones."""

ARRAYS = 16
"""Arrays over rows, problems and classes that a Newton step works with."""


FOLDS_BUDGET = 128 * 2**20
"""Bytes within which several folds are fitted at once; a fold that is larger keeps all processors busy by itself."""


def folds_at_once(n_samples: int, width: int, n_classes: int, n_penalties: int, n_folds: int) -> int:
    """Return how many folds to fit at the same time. What is found does not depend on it."""
    each = _of_a_fold(n_samples, width, n_classes, n_penalties)
    return max(1, min(os.cpu_count() or 1, n_folds, FOLDS_BUDGET // each))


def memory_needed(n_samples: int, width: int, n_classes: int, n_penalties: int, results: int, at_once: int = 1) -> int:
    """Return the most bytes in use at once, beyond the activations themselves where those are held in memory.

    Parameters
    ----------
    width
        Numbers in a row.
    n_classes
        0 where numbers are predicted.
    n_penalties
        Of the grid: as many fits at once for the labels, the shuffled and the control labels.
    results
        Layers x components x kinds x seeds: for each the prediction of every sample is kept.
    at_once
        Folds that are fitted at the same time.
    """
    return 16 * n_samples * results + at_once * _of_a_fold(n_samples, width, n_classes, n_penalties)


def _of_a_fold(n_samples: int, width: int, n_classes: int, n_penalties: int) -> int:
    one = 8 * n_samples * (n_classes if n_classes > 2 else 1)
    together = max(one, min(BUDGET, 3 * n_penalties * one))
    return int(8 * n_samples * ROWS * width + ARRAYS * together)
