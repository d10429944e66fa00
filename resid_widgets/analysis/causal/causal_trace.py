"""Causal tracing: where a model keeps what it knows of a subject whose embedding was drowned in noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from resid_widgets import interventions as ops
from resid_widgets.analysis.causal.causal_code import trace_code
from resid_widgets.analysis.causal.restoring import restored_in, restoring
from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.intervals import mean_of
from resid_widgets.analysis.metrics import Reading, logit_diff, prob
from resid_widgets.analysis.spans import span_of
from resid_widgets.analysis.sweeps.cells import Cells, cells_of
from resid_widgets.analysis.sweeps.opening import Opening
from resid_widgets.analysis.sweeps.sweep import Cell, run_cells, sweeping, work_of
from resid_widgets.analysis.sweeps.sweep_result import SweepResult, column_labels, sweep_array, sweep_scale
from resid_widgets.errors import InputError
from resid_widgets.interventions import Intervention
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import as_model
from resid_widgets.models.progress import ending_bars
from resid_widgets.models.reuse.edits import unmarked
from resid_widgets.models.reuse.engine import engine_of_embedded
from resid_widgets.models.reuse.intervene import intervene
from resid_widgets.models.runs.run import Run, run
from resid_widgets.results import Check
from resid_widgets.sites import RESIDUAL, WRITES, Site, require_component
from resid_widgets.whole import is_whole, several_whole, whole_number

WINDOW_SHARE = 10 / 48
"""Share of the layers in a window over what attention or MLP writes: 10 of 48 layers (Meng et al. 2022)."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CausalTrace(SweepResult):
    """What restoring each site brings back after the subject was corrupted by noise.

    Attributes
    ----------
    values
        ``[layer, pos]``: the metric with the site restored minus the metric of the corrupted run, mean over seeds
        (average indirect effect). ``layer`` is the middle of the window.
    raw
        The metric with the site restored, mean over seeds.
    seeds
        ``[seed, layer, pos]``: `values` of each seed.
    spread, low, high
        ``[layer, pos]`` over seeds: standard deviation, 95 % confidence interval of the mean; NaN for one seed.
    clean, corrupt
        The metric of the clean run, and of the corrupted one (mean over seeds).
    corrupt_seeds
        ``[seed]``.
    subject
        First position of the subject and the one after its last.
    noise_std
        Standard deviation of the noise, in the embedding's own unit.
    window
        Layers that are restored together.
    """

    seeds: xr.DataArray
    spread: xr.DataArray
    low: xr.DataArray
    high: xr.DataArray
    clean: float
    corrupt: float
    corrupt_seeds: NDArray[np.float64]
    subject: tuple[int, int]
    noise_std: float
    window: int

    @property
    def total_effect(self) -> float:
        """Clean minus corrupted: what the noise has taken away, mean over seeds."""
        return self.clean - self.corrupt


