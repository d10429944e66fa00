"""What each part of a model has written along a direction of the stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.contributions.direction import Direction
from resid_widgets.analysis.contributions.sublayer import INNER, sublayer
from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import WRITES

Vector = Float[Tensor, " d_model"]


@dataclass(frozen=True, eq=False)
class Inside:
    """One sublayer's heads or neurons along a direction.

    Attributes
    ----------
    values
        ``[head]`` or ``[neuron]``.
    bias
        What the sublayer's own bias writes along it; it belongs to no head and no neuron.
    weights
        What the direction reads of the numbers inside, of their shape.
    gap
        Of the sublayer, see `resid_widgets.analysis.contributions.sublayer.Sublayer`.
    """

    values: NDArray[np.float64]
    bias: float
    weights: Tensor
    gap: float


def along_components(run: Run, at: Direction) -> dict[str, float]:
    """Return what each component has written along a direction: ``embed``, ``0.attn_out``, ``0.mlp_out``, ... ."""
    found = {"embed": _along(run, "resid_pre", 0, at)}
    for layer in run.layers:
        found |= {f"{layer}.{component}": _along(run, component, layer, at) for component in WRITES}
    return found


def along_inside(run: Run, component: str, layer: int, at: Direction) -> Inside:
    """Return what the heads (``attn_out``) or neurons (``mlp_out``) of a layer have written along a direction.

    Raises
    ------
    InputError
        If the layer has none.
    UnsupportedModelError
        If the sublayer is more than a projection of them, with a factor or norm behind it.
    """
    inner = run.activation(INNER[component], layer)[at.pos]
    written = run.activation(component, layer)[at.pos]
    with run.model.lock, without_foreign_hooks(run.model):
        found = sublayer(run.model, component, layer, inner.flatten(), written)
        weights, bias = found.read(at.vector, inner.flatten())
    weights = weights.reshape(inner.shape)
    parts = weights * inner.double()
    values = parts.sum(-1) if component == "attn_out" else parts
    return Inside(values.cpu().numpy(), bias, weights, found.gap)


def along_sources(run: Run, layer: int, at: Direction, heads: Inside) -> Float[NDArray, "head pos"]:
    """Return what each head of a layer has written along a direction, by the position that it read from.

    ``A[q, k] (v[k] . w)`` with w what the direction reads of the head: which token's content the head has moved.

    Raises
    ------
    InputError
        If the layer has no patterns or values.
    UnsupportedModelError
        If a head's output is more than its pattern times its values (a norm or gate between them).
    """
    pattern = run.activation("pattern", layer)[:, at.pos].double()
    v = run.activation("v", layer).double()  # [pos, kv_head, d_head]
    group = len(pattern) // v.shape[1]
    read = torch.einsum("khd,hd->hk", v.repeat_interleave(group, dim=1), heads.weights)
    found = (pattern * read).cpu().numpy()
    size = float(np.abs(found).sum()) or 1.0
    gap = float(np.abs(found.sum(-1) - heads.values).max()) / size
    if not gap <= run.model.gap_limit:
        raise UnsupportedModelError(
            f"What the heads of layer {layer} of {run.model.name} take from each token cannot be told: their output is "
            f"not their pattern times their values (gap {gap:.1e}, limit {run.model.gap_limit:.0e})."
        )
    return found


def layers_inside(run: Run, component: str) -> tuple[int, ...]:
    """Return the layers whose heads or neurons can be named."""
    return layers_with(run.model, INNER[component])


def _along(run: Run, component: str, layer: int, at: Direction) -> float:
    return float(run.activation(component, layer)[at.pos].double() @ at.vector)
