"""Pairs of prompts: clean and corrupt, of equal length, with their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.tokenize import Tokens, tokenize
from resid_widgets.prompts import Found, Given, read
from resid_widgets.tokens import visible


@dataclass(frozen=True)
class Pair:
    """Two prompts of equally many tokens, with how those came about."""

    clean_tokens: Tokens
    corrupt_tokens: Tokens

    @property
    def clean(self) -> tuple[int, ...]:
        """Token ids."""
        return self.clean_tokens.ids

    @property
    def corrupt(self) -> tuple[int, ...]:
        """Token ids."""
        return self.corrupt_tokens.ids


def as_pairs(model: ResidualModel, clean: Any, corrupt: Any, bos: bool | None) -> tuple[list[Pair], bool]:
    """Return one or several pairs, checked, and whether they came as several.

    Parameters
    ----------
    clean, corrupt
        A prompt each, of any kind that `resid_widgets.prompts.read` knows; or a list or table each, of equal number.

    Raises
    ------
    InputError
        If the numbers differ, a pair's lengths differ (shown aligned), or its prompts are the same.
    """
    sides = [_side(name, given) for name, given in (("clean", clean), ("corrupt", corrupt))]
    counts = [len(side.prompts) for side in sides]
    several = any(side.several for side in sides)
    if counts[0] != counts[1] or any(several and not (side.several or side.row) for side in sides):
        rule = f"there are {counts[0]} clean and {counts[1]} corrupt prompts"
        raise InputError.about("clean, corrupt", counts, rule, "Give one each, or lists of equal length.")
    given = zip(sides[0].prompts, sides[1].prompts, strict=True)
    return [_pair(model, *two, bos, f" of pair {n}" if several else "") for n, two in enumerate(given)], several


def _side(name: str, given: Any) -> Found:
    try:
        return read("prompt", given)
    except InputError as error:
        raise InputError(f"{name} prompt: {error}") from error


def _pair(model: ResidualModel, clean: Given, corrupt: Given, bos: bool | None, which: str) -> Pair:
    tokens = []
    for name, prompt in (("clean", clean), ("corrupt", corrupt)):
        try:
            tokens.append(tokenize(model.tokenizer, prompt, bos=bos, d_vocab=model.d_vocab, n_ctx=model.n_ctx))
        except InputError as error:
            raise InputError(f"{name} prompt{which}: {error}") from error
    ids = [each.ids for each in tokens]
    if len(ids[0]) != len(ids[1]):
        raise InputError(
            f"The prompts{which} have {len(ids[0])} and {len(ids[1])} tokens, and patching needs equal lengths:\n"
            f"{aligned(model, *ids)}\nChange one of them so that each token has its counterpart."
        )
    if ids[0] == ids[1]:
        rule = "clean and corrupt are the same tokens, so that there is nothing to patch"
        raise InputError.about(f"corrupt{which}", corrupt.content, rule, "Change a word that matters to the answer.")
    return Pair(*tokens)


def aligned(model: ResidualModel, clean: Sequence[int], corrupt: Sequence[int]) -> str:
    """Return two token sequences one above the other, with a mark under each position that differs."""
    texts = [[visible(token) for token in model.token_strings(list(ids))] for ids in (clean, corrupt)]
    count = max(map(len, texts))
    rows = [text + ["∅"] * (count - len(text)) for text in texts]
    widths = [max(len(a), len(b)) for a, b in zip(*rows, strict=True)]
    marks = ["^" * width if a != b else "" for a, b, width in zip(*rows, widths, strict=True)]
    named = (("clean   ", rows[0]), ("corrupt ", rows[1]), ("        ", marks))
    return "\n".join(
        name + " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for name, row in named
    )
