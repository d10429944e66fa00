"""The result of patching each site in turn, and what is known of a pair before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from resid_widgets import interventions as ops
from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.intervals import mean_of
from resid_widgets.analysis.metrics import Metric, Reading, label_of
from resid_widgets.analysis.pairs import Pair, aligned
from resid_widgets.analysis.sweeps.attribution_patch import Attribution
from resid_widgets.analysis.sweeps.cells import Cells
from resid_widgets.analysis.sweeps.opening import Opening
from resid_widgets.analysis.sweeps.sweep import Cell, Sweeping, fixed
from resid_widgets.analysis.sweeps.sweep_code import patch_code
from resid_widgets.analysis.sweeps.sweep_result import SweepResult, column_labels, sweep_array, sweep_scale
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse.edits import Edit, constant
from resid_widgets.models.reuse.engine import Engine, engine_of
from resid_widgets.models.runs.run import Run, run
from resid_widgets.results import Check
from resid_widgets.sites import Site
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

    @property
    def untouched(self) -> float:
        """What stands in `values` where nothing changes."""
        return 0.0 if self.direction == "denoise" else 1.0


@dataclass(frozen=True, eq=False)
class PatchedPair:
    """One pair's sweep, done or to be done."""

    base: Run
    source: Run
    reading: Reading
    raw: NDArray[np.float64]
    clean: float
    corrupt: float
    engine: Engine
    made: list[Cell]

    def measured(self, raw: NDArray[np.float64], first: PatchedPair | None) -> PatchedPair:
        """Return it with what was found, and only the runs of the `first` pair: those of many would fill memory."""
        of = first or self
        reading = replace(self.reading, base=of.base)
        return replace(self, base=of.base, source=of.source, reading=reading, raw=raw, engine=of.engine, made=[])


def require_direction(direction: object) -> None:
    """Refuse what is no direction of patching.

    Raises
    ------
    InputError
        If it is neither.
    """
    if direction not in ("denoise", "noise"):
        raise InputError.about("direction", direction, "must be 'denoise' or 'noise'", "They are different questions.")


def begin(
    model: ResidualModel, pair: Pair, metric: Metric, cells: Cells, direction: str, alone: bool = True
) -> PatchedPair:
    """Run both prompts, check that their metrics differ, and make the cells."""
    ready = both_runs(model, pair, metric, cells, direction, (cells.component,), alone)
    made = [Cell(index, fixed(ready.base, _patching(ready.base, ready.source, site))) for index, site in cells]
    return replace(ready, made=made)


def both_runs(
    model: ResidualModel,
    pair: Pair,
    metric: Metric,
    cells: Cells,
    direction: str,
    components: Sequence[str],
    alone: bool = True,
) -> PatchedPair:
    """Run both prompts, keeping `components`; the cells are still to be made.

    The metrics of a pair that stands alone must differ. In a batch the mean difference counts, and is checked later.
    """
    clean_first = (pair.clean_tokens, pair.corrupt_tokens)
    ids = clean_first if direction == "noise" else clean_first[::-1]
    keep = list(dict.fromkeys(("resid_post", *components)))
    base, source = run(model, ids[0], keep=keep, reuse=True), run(model, ids[1], keep=keep)
    reading = metric.bound(base)
    here, there = reading.of_base(), _of_run(reading, source)
    clean, corrupt = (there, here) if direction == "denoise" else (here, there)
    if alone and clean == corrupt:
        raise InputError(
            f"{reading.label} is {clean:.4g} on both prompts, so that there is no scale from corrupt to clean:\n"
            f"{aligned(model, pair.clean, pair.corrupt)}\nChoose a pair that gives different answers."
        )
    engine = engine_of(base, set(components))
    return PatchedPair(base, source, reading, np.full(cells.shape, np.nan), clean, corrupt, engine, [])


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


def patch_result(
    done: list[PatchedPair],
    cells: Cells,
    direction: str,
    tracker: Sweeping,
    batch: bool,
    script: str | None = None,
) -> PatchSweep:
    """Label what was measured, normalise it, and check the denominator; by default with the script of a patch."""
    first = done[0]
    done = [done[n] for n in tracker.counted([each.raw for each in done])]
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
    measured = label_of([each.reading for each in done])
    label = f"share of the way from corrupt to clean ({measured if len(done) == 1 else 'mean over pairs'})"
    array = sweep_array(values, cells, tokens, name="effect", long_name=label, units="1 = clean, 0 = corrupt")
    n = len(done)
    spread = low = high = per_pair = None
    if batch:
        per_pair = xr.DataArray(normalised, dims=("pair", *cells.dims), coords={"pair": np.arange(n), **array.coords})
        if n > 1:
            found = mean_of(normalised)
            spread, low, high = (array.copy(data=each) for each in (found.spread, found.low, found.high))
    words = {
        "denoise": "Clean values put into the corrupt run: 1 brings the clean answer back, 0 changes nothing. "
        "A site that restores the answer carries it; it need not be the only one.",
        "noise": "Corrupt values put into the clean run: 0 destroys the clean answer, 1 changes nothing. "
        "A site whose loss destroys the answer is needed for it; one whose loss does not may have a stand-in.",
    }
    return PatchSweep(
        values=array,
        raw=sweep_array(raws.mean(axis=0), cells, tokens, name="metric", long_name=measured,
                        units=first.reading.units),
        checks=(first.engine.check, *_checks(done, clean, corrupt), *first.reading.checks(), *tracker.check(raws)),
        provenance=with_options(
            base.provenance,
            sweep="patching",
            component=cells.component,
            direction=direction,
            metric=measured,
            source_token_ids=tuple(source.token_ids),
            pairs=n,
        ),
        component=cells.component,
        scale=sweep_scale(values, "1 = clean, 0 = corrupt", "", least=base.model.gap_limit),
        title=f"Patching · {direction} · {cells.component}",
        sentence=words[direction]
        + (" Where the prompts differ, clean stands before corrupt." if cells.dims[1] == "pos" else ""),
        tokens_visible=_columns(cells, clean_run.tokens, corrupt_run.tokens),
        marked=(),
        unknown=base.unknown if cells.dims[1] == "pos" else (),
        script=script or patch_code(base, source, first.reading, cells, first.clean, first.corrupt),
        metric=measured,
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
        opening=_opening(first, cells),
    )  # fmt: skip


def _opening(pair: PatchedPair, cells: Cells) -> Opening:
    """Return what is done in each cell of a pair; of several, the first stands for all."""
    patched = ops.patch(Site(cells.component, 0), list(pair.source.token_ids))
    items = {index: (replace(patched, site=site),) for index, site in cells}
    return Opening(tuple(pair.base.token_ids), pair.reading.metric, (), items, "")


def _columns(cells: Cells, clean: list[str], corrupt: list[str]) -> tuple[str, ...]:
    """Return what stands under each column: both tokens where the prompts differ."""
    if cells.dims[1] != "pos":
        return column_labels(cells, ())
    pairs = zip(map(visible, clean), map(visible, corrupt), strict=True)
    return tuple(a if a == b else f"{a}/{b}" for a, b in pairs)


def _checks(done: list[PatchedPair], clean: float, corrupt: float) -> list[Check]:
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
