"""From what a user types to token ids, and back to text that can be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.padding import NO_PADDING, Padding, bos_id, is_encoded, padding_of_ids
from resid_widgets.prompts import Given, one_prompt
from resid_widgets.whole import whole

_METASPACE = "\u2581"
"""What SentencePiece writes for a space."""

_BYTE_PIECE = re.compile("<0x[0-9A-Fa-f]{2}>")
"""A SentencePiece token that is one byte."""


@dataclass(frozen=True)
class Tokens:
    """Token ids of one prompt and how they came about.

    Attributes
    ----------
    ids
        ``[pos]``, the first token fed at position 0, BOS included.
    bos
        What was done about BOS, in words.
    unknown
        Position and text of each word that the tokenizer does not know.
    bos_twice
        The prompt begins with two BOS, one of them typed.
    padding
        Padding and end tokens: what is fed, or was left out, and is no word of the text.
    """

    ids: tuple[int, ...]
    bos: str
    unknown: tuple[tuple[int, str], ...] = ()
    bos_twice: bool = False
    padding: Padding = NO_PADDING

    @property
    def last(self) -> int:
        """The last position that is no pad token."""
        n = len(self.ids)
        return n - 1 - (self.padding.after if self.padding.after < n else 0)


def tokenize(tokenizer: Any, prompt: Any, *, bos: Any, d_vocab: int, n_ctx: int | None) -> Tokens:
    """Turn a prompt of any kind that `resid_widgets.prompts.read` knows into `Tokens`, which are returned as they are.

    Strings follow the tokenizer's own BOS default unless `bos` says otherwise; ids are used as given, without the
    positions that an attention mask leaves out.

    Raises
    ------
    InputError
        For an empty prompt, ids of another shape or out of range, more tokens than the context, a string
        without a tokenizer, or ``bos=True`` where there is no BOS token.
    """
    if isinstance(prompt, Tokens):
        return prompt
    if bos is not None and not isinstance(bos, bool):
        raise InputError.about("bos", bos, "must be True, False or None", "None follows the tokenizer.")
    given = prompt if isinstance(prompt, Given) else one_prompt("prompt", prompt)
    content = given.content
    tokens = _from_text(tokenizer, content, bos) if isinstance(content, str) else _from_ids(tokenizer, given, bos)
    bad = next((i for i in tokens.ids if not 0 <= i < d_vocab), None)
    if bad is not None:
        raise InputError.about("token id", bad, f"must lie in 0 .. {d_vocab - 1}", "Use ids of this model's tokenizer.")
    if n_ctx is not None and len(tokens.ids) > n_ctx:
        raise InputError.about(
            "prompt",
            f"{len(tokens.ids)} tokens",
            f"the model's context holds {n_ctx} tokens",
            f"Shorten it by {len(tokens.ids) - n_ctx} tokens.",
        )
    return tokens


def _from_text(tokenizer: Any, prompt: str, bos: bool | None) -> Tokens:
    if tokenizer is None:
        raise InputError.about(
            "prompt", prompt, "this model has no tokenizer", "Give token ids, or load it with tokenizer=..."
        )
    if not prompt:
        raise InputError.about("prompt", prompt, "it is empty", "Type at least one word.")
    _require_characters("prompt", prompt)
    bare = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if not bare:
        raise InputError.about("prompt", prompt, "the tokenizer makes no token of it", "Type at least one word.")
    encoded = tokenizer(prompt, return_offsets_mapping=bool(getattr(tokenizer, "is_fast", False)))
    ids = [int(i) for i in encoded["input_ids"]]
    offsets = [tuple(o) for o in encoded.get("offset_mapping", [])]
    first = bos_id(tokenizer)
    typed, added = bare[0] == first, _adds_first(ids, bare, first)
    padding = _end_of(tokenizer, ids, bare)
    said = "BOS added" if added else "BOS typed in the prompt" if typed else "no BOS"
    if bos is True and not added and not typed:
        if first is None:
            raise InputError.about("bos", bos, "this tokenizer has no BOS token", "Use bos=None.")
        ids, offsets, said = [int(first), *ids], [(0, 0), *offsets] if offsets else [], "BOS added as asked"
    elif bos is False and added:
        ids, offsets, said, added = ids[1:], offsets[1:], "BOS left out as asked", False
    return Tokens(tuple(ids), said, _unknown(tokenizer, prompt, ids, offsets), typed and added, padding)


def _end_of(tokenizer: Any, ids: list[int], bare: list[int]) -> Padding:
    """Say which token the tokenizer has put after the text, if any; that of an encoder belongs there."""
    start = next((n for n in range(len(ids) - len(bare) + 1) if ids[n : n + len(bare)] == bare), None)
    if start is None or start + len(bare) == len(ids) or is_encoded(tokenizer, ids):
        return NO_PADDING
    return Padding(end=piece_text(tokenizer, ids[-1]), appended=True)


def _unknown(
    tokenizer: Any, prompt: str, ids: list[int], offsets: list[tuple[int, int]]
) -> tuple[tuple[int, str], ...]:
    """Position and text of each unknown word; `offsets` is empty where the tokenizer gives none."""
    # Some tokenizers reuse one id for BOS, end of text and unknown: only text that is not that token's own counts.
    token, token_id = tokenizer.unk_token, tokenizer.unk_token_id
    if offsets:
        words = [prompt[start:end] if end > start else "" for start, end in offsets]
    else:
        typed = token is None or token in prompt or token == tokenizer.bos_token
        words = ["" if typed else "a word"] * len(ids)
    found = zip(range(len(ids)), ids, words, strict=True)
    return tuple((pos, word) for pos, i, word in found if i == token_id and word.strip() not in ("", token))


def _from_ids(tokenizer: Any, given: Given, bos: bool | None) -> Tokens:
    if bos is not None:
        raise InputError.about("bos", bos, "token ids are used exactly as given", "Leave bos out, or give a string.")
    ids = tuple(int(i) for i in given.content)
    return Tokens(ids, "ids as given", padding=padding_of_ids(tokenizer, ids, given.masked))


def bos_added_by_default(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts its BOS (or CLS) first."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    return _adds_first(tokenizer("a")["input_ids"], bare, bos_id(tokenizer))


def _adds_first(ids: list[int], bare: list[int], first: int | None) -> bool:
    """Whether `ids` is `bare` with a BOS before it, that the text itself does not have."""
    return ids[:1] == [first] and ids[1 : 1 + len(bare)] == bare and len(ids) > len(bare)


def _require_characters(name: str, text: str) -> None:
    """Refuse half a surrogate pair, which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        rule = f"at {error.start} it holds {text[error.start]!r}, half of a surrogate pair and no character"
        raise InputError.about(name, text, rule, "Read the text with the right encoding.") from error


