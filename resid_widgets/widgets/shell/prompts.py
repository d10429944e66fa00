"""A prompt as a field of the header, where it may be a text, token ids or a run."""

from __future__ import annotations

from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.models.tokenize import tokenize
from resid_widgets.prompts import read


def prompt_text(prompt: Any) -> str:
    """Return what the field shows: token ids as numbers with spaces between them."""
    if prompt is None:
        return ""
    if isinstance(prompt, Run):
        content = text_of(prompt.model, prompt.token_ids)
    else:
        found = [given.content for given in read("prompt", prompt).prompts]
        content = found[0] if len(found) == 1 else [part for each in found for part in _parts(each)]
    return content if isinstance(content, str) else " ".join(map(str, content))


def _parts(content: str | tuple[int, ...]) -> tuple[str | int, ...]:
    return (content,) if isinstance(content, str) else content


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


def text_of(model: ResidualModel, ids: tuple[int, ...]) -> str | tuple[int, ...]:
    """Return the text of token ids where running it gives them again, else the ids."""
    if model.tokenizer is None:
        return ids
    text = "".join(model.token_strings(list(ids[1 if model.adds_bos else 0 :])))
    for candidate in (text, text.lstrip(" ")):
        try:
            if candidate and _ids(model, candidate) == ids:
                return candidate
        except InputError:
            continue
    return ids


def _ids(model: ResidualModel, text: str) -> tuple[int, ...]:
    return tokenize(model.tokenizer, text, bos=None, d_vocab=model.d_vocab, n_ctx=model.n_ctx).ids
