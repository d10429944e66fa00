"""Attribution patching: every cell of a patching sweep estimated from one gradient, and how good the estimate is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from resid_widgets.analysis.metrics import Metric, Reading
from resid_widgets.analysis.sweeps.cells import Cells
from resid_widgets.errors import InputError
from resid_widgets.models.runs.gradients import gradients_of
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check

GOOD, POOR = 0.9, 0.5
"""A rank correlation below the first is amber, below the second red."""

Index = tuple[int, ...]


def require_differentiable(metric: Metric) -> None:
    """Refuse a metric that has no gradient, or whose gradient is zero where it would be taken.

    Raises
    ------
    InputError
        For ``rank``, which moves in steps, and ``kl_to_base``, which has its minimum at the run itself.
    """
    why = {
        "rank": "a rank moves in steps and has no gradient",
        "kl_to_base": "the divergence from a run is flat at the run itself, so every estimate would be 0",
    }.get(metric.kind)
    if why:
        raise InputError.about("metric", metric.kind, why, "Use rw.logit_diff, or method='exact'.")


def estimated(base: Run, source: Run, reading: Reading, cells: Cells) -> NDArray[np.float64]:
    """Return what the metric would be with each cell patched, to first order: ``metric + grad . (source - base)``."""
    layers = cells.coords[0]
    found = gradients_of(base, cells.component, layers, reading.positions, reading.of_logits)
    weighted = {}
    for layer, gradient in found.items():
        change = source.activation(cells.component, layer).double() - base.activation(cells.component, layer).double()
        weighted[layer] = gradient.double() * change
    values = np.full(cells.shape, reading.of_base())
    for index, site in cells:
        pos = slice(None) if site.pos is None else site.pos
        last = site.neuron if site.head is None else site.head
        inner = slice(None) if last is None else last
        where = (inner, pos) if site.component == "pattern" else (pos, inner)
        values[index] += float(weighted[site.layer][where].sum())
    return values


@dataclass(frozen=True)
class Missed:
    """What lies outside the top cells, judged by the random ones.

    Attributes
    ----------
    share
        Of the sum of all exact effects' sizes, the part outside the top cells; with a 95 % interval.
    low, high
        Its interval.
    cells, at_most
        How many cells outside the top have an exact effect as large as the middle one of the top cells, estimated;
        and a bound that holds with 95 %.
    """

    share: float
    low: float
    high: float
    cells: float
    at_most: float


@dataclass(frozen=True, eq=False)
class Attribution:
    """How the estimates of a sweep compare with exact values.

    Attributes
    ----------
    exact
        Exact values of the cells that were computed, in the sweep's unit; NaN elsewhere.
    estimate
        The sweep's values: the estimates.
    top
        Cells with the largest estimated effects, the largest first.
    random
        Cells drawn from the others, those left out where the two runs do not differ.
    rank_correlation
        Spearman, estimate against exact value, over the random cells (a fair sample of the rest); over all cells where
        all were computed.
    top_correlation
        The same over the top cells.
    error
        Median size of estimate minus exact value over the same cells.
    missed
        What lies outside the top cells.
    checks
        The same in words.
    """

    exact: xr.DataArray
    estimate: xr.DataArray
    top: tuple[Index, ...]
    random: tuple[Index, ...]
    rank_correlation: float
    top_correlation: float
    error: float
    missed: Missed
    checks: tuple[Check, ...]

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for each cell that was computed exactly."""
        rows = []
        for why, cells in (("top", self.top), ("random", self.random)):
            for index in cells:
                place = {str(dim): self.exact[dim].values[i] for dim, i in zip(self.exact.dims, index, strict=True)}
                rows.append({**place, "why": why, "estimate": float(self.estimate.values[index]),
                             "exact": float(self.exact.values[index])})  # fmt: skip
        return pd.DataFrame(rows)


def chosen_cells(
    effects: NDArray[np.float64], live: NDArray[np.bool_], top: int, sample: int, seed: int
) -> tuple[tuple[Index, ...], tuple[Index, ...]]:
    """Return the cells with the largest effects, and random ones among the others.

    Parameters
    ----------
    effects
        Estimated.
    live
        Where the two runs differ at all; the other cells have no effect, and are not drawn.
    """
    cells = [tuple(int(i) for i in index) for index in np.argwhere(live)]
    ordered = sorted(cells, key=lambda index: -abs(effects[index]))
    first, others = ordered[:top], ordered[top:]
    drawn = np.random.default_rng(seed).choice(len(others), size=min(sample, len(others)), replace=False)
    return tuple(first), tuple(others[i] for i in sorted(drawn))


