"""A prompt as a field of the header, where it may be a text, token ids or a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel


def prompt_text(prompt: Any) -> str:
    """Return what the field shows: token ids as numbers with spaces between them."""
    if prompt is None:
        return ""
    if hasattr(prompt, "token_ids"):  # a Run stands for its prompt
        prompt = prompt.prompt if isinstance(prompt.prompt, str) else prompt.token_ids
    return prompt if isinstance(prompt, str) else " ".join(str(token) for token in np.ravel(prompt))


def prompt_from_text(model: ResidualModel, name: str, text: str, before: Any) -> Any:
    """Return the prompt that was typed: numbers are ids where there is no tokenizer, or where ids stood `before`.

    Raises
    ------
    InputError
        If a model without a tokenizer is given words.
    """
    parts = text.split()
    numbers = bool(parts) and all(part.isascii() and part.isdigit() for part in parts)
    if numbers and (model.tokenizer is None or not isinstance(before, str | None)):
        return tuple(map(int, parts))
    if model.tokenizer is None and text:
        rule = "the model has no tokenizer, and takes token ids"
        raise InputError.about(name, text, rule, "Type numbers with spaces between them.")
    return text
