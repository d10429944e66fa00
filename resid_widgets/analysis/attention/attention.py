"""attention: where the heads of a layer look, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.attention.arguments import Asked, asked
from resid_widgets.analysis.attention.checks import (
    completeness_check,
    cut_checks,
    marked_check,
    rows_check,
    weighted_check,
)
from resid_widgets.analysis.attention.code import attention_code
from resid_widgets.analysis.attention.knockout import cuts
from resid_widgets.analysis.attention.result import Attention
from resid_widgets.analysis.attention.rollout import rolled_out
from resid_widgets.analysis.attention.toward import gradient_times_pattern, integrated
from resid_widgets.analysis.attention.weighted import value_weighted
from resid_widgets.analysis.contributions.sublayer import Sublayer
from resid_widgets.analysis.grid import visible_tokens, with_options
from resid_widgets.analysis.sweeps.sweep import sweeping
from resid_widgets.colour import robust_scale
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.progress import ending_bars
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check, Scale

NAMES = {
    "pattern": "attention",
    "value_weighted": "size of what is written",
    "rollout": "attention rolled out",
    "gradient": "gradient × attention",
    "integrated": "integrated attribution",
    "knockout": "effect of the cut",
    "change": "change of attention",
}
"""The kinds, and what their numbers are called."""

_SAYS = {
    "pattern": "Where {heads} of layer {layer} look{s}. To be looked at is not to be used.",
    "value_weighted": (
        "How much {heads} of layer {layer} write{s} of each token into the stream: the norm of attention times value. "
        "A large vector need not be read by anything."
    ),
    "rollout": (
        "Attention multiplied up to layer {layer}, heads averaged, half of it for the stream itself. It says which "
        "tokens may have reached a position, not which did."
    ),
    "gradient": (
        "What each edge of {heads} of layer {layer} gives to {metric} (now {base:.3g}), to first order. An estimate: "
        "kind='knockout' is exact."
    ),
    "integrated": (
        "What each edge of {heads} of layer {layer} gives to {metric} (now {base:.3g}) while the layer's attention is "
        "scaled up from nothing. One of many paths."
    ),
    "knockout": (
        "How much {metric} (now {base:.3g}) changes when one edge of {heads} of layer {layer} is cut. A small change "
        "may mean that other edges made up for it."
    ),
    "change": (
        "How the interventions change where {heads} of layer {layer} look{s}: attention after minus before. A change "
        "of attention is not yet one of the output."
    ),
}


@dataclass(frozen=True, eq=False)
class _Found:
    """Numbers of one kind, with what was found out about them."""

    values: NDArray[Any]
    checks: tuple[Check, ...] = ()
    rounding: float = 0.0
    written: Sublayer | None = None


@ending_bars()
@plain_state()
def attention(
    run: Any,
    layer: Any = -1,
    head: Any = None,
    kind: Any = "pattern",
    metric: Any = None,
    *,
    steps: Any = None,
    renormalise: Any = None,
    pos: Any = None,
    progress: Any = True,
    stop: Any = None,
    budget: Any = None,
) -> Attention:
    """Show where the heads of a layer look, or what comes of it. Patterns are fetched one layer at a time.

    Parameters
    ----------
    run
        From `resid_widgets.run` or `intervene`, of two tokens or more.
    layer, head
        Negative counts from the end; all heads of the layer by default.
    kind
        ``"pattern"``: attention itself. ``"value_weighted"``: the norm of what is written of each token,
        ``||A v W_O||`` (Kobayashi et al., 2020), as it is added to the stream. ``"rollout"``: attention multiplied
        over the layers up to this one, heads averaged (Abnar & Zuidema, 2020).
        ``"gradient"``: attention times the metric's gradient.
        ``"integrated"``: the same, integrated over a scale of the layer's attention from 0 to 1 (Hao et al., 2021).
        ``"knockout"``: the metric's exact change where one edge is cut. ``"change"``: attention under the run's
        interventions minus attention without.
    metric
        For gradient, integrated and knockout: what is measured.
    steps
        Of integrated: points of the Gauss-Legendre rule; 20 by default.
    renormalise
        Of knockout: whether the other tokens take the share of the edge that is cut, as if its score were minus
        infinity (the default), or its row then sums to less.
    pos
        Of knockout: the tokens that look whose edges are cut; all by default.
    progress, stop, budget
        Of knockout, as in `resid_widgets.ablation_sweep`.

    Returns
    -------
    Attention
        ``.values`` ``[head, pos, key_pos]``; of one head, and of a rollout, ``[pos, key_pos]``. A row is the token that
        looks. Patterns, rollout and their change are shares (rows sum to 1, where the model has no sink of its own),
        value-weighted norms have the stream's units, effects the metric's.

    Raises
    ------
    InputError
        If an argument does not fit the run or the kind, or the layer has no pattern.
    UnsupportedModelError
        If the pattern does not reach the model's computation (for gradient, integrated, knockout), or a head's output
        is more than its pattern times its values (for value_weighted).
    """
    options = {"metric": metric, "steps": steps, "renormalise": renormalise, "pos": pos, "stop": stop, "budget": budget}
    question = asked(run, layer, head, kind, options)
    tracker = sweeping(progress, stop)
    reading = question.reading
    if question.kind == "knockout":
        cut = cuts(question, tracker, budget)
        checks = (*cut_checks(question, cut), *tracker.check(cut.values[:, list(question.queries)]))
        found = _Found(cut.values, checks, _least(question))
    else:
        found = _FOUND[question.kind](question)
    return _labelled(question, found, () if reading is None else tuple(reading.checks()))


def _labelled(question: Asked, found: _Found, own: tuple[Check, ...]) -> Attention:
    run, reading, kind = question.run, question.reading, question.kind
    values = found.values[0] if question.one else found.values
    tokens = np.array(visible_tokens(run), dtype=object)
    dims = ("head", "pos", "key_pos")[-values.ndim :]
    coords: dict[str, Any] = {"pos": range(run.n_pos), "key_pos": range(run.n_pos)}
    coords |= {"token": ("pos", tokens), "key_token": ("key_pos", tokens)}
    if "head" in dims:
        coords["head"] = list(question.heads)
    units = {"value_weighted": "stream units"}.get(kind, reading.units if reading else "share")
    name = NAMES[kind] if reading is None else f"{NAMES[kind]} on {reading.label}"
    scale, whole = _scale(question, found, name, units)
    heads = () if kind == "rollout" else question.heads
    one = question.heads[0] if question.one else None
    who = "the heads" if one is None else f"head {one}"
    told = {"metric": reading.label, "base": reading.of_base()} if reading else {}
    said = {"steps": question.steps if kind == "integrated" else None}
    if kind == "knockout":
        said |= {"renormalise": question.renormalise}
    options = {"method": "attention", "kind": kind, "layer": question.layer, "head": one}
    return Attention(
        values=xr.DataArray(values, dims=dims, coords=coords, name=kind, attrs={"long_name": name, "units": units}),
        checks=(*run.checks, *found.checks, *own, *(() if whole else marked_check(run))),
        provenance=with_options(run.provenance, **options, **said, metric=told.get("metric")),
        kind=kind,
        layer=question.layer,
        heads=heads,
        metric=str(told.get("metric", "")),
        base=told.get("base"),
        rounding=found.rounding,
        scale=scale,
        marked=run.marked,
        unknown=run.unknown,
        tokens_visible=visible_tokens(run),
        title=f"{NAMES[kind].capitalize()} · layer {question.layer}" + (f" · {who}" if question.one else ""),
        sentence=_SAYS[kind].format(heads=who, layer=question.layer, s="s" if question.one else "", **told),
        script=attention_code(question, found.written),
    )


def _scale(question: Asked, found: _Found, name: str, units: str) -> tuple[Scale, bool]:
    """Return the colours, and whether all columns count for them.

    What a sink takes does not own the scale of attention. Effects at sinks are effects like others.
    """
    signed = question.kind in ("gradient", "integrated", "knockout", "change")
    whole = question.reading is not None
    flat = found.values.reshape(-1, found.values.shape[-1])
    bounds = (0.0, 1.0) if units == "share" and not signed else (None, None) if signed else (0.0, None)
    marked = () if whole else question.run.marked
    scale = robust_scale(flat, marked, signed=signed, label=name, units=units, percentiles=(0.0, 100.0), bounds=bounds)
    if signed and max(-scale.low, scale.high) < found.rounding:
        scale = replace(scale, kind="diverging", low=-found.rounding, high=found.rounding, under=False, over=False)
    return scale, whole


def _least(question: Asked) -> float:
    """Return the size of an effect that is no more than rounding."""
    return 0.1 * question.run.model.gap_limit * max(1.0, abs(question.metric.of_base()))


def _share(run: Run) -> float:
    return 0.01 * run.model.gap_limit


def _array(value: Tensor) -> NDArray[Any]:
    return (value if value.dtype == value.double().dtype else value.float()).detach().cpu().numpy()


def _pattern(question: Asked) -> _Found:
    run = question.run
    values = _array(one_layer(run, "pattern", question.layer)[list(question.heads)])
    return _Found(values, (rows_check(run, values, "attention"),), _share(run))


def _rollout(question: Asked) -> _Found:
    run = question.run
    values = _array(rolled_out(run, question.layer))
    return _Found(values, (rows_check(run, values, "the rollout"),), _share(run))


def _weighted(question: Asked) -> _Found:
    run = question.run
    found = value_weighted(run, question.layer, question.heads)
    values = _array(found.norms)
    return _Found(values, (weighted_check(run, found.gap),), _share(run) * float(values.max()), found.written)


def _gradient(question: Asked) -> _Found:
    found = _array(gradient_times_pattern(question.run, question.layer, question.metric))
    text = "gradient × attention is an estimate to first order; kind='knockout' gives exact effects"
    return _Found(found[list(question.heads)], (Check("estimate", "amber", None, None, text),), _least(question))


def _integrated(question: Asked) -> _Found:
    found = integrated(question.run, question.layer, question.metric, question.steps)
    values = _array(found.values)
    check = completeness_check(question, values, found.without)
    return _Found(values[list(question.heads)], (check,), _least(question))


def _change(question: Asked) -> _Found:
    run = question.run
    assert run.base is not None, "a change has a base"
    after, before = (one_layer(each, "pattern", question.layer)[list(question.heads)] for each in (run, run.base))
    rows = rows_check(run, _array(after), "attention after the interventions")
    return _Found(_array(after.float() - before.float()), (rows,), _share(run))


_FOUND: dict[str, Callable[[Asked], _Found]] = {
    "pattern": _pattern,
    "rollout": _rollout,
    "value_weighted": _weighted,
    "gradient": _gradient,
    "integrated": _integrated,
    "change": _change,
}
