"""Many prompts, read once: their token ids, and the label, group and position that came with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.tokenize import Tokens, tokenize

Label = str | int | float | bool | None
"""What a prompt's label or group may be: something that a JSON file holds exactly."""


@dataclass(frozen=True)
class Entry:
    """One prompt of many.

    Attributes
    ----------
    tokens
        What is fed.
    label, group
        As the prompt stated them, else None.
    position
        The position that the prompt itself names, counted in `tokens`, else None.
    """

    tokens: Tokens
    label: Label = None
    group: Label = None
    position: int | None = None


def read_prompts(model: ResidualModel, prompts: object, bos: bool | None) -> list[Entry]:
    """Tokenize prompts: strings, token ids, or labelled ones as those of `resid_widgets.tasks`.

    A labelled prompt is anything with a ``text``; its ``label``, ``group`` and ``position`` are taken where it has
    them. A task stands for its prompts.

    Raises
    ------
    InputError
        If there are none, or if one of them cannot be read; it is named by its index.
    """
    prompts = getattr(prompts, "prompts", prompts)
    if isinstance(prompts, str | bytes) or not isinstance(prompts, Iterable):
        raise InputError.about("prompts", prompts, "several prompts are needed", "Give a list, also of one prompt.")
    listed = list(prompts)
    if not listed:
        raise InputError.about("prompts", prompts, "there are none", "Give at least one.")
    return [_entry(model, number, prompt, bos) for number, prompt in enumerate(listed)]


def _entry(model: ResidualModel, number: int, prompt: Any, bos: bool | None) -> Entry:
    text = getattr(prompt, "text", prompt)
    if isinstance(text, int | np.integer) or text is None or getattr(text, "ndim", 1) == 0:
        rule = "each prompt must be a string, token ids, or have a .text"
        raise InputError.about(f"prompts[{number}]", prompt, rule, "For one prompt of ids give [ids].")
    try:
        tokens = tokenize(model.tokenizer, text, bos=bos, d_vocab=model.d_vocab, n_ctx=model.n_ctx)
    except InputError as error:
        raise InputError(f"prompts[{number}]: {error}") from error
    if text is prompt:
        return Entry(tokens)
    position = getattr(prompt, "position", None)
    label, group = (_label(number, prompt, name) for name in ("label", "group"))
    return Entry(tokens, label, group, None if position is None else int(position) + _shift(tokens, bos, text))


def _shift(tokens: Tokens, bos: bool | None, text: object) -> int:
    """How far `bos` moved the tokens: a prompt counts its own position with the tokenizer's default."""
    if bos is None or not isinstance(text, str):
        return 0
    return {"BOS added as asked": 1, "BOS left out as asked": -1}.get(tokens.bos, 0)


def _label(number: int, prompt: Any, name: str) -> Label:
    value = getattr(prompt, name, None)
    value = value.item() if isinstance(value, np.generic) else value
    if value is not None and not isinstance(value, str | int | float):
        rule = "a label or group must be a string, a number or None"
        raise InputError.about(f"prompts[{number}].{name}", value, rule, "Convert it first.")
    return value
