"""Activation patching: which site of one run, put into another, moves the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.metrics import require_metric
from resid_widgets.analysis.pairs import as_pairs
from resid_widgets.analysis.sweeps.attribution_code import attribution_code
from resid_widgets.analysis.sweeps.attribution_patch import chosen_cells, compared, estimated, require_differentiable
from resid_widgets.analysis.sweeps.cells import Cells, cells_of
from resid_widgets.analysis.sweeps.patch_result import PatchedPair, PatchSweep, begin, patch_result, require_direction
from resid_widgets.analysis.sweeps.sweep import Progress, Reporter, Sweeping, run_cells, sweeping, work_of
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import as_model
from resid_widgets.models.progress import ending_bars
from resid_widgets.whole import whole_number


@ending_bars()
@plain_state()
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
    layers: Any = None,
    neurons: Any = None,
    bos: bool | None = None,
    progress: Any = True,
    stop: Callable[[], bool] | None = None,
    partial: Callable[[PatchSweep, Progress], None] | None = None,
    budget: Any = None,
    top: Any = 10,
    sample: Any = 20,
    seed: Any = 0,
) -> PatchSweep:
    """Put each site of one run into another in turn, and measure how far the answer moves.

    Only what a patch can change is computed, and gives the numbers of full hooked runs.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.
    clean, corrupt
        Prompts (of any kind that `resid_widgets.run` takes) of equally many tokens, padding not counted; or lists or
        tables of them, for a batch of pairs.
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
        For one pair and ``method="exact"``: called after each wave of cells with the result so far, NaN where it is
        not known yet.

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
    require_direction(direction)
    if method not in ("exact", "attribution"):
        remedy = "Attribution is a quick estimate."
        raise InputError.about("method", method, "must be 'exact' or 'attribution'", remedy)
    top = whole_number("top", top, 1, 10**9, "10 is the default.")
    sample = whole_number("sample", sample, 0, 10**9, "20 is the default.")
    seed = whole_number("seed", seed, 0, 2**63 - 1, "0 is the default.")
    tracker = sweeping(progress, stop)
    pairs, batch = as_pairs(model, clean, corrupt, bos)
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
        done = [
            begin(model, pair, each, grids[0], direction, not batch) for pair, each in zip(pairs, metrics, strict=True)
        ]
        return _attributed(done, grids[0], direction, tracker, batch, budget, (top, sample, seed))
    tracker.parts = len(pairs)
    for pair, each in zip(pairs, metrics, strict=True):
        begun = begin(model, pair, each, grids[0], direction, not batch)
        tracker.total = max(tracker.total, len(pairs) * work_of(begun.engine, begun.made))
        if partial is not None and not batch:
            tracker.reporter = _reporting(partial, begun, grids[0], direction, tracker)
        raw = run_cells(begun.engine, begun.reading, begun.made, grids[0].shape, tracker, budget)
        done.append(begun.measured(raw, done[0] if done else None))
        if tracker.stopped:
            break
    return patch_result(done, grids[0], direction, tracker, batch)


def _reporting(
    partial: Callable[[PatchSweep, Progress], None],
    begun: PatchedPair,
    cells: Cells,
    direction: str,
    tracker: Sweeping,
) -> Reporter:
    """Return what hands over the result so far, and then reports as the caller has asked for."""
    then = tracker.reporter

    def report(progress: Progress) -> Any:
        partial(patch_result([replace(begun, raw=progress.values)], cells, direction, tracker, False), progress)
        return None if then is None else then(progress)

    return report


def _attributed(
    begun: list[PatchedPair],
    cells: Cells,
    direction: str,
    tracker: Sweeping,
    batch: bool,
    budget: int | None,
    options: tuple[int, int, int],
) -> PatchSweep:
    """Estimate all cells, then compute the top ones and random ones exactly."""
    done = [replace(each, raw=estimated(each.base, each.source, each.reading, cells)) for each in begun]
    result = patch_result(done, cells, direction, tracker, batch)
    live = np.zeros(cells.shape, dtype=bool)
    for each in begun:
        for cell in each.made:
            live[cell.index] |= bool(cell.edits)
    top, random = chosen_cells(result.values.values - result.untouched, live, *options)
    chosen = {*top, *random}
    parts = [[cell for cell in each.made if cell.index in chosen] for each in begun]
    tracker.total = sum(work_of(each.engine, part) for each, part in zip(begun, parts, strict=True))
    first = begun[0]
    raws = [
        run_cells(each.engine, each.reading, part, cells.shape, tracker, budget)
        for each, part in zip(begun, parts, strict=True)
    ]
    exact = np.mean([raw - each.corrupt for raw, each in zip(raws, begun, strict=True)], axis=0)
    scale = (result.clean - result.corrupt) or np.nan
    found = compared(result.values, exact / scale, result.untouched, int(live.sum()), top, random)
    return replace(
        result,
        attribution=found,
        checks=(*found.checks, *result.checks, *tracker.check(exact[tuple(zip(*sorted(chosen), strict=True))])),
        provenance=with_options(
            result.provenance, method="attribution", top=len(top), sample=len(random), seed=options[2]
        ),
        title=f"Attribution patching (estimate) · {direction} · {cells.component}",
        sentence=f"Estimated from one gradient, not run. {result.sentence}",
        script=attribution_code(first.base, first.source, first.reading, cells, first.clean, first.corrupt),
    )  # fmt: skip