def compared(
    estimate: xr.DataArray,
    exact: NDArray[np.float64],
    untouched: float,
    live: int,
    top: Sequence[Index],
    random: Sequence[Index],
) -> Attribution:
    """Hold estimates against exact values.

    Parameters
    ----------
    estimate, exact
        In the sweep's unit; `exact` is NaN where it was not computed.
    untouched
        The value of a patch without effect: 0 in denoise, 1 in noise.
    live
        Number of cells at which the two runs differ.
    """
    known = [index for index in random if np.isfinite(exact[index])]
    first = [index for index in top if np.isfinite(exact[index])]

    def pairs(cells: Sequence[Index]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        found = np.array([(estimate.values[i], exact[i]) for i in cells]).reshape(-1, 2) - untouched
        return found[:, 0], found[:, 1]

    everything = len(top) + len(random) == live
    fair = [*first, *known] if everything else known
    guessed, true = pairs(fair)
    correlation = _spearman(guessed, true)
    error = float(np.median(np.abs(guessed - true))) if fair else np.nan
    missed = _missed(np.abs(pairs(first)[1]), np.abs(pairs(known)[1]), live - len(top))
    return Attribution(
        exact=estimate.copy(data=exact).rename("exact"),
        estimate=estimate,
        top=tuple(top),
        random=tuple(random),
        rank_correlation=correlation,
        top_correlation=_spearman(*pairs(first)),
        error=error,
        missed=missed,
        checks=_checks(correlation, error, missed, (len(first), len(known)), live, everything),
    )


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; NaN for fewer than three cells, or where one side is constant."""
    ranks = np.stack([stats.rankdata(a), stats.rankdata(b)]) if len(a) > 2 else np.zeros((2, 1))
    if (np.ptp(ranks, axis=1) == 0).any():
        return np.nan
    first, second = ranks - ranks.mean(axis=1, keepdims=True)
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _missed(top: NDArray[np.float64], drawn: NDArray[np.float64], others: int) -> Missed:
    """Judge the cells outside the top by those drawn from them, without replacement."""
    count = len(drawn)
    if others == 0 or len(top) == 0:
        return Missed(0.0, 0.0, 0.0, 0.0, 0.0)
    if count == 0:
        return Missed(np.nan, 0.0, 1.0, np.nan, float(others))
    half = 0.0
    if count < others:
        spread = drawn.std(ddof=1) if count > 1 else np.inf
        half = float(stats.t.ppf(0.975, max(1, count - 1)) * spread * np.sqrt((1 - count / others) / count))

    def share(mean: float) -> float:
        outside = others * max(0.0, mean)
        return 1.0 if np.isinf(outside) else outside / (outside + top.sum() or 1.0)

    mean = float(drawn.mean())
    large = int((drawn >= np.median(top)).sum())
    bound = 1.0 if large == count else float(stats.beta.ppf(0.95, large + 1, count - large))
    at_most = float(large) if count == others else others * bound
    return Missed(share(mean), share(mean - half), share(mean + half), others * large / count, at_most)


def _checks(
    correlation: float, error: float, missed: Missed, counts: tuple[int, int], live: int, everything: bool
) -> tuple[Check, ...]:
    top, random = counts
    over = f"all {top + random} cells" if everything else f"{random} random cells"
    text = f"gradient estimates; exact values of {over if everything else f'the top {top} and of {over}'} are beside"
    found = [Check("estimate", "amber", None, None, text)]
    if np.isfinite(correlation):
        level: Any = "green" if correlation >= GOOD else "amber" if correlation >= POOR else "red"
        told = f"rank correlation with exact values {correlation:.2f} over {over}, median error {error:.2g}"
        found.append(Check("rank correlation", level, correlation, GOOD, told))
    else:
        told = f"no rank correlation over {over}: too few, or all alike"
        found.append(Check("rank correlation", "amber", None, GOOD, told))
    if live > top:
        told = (
            f"outside the top {top}: {missed.share:.0%} of all effect (95 %: {missed.low:.0%} to {missed.high:.0%}), "
            f"about {missed.cells:.0f} cells (at most {np.ceil(missed.at_most):.0f}) above the top's median"
        )
        found.append(Check("missed", "amber" if not missed.share <= 0.1 else "green", missed.share, 0.1, told))
    return tuple(found)
