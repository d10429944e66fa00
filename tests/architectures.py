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
    "granite": {
        **_LLAMA,
        "residual_multiplier": 0.5,
        "logits_scaling": 2.0,
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.2,
    },
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

# What people use today.
_MLA = {
    **_LLAMA,
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "n_shared_experts": 1,
    "first_k_dense_replace": 2,
    "n_group": 1,
    "topk_group": 1,
}
_LINEAR = {
    **_LLAMA,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_SSM = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
_STATES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 4, "state_size": 8, **_IDS}
TODAY: dict[str, dict[str, Any]] = {
    "deepseek_v2": {**_MLA, "head_dim": 8},
    "deepseek_v3": _MLA,
    "deepseek_v3 dense": {**_MLA, "first_k_dense_replace": 4},
    "glm": {**_LLAMA, "head_dim": 8},
    "glm4": {**_LLAMA, "head_dim": 8},
    "exaone4": {
        **_LLAMA,
        "head_dim": 8,
        "sliding_window": 4,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
    },
    "hunyuan_v1_dense": {**_LLAMA, "head_dim": 8},
    "ernie4_5": {**_LLAMA, "head_dim": 8},
    "bitnet": _LLAMA,
    "seed_oss": {**_LLAMA, "head_dim": 8},
    "nemotron": _LLAMA,
    "minimax_m2": {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    "mpt": {"vocab_size": 97, "d_model": 32, "n_heads": 4, "n_layers": 4, "max_seq_len": 64, **_IDS},
    "xglm": {
        "vocab_size": 97,
        "d_model": 32,
        "attention_heads": 4,
        "num_layers": 4,
        "ffn_dim": 48,
        "max_position_embeddings": 64,
        **_IDS,
    },
    "olmo_hybrid": _LINEAR,
}

# What cannot be shown truthfully, and a word of the reason that the user is told.
REFUSED: dict[str, str] = {
    "falcon new decoder": "cannot bridge a FalconForCausalLM .*split_with_sizes",
    "opt post-norm": "bridge fails",
    "opt projected": "no ln_final",
}
_NO_ATTENTION, _UNKNOWN = "at layer 0, which is made of .*: it has no attention", "it knows no such models"
_ENCODER = {**_NEOX, "intermediate_size": 48}
REFUSED_TODAY: dict[str, tuple[dict[str, Any], str]] = {
    "qwen3_next": (
        {**_LINEAR, **_MOE, "head_dim": 8, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24},
        _NO_ATTENTION,
    ),
    "qwen3_5_text": ({**_LINEAR, "head_dim": 8}, _NO_ATTENTION),
    "lfm2": ({**_LLAMA, "layer_types": ["conv", "full_attention"] * 2}, _NO_ATTENTION),
    "granitemoehybrid": (
        {
            **_LLAMA,
            **_SSM,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 24,
            "layer_types": ["mamba", "attention"] * 2,
        },
        _NO_ATTENTION,
    ),
    "granitemoehybrid attention only": (
        {**_LLAMA, **_SSM, "num_local_experts": 0, "shared_intermediate_size": 24, "layer_types": ["attention"] * 4},
        "bridge fails .*rotary_emb",
    ),
    "jamba": (
        {
            **_LLAMA,
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
        _NO_ATTENTION,
    ),
    "mamba": (_STATES, _NO_ATTENTION),
    "mamba2": ({**_STATES, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8}, _NO_ATTENTION),
    "rwkv": ({**_STATES, "attention_hidden_size": 32, "intermediate_size": 48, "context_length": 64}, _NO_ATTENTION),
    "recurrent_gemma": ({**_LLAMA, "head_dim": 8, "lru_width": 32}, "no attn_out at layer 0"),
    "falcon_h1": (
        {**_LLAMA, **_SSM, "mamba_d_ssm": 64},
        "attention and MLP do not add up",
    ),
    "gemma3n_text": (
        {
            **_LLAMA,
            "head_dim": 8,
            "sliding_window": 4,
            "vocab_size_per_layer_input": 97,
            "hidden_size_per_layer_input": 8,
            "laurel_rank": 4,
            "num_kv_shared_layers": 0,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "activation_sparsity_pattern": [0.0] * 4,
        },
        _UNKNOWN,
    ),
    "gemma4_text input for each layer": (
        {**_GEMMA4, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 97},
        "attention and MLP do not add up",
    ),
    "granitemoeshared": (
        {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 24},
        _UNKNOWN,
    ),
    "phimoe": ({**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}, _UNKNOWN),
    "hunyuan_v1_moe": ({**_LLAMA, "head_dim": 8, "num_experts": 4, "moe_topk": 2}, _UNKNOWN),
    "codegen": ({**_GPT2, "rotary_dim": 4, "n_positions": 128}, "bridge fails .*embed_positions"),
    "gpt_neox without attention bias": ({**_NEOX, "attention_bias": False}, r"cannot bridge .*\(AssertionError\)"),
    "openai-gpt": (_GPT2, "no ln_final"),
    "deepseek_v3 heads that do not fit": ({**_MLA, "head_dim": 6}, "Hugging Face's own model fails"),
    "bert": (_ENCODER, "A norm stands on the stream itself"),
    "bert without head": (_ENCODER, "this bert model cannot be shown: it is an encoder"),
    "bert as a decoder": ({**_ENCODER, "is_decoder": True}, "A norm stands on the stream itself"),
    "roberta as a decoder": ({**_ENCODER, "is_decoder": True}, _UNKNOWN),
    "t5": (
        {"vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, **_IDS},
        "an encoder and a decoder",
    ),
    "vit": ({**_ENCODER, "image_size": 32, "patch_size": 8}, "it does not predict a next token"),
}
REFUSED |= {family: reason for family, (_, reason) in REFUSED_TODAY.items()}
# Where another head than that of a next-token model, or none, is meant.
_HEADS = {
    "bert": "AutoModelForMaskedLM",
    "bert without head": "AutoModel",
    "t5": "AutoModelForSeq2SeqLM",
    "vit": "AutoModelForImageClassification",
}
ALL = FAMILIES | MIXED | TODAY | {family: config for family, (config, _) in REFUSED_TODAY.items()}

# Hybrids, whose edited runs are full passes.
FULL_PASSES = {"olmo_hybrid"} | {family for family in MIXED if "both ways" in family}
PARALLEL = {"gptj", "gpt_neox", "falcon", "phi", "cohere", "stablelm parallel", "cohere2"}
MIXTURES = {"mixtral", "olmoe", "qwen3_moe", "qwen2_moe", "gemma4_text experts beside", "gpt_oss", "granitemoe"} | {
    "minimax_m2"
}
# Sites whose write does not reach the computation, found out by the self-test.
REFUSED_WRITES = {
    "gpt_neo": {"pattern"},
    "gptj": {"pattern"},
    "opt": {"pattern"},
    **{family: {"mlp_post"} for family in MIXTURES},
    "gemma4_text wide heads": {"pattern"},
    "gemma4_text keys as values": {"pattern"},
    "llama4_text": {"pattern"},
    "gemma4_text experts beside": {"mlp_post", "pattern"},
    "bitnet": {"pattern"},  # a norm over all heads stands between what they give and what is projected
    "xglm": {"pattern"},
    # TransformerLens shows q, k and v of latent attention heads first, positions and both of its parts inside.
    **{key: {"q", "k", "v"} for key in ("deepseek_v2", "deepseek_v3", "deepseek_v3 dense")},
}
# The same for some layers only.
REFUSED_AT: dict[str, set[tuple[str, int]]] = {
    "gemma4_text keys as values": {("v", 1), ("v", 3)},
    "qwen3_moe every second": {("mlp_post", 1), ("mlp_post", 3)},
    "ernie4_5_moe": {("mlp_post", 1), ("mlp_post", 3)},
    "glm4_moe": {("mlp_post", 1), ("mlp_post", 2), ("mlp_post", 3)},
    "llama4_text": {("mlp_post", 1), ("mlp_post", 3)},
    "deepseek_v2": {("mlp_post", 2), ("mlp_post", 3)},
    "deepseek_v3": {("mlp_post", 2), ("mlp_post", 3)},
    "olmo_hybrid": {(name, layer) for name in ("q", "k", "v", "z", "pattern") for layer in range(3)} | {("pattern", 3)},
}


def refused_writes(family: str, n_layers: int) -> set[tuple[str, int]]:
    """Return the components and layers of a family that cannot be written."""
    everywhere = REFUSED_WRITES.get(family, set()) | ({"resid_mid"} if family in PARALLEL else set())
    return REFUSED_AT.get(family, set()) | {(name, layer) for name in everywhere for layer in range(n_layers)}


def build(family: str, seed: int = 0) -> Any:
    """Return a random Hugging Face model of `family` (the first word is its model type), in eval mode, float32."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(family.split()[0], **ALL[family])
    torch.manual_seed(seed)
    head = getattr(transformers, _HEADS.get(family, "AutoModelForCausalLM"))
    model = head.from_config(config, attn_implementation="eager")
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
