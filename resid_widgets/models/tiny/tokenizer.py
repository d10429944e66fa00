"""The tiny model's tokenizer: whole words that carry their leading space, and ``<unk>`` for all others."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from resid_widgets.models.tiny.vocabulary import PIECE, vocabulary

UNK, BOS, PAD = "<unk>", "<bos>", "<pad>"
SPECIALS = (UNK, BOS, PAD)


def word_ids() -> dict[str, int]:
    """Piece to token id, specials first."""
    return {piece: i for i, piece in enumerate((*SPECIALS, *vocabulary()))}


def build_tokenizer(n_ctx: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer. It adds ``<bos>`` by its own default, and ``<bos>`` also ends a text, as in the corpus."""
    ids = word_ids()
    core = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE.pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, ids[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=BOS,
        pad_token=PAD,
        padding_side="right",
        model_max_length=n_ctx,
        clean_up_tokenization_spaces=False,
    )
