"""Activation patching: which site of one run, put into another, moves the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from resid_widgets.analysis.attribution_patch import (
    Attribution,
    chosen_cells,
    compared,
    estimated,
    require_differentiable,
)
from resid_widgets.analysis.causal_code import attribution_code
from resid_widgets.analysis.cells import Cells, cells_of
from resid_widgets.analysis.grid import whole_number, with_options
from resid_widgets.analysis.metrics import Metric, Reading, require_metric
from resid_widgets.analysis.pairs import Pair, aligned, as_pairs, is_batch
from resid_widgets.analysis.sweep import Cell, Progress, Sweeping, fixed, run_cells, sweeping, work_of
from resid_widgets.analysis.sweep_code import patch_code
from resid_widgets.analysis.sweep_result import SweepResult, column_labels, sweep_array, sweep_scale
from resid_widgets.errors import InputError
from resid_widgets.models.edits import Edit, constant
from resid_widgets.models.engine import Engine, engine_of
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.run import Run, run
from resid_widgets.results import Check
from resid_widgets.sites import RESIDUAL, Site
from resid_widgets.tokens import visible

SMALL_DENOMINATOR = 1e-3
"""A clean-minus-corrupt difference below this share of the larger of the two metrics is a red check."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PatchSweep(SweepResult):
    """Effect of patching each site.

    Attributes
    ----------
    values
        ``(metric - corrupt) / (clean - corrupt)``: 1 is clean behaviour, 0 corrupt; never clipped. For a batch the
        mean over pairs, normalised by the mean denominator.
    raw
        The metric itself; for a batch its mean.
    clean, corrupt
        The metric of the two unpatched runs; for a batch their means.
    direction
        ``"denoise"``: clean values into the corrupt run; ``"noise"``: corrupt values into the clean run.
    attribution
        For ``method="attribution"``: how good the estimates in `values` are. None where they are exact.
    pairs
        ``[pair, ...]``: `values` of each pair, normalised by the mean denominator; None for one pair.
    spread, low, high
        Over pairs: standard deviation, and 95 % confidence interval of the mean (Student's t); None for one pair.
    clean_pairs, corrupt_pairs
        ``[pair]``: the metrics of the unpatched runs.
    """

    clean: float
    corrupt: float
    direction: str
    pairs: xr.DataArray | None
    spread: xr.DataArray | None
    low: xr.DataArray | None
    high: xr.DataArray | None
    clean_pairs: NDArray[np.float64]
    corrupt_pairs: NDArray[np.float64]
    attribution: Attribution | None = None


