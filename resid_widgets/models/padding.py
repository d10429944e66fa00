"""Padding among token ids, and end tokens after a text: what stands in a prompt and is no word of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Padding:
    """What stands before and after a prompt's own tokens.

    Attributes
    ----------
    left_out
        Padded positions that an attention mask named; they are not fed.
    before, after
        Pad tokens that are fed, at the beginning and at the end.
    pad, end
        The text of the pad token, and of the end token that stands last; empty where there is none.
    appended
        Whether the tokenizer itself put that end token there.
    """

    left_out: int = 0
    before: int = 0
    after: int = 0
    pad: str = ""
    end: str = ""
    appended: bool = False


NO_PADDING = Padding()


def padding_of_ids(tokenizer: Any, ids: Sequence[int], masked: tuple[int, int] | None) -> Padding:
    """Look for the tokenizer's pad and end tokens in ids that were given; with a mask, what it keeps is no padding.

    Many tokenizers pad with their end token, or with their BOS: one BOS at the beginning is no pad.
    """
    if tokenizer is None:
        return Padding(left_out=sum(masked or ()))
    pad, end = pad_id(tokenizer), tokenizer.eos_token_id
    if masked is not None:
        found = "" if end is None or ids[-1] != end or is_encoded(tokenizer, ids) else _text(tokenizer, end)
        return Padding(left_out=sum(masked), end=found)
    before, after = _runs(tokenizer, ids)
    if before or after:
        seen = ids[0] if before else ids[-1]
        return Padding(before=before, after=after, pad=_text(tokenizer, pad if pad in ids else seen))
    last = len(ids) > 1 and ids[-1] == end and not is_encoded(tokenizer, ids)
    return Padding(end=_text(tokenizer, end) if last else "")


def trailing_pads(tokenizer: Any, ids: Sequence[int]) -> int:
    """Return how many pad tokens stand at the end of ids that were given."""
    return 0 if tokenizer is None else _runs(tokenizer, ids)[1]


def pad_id(tokenizer: Any) -> int | None:
    """Return the id that batches are padded with: without a pad token, people take the end token."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id


def bos_id(tokenizer: Any) -> int | None:
    """Return the id of the token that begins a text, BOS or CLS."""
    return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id


def is_encoded(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether ids stand between CLS and SEP, as an encoder was trained to see them."""
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    return cls is not None and sep is not None and (ids[0], ids[-1]) == (cls, sep)


def _runs(tokenizer: Any, ids: Sequence[int]) -> tuple[int, int]:
    """Return the number of pad tokens before and after the others; a batch may also be padded with end tokens."""
    pad, end, bos = pad_id(tokenizer), tokenizer.eos_token_id, bos_id(tokenizer)
    marks, n = {pad, end} - {None}, len(ids)
    own = [pos for pos, i in enumerate(ids) if i not in marks]
    if not own:  # one such token alone is a text's beginning
        return 0, 0 if n == 1 else n
    before, after = own[0], n - 1 - own[-1]
    if before and ids[before - 1] == bos:
        before -= 1
    if after and pad != end and ids[n - after] == end and end not in ids[n - after + 1 :]:
        after -= 1  # the text's own end token, with or without pads after it
    if after and is_encoded(tokenizer, ids[: n - after + 1]):
        after -= 1
    return before, after


def _text(tokenizer: Any, token: int | None) -> str:
    return "" if token is None else str(tokenizer.convert_ids_to_tokens(token))
