"""All heads of a run at a glance: a small picture of where each looks, and numbers by which they can be sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.attention.glance import Glance
from resid_widgets.analysis.attention.head_scores import EFFECTS, SCORES
from resid_widgets.analysis.attention.overview_code import overview_code
from resid_widgets.analysis.contributions.direct_logit_attribution import direct_logit_attribution
from resid_widgets.analysis.grid import visible_tokens, with_options
from resid_widgets.analysis.metrics import Metric, require_metric
from resid_widgets.analysis.sweeps.ablation_sweep import ablation_sweep
from resid_widgets.colour import robust_scale
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.layers.shapes import layers_with, site_shape
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import structure_of
from resid_widgets.results import Check, Result, Scale
from resid_widgets.whole import whole_number


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AttentionOverview(Result):
    """Where all heads of a run look. Made by `attention_overview`.

    Attributes
    ----------
    values
        ``[score, layer, head]``: see `SCORES`; NaN where a score is not defined (no token repeats, no such head).
    thumbnails
        ``[layer, head, query_block, key_block]``: the largest weight of each block of positions.
    block
        Positions along one side of a block; 1 where nothing is pooled.
    sinks
        ``[layer, head]``: share of attention that goes to the marked positions, mean over rows.
    scale
        Of the thumbnails: one for all heads, the marked positions left out of its limits.
    metric, units
        What the effects are of, in words; None without.
    marked
        Positions left out of the scale.
    causal
        Whether no token looks ahead.
    """

    thumbnails: Float[NDArray[np.float32], "layer head query_block key_block"]
    block: int
    sinks: xr.DataArray
    scale: Scale
    metric: str | None
    marked: tuple[int, ...]
    causal: bool
    tokens_visible: tuple[str, ...]
    title: str
    sentence: str
    script: str

    @property
    def known(self) -> tuple[str, ...]:
        """The scores that are there."""
        return tuple(str(name) for name in self.values["score"].values)

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """Layer and head of each, layer 0 first."""
        there = np.isfinite(self.sinks.values)
        return tuple((int(self.sinks["layer"][row]), int(head)) for row, head in np.argwhere(there))

    def score(self, name: str) -> xr.DataArray:
        """Return one score, ``[layer, head]``.

        Raises
        ------
        InputError
            If it is not there.
        """
        if name not in self.known:
            rule = f"these are known: {', '.join(self.known)}"
            remedy = "Effects need a metric: rw.attention_overview(run, metric)." if name in EFFECTS else "Choose one."
            raise InputError.about("score", name, rule, remedy)
        return self.values.sel(score=name, drop=True)

    def without(self, names: Sequence[str]) -> AttentionOverview:
        """Return it without some scores."""
        left = [name for name in self.known if name not in names]
        return self if len(left) == len(self.known) else replace(self, values=self.values.sel(score=left))

    def order(self, name: str) -> list[tuple[int, int]]:
        """Return layer and head of all heads in order of a score; those without a number come last."""
        found, score = self.score(name), SCORES[name]
        sizes = np.abs(found.values) if score.signed else found.values
        sizes = sizes if score.first == "smallest" else -sizes
        rows = {int(layer): row for row, layer in enumerate(found["layer"].values)}
        keys = {(layer, head): sizes[rows[layer], head] for layer, head in self.heads}
        return sorted(self.heads, key=lambda at: (np.isnan(keys[at]), keys[at], at))

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a head with all its scores."""
        found = [self.score(name).rename(name) for name in self.known]
        table = xr.merge([*found, self.sinks.rename("sinks")], compat="override").to_dataframe().reset_index()
        return table.dropna(subset=["sinks"]).reset_index(drop=True)

    def code(self) -> str:
        """Return a script that makes the scores of patterns with TransformerLens and PyTorch alone."""
        return self.script


