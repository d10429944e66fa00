"""What a neuron writes and who reads it, from the weights alone."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.capabilities import capabilities
from resid_widgets.models.layers.shapes import head_count, site_shape
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check
from resid_widgets.whole import whole

READS = ("v", "q", "k")


def directions(model: ResidualModel, component: str, layer: int) -> Float[Tensor, "neuron d_model"]:
    """Return what each neuron adds to the stream per unit of activation: ``W_out[n]``, or dimension n itself.

    Raw weights. Where a block multiplies or normalises the MLP's output afterwards, that is not in it.
    """
    if component != "mlp_post":
        return torch.eye(model.d_model, device=model.device, dtype=torch.float32)
    return _weight(model.bridge.blocks[layer].mlp, "W_out")


def unembedding(model: ResidualModel) -> Float[Tensor, "d_model d_vocab"]:
    """Return ``W_U``, raw: without the final norm's gain."""
    return _weight(model.bridge, "W_U")


@plain_state()
def written_check(run: Run, layers: tuple[int, ...]) -> Check:
    """Test that the neurons' activations times ``W_out``, and the bias, are the MLP's output.

    Up to one factor a layer, for blocks that scale what the MLP gives. Blocks that normalise it are named instead.
    """
    model = run.model
    if capabilities(model).post_norm:
        text = "this model normalises the MLP's output before it is added: W_out is what a neuron writes before that"
        return Check("neurons add up", "amber", None, None, text)
    worst = 0.0
    for layer in layers:
        mlp: Any = model.bridge.blocks[layer].mlp
        summed = run.tensor("mlp_post", layer).double() @ _weight(mlp, "W_out").double()
        bias = getattr(mlp, "b_out", None)
        summed = summed if bias is None else summed + bias.double()
        given = run.activation("mlp_out", layer).double()
        factor = (summed * given).sum() / summed.square().sum()
        worst = max(worst, float((factor * summed - given).abs().max() / given.abs().max()))
    # The sum is in float64, the model's own is not.
    return Check.gap("neurons add up", worst, model.gap_limit, "activations times W_out give the MLP's output")


def composition(
    model: ResidualModel, component: str, layer: int, head: tuple[int, int], reads: str
) -> Float[Tensor, " neuron"]:
    """Return how much of what each neuron writes a later attention head reads.

    ``|w M|_F / (|w|_F |M|_F)`` with w the neuron's direction and M the head's ``W_V W_O`` (``reads="v"``),
    ``W_Q W_K^T`` (``"q"``) or its transpose (``"k"``): the composition scores of Elhage et al. (2021), "A Mathematical
    Framework for Transformer Circuits", for a writer of rank one. Raw weights: norms' gains and rotary embeddings are
    not in it.
    A random direction has about ``1 / sqrt(d_model)``.

    Parameters
    ----------
    head
        Layer and head, as `checked_head` returned them.
    """
    q, k, v, o = (_head_weight(model, head[0], name).double() for name in ("q", "k", "v", "o"))
    h = head[1]
    shared = h // (q.shape[0] // k.shape[0])  # the key-value head of its group
    if reads == "v":
        first, second = v[shared], o[h]
    elif reads == "q":
        first, second = q[h], k[shared].T
    else:
        first, second = k[shared], q[h].T
    w = directions(model, component, layer).double()
    # |w A B|^2 = w A (B B^T) A^T w^T: no d_model by d_model matrix is made
    square = second @ second.T
    through = w @ first
    score = ((through @ square) * through).sum(-1).clamp(min=0).sqrt()
    whole = torch.trace(first.T @ first @ square).clamp(min=0).sqrt()
    return score / (w.norm(dim=-1) * whole)


def checked_head(model: ResidualModel, head: object) -> tuple[int, int]:
    """Return layer and head as whole numbers in range.

    Raises
    ------
    InputError
        If they are not, or the layer has no heads.
    """
    remedy = "Give (layer, head), for example (1, 0)."
    given = head.tolist() if hasattr(head, "tolist") else head  # type: ignore[union-attr]
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InputError.about("head", head, "a layer and a head are needed", remedy)
    numbers = [whole(value) for value in given]
    counts = {"layer": lambda: model.n_layers, "head": lambda: head_count(model, "q", numbers[0] or 0)}
    for (name, count), number in zip(counts.items(), numbers, strict=True):
        if number is None or not 0 <= number < count():
            raise InputError.about("head", head, f"the {name} must be a whole number from 0 to {count() - 1}", remedy)
    return int(given[0]), int(given[1])


def readable_layers(model: ResidualModel, component: str, layers: tuple[int, ...], head_layer: int) -> list[int]:
    """Return those of `layers` whose component is in the stream when the head's layer reads it."""
    before = component == "resid_pre"  # it is there when its own layer reads
    return [layer for layer in layers if layer < head_layer or (before and layer == head_layer)]


def _head_weight(model: ResidualModel, layer: int, name: str) -> Float[Tensor, "head d_in d_out"]:
    """Return a weight of attention with its heads apart, as this layer has them.

    Raises
    ------
    InputError
        If TransformerLens takes it apart otherwise: it knows one number of heads for all layers.
    """
    weight = _weight(model.bridge.blocks[layer].attn, f"W_{name.upper()}")
    heads, d_head = site_shape(model, "z" if name == "o" else name, layer)
    wanted = (heads, d_head, model.d_model) if name == "o" else (heads, model.d_model, d_head)
    if tuple(weight.shape) != wanted:
        rule = f"TransformerLens gives W_{name.upper()} of this layer as {list(weight.shape)}, it is {list(wanted)}"
        raise InputError.about("head", layer, rule, "Choose a head of another layer.")
    return weight


@plain_state()
def _weight(module: Any, name: str) -> Tensor:
    return getattr(module, name).detach()