def patch_sweep(
    model: Any,
    clean: Any,
    corrupt: Any,
    metric: Any,
    *,
    component: str = "resid_pre",
    direction: Literal["denoise", "noise"] = "denoise",
    method: Literal["exact", "attribution"] = "exact",
    by: str | None = None,
    layers: Sequence[int] | None = None,
    neurons: Sequence[int] | None = None,
    bos: bool | None = None,
    progress: Any = True,
    stop: Callable[[], bool] | None = None,
    partial: Callable[[PatchSweep, Progress], None] | None = None,
    budget: int | None = None,
    top: int = 10,
    sample: int = 20,
    seed: int = 0,
) -> PatchSweep:
    """Put each site of one run into another in turn, and measure how far the answer moves.

    Only what a patch can change is computed, and gives the numbers of full hooked runs.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.
    clean, corrupt
        Prompts (strings or token ids) of equal length; or lists of them, for a batch of pairs.
    metric
        From `resid_widgets.logit_diff`, `log_prob`, `kl_to_base` or `rank`; for a batch with one token for all pairs,
        or one for each. ``kl_to_base`` is the divergence from the run that is patched into.
    component, by, layers, neurons
        Which cells, as in `resid_widgets.ablation_sweep`.
    direction
        ``"denoise"`` puts clean values into the corrupt run (is it enough?), ``"noise"`` corrupt values into the clean
        run (is it needed?). Two different questions; one scale for both.
    method
        ``"exact"``; or ``"attribution"``: every cell is estimated from one gradient, and the estimates are held against
        exact values of the `top` largest ones and of `sample` random others (drawn with `seed`), in ``.attribution``.
    bos
        As in `resid_widgets.run`.
    progress, stop, budget
        As in `resid_widgets.ablation_sweep`.
    partial
        For one pair: called after each wave of cells with the result so far, NaN where it is not known yet.

    Returns
    -------
    PatchSweep
        ``.values`` normalised, ``.raw`` the metric itself, ``.clean``, ``.corrupt``.

    Raises
    ------
    InputError
        If the prompts' lengths differ (they are shown aligned), are the same, the metrics of clean and corrupt run are
        equal, or an argument does not fit.
    UnsupportedModelError
        If writing the component would not reach the model's computation.

    Notes
    -----
    Meng et al. 2022 (causal tracing), Wang et al. 2022 (IOI); `transformer_lens.patching` has the same grids.
    """
    model = as_model(model)
    metric = require_metric(metric)
    if direction not in ("denoise", "noise"):
        raise InputError.about("direction", direction, "must be 'denoise' or 'noise'", "They are different questions.")
    if method not in ("exact", "attribution"):
        remedy = "Attribution is a quick estimate."
        raise InputError.about("method", method, "must be 'exact' or 'attribution'", remedy)
    whole_number("top", top, 1, 10**9, "10 is the default.")
    whole_number("sample", sample, 0, 10**9, "20 is the default.")
    whole_number("seed", seed, 0, 2**63 - 1, "0 is the default.")
    tracker = sweeping(progress, stop)
    pairs = as_pairs(model, clean, corrupt, bos)
    batch = is_batch(clean)
    grids = [cells_of(model, component, len(pair.clean), by, layers, neurons) for pair in pairs]
    if len({grid.shape for grid in grids}) > 1:
        lengths = sorted({len(pair.clean) for pair in pairs})
        rule = "a map over positions needs pairs of one length"
        remedy = "Choose pairs of one length, or a component by head."
        raise InputError.about("clean", f"{lengths} tokens", rule, remedy)
    metrics = [metric.for_prompt(n, len(pairs)) for n in range(len(pairs))]
    done = []
    if method == "attribution":
        require_differentiable(metric)
        done = [_begin(model, pair, each, grids[0], direction) for pair, each in zip(pairs, metrics, strict=True)]
        return _attributed(done, grids[0], direction, tracker, batch, budget, (top, sample, seed))
    for pair, each in zip(pairs, metrics, strict=True):
        begun = _begin(model, pair, each, grids[0], direction)
        tracker.total = max(tracker.total, len(pairs) * work_of(begun.engine, begun.made))
        if partial is not None and not batch:
            tracker.reporter = lambda progress, begun=begun: partial(
                _result([replace(begun, raw=progress.values)], grids[0], direction, tracker, batch), progress
            )
        raw = run_cells(begun.engine, begun.reading, begun.made, grids[0].shape, tracker, budget)
        done.append(replace(begun, raw=raw))
    return _result(done, grids[0], direction, tracker, batch)


@dataclass(frozen=True, eq=False)
class _Done:
    """One pair's sweep, done or to be done."""

    base: Run
    source: Run
    reading: Reading
    raw: NDArray[np.float64]
    clean: float
    corrupt: float
    engine: Engine
    made: list[Cell]


