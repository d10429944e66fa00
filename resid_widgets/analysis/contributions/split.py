"""What each part of a model has written along directions of its stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.contributions.rows import Rows
from resid_widgets.analysis.contributions.sublayer import INNER, Sublayer, sublayer
from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.run import Run

Vectors = Float[Tensor, "row d_model"]


@dataclass(frozen=True, eq=False)
class Inside:
    """One sublayer's heads or neurons along directions.

    Attributes
    ----------
    values
        ``[row, head]`` or ``[row, neuron]`` float64.
    bias
        ``[row]``: what the sublayer's own bias writes along them; it belongs to no head and no neuron.
    weights
        ``[row, head, d_head]`` or ``[row, neuron]``: what the directions read of the numbers inside.
    sublayer
        How it writes.
    """

    values: Float[NDArray, "row part"]
    bias: Float[NDArray, " row"]
    weights: Tensor
    sublayer: Sublayer


def along_component(rows: Rows, component: str, layer: int, vectors: Vectors) -> Float[NDArray, " row"]:
    """Return what stands in a component along directions."""
    return (rows.at(component, layer).double() * vectors).sum(-1).cpu().numpy()


def along_inside(rows: Rows, component: str, layer: int, vectors: Vectors) -> Inside:
    """Return what the heads (``attn_out``) or neurons (``mlp_out``) of a layer have written along directions.

    The model's lock is held, and foreign hooks are put aside.

    Raises
    ------
    InputError
        If the layer has none.
    UnsupportedModelError
        If the sublayer is more than a projection of them, with a factor or norm behind it.
    """
    inner = rows.at(INNER[component], layer)
    written = rows.at(component, layer)
    found = sublayer(rows.model, component, layer, inner.flatten(1), written, rows.modules)
    weights, bias = found.read(vectors, inner.flatten(1))
    weights = weights.reshape(inner.shape)
    parts = weights * inner.double()
    values = parts.sum(-1) if component == "attn_out" else parts
    return Inside(values.cpu().numpy(), bias.cpu().numpy(), weights, found)


def along_sources(run: Run, layer: int, positions: Sequence[int], heads: Inside) -> Float[NDArray, "row head key_pos"]:
    """Return what each head of a layer has written along directions, by the position that it read from.

    ``A[q, k] (v[k] . w)`` with w what the direction reads of the head: which token's content the head has moved.

    Parameters
    ----------
    positions
        Of the rows of `heads`, all of this run.

    Raises
    ------
    InputError
        If the layer has no patterns or values.
    UnsupportedModelError
        If a head's output is more than its pattern times its values (a norm or gate between them).
    """
    pattern = one_layer(run, "pattern", layer)[:, list(positions)].double()
    v = one_layer(run, "v", layer).double()  # [pos, kv_head, d_head]
    v = v.repeat_interleave(len(pattern) // v.shape[1], dim=1)
    found = (pattern.transpose(0, 1) * torch.einsum("khd,rhd->rhk", v, heads.weights)).cpu().numpy()
    size = np.abs(found).sum((1, 2))
    gaps = np.abs(found.sum(-1) - heads.values).max(-1) / np.where(size > 0, size, 1.0)
    if not gaps.max(initial=0.0) <= run.model.gap_limit:
        raise UnsupportedModelError(
            f"What the heads of layer {layer} of {run.model.name} take from each token cannot be told: their output is "
            f"not their pattern times their values (gap {gaps.max():.1e}, limit {run.model.gap_limit:.0e})."
        )
    return found


def layers_inside(model: ResidualModel, component: str) -> tuple[int, ...]:
    """Return the layers whose heads or neurons can be named."""
    return layers_with(model, INNER[component])