def piece_text(tokenizer: Any, token_id: int) -> str:
    """Text of one token: leading spaces kept, bytes that are no whole character as ``<0xE2>``."""
    if tokenizer is None:
        return f"[{token_id}]"
    try:
        piece = tokenizer.convert_ids_to_tokens(token_id)
        text = tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
    except (IndexError, KeyError):  # tokenizers written in Python raise on ids that only pad the vocabulary
        piece, text = None, ""
    if piece is None:
        return text or f"[{token_id}]"
    if "\ufffd" in text and "\ufffd" not in piece:
        table = _byte_characters()
        if _BYTE_PIECE.fullmatch(piece) or not all(c in table for c in piece):
            return piece
        return "".join(f"<0x{table[c]:02X}>" for c in piece)
    # SentencePiece decoders drop a space at the start; the piece still has it.
    spaces = len(piece) - len(piece.lstrip(_METASPACE))
    if spaces and not text.startswith(_METASPACE):
        return " " * spaces + text.lstrip(" ")
    return text or piece


@lru_cache(maxsize=1)
def _byte_characters() -> dict[str, int]:
    """The printable character that byte-level BPE uses for each byte (GPT-2's table), inverted."""
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [b for b in range(256) if b not in keep]
    table = {chr(b): b for b in keep}
    table.update({chr(256 + n): b for n, b in enumerate(moved)})
    return table


def single_token_id(tokenizer: Any, token: Any, d_vocab: int) -> int:
    """Return the id of `token`, an id or a string that is exactly one token.

    Raises
    ------
    InputError
        Otherwise, with the pieces that the string falls into.
    """
    number = whole(token)
    if number is not None:
        if not 0 <= number < d_vocab:
            raise InputError.about("token", number, f"ids lie in 0 .. {d_vocab - 1}", "Check the id.")
        return number
    if not isinstance(token, str) or not token:
        raise InputError.about("token", token, "a non-empty string or a token id is needed", "Check its type.")
    if tokenizer is None:
        raise InputError.about("token", token, "this model has no tokenizer", "Give the token's id.")
    _require_characters("token", token)
    token = str(token)
    ids = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) == 1 and _is_known(tokenizer, token, ids[0]):
        return int(ids[0])
    other = token[1:] if token.startswith(" ") else " " + token
    others = tokenizer.encode(other, add_special_tokens=False) if other else []
    one = len(others) == 1 and _is_known(tokenizer, other, others[0])
    if len(ids) == 1:
        remedy = f"Try {other!r}, which it knows." if one else "Use a word of its vocabulary."
        raise InputError.about("token", token, "the tokenizer does not know it", remedy)
    pieces = [piece_text(tokenizer, i) for i in ids]
    remedy = f"Try {other!r}, which is one token." if one else "Use a word that is one token."
    raise InputError.about("token", token, f"it is {len(ids)} tokens {pieces}, one is needed", remedy)


def _is_known(tokenizer: Any, token: str, token_id: int) -> bool:
    return token_id != tokenizer.unk_token_id or token == tokenizer.unk_token