@ending_bars()
@plain_state()
def causal_trace(
    model: Any,
    prompt: Any,
    subject: Any,
    answer: Any = None,
    *,
    foil: Any = None,
    sigma: Any = 3.0,
    seeds: Any = 10,
    component: Any = "resid_post",
    window: Any = None,
    layers: Any = None,
    bos: bool | None = None,
    progress: Any = True,
    stop: Callable[[], bool] | None = None,
    budget: Any = None,
) -> CausalTrace:
    """Drown the subject's embedding in noise, then restore one site at a time to its clean value.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.
    prompt
        A prompt of any kind that `resid_widgets.run` takes.
    subject
        Text that stands once in the prompt (every token that it touches counts), or positions ``(lo, hi)``, `hi` not
        included.
    answer
        A token (string, exactly as given, or id); by default the likeliest next one. Its probability is measured.
    foil
        Another token: the logit difference of the two is then measured.
    sigma
        Standard deviation of the noise, in units of the standard deviation of the embedded stream's numbers over the
        prompt's unmarked positions. 0 changes nothing.
    seeds
        How many draws (seeds 0, 1, ...), or the seeds themselves.
    component
        What is restored: resid_pre, resid_mid, resid_post, attn_out or mlp_out.
    window
        Layers restored together, around the one named. By default 1 for the stream, and for attn_out and mlp_out
        10/48 of the layers.
    layers
        All by default.
    bos
        As in `resid_widgets.run`.
    progress, stop, budget
        As in `resid_widgets.ablation_sweep`.

    Returns
    -------
    CausalTrace
        ``.values`` ``[layer, pos]``, ``.seeds``, ``.spread``, ``.clean``, ``.corrupt``, ``.total_effect``.

    Raises
    ------
    InputError
        If the subject is not found or found twice, or an argument is out of range.
    UnsupportedModelError
        If writing the component would not reach the model's computation.

    Notes
    -----
    Meng et al. 2022, "Locating and Editing Factual Associations in GPT".
    """
    model = as_model(model)
    component = require_component(component, RESIDUAL)
    numbers = _seeds(seeds)
    width = _window(window, component, model.n_layers)
    sigma = ops.noise(Site("resid_pre", 0), sigma).option("sigma")  # refused here, if it is none
    tracker = sweeping(progress, stop)
    tracker.parts, tracker.part = len(numbers), "seed"
    clean = run(model, prompt, keep=list(dict.fromkeys((component, "resid_pre", "resid_post"))), bos=bos)
    cells = cells_of(model, component, clean.n_pos, None, layers)
    lo, hi = span_of(clean, subject)
    noisy = [[ops.noise(Site("resid_pre", 0, pos), sigma, seed) for pos in range(lo, hi)] for seed in numbers]
    metric = prob(int(clean.final_logits.argmax()) if answer is None else answer)
    if foil is not None:
        metric = logit_diff(metric.answers[0], foil)
    intact = metric.bound(clean)
    raws, corrupts, checks = [], [], []
    for items in noisy:
        noised = intervene(clean, items) if sigma else clean
        reading, engine = metric.bound(noised), engine_of_embedded(noised, {component})
        made = [Cell(index, restoring(clean, noised, site, width)) for index, site in cells]
        tracker.total = max(tracker.total, len(noisy) * work_of(engine, made))
        raws.append(run_cells(engine, reading, made, cells.shape, tracker, budget))
        corrupts.append(reading.of_base())
        checks.append(engine.check)
        if tracker.stopped:
            break
    counted = tracker.counted(raws)
    found = np.stack([raws[n] for n in counted])
    first = tuple(noisy[counted[0]]) if sigma else ()
    return _Traced(clean, intact, found, np.array(corrupts)[counted], cells, (lo, hi), width, first).result(
        sigma, tuple(numbers[n] for n in counted), (checks[0], *tracker.check(found))
    )


def _seeds(given: Any) -> tuple[int, ...]:
    if is_whole(given):
        return tuple(range(whole_number("seeds", given, 1, 10_000, "10 is the default.")))
    items = several_whole(given) or ()
    if not items:
        raise InputError.about("seeds", given, "a number of seeds, or seeds, are needed", "For example seeds=10.")
    chosen = tuple(whole_number("seeds", seed, 0, 2**63 - 1, "Seeds are whole numbers from 0.") for seed in items)
    if len(set(chosen)) < len(chosen):
        raise InputError.about("seeds", given, "one is there twice, and would count twice", "Name each once.")
    return chosen


def _window(given: Any, component: str, n_layers: int) -> int:
    if given is None:
        return max(1, round(n_layers * WINDOW_SHARE)) if component in WRITES else 1
    return whole_number("window", given, 1, n_layers, "It counts layers.")


