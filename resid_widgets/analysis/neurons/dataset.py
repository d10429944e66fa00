"""The statistics of neurons as a labelled dataset, and what must be said about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.neurons.collect import Collection
from resid_widgets.results import Check


@dataclass(frozen=True)
class NeuronStat:
    """How a statistic is called and coloured."""

    label: str
    units: str
    signed: bool
    bounds: tuple[float | None, float | None] = (None, None)


STATS = {
    "max": NeuronStat("largest activation", "activation units", signed=True),
    "min": NeuronStat("smallest activation", "activation units", signed=True),
    "mean": NeuronStat("mean activation", "activation units", signed=True),
    "std": NeuronStat("standard deviation", "activation units", signed=False, bounds=(0.0, None)),
    "active": NeuronStat("share of positions above 0", "0 to 1", signed=False, bounds=(0.0, 1.0)),
    "above": NeuronStat("share of positions above the threshold", "0 to 1", signed=False, bounds=(0.0, 1.0)),
    "kurtosis": NeuronStat("kurtosis", "3 = Gaussian", signed=False, bounds=(1.0, None)),
}


def stats_of(kept: Collection) -> xr.Dataset:
    """Return all statistics, ``[layer, neuron]`` and with labels ``[label, layer, neuron]``, float64."""
    plan, moments = kept.plan, kept.moments
    shape = (len(plan.layers), len(plan.neurons))
    rows: dict[str, Float[Tensor, " row"]] = {
        "max": moments.high,
        "min": moments.low,
        "mean": moments.mean,
        "std": moments.std(),
        "active": moments.active.float() / moments.n,
        "above": moments.above.float() / moments.n,
        "kurtosis": moments.kurtosis(),
    }
    arrays: dict[str, Any] = {
        name: (
            ("layer", "neuron"),
            x.double().numpy().reshape(shape),
            {"long_name": STATS[name].label, "units": STATS[name].units},
        )
        for name, x in rows.items()
    }
    coords: dict[str, object] = {"layer": list(plan.layers), "neuron": list(plan.neurons)}
    attrs: dict[str, object] = {"n": moments.n, "prompts": len(kept.prompts.tokens)}
    if kept.prompts.labels is not None:
        dims, names = ("label", "layer", "neuron"), kept.prompts.names
        pearson = kept.correlations.pearson().numpy().reshape(len(names), *shape)
        said = {"long_name": "correlation with the label", "units": "−1 to 1"}
        arrays["correlation"] = (dims, pearson, said)
        if not kept.prompts.numeric:
            said = {"long_name": "AUROC of the class against the rest", "units": "0 to 1"}
            arrays["auroc"] = (dims, kept.auroc().reshape(len(names), *shape), said)
        coords["label"] = list(names)
        attrs |= {"labelled": kept.correlations.n, "chance": chance(kept.correlations.n, pearson.size)}
    return xr.Dataset(arrays, coords=coords, attrs=attrs)


def chance(n: int, tests: int, level: float = 0.05) -> float:
    """Return the correlation that the largest of many stays below when there is none, but for one time in 20.

    Bonferroni's bound with the t distribution of Pearson's r, ``r = t / sqrt(n - 2 + t^2)``; 1 below three
    observations.
    """
    from scipy.stats import t

    if n < 3:
        return 1.0
    bound = float(t.isf(level / (2 * tests), n - 2))
    return bound / (n - 2 + bound**2) ** 0.5


def stat_checks(kept: Collection, stats: xr.Dataset) -> list[Check]:
    """Say which neurons never vary, and how large a correlation is by chance alone."""
    found = []
    flat = int(torch.isnan(kept.moments.kurtosis()).sum())
    if flat:
        text = f"{flat} of {kept.plan.rows} neurons have the same activation at all positions, and no kurtosis"
        found.append(Check("constant neurons", "amber", float(flat), 0.0, text))
    if "correlation" not in stats:
        return found
    limit = stats.attrs["chance"]
    largest = float(np.nanmax(np.abs(stats["correlation"].values), initial=0.0))
    tests, n = stats["correlation"].size, stats.attrs["labelled"]
    level = "green" if largest > limit else "amber"
    text = (
        f"largest correlation {largest:.2f}; by chance alone the largest of {tests} "
        f"stays below {limit:.2f} ({n} prompts)"
    )
    found.append(Check("correlation beyond chance", level, largest, limit, text))
    left = len(kept.prompts.tokens) - n
    if left:
        text = f"{left} prompts have no unmarked, finite position to read for their label"
        found.append(Check("labels left out", "amber", float(left), 0.0, text))
    if not kept.prompts.numeric and np.isnan(stats["auroc"].values).all():
        text = "AUROC is left out: it would need one number a prompt and neuron, more than 256 MB"
        found.append(Check("AUROC", "amber", None, None, text))
    return found
