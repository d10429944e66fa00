"""What a reader must know of how prompts became tokens: unknown words, BOS that stands twice, padding, end tokens."""

from __future__ import annotations

from collections.abc import Sequence

from resid_widgets.models.listing import listed
from resid_widgets.models.padding import Padding
from resid_widgets.models.prompt_list import Entry
from resid_widgets.models.tokenize import Tokens
from resid_widgets.results import Check

NAMES = frozenset({"BOS", "unknown words", "padding", "end token"})
"""What the checks of this file are called."""


def prompt_checks(prompt: Tokens) -> tuple[Check, ...]:
    """Say it of one prompt."""
    found = []
    if prompt.bos_twice:
        text = "the prompt begins with BOS twice: the tokenizer adds one, and one is typed"
        found.append(Check("BOS", "amber", 2.0, 1.0, text))
    if prompt.unknown:
        words = [f"{word.strip()!r} (position {pos})" for pos, word in prompt.unknown]
        found.append(_unknown_check(words, 5))
    padding = prompt.padding
    if padding.left_out:
        found.append(_left_out(padding.left_out, ""))
    if padding.before or padding.after:
        text = f"the ids have {_pads(prompt)}, and no attention mask: {_READ_AS_TEXT}"
        found.append(Check("padding", "amber", float(padding.before + padding.after), 0.0, text))
    if padding.end:
        where = f"position {len(prompt.ids) - 1}, the last one"
        found.append(Check("end token", "amber", 1.0, 0.0, _ended(padding, where)))
    return tuple(found)


def token_checks(entries: Sequence[Entry]) -> tuple[Check, ...]:
    """Say it of many prompts."""
    found = []
    words = [f"{word.strip()!r} (prompt {n})" for n, entry in enumerate(entries) for _, word in entry.tokens.unknown]
    if words:
        found.append(_unknown_check(words, 3))
    twice = [n for n, entry in enumerate(entries) if entry.tokens.bos_twice]
    if twice:
        text = f"{len(twice)} prompts begin with BOS twice (prompt {twice[0]}): the tokenizer adds one, one is typed"
        found.append(Check("BOS", "amber", float(len(twice)), 0.0, text))
    found += _padding_checks([entry.tokens for entry in entries])
    return tuple(found)


_READ_AS_TEXT = (
    "the model reads them as text. 'last' is the last other token, -1 is a pad where they stand at the end. Give the "
    "tokenizer's whole output, whose mask says what is padding"
)


def _padding_checks(prompts: Sequence[Tokens]) -> list[Check]:
    found = []
    left_out = [tokens.padding.left_out for tokens in prompts if tokens.padding.left_out]
    if left_out:
        found.append(_left_out(sum(left_out), f" of {len(left_out)} prompts"))
    padded = [(n, tokens) for n, tokens in enumerate(prompts) if tokens.padding.before or tokens.padding.after]
    if padded:
        named = listed([f"prompt {n} has {_pads(tokens)}" for n, tokens in padded], 3)
        text = f"{named}, and no attention mask: {_READ_AS_TEXT}"
        found.append(Check("padding", "amber", float(len(padded)), 0.0, text))
    ended = [(n, tokens) for n, tokens in enumerate(prompts) if tokens.padding.end]
    if ended:
        where = f"the last position of {len(ended)} of {len(prompts)} prompts (prompt {ended[0][0]})"
        found.append(Check("end token", "amber", float(len(ended)), 0.0, _ended(ended[0][1].padding, where)))
    return found


def _left_out(count: int, of: str) -> Check:
    text = f"{count} padded positions{of} left out, as the attention mask says: position 0 is the first real token"
    return Check("padding", "green", float(count), None, text)


def _pads(tokens: Tokens) -> str:
    """Name the pads, e.g. ``pad tokens '<pad>' at positions 0 .. 2``."""
    n, padding = len(tokens.ids), tokens.padding
    sides = [(0, padding.before)] * bool(padding.before) + [(n - padding.after, n)] * bool(padding.after)
    places = " and ".join(f"{lo} .. {hi - 1}" if hi - lo > 1 else str(lo) for lo, hi in sides)
    return f"pad tokens {padding.pad!r} at positions {places}"


def _ended(padding: Padding, where: str) -> str:
    if padding.appended:
        who = f"the tokenizer puts the end token {padding.end!r} after each text"
        remedy = "load it with add_eos_token=False, or give ids without it"
    else:
        who = f"the ids end with the end token {padding.end!r}, which may also be padding"
        remedy = "give ids without it where the text's own end is meant"
    return f"{who}: {where}, is that token, and what is read there is read after the text's end; {remedy}"


def _unknown_check(words: Sequence[str], most: int) -> Check:
    text = f"the tokenizer does not know {listed(words, most)}"
    return Check("unknown words", "amber", float(len(words)), 0.0, text)
