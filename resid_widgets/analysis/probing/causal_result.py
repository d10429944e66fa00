"""What a causal test of a probe's direction found, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.intervals import mean_of
from resid_widgets.analysis.metrics import Reading
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check, Result
from resid_widgets.sites import Site

INTERVENTIONS = ("erase", "add", "subtract")
DIRECTIONS = ("probe", "random")

LEAST_PROMPTS = 10
"""Prompts from which an interval over them is worth having."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CausalTest(Result):
    """What a probe's direction does to the output, beside random directions of the same length.

    Attributes
    ----------
    values
        ``[intervention, direction, prompt]``: metric after minus before. ``"random"`` is the mean over random
        directions.
    random
        ``[intervention, seed, prompt]``: each of them.
    base
        ``[prompt]``: the metric of the plain run.
    size
        ``[intervention, direction]``: mean over prompts (of random ones: over seeds too) of the change's
        absolute value.
    difference, low, high
        ``[intervention]``: size of the probe's change less that of the random ones, mean over prompts, with its 95 %
        interval over prompts (Student's t).
    random_high
        ``[intervention]``: upper end of the 95 % range in which one more random direction's size would lie (t over
        seeds).
    used
        ``[intervention]``: whether `low` is above 0 and the probe's size above `random_high`.
    component, layer, pos, direction, alpha
        The site, the unit vector, and the length that is added, as a share of the median norm there.
    length
        That length, in the stream's own unit.
    metric
        What was measured, in words.
    title, sentence, origin, verdict
        For the picture; and what follows, in a plain sentence.
    """

    random: xr.DataArray
    base: xr.DataArray
    size: xr.DataArray
    difference: xr.DataArray
    low: xr.DataArray
    high: xr.DataArray
    random_high: xr.DataArray
    used: xr.DataArray
    component: str
    layer: int
    pos: int | None
    direction: NDArray[np.float64]
    alpha: float
    length: float
    metric: str
    title: str
    sentence: str
    origin: str
    verdict: str

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row an intervention: sizes of change, their difference and its interval."""
        return pd.DataFrame(
            {
                "intervention": list(INTERVENTIONS),
                "probe": self.size.sel(direction="probe").values,
                "random": self.size.sel(direction="random").values,
                "random_high": self.random_high.values,
                "difference": self.difference.values,
                "low": self.low.values,
                "high": self.high.values,
                "used": self.used.values,
            }
        )

    def __str__(self) -> str:
        lines = [self.title, f"  {self.verdict}"]
        lines += [f"  [{c.level}] {c.text}" for c in self.checks]
        lines.append(f"  size of the change in {self.metric}:")
        lines.append(self.to_dataframe().to_string(index=False, float_format=lambda v: f"{v:.3g}"))
        return "\n".join(lines)

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class Changed:
    """What was found on one prompt.

    Attributes
    ----------
    changes
        ``[intervention, direction]``: metric after minus before; the probe's direction first, then the random ones.
    base
        The metric before.
    names, token_ids
        Tokens that the metric looks at, and the prompt.
    """

    changes: NDArray[np.float64]
    base: float
    names: tuple[str, ...]
    token_ids: tuple[int, ...]


def causal_result(
    found: Sequence[Changed],
    first: Run,
    reading: Reading,
    site: Site,
    seeds: tuple[int, ...],
    pos: int | None,
    direction: NDArray[np.float64],
    alpha: float,
    length: float,
    encoded: bool,
    tracker: Any,
) -> CausalTest:
    """Put labels on what was found on each prompt; run, reading and site are the first one's."""
    changes = np.stack([each.changes for each in found])
    by_probe, by_random = changes[:, :, 0].T, changes[:, :, 1:].transpose(1, 2, 0)  # [intervention, (seed,) prompt]
    label, units = _measured(reading, found), reading.units
    count = len(found)
    sizes = np.stack([np.abs(by_probe).mean(-1), np.abs(by_random).mean((-1, -2))], axis=1)
    over = mean_of((np.abs(by_probe) - np.abs(by_random).mean(axis=1)).T)
    seeded = mean_of(np.abs(by_random).mean(axis=-1).T)  # over seeds
    # The interval of the mean, widened to that of one more draw.
    high = seeded.mean + (seeded.high - seeded.mean) * np.sqrt(len(seeds) + 1)
    used = (over.low > 0) & (sizes[:, 0] > high)
    coords = {"intervention": list(INTERVENTIONS), "prompt": np.arange(count)}

    def array(data: NDArray[Any], name: str, *dims: str) -> xr.DataArray:
        extra = {"direction": list(DIRECTIONS), "seed": list(seeds)}
        kept = {dim: {**coords, **extra}[dim] for dim in dims}
        return xr.DataArray(data, kept, dims, name, {"long_name": f"change of {label}", "units": units})

    where = f"{site.component}, layer {site.layer}"
    return CausalTest(
        values=array(
            np.stack([by_probe, by_random.mean(axis=1)], axis=1), "change", "intervention", "direction", "prompt"
        ),
        random=array(by_random, "change", "intervention", "seed", "prompt"),
        base=array(np.array([each.base for each in found]), "base", "prompt"),
        size=array(sizes, "size", "intervention", "direction"),
        difference=array(over.mean, "difference", "intervention"),
        low=array(over.low, "low", "intervention"),
        high=array(over.high, "high", "intervention"),
        random_high=array(high, "random_high", "intervention"),
        used=array(used, "used", "intervention"),
        component=site.component,
        layer=site.layer,
        pos=pos,
        direction=direction,
        alpha=alpha,
        length=length,
        metric=label,
        title=f"Causal test · {where}",
        sentence=(
            "How far the output moves when the probe's direction is taken out of the stream or added to it, beside "
            "random directions that move the stream as far."
        ),
        origin=f"{first.provenance.model} · {count} prompts · {first.provenance.bos} · {first.provenance.dtype}",
        verdict=_verdict(encoded, used, sizes, label, units, where),
        checks=(
            engine_of(first, {site.component}).check,
            _enough(count),
            Check("random directions", "green", float(len(seeds)), 3.0, f"beside {len(seeds)} random directions"),
            *reading.checks(),
            *tracker.check(changes),
        ),
        provenance=with_options(
            first.provenance,
            method="causal test",
            site=where,
            alpha=alpha,
            seeds=seeds,
            prompts=tuple(each.token_ids for each in found),
        ),
    )


