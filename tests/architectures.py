"""Tiny random models of many families, built offline from transformers configs."""

from __future__ import annotations

from typing import Any

# What every family shares. `pad_token_id` must lie inside the small vocabulary.
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LLAMA = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    **_IDS,
}
_GPT2 = {"vocab_size": 97, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, **_IDS}
_NEOX = {k: v for k, v in _LLAMA.items() if k != "num_key_value_heads"}
_OPT = {
    "vocab_size": 97,
    "hidden_size": 32,
    "ffn_dim": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "word_embed_proj_dim": 32,
    **_IDS,
}
_FALCON = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "ffn_hidden_size": 48,
    **_IDS,
}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2}

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": _GPT2,
    "gpt_neo": {
        "vocab_size": 97,
        "hidden_size": 32,
        "num_layers": 4,
        "num_heads": 4,
        "intermediate_size": 48,
        "attention_types": [[["global", "local"], 2]],
        "window_size": 4,
        "max_position_embeddings": 64,
        **_IDS,
    },
    "gptj": {**_GPT2, "rotary_dim": 4},
    "gpt_neox": _NEOX,
    "opt": _OPT,
    "bloom": {"vocab_size": 97, "hidden_size": 32, "n_layer": 4, "n_head": 4, **_IDS},
    "falcon": _FALCON,
    "llama": _LLAMA,
    "mistral": {**_LLAMA, "sliding_window": 4},
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "head_dim": 8},
    "gemma": {**_LLAMA, "head_dim": 8},
    "gemma2": {**_LLAMA, "head_dim": 8, "sliding_window": 4, "final_logit_softcapping": 0.5},
    "gemma3_text": {**_LLAMA, "head_dim": 8, "sliding_window": 4},
    "phi": _LLAMA,
    "phi3": _LLAMA,
    "stablelm": _LLAMA,
    "olmo": _LLAMA,
    "olmo2": _LLAMA,
    "granite": {**_LLAMA, "residual_multiplier": 0.5, "logits_scaling": 2.0, "embedding_multiplier": 3.0},
    "mixtral": {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2},
    "starcoder2": _LLAMA,
    "cohere": {**_LLAMA, "logit_scale": 0.25},
    "olmoe": {**_LLAMA, **_MOE},
    "qwen3_moe": {**_LLAMA, **_MOE, "head_dim": 8, "moe_intermediate_size": 24},
    "smollm3": _LLAMA,
    # Variants whose blocks are wired differently from their family's default.
    "gpt_neox sequential": {**_NEOX, "use_parallel_residual": False},
    "falcon new decoder": {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon sequential alibi": {**_FALCON, "parallel_attn": False, "alibi": True, "multi_query": False},
    "stablelm parallel": {**_LLAMA, "use_parallel_residual": True},
    "opt post-norm": {**_OPT, "do_layer_norm_before": False},
    "opt projected": {**_OPT, "word_embed_proj_dim": 16},
    "qwen2_moe": {**_LLAMA, **_MOE, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24},
    "gpt_bigcode": {**_GPT2, "multi_query": True},
}

