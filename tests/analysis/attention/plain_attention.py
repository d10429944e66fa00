"""An independent reference: attention of Hugging Face's own models, without a bridge, read and cut by plain hooks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.architectures import build

IDS = (5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3)  # longer than each window
D_HEAD = 8

# What stands behind the output matrix in the block: a norm's name and what its weight is added to, or a factor.
POST_NORMS = {
    "gemma2": ("post_attention_layernorm", 1.0),
    "gemma3_text": ("post_attention_layernorm", 1.0),
    "olmo2": ("post_attention_layernorm", 0.0),
    "olmo3": ("post_attention_layernorm", 0.0),
    "exaone4": ("post_attention_layernorm", 0.0),
    "glm4": ("post_self_attn_layernorm", 0.0),
}
FACTORS = {"granite": 0.5, "granitemoe": 0.5}


class PlainAttention:
    """A random model of a family whose layers have ``self_attn`` with ``v_proj`` and ``o_proj``."""

    def __init__(self, family: str) -> None:
        self.family, self.model = family, build(family)
        self.layers = self.model.model.layers

    def patterns(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return each layer's ``[head, pos, key_pos]``, part of the graph, and logits ``[pos, d_vocab]``."""
        given = self.model(input_ids=torch.tensor([IDS]), output_attentions=True, use_cache=False)
        return tuple(each for each in given.attentions), given.logits[0]

    @torch.no_grad()
    def inside(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return a layer's pattern, values repeated to ``[pos, head, d_head]``, and output before any norm."""
        seen: dict[str, Tensor] = {}
        attn = self.layers[layer].self_attn
        handles = [
            module.register_forward_hook(lambda m, a, out, name=name: seen.update({name: out[0]}))
            for name, module in (("v", attn.v_proj), ("out", attn.o_proj))
        ]
        try:
            patterns, _ = self.patterns()
        finally:
            for handle in handles:
                handle.remove()
        pattern = patterns[layer][0].double()
        v = seen["v"].double().unflatten(-1, (-1, D_HEAD))
        return pattern, v.repeat_interleave(len(pattern) // v.shape[1], dim=1), seen["out"].double()

    def written(self, layer: int) -> Tensor:
        """Return what each head adds to the stream of each token, ``[head, pos, key_pos, d_model]``."""
        pattern, v, out = self.inside(layer)
        matrix = self.layers[layer].self_attn.o_proj.weight.detach().double().unflatten(1, (-1, D_HEAD))
        parts = torch.einsum("hqk,khd,mhd->hqkm", pattern, v, matrix)
        if self.family in POST_NORMS:
            name, plus = POST_NORMS[self.family]
            norm = getattr(self.layers[layer], name)
            eps = getattr(norm, "eps", None) or norm.variance_epsilon
            scale = (out.square().mean(-1, keepdim=True) + eps).sqrt()
            parts = parts * ((plus + norm.weight.detach().double()) / scale)[None, :, None]
        return FACTORS.get(self.family, 1.0) * parts

    @torch.no_grad()
    def cut(self, layer: int, head: int, query: int, key: int, renormalise: bool) -> Tensor:
        """Return logits ``[pos, d_vocab]`` without one edge: its score is minus infinity, or its share is lost."""
        attn = self.layers[layer].self_attn
        if renormalise:

            def masked(module: Any, args: Any, kwargs: Any) -> Any:
                mask = kwargs["attention_mask"].float().clone()
                n_heads = module.config.num_attention_heads
                mask = mask.expand(1, n_heads, *mask.shape[2:]).clone()
                mask[0, head, query, key] = torch.finfo(torch.float32).min
                return args, {**kwargs, "attention_mask": mask}

            handle = attn.register_forward_pre_hook(masked, with_kwargs=True)
        else:
            pattern, v, _ = self.inside(layer)
            lost = (pattern[head, query, key] * v[key, head]).float()

            def less(module: Any, args: Any) -> Any:
                z = args[0].clone()
                z[0, query, head * D_HEAD : (head + 1) * D_HEAD] -= lost
                return (z,)

            handle = attn.o_proj.register_forward_pre_hook(less)
        try:
            return self.patterns()[1]
        finally:
            handle.remove()
