"""Causal mediation over all sites of a component: how much of a difference passes through each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from resid_widgets.analysis.causal.mediation_effects import LARGE_INTERACTION, require_outcome, sample_text
from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.intervals import mean_of
from resid_widgets.analysis.sweeps.patch_sweep import PatchSweep, patch_sweep
from resid_widgets.analysis.sweeps.sweep_result import SweepResult, sweep_scale
from resid_widgets.models.ambient import plain_state
from resid_widgets.results import Check


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MediationMap(SweepResult):
    """Natural indirect effect of each site.

    Attributes
    ----------
    values
        NIE, mean over pairs, in the metric's unit.
    raw
        Y(x0, M(x1)), mean over pairs: the metric of the corrupt prompt with the site's clean value.
    nde, tie, interaction
        The other effects, the same dims; means over pairs.
    total
        TE, mean over pairs.
    pairs
        ``[pair, ...]``: NIE of each pair.
    low, high
        95 % confidence interval of NIE (Student's t); NaN for one pair.
    """

    nde: xr.DataArray
    tie: xr.DataArray
    interaction: xr.DataArray
    total: float
    pairs: xr.DataArray
    low: xr.DataArray
    high: xr.DataArray


@plain_state()
def mediation_map(
    model: Any,
    clean: Any,
    corrupt: Any,
    metric: Any,
    *,
    component: str = "resid_post",
    by: str | None = None,
    layers: Any = None,
    neurons: Any = None,
    bos: bool | None = None,
    progress: Any = True,
    stop: Callable[[], bool] | None = None,
    budget: Any = None,
) -> MediationMap:
    """Take each site of a component as the mediator in turn; see `resid_widgets.causal_mediation`.

    Parameters
    ----------
    model, clean, corrupt, metric, bos
        As in `resid_widgets.causal_mediation`; pairs must have one length for a map over positions.
    component, by, layers, neurons
        Which sites, as in `resid_widgets.ablation_sweep`.
    progress, stop, budget
        As in `resid_widgets.ablation_sweep`. There are two sweeps, the second after the first.

    Returns
    -------
    MediationMap
        ``.values`` NIE, ``.nde``, ``.tie``, ``.interaction``, ``.total``, ``.low``, ``.high``.

    Raises
    ------
    InputError
        If an argument does not fit, the metric is ``kl_to_base``, or a pair's metrics do not differ.
    UnsupportedModelError
        If writing the component would not reach the model's computation.
    """
    metric = require_outcome(metric)
    options: dict[str, Any] = {"component": component, "by": by, "layers": layers, "neurons": neurons, "bos": bos}
    options |= {"progress": progress, "stop": stop, "budget": budget}
    there = patch_sweep(model, clean, corrupt, metric, direction="denoise", **options)
    stopped = _stopped(there)
    back = None if stopped else patch_sweep(model, clean, corrupt, metric, direction="noise", **options)
    return _result(there, back)


def _stopped(sweep: PatchSweep) -> list[Check]:
    return [check for check in sweep.checks if check.name == "complete"]


def _outcomes(sweep: PatchSweep) -> NDArray[np.float64]:
    """Return the metric of each pair and site minus that of the pair's corrupt run."""
    shares = sweep.values.values[None] if sweep.pairs is None else sweep.pairs.values
    return shares * (sweep.clean - sweep.corrupt)


def _result(there: PatchSweep, back: PatchSweep | None) -> MediationMap:
    """Put the two sweeps together; of a second one that was stopped or never begun, what is known of both."""
    indirect = _outcomes(there)
    direct = np.full_like(indirect, np.nan) if back is None else _outcomes(back)
    count = min(len(indirect), len(direct))
    indirect, direct = indirect[:count], direct[:count]
    shape = (-1, *(1 for _ in there.values.dims))
    base = there.corrupt_pairs[:count].reshape(shape)
    total = there.clean_pairs[:count].reshape(shape) - base
    stats = mean_of(indirect)

    def array(data: NDArray[np.float64], name: str) -> xr.DataArray:
        new = there.values.copy(data=data).rename(name)
        return new.assign_attrs(long_name=f"{name} on {there.metric}", units=there.raw.attrs["units"])

    values = array(stats.mean, "NIE")
    coords = {"pair": np.arange(len(indirect)), **values.coords}
    te = float(total.mean())
    both = total - direct - indirect
    return MediationMap(
        values=values,
        raw=there.raw.copy(data=(indirect + base).mean(axis=0)),
        nde=array(direct.mean(axis=0), "NDE"),
        tie=array((total - direct).mean(axis=0), "TIE"),
        interaction=array(both.mean(axis=0), "interaction"),
        total=te,
        pairs=xr.DataArray(indirect, dims=("pair", *values.dims), coords=coords, name="NIE", attrs=values.attrs),
        low=array(stats.low, "low"),
        high=array(stats.high, "high"),
        checks=(
            *(check for check in there.checks if check.name != "denominator"),
            *(() if back is None else _stopped(back)),
            *_checks(both, te, count),
        ),
        provenance=with_options(there.provenance, sweep="mediation", direction="both"),
        component=there.component,
        scale=sweep_scale(stats.mean, f"NIE on {there.metric}", there.raw.attrs["units"]),
        title=f"Causal mediation · NIE · {there.component}",
        sentence=(
            f"How much {there.metric} moves when only this site takes the value that the clean prompt gives it (of "
            f"{te:.3g} in all). Sites that pass the same thing on each count it again: the cells need not add up."
        ),
        tokens_visible=there.tokens_visible,
        marked=(),
        unknown=there.unknown,
        script=there.script + f"nie = raw - {float(there.corrupt_pairs[0])!r}\n",
        metric=there.metric,
        cells=there.cells,
        opening=there.opening,
    )


def _checks(both: NDArray[np.float64], total: float, count: int) -> list[Check]:
    known = both[np.isfinite(both)]
    largest = float(np.abs(known).max()) if known.size else None
    text = "interaction TE − NDE − NIE is not known: the map was stopped before"
    if largest is not None:
        text = f"interaction TE − NDE − NIE is at most {largest:.3g} in a cell and pair (TE {total:.3g})"
    limit = LARGE_INTERACTION * abs(total)
    small = largest is not None and largest <= limit
    return [
        Check("interaction", "green" if small else "amber", largest, limit, text),
        Check("pairs", "green" if count > 1 else "amber", float(count), None, sample_text(count)),
    ]