# Layers that are not alike: other heads, windows, or experts in some of them. And models that look both ways.
_GEMMA4 = {
    **_LLAMA,
    "head_dim": 8,
    "global_head_dim": 16,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
_BOTH_WAYS = {**_LLAMA, "head_dim": 8, "sliding_window": 4, "use_bidirectional_attention": True}
MIXED: dict[str, dict[str, Any]] = {
    "gemma4_text wide heads": _GEMMA4,
    "gemma4_text keys as values": {**_GEMMA4, "num_global_key_value_heads": 1, "attention_k_eq_v": True},
    "gemma4_text experts beside": {
        **_GEMMA4,
        "enable_moe_block": True,
        "num_experts": 4,
        "top_k_experts": 2,
        "moe_intermediate_size": 24,
    },
    "qwen3_moe every second": {
        **_LLAMA,
        **_MOE,
        "head_dim": 8,
        "moe_intermediate_size": 24,
        "decoder_sparse_step": 2,
    },
    "ernie4_5_moe": {
        **_LLAMA,
        "moe_num_experts": 4,
        "moe_k": 2,
        "moe_intermediate_size": 24,
        "moe_layer_start_index": 1,
        "moe_layer_end_index": 3,
        "moe_layer_interval": 2,
        "moe_num_shared_experts": 1,
    },
    "glm4_moe": {
        **_LLAMA,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "first_k_dense_replace": 1,
        "n_shared_experts": 1,
        "head_dim": 8,
    },
    "llama4_text": {
        **_LLAMA,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 2,
        "head_dim": 8,
        "intermediate_size_mlp": 64,
        "attention_chunk_size": 4,
    },
    "gpt_oss": {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "sliding_window": 4},
    "granitemoe": {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2, "residual_multiplier": 0.5},
    "olmo3": {**_LLAMA, "sliding_window": 4},
    "cohere2": {**_LLAMA, "sliding_window": 4, "logit_scale": 0.25},
    "smollm3 some without positions": {**_LLAMA, "no_rope_layers": [1, 0, 1, 0]},
    "gemma3_text both ways": _BOTH_WAYS,
    "gemma3_text both ways, one layer": {**_BOTH_WAYS, "num_hidden_layers": 1},
    "gemma3_text both ways, two layers": {**_BOTH_WAYS, "num_hidden_layers": 2},
}

# What TransformerLens 4.3 cannot bridge truthfully, and a word of the reason that the user is told.
REFUSED = {
    "falcon new decoder": "cannot bridge",
    "opt post-norm": "does not run",
    "opt projected": "no ln_final",
}
PARALLEL = {"gptj", "gpt_neox", "falcon", "phi", "cohere", "stablelm parallel", "cohere2"}
MIXTURES = {"mixtral", "olmoe", "qwen3_moe", "qwen2_moe", "gemma4_text experts beside", "gpt_oss", "granitemoe"}
# Sites whose write does not reach the computation, found out by the self-test.
REFUSED_WRITES = {
    "gpt_neo": {"pattern"},
    "gptj": {"pattern"},
    "opt": {"pattern"},
    **{family: {"mlp_post"} for family in MIXTURES},
    "gemma4_text wide heads": {"pattern"},
    "gemma4_text keys as values": {"pattern"},
    "llama4_text": {"pattern"},
    # What attention writes reaches the router past the norm before the MLP, where the self-test cannot follow it.
    "gemma4_text experts beside": {"mlp_post", "pattern", "attn_out", "resid_mid"},
}
# The same for some layers only.
REFUSED_AT: dict[str, set[tuple[str, int]]] = {
    "gemma4_text keys as values": {("v", 1), ("v", 3)},
    "qwen3_moe every second": {("mlp_post", 1), ("mlp_post", 3)},
    "ernie4_5_moe": {("mlp_post", 1), ("mlp_post", 3)},
    "glm4_moe": {("mlp_post", 1), ("mlp_post", 2), ("mlp_post", 3)},
    "llama4_text": {("mlp_post", 1), ("mlp_post", 3)},
}


def refused_writes(family: str, n_layers: int) -> set[tuple[str, int]]:
    """Return the components and layers of a family that cannot be written."""
    everywhere = REFUSED_WRITES.get(family, set()) | ({"resid_mid"} if family in PARALLEL else set())
    return REFUSED_AT.get(family, set()) | {(name, layer) for name in everywhere for layer in range(n_layers)}


def build(family: str, seed: int = 0) -> Any:
    """Return a random Hugging Face causal LM of `family` (the first word is its model type), in eval mode, float32."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family.split()[0], **(FAMILIES | MIXED)[family])
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    # The default initialisation is so small that a lost write would hardly show.
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
            elif "norm" in name.lower() or "ln" in name.lower():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.float().eval()