def _enough(count: int) -> Check:
    """Say how many prompts there are, and that few of them decide little."""
    if count >= LEAST_PROMPTS:
        return Check("prompts", "green", float(count), float(LEAST_PROMPTS), f"measured on {count} prompts")
    what = "one prompt decides nothing" if count == 1 else f"only {count} prompts, so that the intervals are wide"
    return Check("prompts", "amber", float(count), float(LEAST_PROMPTS), f"{what}; take {LEAST_PROMPTS} or more")


def _measured(reading: Reading, found: Sequence[Changed]) -> str:
    """Say what was measured, so that "the" fits before it: with the tokens, where all prompts have the same."""
    kind, same = reading.metric.kind, len({each.names for each in found}) == 1
    differing = ("answer", "foil") if kind == "logit_diff" else ("the answer",)
    words = {
        "logit_diff": "logit difference between {0} and {1}",
        "log_prob": "log-probability of {0}",
        "prob": "probability of {0}",
        "rank": "rank of {0}",
        "kl_to_base": "KL divergence from the plain run",
    }
    return words[kind].format(*(reading.names if same else differing))


def _verdict(
    encoded: bool, used: NDArray[np.bool_], sizes: NDArray[np.float64], label: str, units: str, where: str
) -> str:
    units = f" {units}" if units in ("logits", "nats") else ""
    told = {"erase": "erasing", "add": "adding", "subtract": "subtracting"}
    names = [told[name] for name, is_used in zip(INTERVENTIONS, used, strict=True) if is_used]
    shown = int(np.argmax(used))  # the first that is used, else erasing
    by, beside = (f"{size:.3g}" for size in sizes[shown])
    when = "" if len(names) == 1 else f"{told[INTERVENTIONS[shown]]} it: "
    sized = f"{when}on average by {by}{units}, against {beside}"
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    verb = "moves" if len(names) == 1 else "each move"
    more = f"{listed} the direction {verb} the {label} more than random directions do ({sized})"
    less = (
        f"neither erasing nor adding nor subtracting the direction moves the {label} clearly more than random "
        f"directions do ({sized})"
    )
    if encoded:
        return (
            f"Encoded at {where}, and used: {more}."
            if names
            else f"Encoded at {where}, but no evidence of use: {less}."
        )
    start = f"No evidence that the label is encoded at {where}: the probe does not beat chance"
    return f"{start}. Yet {more}." if names else f"{start}, and {less}."
