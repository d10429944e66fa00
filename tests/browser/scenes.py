"""What the notebooks, pages and apps of the browser tests show. They import this inside their own kernels."""

from __future__ import annotations

import resid_widgets as rw

SENTENCE = "When Mary and John went to the store, John gave a drink to"

# Texts that break axes, tooltips, panels and files: markup, quotes, white space, what is invisible, what turns around,
# what is wide, what is no character at all.
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=\"alert('img')\">",
    "</script><svg onload=alert(2)>",
    "&lt;b&gt;&amp;",
    "\"double\" 'single' `back`",
    "${alert(3)}{{7*7}}",
    "two\nlines",
    "\ttab\r",
    "  spaces ",
    "zero\u200bwidth\u200d",
    "\u202egnitaler\u202c",
    " שלום",
    " مرحبا",
    "👩\u200d🚀🇯🇵",
    "<0xE2>",
    "\ufffd",
    "\x00\x1b[31m",
    "e\u0301\u0301\u0301",
    "x" * 300,
    "$\\frac{1}{2}$",
)


def worded_model(words: tuple[str, ...], layers: int = 4, width: int = 32, context: int = 64) -> rw.ResidualModel:
    """Return a random Llama whose vocabulary is `words`, token id = place in it."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pieces = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token=words[0]))
    pieces.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, clean_up_tokenization_spaces=False)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=None,
    )
    return rw.load_model((LlamaForCausalLM(config).eval(), tokenizer), copy=False, progress=False)


def hostile_run() -> rw.Run:
    """Return a run over every text of `HOSTILE`."""
    return rw.run(worded_model(HOSTILE), list(range(len(HOSTILE))))


def long_run(positions: int = 300, layers: int = 4) -> rw.Run:
    """Return a run over many positions."""
    words = tuple(f" {word}" for word in SENTENCE.split()) + tuple(f" word{n}" for n in range(80))
    ids = [(n * 7 + n // 13) % len(words) for n in range(positions)]
    return rw.run(worded_model(words, layers, context=positions), ids)
