"""What a model can be asked, found out by asking it rather than from its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from resid_widgets.models.ambient import plain_state
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action
from resid_widgets.models.layers.shapes import head_count, layers_with, why_not
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.structure import probe_ids, relative_gap, structure_of
from resid_widgets.models.trouble import TROUBLE


@dataclass(frozen=True)
class Capabilities:
    """Facts about one model.

    Attributes
    ----------
    gradients
        A gradient flows from the logits to the embedded stream.
    attention_patterns
        Patterns can be read in every layer, and each row sums to 1.
    parallel_blocks
        Attention and MLP read the same state; there is no resid_mid.
    post_norm
        A block of any layer normalises what attention gives before it is added to the stream.
    grouped_query_attention
        Several query heads share one key-value head, in any layer.
    soft_cap
        The logits pass through a non-linear cap.
    encoder_only
        Later tokens change earlier positions.
    neurons
        ``mlp_post`` can be read in every layer: none is a mixture of experts.
    """

    gradients: bool
    attention_patterns: bool
    parallel_blocks: bool
    post_norm: bool
    grouped_query_attention: bool
    soft_cap: bool
    encoder_only: bool
    neurons: bool


@plain_state()
def capabilities(model: Any) -> Capabilities:
    """Find out what `model` can be asked; remembered for each bridge.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.

    Raises
    ------
    UnsupportedModelError
        If the model's parts do not add up.
    """
    model = as_model(model)
    facts = model._shared.facts
    with model.lock:
        _ = model.weights_hash  # what was found out before a change is forgotten
        if "capabilities" not in facts:
            facts["capabilities"] = _find(model)
    return facts["capabilities"]


def _find(model: ResidualModel) -> Capabilities:
    structure = structure_of(model)
    ids = probe_ids(model.d_vocab, model.n_ctx)
    layers = range(model.n_layers)
    names = {(kind, n): model.hook_name(kind, n) for kind in ("pattern", "attn_out") for n in layers}
    names |= {("projected", n): f"blocks.{n}.attn.o.hook_out" for n in layers}
    seen: dict[tuple[str, int], Tensor] = {}
    reads: dict[str, Action] = {
        hook: partial(seen.__setitem__, place) for place, hook in names.items() if hook in model.hooks
    }
    forward(model, ids, reads, allow_hooks=True)
    return Capabilities(
        gradients=_gradients_flow(model, ids),
        attention_patterns=all(_sums_to_one(seen.get(("pattern", n)), model.gap_limit) for n in layers),
        parallel_blocks=structure.parallel,
        post_norm=any(
            not _collinear(seen["projected", n], seen["attn_out", n], model.gap_limit)
            for n in layers
            if ("projected", n) in seen
        ),
        grouped_query_attention=any(_shared_keys(model, n) for n in layers),
        soft_cap=_caps_logits(model),
        encoder_only=not structure.causal,
        neurons=layers_with(model, "mlp_post") == tuple(layers),
    )


def _sums_to_one(pattern: Tensor | None, limit: float) -> bool:
    return (
        pattern is not None and relative_gap(pattern.float().sum(-1), torch.ones_like(pattern[..., 0]).float()) <= limit
    )


def _shared_keys(model: ResidualModel, layer: int) -> bool:
    """Whether a layer has fewer key-value heads than query heads."""
    both = not (why_not(model, "q", layer) or why_not(model, "k", layer))
    return both and head_count(model, "q", layer) != head_count(model, "k", layer)


@torch.enable_grad()
def _gradients_flow(model: ResidualModel, ids: list[int]) -> bool:
    leaf: list[Tensor] = []

    def make_leaf(value: Tensor) -> Tensor:
        leaf.append(value.detach().requires_grad_())
        return leaf[0]

    with torch.enable_grad():
        logits = forward(model, ids, {model.hook_name("resid_pre", 0): make_leaf}, allow_hooks=True, gradients=True)
        if not logits.requires_grad:
            return False
        try:
            (gradient,) = torch.autograd.grad(logits.float().logsumexp(-1).sum(), leaf, allow_unused=True)
        except TROUBLE:
            return False
    return gradient is not None and bool(gradient.isfinite().all()) and bool(gradient.abs().max() > 0)


def _collinear(before: Tensor, after: Tensor, limit: float) -> bool:
    """Whether `after` is `before` times one number (1, or the residual multiplier of Granite)."""
    if before.shape != after.shape:
        return True  # heads side by side: this family projects elsewhere, and adds what it projects
    factor = (before * after).sum() / (before * before).sum()
    return relative_gap(before * factor, after) <= limit


def _caps_logits(model: ResidualModel) -> bool:
    """Whether the output transform is anything but a scale."""
    small = torch.tensor([[1e-3, 10.0, 100.0]], dtype=torch.float32)
    out = model.bridge.adapter.apply_output_logits_transform(small)
    return not _collinear(small, out, 1e-4)