@plain_state()
def attention_overview(
    run: Any, metric: Any = None, *, effects: Any = None, size: Any = 24, how: str = "mean"
) -> AttentionOverview:
    """Look at all heads at once: a pooled picture of each pattern, and scores of what kind of head it is.

    Patterns go by a layer at a time; none is kept.

    Parameters
    ----------
    run
        From `resid_widgets.run`; of an intervened run the patterns are those under the interventions, and the score
        ``change`` says how far each is from that of its base.
    metric
        Of the effects; see `resid_widgets.logit_diff`.
    effects
        Which of ``"direct"`` (`resid_widgets.direct_logit_attribution`) and ``"causal"``
        (`resid_widgets.ablation_sweep`) to compute; with a metric both by default.
    size
        Blocks along one side of a thumbnail, at most; 4 to 32.
    how
        What ``causal`` puts in the place of a head: see `resid_widgets.ablation_sweep`.

    Returns
    -------
    AttentionOverview

    Raises
    ------
    InputError
        If the run has one token, an argument does not fit, or effects are wanted without a metric.
    UnsupportedModelError
        If no layer has patterns, or an effect cannot be computed for this model.
    """
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt).")
    size = whole_number("size", size, 4, 32, "24 is the default.")
    wanted = _wanted(metric, effects)
    if run.n_pos < 2:
        raise InputError.about("run", run.tokens, "one token can look only at itself", "Run a longer prompt.")
    layers = layers_with(run.model, "pattern")
    if not layers:
        site_shape(run.model, "pattern", 0)  # says why there is none
    glance = Glance.of(run, layers, size)
    glance.look_at(run)
    scores = {name: found for name, found in glance.scores.items() if name in SCORES}
    array = xr.DataArray(
        np.stack(list(scores.values())),
        dims=("score", "layer", "head"),
        coords={"score": list(scores), "layer": list(layers), "head": np.arange(glance.n_heads)},
        name="score",
        attrs={"long_name": "scores of heads", "units": "see resid_widgets' SCORES"},
    )
    sinks = array[0].copy(data=glance.sinks).drop_vars("score").rename("sinks")
    made = AttentionOverview(
        values=array,
        checks=_checks(run, glance),
        provenance=with_options(run.provenance, overview=size, interventions=tuple(map(str, run.interventions))),
        thumbnails=glance.thumbnails,
        block=glance.block,
        sinks=sinks.assign_attrs(long_name="share of attention to marked positions", units=""),
        scale=_scale(glance),
        metric=None,
        marked=run.marked,
        causal=structure_of(run.model).causal,
        tokens_visible=visible_tokens(run),
        title="Attention",
        sentence=_sentence(glance.block),
        script=overview_code(run, layers),
    )
    for name in wanted:
        made = with_effect(made, run, metric, name, how=how)
    return made


@plain_state()
def with_effect(
    made: AttentionOverview, run: Run, metric: Any, name: str, *, how: str = "mean", **progress: Any
) -> AttentionOverview:
    """Return an overview with an effect on a metric as a further score.

    Parameters
    ----------
    name
        ``"direct"`` or ``"causal"``.
    """
    reading = require_metric(metric).bound(run)
    if name == "direct":
        found = direct_logit_attribution(run, metric, by="head")
        effects, checks = found.values, found.checks
    else:
        layers = made.values["layer"].values.tolist()  # those that have heads
        sweep = ablation_sweep(run, metric, "z", how, layers=layers, **{"progress": False, **progress})
        effects, checks = sweep.values, sweep.checks
    effects = effects.reindex(layer=made.values["layer"], head=made.values["head"])
    others = made.values.sel(score=[known for known in made.known if known != name])
    values = xr.concat([others, effects.drop_vars("token", errors="ignore").expand_dims(score=[name])], dim="score")
    known = {check.name for check in made.checks}
    return replace(
        made,
        values=values.assign_attrs(made.values.attrs).rename(made.values.name),
        checks=(*made.checks, *(check for check in checks if check.name not in known)),
        metric=reading.label,
        provenance=with_options(made.provenance, metric=reading.label),
    )


def _wanted(metric: Any, effects: Any) -> Sequence[str]:
    """Return the effects to compute, after checking that they are some and that they have a metric."""
    if metric is not None:
        assert isinstance(require_metric(metric), Metric)
    wanted = ((EFFECTS if metric is not None else ()) if effects is None else effects) or ()
    wanted = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    for name in wanted:
        if name not in EFFECTS:
            raise InputError.about("effects", name, f"there are {' and '.join(EFFECTS)}", "Choose among them.")
        if metric is None:
            rule = "an effect is one on a metric"
            raise InputError.about("metric", None, rule, "Give one: rw.logit_diff(answer, foil).")
    return wanted


def _scale(glance: Glance) -> Scale:
    """From 0 to what a few blocks exceed; the same for all heads, or a head would look strong that is not."""
    return replace(
        robust_scale(
            glance.unmarked[None],
            signed=False,
            label="attention weight",
            percentiles=(0.0, 99.0),
            bounds=(0.0, 1.0),
        ),
        low=0.0,
        under=False,
    )


def _sentence(block: int) -> str:
    pooled = f" A pixel is the largest weight of {block} x {block} positions." if block > 1 else ""
    return (
        f"Where each head looks: down the position that looks, across the one looked at.{pooled} Where a head looks "
        "is not what it does: sort by an effect, or ablate it."
    )


def _checks(run: Run, glance: Glance) -> tuple[Check, ...]:
    found = [glance.row_check(run), *run.checks]
    if run.marked:
        share = float(np.nanmean(glance.sinks))
        many = "s" if len(run.marked) > 1 else ""
        named = ", ".join(map(str, run.marked[:6])) + (" ..." if len(run.marked) > 6 else "")
        text = f"position{many} {named} left out of the scale ({100 * share:.0f} % of all attention)"
        found.append(Check("marked positions", "amber", float(len(run.marked)), None, text))
    return tuple({check.name: check for check in found}.values())
