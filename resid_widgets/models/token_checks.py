"""What a reader must know of how text became tokens: words that the tokenizer does not know, BOS that stands twice."""

from __future__ import annotations

from collections.abc import Sequence

from resid_widgets.models.listing import listed
from resid_widgets.models.prompt_list import Entry
from resid_widgets.models.tokenize import Tokens
from resid_widgets.results import Check


def prompt_checks(prompt: Tokens) -> tuple[Check, ...]:
    """Say it of one prompt."""
    found = []
    if prompt.bos_twice:
        text = "the prompt begins with BOS twice: the tokenizer adds one, and one is typed"
        found.append(Check("BOS", "amber", 2.0, 1.0, text))
    if prompt.unknown:
        words = [f"{word.strip()!r} (position {pos})" for pos, word in prompt.unknown]
        found.append(_unknown_check(words, 5))
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
    return tuple(found)


def _unknown_check(words: Sequence[str], most: int) -> Check:
    text = f"the tokenizer does not know {listed(words, most)}"
    return Check("unknown words", "amber", float(len(words)), 0.0, text)
