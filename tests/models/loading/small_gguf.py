"""A tiny Llama in a GGUF file, written with the gguf package's own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

WORDS = ["<unk>", "<s>", "</s>", "the", "Ġthe", "Ġcat", "Ġsat", *"abcehst", "Ġ"]
MERGES = ["t h", "th e", "Ġ the", "Ġ c", "Ġc a", "Ġca t", "Ġ s", "Ġs a", "Ġsa t"]
D_MODEL, LAYERS, HEADS, KEY_HEADS, D_MLP, N_CTX = 32, 2, 4, 2, 48, 64


def words() -> list[str]:
    pieces = dict.fromkeys(WORDS)
    pieces.update(dict.fromkeys("".join(merge.split(" ")) for merge in MERGES))
    return list(pieces)


def weights() -> dict[str, Any]:
    """Random tensors under GGUF's names."""
    generator = np.random.default_rng(0)

    def matrix(*shape: int) -> Any:
        return (generator.standard_normal(shape) * 0.2).astype(np.float32)

    d_head = D_MODEL // HEADS
    found = {"token_embd.weight": matrix(len(words()), D_MODEL), "output.weight": matrix(len(words()), D_MODEL)}
    found["output_norm.weight"] = 1 + matrix(D_MODEL)
    for layer in range(LAYERS):
        found |= {
            f"blk.{layer}.attn_norm.weight": 1 + matrix(D_MODEL),
            f"blk.{layer}.attn_q.weight": matrix(D_MODEL, D_MODEL),
            f"blk.{layer}.attn_k.weight": matrix(KEY_HEADS * d_head, D_MODEL),
            f"blk.{layer}.attn_v.weight": matrix(KEY_HEADS * d_head, D_MODEL),
            f"blk.{layer}.attn_output.weight": matrix(D_MODEL, D_MODEL),
            f"blk.{layer}.ffn_norm.weight": 1 + matrix(D_MODEL),
            f"blk.{layer}.ffn_gate.weight": matrix(D_MLP, D_MODEL),
            f"blk.{layer}.ffn_up.weight": matrix(D_MLP, D_MODEL),
            f"blk.{layer}.ffn_down.weight": matrix(D_MODEL, D_MLP),
        }
    return found


def write(path: Path) -> Path:
    """Write the model to `path` and return it."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny llama")
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(D_MODEL)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(D_MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(D_MODEL // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(words()))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words())
    writer.add_token_types([3 if word.startswith("<") else 1 for word in words()])
    writer.add_token_merges(MERGES)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, value in weights().items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