@dataclass(frozen=True, eq=False)
class _Traced:
    """What was measured."""

    clean: Run
    reading: Reading
    raws: NDArray[np.float64]
    corrupts: NDArray[np.float64]
    cells: Cells
    subject: tuple[int, int]
    window: int
    noise: tuple[Intervention, ...]

    def result(self, sigma: float, seeds: tuple[int, ...], checks: tuple[Check, ...]) -> CausalTrace:
        """Label it."""
        base, reading, component = self.clean, self.reading, self.cells.component
        effects = self.raws - self.corrupts[:, None, None]
        stats = mean_of(effects)
        clean, corrupt = reading.of_base(), float(self.corrupts.mean())
        tokens = {"token": tuple(base.tokens)}
        label = f"restored part of {reading.label}"
        values = sweep_array(stats.mean, self.cells, tokens, name="effect", long_name=label, units=reading.units)
        coords = {"seed": list(seeds), **values.coords}
        lo, hi = self.subject
        std = sigma * float(base.activation("resid_pre", 0)[unmarked(base)].double().std(correction=0))
        what = f"{component}{'' if self.window == 1 else f' of {self.window} layers together'}"
        return CausalTrace(
            values=values,
            raw=values.copy(data=self.raws.mean(axis=0)).rename("metric").assign_attrs(long_name=reading.label),
            seeds=xr.DataArray(effects, dims=("seed", *values.dims), coords=coords, name="effect", attrs=values.attrs),
            spread=values.copy(data=stats.spread).rename("spread"),
            low=values.copy(data=stats.low).rename("low"),
            high=values.copy(data=stats.high).rename("high"),
            clean=clean,
            corrupt=corrupt,
            corrupt_seeds=self.corrupts,
            subject=self.subject,
            noise_std=std,
            window=self.window,
            checks=(*checks, *_checks(clean - self.corrupts, clean, reading), *reading.checks()),
            provenance=with_options(
                base.provenance, method="causal tracing", component=component, metric=reading.label, sigma=sigma,
                seeds=seeds, subject=self.subject, window=self.window,
            ),
            component=component,
            scale=sweep_scale(stats.mean, label, reading.units),
            title=f"Causal tracing · {component}",
            sentence=(
                f"Noise on the embedding of {_positions(lo, hi)} takes {reading.label} from {clean:.3g} to "
                f"{corrupt:.3g}. Shown: how much comes back when {what} is restored at one token. A site that restores "
                "the answer carries it; it need not be where the answer is stored."
            ),
            tokens_visible=column_labels(self.cells, tuple(base.tokens)),
            marked=(),
            unknown=base.unknown,
            script=trace_code(base, reading, self.cells, self.subject, sigma, seeds, self.window),
            metric=reading.label,
            cells=self.cells,
            opening=Opening(
                tuple(base.token_ids), reading.metric, self.noise, restored_in(base, self.cells, self.window),
                f"Noise on the embedding of {_positions(lo, hi)}{_first_of(seeds)}, then clean values put back.",
            ),
        )  # fmt: skip


def _first_of(seeds: tuple[int, ...]) -> str:
    return "" if len(seeds) == 1 else f" (the first of {len(seeds)} seeds)"


def _positions(lo: int, hi: int) -> str:
    return f"position {lo}" if hi == lo + 1 else f"positions {lo} to {hi - 1}"


def _checks(totals: NDArray[np.float64], clean: float, reading: Reading) -> list[Check]:
    """Say how much the noise takes away, and how sure that is."""
    stats = mean_of(totals)
    text = f"total effect {float(stats.mean):.3g} on {reading.label} ({clean:.3g} clean)"
    if len(totals) == 1:
        return [Check("total effect", "amber", float(stats.mean), None, f"{text}, of one seed: no spread is known")]
    text += f", spread {float(stats.spread):.2g} over {len(totals)} seeds"
    if stats.low <= 0 <= stats.high:
        text += ": the noise may change nothing"
        return [Check("total effect", "amber", float(stats.mean), None, text)]
    return [Check("total effect", "green", float(stats.mean), None, text)]
