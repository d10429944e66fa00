"""Which neurons come first, and which tokens a neuron raises, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.neurons.collect import batches
from resid_widgets.analysis.neurons.dataset import STATS
from resid_widgets.analysis.neurons.weights import (
    READS,
    checked_head,
    composition,
    directions,
    readable_layers,
    unembedding,
)
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import ResidualModel
from resid_widgets.tokens import visible
from resid_widgets.whole import whole_number

if TYPE_CHECKING:
    import pandas as pd


@plain_state()
def effect_table(model: ResidualModel, component: str, layer: int, neuron: int, k: int) -> pd.DataFrame:
    """Return the k tokens promoted most and the k suppressed most; see ``NeuronPatterns.logit_effect``."""
    import pandas as pd

    effects = directions(model, component, layer)[neuron].double() @ unembedding(model).double()
    frames = []
    for side, sign in (("promoted", 1), ("suppressed", -1)):
        found = (sign * effects).topk(k)
        ids = [int(i) for i in found.indices]
        columns = {"side": side, "token_id": ids, "token": model.token_strings(ids), "effect": effects[ids].cpu()}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


@plain_state()
def top_table(
    patterns: Any,
    by: str | None,
    *,
    token: Any,
    head: object,
    label: str | None,
    reads: str,
    layer: Any,
    k: Any,
) -> pd.DataFrame:
    """Return the first k neurons; see ``NeuronPatterns.top``."""
    import pandas as pd

    k = whole_number("k", k, 1, 10**9, "How many neurons to list.")
    if layer is not None:
        patterns.row(layer, patterns.neurons[0])
        layer = int(layer)
    scores, said = neuron_scores(patterns, by, token=token, head=head, label=label, reads=reads)
    table = pd.DataFrame(
        {
            "layer": np.repeat(patterns.layers, len(patterns.neurons)),
            "neuron": np.tile(patterns.neurons, len(patterns.layers)),
            "score": np.asarray(scores, dtype=np.float64).ravel(),
            **{name: patterns.stats[name].values.ravel() for name in ("max", "mean", "active")},
        }
    )
    wanted = table["score"].notna() & (True if layer is None else table["layer"] == layer)
    table = table.loc[wanted].sort_values(by="score", ascending=False, kind="stable").head(k).reset_index(drop=True)
    table.attrs["score"] = said
    return table


def neuron_scores(
    patterns: Any,
    by: str | None = None,
    *,
    token: Any = None,
    head: object = None,
    label: str | None = None,
    reads: str = "v",
) -> tuple[Float[NDArray, "layer neuron"], str]:
    """Return the number by which neurons are put in order, and what it is; see ``NeuronPatterns.top``."""
    asked = {name for name, value in (("token", token), ("head", head), ("label", label)) if value is not None}
    if len(asked) > 1:
        raise InputError.about("top", " and ".join(sorted(asked)), "one question at a time", "Give one of them.")
    if token is not None:
        return _for_token(patterns, token, by or "logit")
    if head is not None:
        return _for_head(patterns, head, reads, by)
    if label is not None:
        return _for_label(patterns, label, by or "correlation")
    by = by or patterns.stat
    if by not in STATS:
        raise InputError.about("by", by, "there is no such statistic", f"Use one of {', '.join(STATS)}.")
    return patterns.stats[by].values, STATS[by].label


def _for_token(patterns: Any, token: Any, by: str) -> tuple[Float[NDArray, "layer neuron"], str]:
    model: ResidualModel = patterns.model
    number = model.token_id(token)
    name = visible(model.token_strings([number])[0])
    if by == "logit":
        column = unembedding(model)[:, number].double()
        neurons = list(patterns.neurons)
        effects = [directions(model, patterns.component, n)[neurons].double() @ column for n in patterns.layers]
        return torch.stack(effects).cpu().numpy(), f"logit effect on {name}, raw weights"
    if by != "activation":
        raise InputError.about("by", by, "for a token there is no such order", "Use 'logit' or 'activation'.")
    return _selectivity(patterns, number, name), f"mean activation at {name} above the mean, in standard deviations"


def _selectivity(patterns: Any, token: int, name: str) -> Float[NDArray, "layer neuron"]:
    """Return how far the mean at a token's unmarked positions lies from the mean over all, in standard deviations."""
    kept = patterns.kept
    where = [n for n, tokens in enumerate(patterns.prompts.tokens) if token in tokens.ids]
    total, count = torch.zeros(kept.plan.rows, dtype=torch.float64), 0
    for batch in batches(patterns.model, patterns.prompts, kept.plan, patterns.provenance.weights_hash, where):
        ids = torch.tensor([patterns.prompts.tokens[number].ids for number in batch.numbers])
        x = batch.x[:, (ids == token) & ~batch.marked & torch.isfinite(batch.x).all(0)].double()
        total, count = total + x.sum(1), count + x.shape[1]
    if not count:
        raise InputError.about("token", name, "it is at no unmarked position of the prompts", "Choose another one.")
    std = kept.moments.std()
    z = (total / count - kept.moments.mean) / torch.where(std > 0, std, torch.nan)
    return z.numpy().reshape(len(patterns.layers), -1)


def _for_head(patterns: Any, head: object, reads: str, by: str | None) -> tuple[Float[NDArray, "layer neuron"], str]:
    model = patterns.model
    found = checked_head(model, head)
    if reads not in READS:
        raise InputError.about("reads", reads, "a head reads by values, queries or keys", "Use 'v', 'q' or 'k'.")
    if by is not None:
        raise InputError.about("by", by, "for a head there is one order", "Leave it out; reads='q' is another.")
    readable = readable_layers(model, patterns.component, patterns.layers, found[0])
    if not readable:
        rule = f"no {patterns.component} of layers {list(patterns.layers)} is in the stream before it"
        raise InputError.about("head", found, rule, "Choose a head of a later layer.")
    neurons = list(patterns.neurons)
    scores = np.full((len(patterns.layers), len(neurons)), np.nan)
    for row, layer in enumerate(patterns.layers):
        if layer in readable:
            scores[row] = composition(model, patterns.component, layer, found, reads)[neurons].cpu().numpy()
    which = {"v": "W_V W_O", "q": "W_Q W_K", "k": "W_K W_Q"}[reads]
    random = f"{model.d_model**-0.5:.2g}"
    return scores, f"{reads.upper()}-composition with head {found[0]}.{found[1]} ({which}); a random direction {random}"


def _for_label(patterns: Any, label: str, by: str) -> tuple[Float[NDArray, "layer neuron"], str]:
    if label not in patterns.labels:
        known = ", ".join(patterns.labels) or "none: they were made without labels"
        raise InputError.about("label", label, "there is no such label", f"These patterns have {known}.")
    if by not in ("correlation", "auroc") or by not in patterns.stats:
        raise InputError.about("by", by, "for a label there is no such order", "Use 'correlation' (or 'auroc').")
    return patterns.stats[by].sel(label=label).values, f"{patterns.stats[by].attrs['long_name']} {label}"
