"""What each part of a model writes directly into an answer: the final stream, split along what a metric reads of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resid_widgets.analysis.contributions.build import contributions
from resid_widgets.analysis.contributions.code import contributions_code, logit_lines
from resid_widgets.analysis.contributions.given import given
from resid_widgets.analysis.contributions.parts import layers_of, writers_before
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.metrics import Metric, logit, require_metric
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.sites import Site

WORDS = {
    "component": "component",
    "layer": "layer",
    "head": "head",
    "neuron": "neuron",
    "source": "head, by the token that it has read from,",
}


@plain_state()
def direct_logit_attribution(
    run: Any,
    metric: Any,
    by: Any = "component",
    *,
    pos: Any = None,
    layers: Any = None,
    prompts: Any = None,
    bos: bool | None = None,
) -> Contributions:
    """Split a metric into what each part of the model has written into the final stream for it.

    The final norm is held at its scale in the run; then the metric is a sum over all that was ever written into the
    stream, and a bias. Direct effect only: what later layers make of a part is not in it.

    Parameters
    ----------
    run
        From `resid_widgets.run` or `intervene`; or a list of runs of one model; or a model, with `prompts`.
    metric
        One that is linear in the logits: `resid_widgets.logit_diff`, `logit`, `weighted_logits`; for several prompts
        with one token for all, or one for each.
    by
        ``"component"``: embedding, attention and MLP of each layer; ``"layer"``; ``"head"``; ``"neuron"``; or
        ``"source"``: each head by the token that it has read from, ``A[q, k] v[k] W_O``.
    pos
        Positions at which the metric is read, in place of its own.
    layers
        Which layers are opened, for all but ``by="component"``; all by default. The others' components are the rest.
    prompts, bos
        After a model, as in `resid_widgets.collect`: mean, spread and interval over many prompts.

    Returns
    -------
    Contributions
        ``values.sum() + rest.sum() + bias = total``, in logits.

    Raises
    ------
    InputError
        If the metric is not linear in the logits, the model caps its logits, or an argument does not fit.
    UnsupportedModelError
        If a norm is neither LayerNorm nor RMSNorm, or a layer's heads or neurons are not all of what it writes.

    Notes
    -----
    As in Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits", and ``ActivationCache.logit_attrs``
    of TransformerLens. A sublayer that writes through a norm (Gemma 2, OLMo 2) is split with that norm held as well.
    """
    metric = require_linear(metric)
    if pos is not None:
        metric = replace(metric, pos=logit(0, pos).pos)
    of = given(run, prompts, bos, metric)
    end = Site("resid_post", of.model.n_layers - 1)
    chosen = layers_of(of.model, by, layers, writers_before(of.model, end))
    rows, read, parts = of.split(by, chosen)
    options = {"method": "direct_logit_attribution", "by": by, "metric": of.label, "prompts": of.count}
    total = f"{float(read.total.mean()):.3g}{f' on average over {of.count} prompts' if of.count > 1 else ''}"
    return contributions(
        parts,
        rows.prompts,
        read.bias.cpu().numpy(),
        read.total.cpu().numpy(),
        run=of.first,
        by=by,
        label=of.label,
        units="logits",
        checks=of.checks,
        provenance=replace(with_options(of.first.provenance, **options), token_ids=of.token_ids),
        title=f"Direct logit attribution · {by}",
        sentence=(
            f"What each {WORDS[by]} writes directly into {of.label} ({total}), with the final norm held at its scale "
            "in the run. Direct effect only: what later layers make of it is not in it."
        ),
        script=contributions_code(
            of.first, end, of.positions[0], logit_lines(of.weights[0], read.centred), by, chosen, parts.opened
        )
        if of.count == 1
        else _MANY,
    )


def require_linear(metric: object) -> Metric:
    """Return `metric` if it is one, and linear in the logits.

    Raises
    ------
    InputError
        If it is not.
    """
    metric = require_metric(metric)
    if not metric.coefficients:
        rule = "it is not linear in the logits, so that no parts add up to it"
        remedy = "Use rw.logit_diff(answer, foil), rw.logit or rw.weighted_logits; rw.ablation_sweep takes any metric."
        raise InputError.about("metric", metric.kind, rule, remedy)
    return metric


_MANY = "# The mean over prompts of what rw.direct_logit_attribution(run, metric, ...).code() gives for each of them.\n"
