"""The result of a probe analysis, put together from its fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.probing.checks import probe_checks
from resid_widgets.analysis.probing.fits import Fitting
from resid_widgets.analysis.probing.result import CURVES, Probe
from resid_widgets.analysis.probing.score import METRICS, bounds_of, interval_over_folds
from resid_widgets.analysis.sweeps.sweep import Sweeping


def probe_result(fitting: Fitting, classes: tuple[Any, ...], folds: int, tracker: Sweeping, peak: int) -> Probe:
    """Put labels on what was found."""
    plan, data = fitting.plan, fitting.plan.data
    kinds = tuple(recipe.kind for recipe in plan.recipes)
    said = METRICS[plan.metric]

    def array(found: NDArray[np.float64], name: str, last: str | None, long_name: str, units: str = "") -> xr.DataArray:
        sizes = {"kind": len(kinds), "component": len(data.components), "layer": len(data.layers)}
        coords: dict[str, Any] = {"kind": list(kinds), "component": list(data.components), "layer": list(data.layers)}
        for dim, kept in (("kind", len(kinds) > 1), ("component", data.nested)):
            if not kept:  # what there is one of is a coord without a dim
                sizes.pop(dim)
                coords[dim] = coords[dim][0]
        if coords["component"] is None:
            coords.pop("component")
        if last is not None:
            sizes[last] = found.shape[-1]
            coords[last] = list(plan.seeds) if last == "seed" else np.arange(found.shape[-1])
        if last == "fold":
            coords["seed"] = ("fold", [fold.seed for fold in plan.folds])
        attrs = {"long_name": long_name, "units": units}
        return xr.DataArray(found.reshape(*sizes.values()), coords, list(sizes), name, attrs)

    told = {
        "accuracy": f"held-out {said}",
        "majority": "accuracy of the commonest class" if classes else "R² of the mean",
        "chance": f"{said} of the commonest answer",
        "shuffled": f"{said}, labels shuffled by group",
        "control": f"{said}, control task",
        "selectivity": f"{said} less that of the control task",
    }
    scored = {**fitting.scored, "selectivity": fitting.scored["accuracy"] - fitting.scored["control"]}
    curves = {name: array(scored[name], name, "fold", told[name]) for name in CURVES}
    by_fold = scored["accuracy"]
    known = np.isfinite(by_fold).any(axis=-1) & (not tracker.stopped) | np.isfinite(by_fold).all(axis=-1)
    mean = np.where(known, np.nansum(by_fold, axis=-1) / np.maximum(np.isfinite(by_fold).sum(axis=-1), 1), np.nan)
    low, high = interval_over_folds(scored["accuracy"], folds, bounds=bounds_of(plan.metric))
    uniform = len(data.labels) * np.log2(len(classes)) if classes else np.nan
    n_groups = int(data.groups.max()) + 1
    options = {
        "method": "probe",
        "kinds": kinds,
        "metric": plan.metric,
        "classes": classes,
        "folds": folds,
        "seeds": plan.seeds,
        "penalties": plan.recipes[0].penalties,
        "samples": len(data.labels),
        "groups": n_groups,
        "estimator": str(plan.recipes[0].estimator or "scikit-learn's logistic regression or ridge"),
    }
    where = "" if data.components[0] is None else " · " + ", ".join(map(str, data.components))
    return Probe(
        values=array(mean, "accuracy", None, told["accuracy"]),
        low=array(low, "low", None, "lower end of the 95 % interval"),
        high=array(high, "high", None, "upper end of the 95 % interval"),
        **curves,
        penalty=array(fitting.penalty, "penalty", "fold", "C" if classes else "alpha"),
        scores=array(fitting.scores, "score", "sample", "held-out score", fitting.score_units),
        classes=classes,
        metric=plan.metric,
        task="classify" if classes else "regress",
        folds=folds,
        samples=data.samples,
        code_length=array(fitting.bits, "code_length", "seed", "online code length", "bits") if plan.mdl else None,
        uniform_length=float(uniform),
        compression=array(uniform / fitting.bits, "compression", "seed", "uniform / online code") if plan.mdl else None,
        model=data.model,
        peak=peak,
        title=f"Probe{where}",
        sentence=(
            "What a probe reads off the stream on groups it has not seen, layer by layer. That a label can be "
            "read there does not say that the model uses it."
        ),
        origin=(
            f"{data.provenance.model} · {len(data.labels)} samples in {n_groups} groups · "
            f"{folds} folds × {len(plan.seeds)} seeds"
        ),
        checks=(*data.checks, *probe_checks(fitting, folds, classes), *tracker.check(scored["accuracy"])),
        provenance=with_options(data.provenance, **options),
        fitting=fitting,
    )
