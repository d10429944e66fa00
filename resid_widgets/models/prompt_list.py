"""Many prompts, read once: their token ids, and the label, group and position that came with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.tokenize import Tokens, tokenize
from resid_widgets.prompts import Given, read
from resid_widgets.whole import is_whole

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
    """Tokenize prompts of every kind that `resid_widgets.prompts.read` knows.

    Of a labelled prompt or a row, ``label``, ``group`` and ``position`` are taken where it has them. A task stands for
    its prompts.

    Raises
    ------
    InputError
        If there are none, or if one of them cannot be read; it is named by its index.
    """
    if isinstance(prompts, str | bytes) or prompts is None or is_whole(prompts):
        raise InputError.about("prompts", prompts, "several prompts are needed", "Give a list, also of one prompt.")
    found = read("prompts", prompts)
    if not found.several and not found.row:
        content = found.prompts[0].content
        if not isinstance(content, str) and isinstance(prompts, Iterable) and not isinstance(prompts, Mapping):
            rule = "each prompt must be a string, token ids, or have a .text"
            raise InputError.about("prompts[0]", content[0], rule, "For one prompt of ids give [ids].")
        raise InputError.about("prompts", prompts, "several prompts are needed", "Give a list, also of one prompt.")
    return [_entry(model, number, given, bos) for number, given in enumerate(found.prompts)]


def _entry(model: ResidualModel, number: int, given: Given, bos: bool | None) -> Entry:
    try:
        tokens = tokenize(model.tokenizer, given, bos=bos, d_vocab=model.d_vocab, n_ctx=model.n_ctx)
    except InputError as error:
        raise InputError(f"prompts[{number}]: {error}") from error
    label, group = (_label(number, given, name) for name in ("label", "group"))
    return Entry(tokens, label, group, _position(number, given, tokens, bos))


def _position(number: int, given: Given, tokens: Tokens, bos: bool | None) -> int | None:
    """Return the position that a prompt names, counted in what is fed."""
    try:
        place = given.place
    except InputError as error:
        raise InputError(f"prompts[{number}].{error}") from error
    return place if place is None or place < 0 else place + _MOVED.get(tokens.bos, 0)


_MOVED = {"BOS added as asked": 1, "BOS left out as asked": -1}
"""How far `bos` moves the tokens of a text."""


def _label(number: int, given: Given, name: str) -> Label:
    value = getattr(given, name)
    value = value.item() if isinstance(value, np.generic) or getattr(value, "ndim", None) == 0 else value
    if value is not None and not isinstance(value, str | int | float):
        rule = "a label or group must be a string, a number or None"
        raise InputError.about(f"prompts[{number}].{name}", value, rule, "Convert it first.")
    return value
