"""How much memory fitting probes takes: one layer at a time, whatever their number."""

from __future__ import annotations

from resid_widgets.analysis.logistic import BUDGET

ROWS = 8.0
"""Copies of a layer's rows in float64 at once: as read, as numbers, a fold's training part raw, standardised and in
principal axes, an inner fold's part of that; and what the allocator holds back of freed ones."""

ARRAYS = 16
"""Arrays over rows, problems and classes that a Newton step works with."""


def memory_needed(n_samples: int, width: int, n_classes: int, n_penalties: int, results: int) -> int:
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
    """
    one = 8 * n_samples * (n_classes if n_classes > 2 else 1)
    together = max(one, min(BUDGET, 3 * n_penalties * one))
    return int(8 * n_samples * (ROWS * width + 2 * results) + ARRAYS * together)
