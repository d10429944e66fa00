"""Which tokens a part of the stream promotes and suppresses: what it writes, through the held final norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.contributions.frozen_norm import frozen
from resid_widgets.analysis.contributions.sublayer import INNER, sublayer
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.tokens import visible


@dataclass(frozen=True)
class Promoted:
    """A token, visible, and what a part adds to its logit, less what it adds to all on average."""

    token: str
    value: float


@plain_state()
def promoted(
    run: Run, at: Mapping[str, int | str], positions: Sequence[int], most: int = 4, least: int = 2
) -> list[Promoted]:
    """Return the tokens that a part promotes most, then those that it suppresses most.

    Parameters
    ----------
    at
        Which part: ``layer``, with ``component``, ``neuron``, ``head``, or ``head`` and the ``pos`` that it read from;
        ``component`` alone for the embedding.
    positions
        Where it writes; the mean over them.
    most, least
        How many of either.

    Raises
    ------
    UnsupportedModelError
        If the final norm, or that behind a sublayer, is neither LayerNorm nor RMSNorm.
    """
    model = run.model
    stream = run.activation("resid_post", model.n_layers - 1)[list(positions)]
    with model.lock, without_foreign_hooks(model):
        written = _written(run, at, list(positions))
        norm = frozen(model.bridge.ln_final, stream, f"final norm of {model.name}", model.gap_limit)
        rows = torch.cat([norm.of(written), torch.zeros_like(written[:1], dtype=torch.float64)])
        logits = model.unembed(rows.to(model.dtype), normed=True).double()
    moved = (logits[:-1] - logits[-1]).mean(0)
    moved = moved - moved.mean()
    ids = [*moved.topk(most).indices.tolist(), *reversed((-moved).topk(least).indices.tolist())]
    names = model.token_strings(ids)
    return [Promoted(visible(name), float(moved[n])) for name, n in zip(names, ids, strict=True)]


@plain_state()
def attention_weight(run: Run, layer: int, head: int, positions: Sequence[int], source: int) -> float:
    """Return how much a head looks at a position, the mean over some that it looks from."""
    return float(one_layer(run, "pattern", layer)[head, list(positions), source].double().mean())


def _written(run: Run, at: Mapping[str, int | str], positions: list[int]) -> Float[Tensor, "row d_model"]:
    """Return what a part writes at some positions."""
    if "layer" not in at:
        return run.activation("resid_pre", 0)[positions].double()
    layer = int(at["layer"])
    if "head" not in at and "neuron" not in at:
        names = [str(at["component"])] if "component" in at else ["attn_out", "mlp_out"]
        return torch.stack([run.activation(name, layer)[positions].double() for name in names]).sum(0)
    component = "attn_out" if "head" in at else "mlp_out"
    inner = run.activation(INNER[component], layer)[positions]
    how = sublayer(run.model, component, layer, inner.flatten(1), run.activation(component, layer)[positions])
    number = int(at["head"] if "head" in at else at["neuron"])
    alone = torch.zeros_like(inner)
    alone[:, number] = inner[:, number]
    if "pos" in at:
        v = one_layer(run, "v", layer)
        value = v[int(at["pos"]), number * v.shape[1] // inner.shape[1]]
        weight = one_layer(run, "pattern", layer)[number, positions, int(at["pos"])]
        alone[:, number] = (weight[:, None].double() * value.double()).to(alone)
    return how.part(alone.flatten(1)).double()
