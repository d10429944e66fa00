"""Models whose weights are set by hand, so that what causes what in them is known.

Both are GPT-2s with a large constant in two dimensions: a layer norm then divides by (nearly) the same number
everywhere, and its weight multiplies by it again, so that the norms do next to nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

LARGE = 1000.0


def _blank(n_layer: int, d_model: int, n_head: int, vocab: int, n_pos: int, activation: str) -> Any:
    """Return a GPT-2 whose weights are all zero, but for norms that undo themselves and the constant dimensions."""
    config = GPT2Config(
        vocab_size=vocab,
        n_embd=d_model,
        n_layer=n_layer,
        n_head=n_head,
        n_positions=n_pos,
        activation_function=activation,
        tie_word_embeddings=False,
        attn_implementation="eager",
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = GPT2LMHeadModel(config).float().eval()
    scale = LARGE * (2 / d_model) ** 0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.zero_()
            if "ln_" in name and name.endswith("weight"):
                parameter[:-2] = scale
        model.transformer.wte.weight[:, -2] = LARGE
        model.transformer.wte.weight[:, -1] = -LARGE
    return model


def linear_model(seed: int = 0, activation: str = "linear", attention: bool = False) -> Any:
    """Return two layers with constant attention and linear MLPs.

    Parameters
    ----------
    activation, attention
        ``"gelu"`` and True make it an ordinary, non-linear model instead.
    """
    d_model, vocab = 32, 30
    model = _blank(2, d_model, 2, vocab, 16, activation)
    generator = torch.Generator().manual_seed(seed)
    small = d_model - 2

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    with torch.no_grad():
        model.transformer.wte.weight[:, :small] = random(vocab, small)
        model.transformer.wpe.weight[:, :small] = 0.5 * random(16, small)
        model.lm_head.weight[:, :small] = random(vocab, small)
        for block in model.transformer.h:
            queries_and_keys = 0.5 if attention else 0.0
            block.attn.c_attn.weight[:small, : 2 * d_model] = queries_and_keys * random(small, 2 * d_model)
            block.attn.c_attn.weight[:small, 2 * d_model :] = 0.15 * random(small, d_model)
            block.attn.c_proj.weight[:, :small] = 0.15 * random(d_model, small)
            block.mlp.c_fc.weight[:small] = 0.15 * random(small, 4 * d_model)
            block.mlp.c_fc.bias[:] = 0.15 * random(4 * d_model)
            block.mlp.c_proj.weight[:, :small] = 0.1 * random(4 * d_model, small)
    return model


TOKENS = POSITIONS = 8
_NOW, _BEFORE, _NEXT, _PLACE = (slice(n * 8, n * 8 + 8) for n in range(4))
_UNREAD, _BALANCE = 32, 33  # the second keeps every write free of a mean, so that no norm's centring spreads it
_SHARP = 12.0


def induction_model() -> Any:
    """Return two attention layers that continue ``a b ... a`` with ``b``, and do nothing else.

    Layer 0, head 1 attends to the token before and writes which one it was; layer 1, head 1 attends to where the token
    before was the present one and writes what stands there, which alone is read by the unembedding. Heads 0 write
    something into a dimension that nothing reads. The MLPs are zero.
    """
    d_model, d_head = 36, 18
    model = _blank(2, d_model, 2, TOKENS, POSITIONS, "gelu_new")
    eye = torch.eye(TOKENS)
    with torch.no_grad():
        model.transformer.wte.weight[:, _NOW] = eye
        model.transformer.wpe.weight[:, _PLACE] = eye
        model.transformer.wte.weight[:, _BALANCE] = -1
        model.transformer.wpe.weight[:, _BALANCE] = -1
        model.lm_head.weight[:, _NEXT] = 10 * eye
        sharp = (_SHARP * d_head**0.5) ** 0.5
        for layer, block in enumerate(model.transformer.h):
            q, k, v = (block.attn.c_attn.weight[:, n * d_model : (n + 1) * d_model] for n in range(3))
            idle, head = slice(0, TOKENS), slice(d_head, d_head + TOKENS)
            if layer == 0:
                q[_PLACE, head] = sharp * eye
                k[_PLACE, d_head + 1 : d_head + 1 + POSITIONS] = sharp * eye
            else:
                q[_NOW, head] = sharp * eye
                k[_BEFORE, head] = sharp * eye
            v[_NOW, head] = eye
            v[_NOW, idle] = eye
            out = block.attn.c_proj.weight
            out[head, _BEFORE if layer == 0 else _NEXT] = eye
            out[head, _BALANCE] = -1
            out[idle, _UNREAD] = torch.arange(TOKENS) / TOKENS
            out[idle, _BALANCE] = -torch.arange(TOKENS) / TOKENS
    return model