def _begin(model: ResidualModel, pair: Pair, metric: Metric, cells: Cells, direction: str) -> _Done:
    """Run both prompts, check that their metrics differ, and make the cells."""
    ids = {"denoise": (pair.corrupt, pair.clean), "noise": (pair.clean, pair.corrupt)}[direction]
    keep = {"resid_post"} | ({cells.component} if cells.component in RESIDUAL else set())
    base, source = (run(model, each, keep=[*keep, *_read_too(cells)]) for each in ids)
    reading = metric.bound(base)
    here, there = reading.of_base(), _of_run(reading, source)
    clean, corrupt = (there, here) if direction == "denoise" else (here, there)
    if clean == corrupt:
        raise InputError(
            f"{reading.label} is {clean:.4g} on both prompts, so that there is no scale from corrupt to clean:\n"
            f"{aligned(model, pair.clean, pair.corrupt)}\nChoose a pair that gives different answers."
        )
    engine = engine_of(base, {cells.component})
    made = [Cell(index, fixed(base, _patching(base, source, site))) for index, site in cells]
    return _Done(base, source, reading, np.full(cells.shape, np.nan), clean, corrupt, engine, made)


def _attributed(
    begun: list[_Done],
    cells: Cells,
    direction: str,
    tracker: Sweeping,
    batch: bool,
    budget: int | None,
    options: tuple[int, int, int],
) -> PatchSweep:
    """Estimate all cells, then compute the top ones and random ones exactly."""
    done = [replace(each, raw=estimated(each.base, each.source, each.reading, cells)) for each in begun]
    result = _result(done, cells, direction, tracker, batch)
    untouched = 0.0 if direction == "denoise" else 1.0
    live = np.zeros(cells.shape, dtype=bool)
    for each in begun:
        for cell in each.made:
            live[cell.index] |= bool(cell.edits)
    top, random = chosen_cells(result.values.values - untouched, live, *options)
    chosen = {*top, *random}
    parts = [[cell for cell in each.made if cell.index in chosen] for each in begun]
    tracker.total = sum(work_of(each.engine, part) for each, part in zip(begun, parts, strict=True))
    raws = [
        run_cells(each.engine, each.reading, part, cells.shape, tracker, budget)
        for each, part in zip(begun, parts, strict=True)
    ]
    exact = np.mean([raw - each.corrupt for raw, each in zip(raws, begun, strict=True)], axis=0)
    scale = (result.clean - result.corrupt) or np.nan
    found = compared(result.values, exact / scale, untouched, int(live.sum()), top, random)
    return replace(
        result,
        attribution=found,
        checks=(*found.checks, *result.checks, *tracker.check(exact[tuple(zip(*sorted(chosen), strict=True))])),
        provenance=with_options(result.provenance, method="attribution", top=options[0], sample=options[1], seed=options[2]),
        title=f"Attribution patching (estimate) · {direction} · {cells.component}",
        sentence=f"Estimated from one gradient, not run. {result.sentence}",
        script=attribution_code(begun[0].base, begun[0].source, begun[0].reading, cells, begun[0].clean, begun[0].corrupt),
    )  # fmt: skip


def _read_too(cells: Cells) -> tuple[str, ...]:
    return () if cells.component in RESIDUAL else (cells.component,)


def _patching(base: Run, source: Run, site: Site) -> Edit:
    """Return the edit that puts the source's values at a site."""
    lo, hi = (0, base.n_pos) if site.pos is None else (site.pos, site.pos + 1)
    edit = Edit(site.component, site.layer, lo, hi, site.head, site.neuron, lambda old: old)
    values = source.activation(site.component, site.layer)[edit.index(0)]
    return Edit(site.component, site.layer, lo, hi, site.head, site.neuron, constant(values))


def _of_run(reading: Reading, other: Run) -> float:
    """Return the metric of another run, read as for the base."""
    final = other.activation("resid_post", other.model.n_layers - 1)
    return float(reading.of_stream(final[list(reading.positions)][None])[0])


