"""The end of a model, from a state of its stream to logits: of all tokens, or of a few without the work of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge


def logits_of(
    bridge: TransformerBridge,
    h: Float[Tensor, "1 pos d_model"],
    token_ids: Sequence[int] | None,
    facts: dict[str, Any],
    limit: float,
    normed: bool = False,
) -> Float[Tensor, "1 pos token"]:
    """Return the logits, of `token_ids` where they are given, that the model gives if its stream ends as `h`.

    Parameters
    ----------
    h
        On the model's device and in its dtype.
    facts
        What is known of the bridge; whether a few rows of its output matrix may be used is noted there.
    limit
        Largest relative difference that counts as equal.
    normed
        Whether `h` has gone through the final norm already.
    """
    h = h if normed else bridge.ln_final(h)
    if token_ids is None:
        logits = bridge.unembed(h)
    elif _rows_suffice(bridge, h, facts, limit):
        logits = _some_logits(bridge, h, token_ids)
    else:
        logits = bridge.unembed(h)[..., list(token_ids)]
    return bridge.adapter.apply_output_logits_transform(logits)


def _some_logits(bridge: TransformerBridge, normed: Tensor, token_ids: Sequence[int]) -> Tensor:
    """Unembed with a few rows of the output matrix."""
    model: Any = bridge.original_model
    head, rows = model.get_output_embeddings(), list(token_ids)
    head = getattr(head, "original_component", head)
    bias = getattr(head, "bias", None)
    return nn.functional.linear(normed, head.weight[rows], None if bias is None else bias[rows])


def _rows_suffice(bridge: TransformerBridge, like: Tensor, facts: dict[str, Any], limit: float) -> bool:
    """Whether a few rows of the output matrix give the same logits as the bridge's own unembedding; tried once."""
    if "unembedding" not in facts:
        generator = torch.Generator().manual_seed(0)
        normed = torch.randn(1, 2, like.shape[-1], generator=generator).to(like.device, like.dtype)
        d_vocab = int(bridge.cfg.d_vocab)
        rows = sorted({0, d_vocab // 2, d_vocab - 1})
        expected = bridge.unembed(normed)[..., rows]
        try:
            gap = (_some_logits(bridge, normed, rows) - expected).abs().max() / expected.abs().max()
        except (AttributeError, RuntimeError, IndexError, TypeError):
            gap = torch.tensor(torch.inf)
        facts["unembedding"] = bool(gap <= limit)
    return facts["unembedding"]
