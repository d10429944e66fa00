"""Small tokenizers of each kind, built offline."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

D_VOCAB = 400
"""At least as many ids as any of these tokenizers has."""


def word_level(words: str = "the cat sat on a mat", *, bos: bool = True, specials: dict[str, str] | None = None) -> Any:
    """One id a word with its leading space; adds ``<bos>`` if `bos`."""
    names = ["<pad>", "<bos>", "<unk>", *(f" {word}" for word in words.split())]
    raw = Tokenizer(models.WordLevel({name: n for n, name in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[^ ]+"), behavior="isolated")
    raw.decoder = decoders.Fuse()
    if bos:
        raw.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    known = {"pad_token": "<pad>", "bos_token": "<bos>", "unk_token": "<unk>"} if specials is None else specials
    return PreTrainedTokenizerFast(tokenizer_object=raw, **known)


def byte_level() -> Any:
    """GPT-2's kind: merges over bytes, one token for BOS, end and unknown, nothing added to a text."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    raw.train_from_iterator(["the capital of France is Paris"] * 10, trainer)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=end, eos_token=end, unk_token=end)


def sentence_piece() -> Any:
    """Llama's kind: ``▁`` for a space, unknown characters as bytes, BOS added."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((f"<0x{b:02X}>", -10.0) for b in range(256))]
    pieces += [("▁", -3.0), ("▁the", -2.0), ("▁capital", -2.0), ("▁▁", -3.0), ("is", -3.0), ("▁Paris", -2.0)]
    raw = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def bert_like() -> Any:
    """BERT's kind: pieces of words, ``[CLS]`` first and ``[SEP]`` last, no BOS."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s"]
    raw = Tokenizer(models.WordPiece({name: n for n, name in enumerate(names)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(tokenizer_object=raw, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]")


def slow() -> Any:
    """A tokenizer written in Python, which gives no offsets: one id a word, a BOS added."""
    from transformers import PreTrainedTokenizer

    class Words(PreTrainedTokenizer):
        vocabulary = ("<unk>", "<bos>", "the", "cat")

        @property
        def vocab_size(self) -> int:
            return len(self.vocabulary)

        def get_vocab(self) -> dict[str, int]:
            return {word: n for n, word in enumerate(self.vocabulary)} | self.added_tokens_encoder

        def _tokenize(self, text: str, **_: Any) -> list[str]:
            return text.split()

        def _convert_token_to_id(self, token: str) -> int:
            return self.vocabulary.index(token) if token in self.vocabulary else 0

        def _convert_id_to_token(self, index: int) -> str:
            return self.vocabulary[index]

        def build_inputs_with_special_tokens(
            self, token_ids_0: list[int], token_ids_1: list[int] | None = None
        ) -> list[int]:
            return [1, *token_ids_0, *(token_ids_1 or [])]

    return Words(bos_token="<bos>", unk_token="<unk>")