def _result(done: list[_Done], cells: Cells, direction: str, tracker: Sweeping, batch: bool) -> PatchSweep:
    first = done[0]
    clean_pairs, corrupt_pairs = (np.array([getattr(each, name) for each in done]) for name in ("clean", "corrupt"))
    clean, corrupt = float(clean_pairs.mean()), float(corrupt_pairs.mean())
    scale = clean - corrupt
    raws = np.stack([each.raw for each in done])
    normalised = (raws - corrupt_pairs.reshape(-1, *(1,) * len(cells.dims))) / (scale or np.nan)
    values = normalised.mean(axis=0)
    base, source = first.base, first.source
    clean_run, corrupt_run = (source, base) if direction == "denoise" else (base, source)
    tokens = {
        "token": tuple(base.tokens),
        "token_clean": tuple(clean_run.tokens),
        "token_corrupt": tuple(corrupt_run.tokens),
    }
    label = f"share of the way from corrupt to clean ({first.reading.label if len(done) == 1 else 'mean over pairs'})"
    array = sweep_array(values, cells, tokens, name="effect", long_name=label, units="1 = clean, 0 = corrupt")
    n = len(done)
    spread = low = high = per_pair = None
    if batch:
        per_pair = xr.DataArray(normalised, dims=("pair", *cells.dims), coords={"pair": np.arange(n), **array.coords})
        if n > 1:
            deviation = normalised.std(axis=0, ddof=1)
            half = stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n)
            spread, low, high = (array.copy(data=each) for each in (deviation, values - half, values + half))
    words = {
        "denoise": "Clean values put into the corrupt run: 1 brings the clean answer back, 0 changes nothing.",
        "noise": "Corrupt values put into the clean run: 0 destroys the clean answer, 1 changes nothing.",
    }
    return PatchSweep(
        values=array,
        raw=sweep_array(raws.mean(axis=0), cells, tokens, name="metric", long_name=first.reading.label,
                        units=first.reading.units),
        checks=(first.engine.check, *_checks(done, clean, corrupt), *first.reading.checks(), *tracker.check(raws)),
        provenance=with_options(
            base.provenance,
            sweep="patching",
            component=cells.component,
            direction=direction,
            metric=first.reading.label,
            source_token_ids=tuple(source.token_ids),
            pairs=n,
        ),
        component=cells.component,
        scale=sweep_scale(values, "1 = clean, 0 = corrupt", ""),
        title=f"Patching · {direction} · {cells.component}",
        sentence=f"{words[direction]} A site that restores the answer carries it; it need not be the only one."
        + (" Where the prompts differ, clean stands before corrupt." if cells.dims[1] == "pos" else ""),
        tokens_visible=_columns(cells, clean_run.tokens, corrupt_run.tokens),
        marked=(),
        unknown=base.unknown if cells.dims[1] == "pos" else (),
        script=patch_code(base, source, first.reading, cells, first.clean, first.corrupt),
        metric=first.reading.label,
        cells=cells,
        clean=clean,
        corrupt=corrupt,
        direction=direction,
        pairs=per_pair,
        spread=spread,
        low=low,
        high=high,
        clean_pairs=clean_pairs,
        corrupt_pairs=corrupt_pairs,
    )  # fmt: skip


def _columns(cells: Cells, clean: list[str], corrupt: list[str]) -> tuple[str, ...]:
    """Return what stands under each column: both tokens where the prompts differ."""
    if cells.dims[1] != "pos":
        return column_labels(cells, ())
    pairs = zip(map(visible, clean), map(visible, corrupt), strict=True)
    return tuple(a if a == b else f"{a}/{b}" for a, b in pairs)


def _checks(done: list[_Done], clean: float, corrupt: float) -> list[Check]:
    """Hold the denominator against the metrics it is a difference of."""
    size = max(abs(clean), abs(corrupt))
    share = abs(clean - corrupt) / size if size else 0.0
    text = f"clean {clean:.3g}, corrupt {corrupt:.3g}".replace("-", "−")
    if len(done) > 1:
        text += f" (means over {len(done)} pairs)"
    if share < SMALL_DENOMINATOR:
        text += ": they hardly differ, and the scale divides by that difference"
        return [Check("denominator", "red", share, SMALL_DENOMINATOR, text)]
    return [Check("denominator", "green", share, SMALL_DENOMINATOR, text)]
