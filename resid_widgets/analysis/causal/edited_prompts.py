"""Edited copies of a prompt: what edits make of it, and which position of the copy stands for which of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resid_widgets.analysis.causal.rewrites import Rewrite
from resid_widgets.errors import InputError
from resid_widgets.models.runs.run import Run
from resid_widgets.models.tokenize import tokenize
from resid_widgets.prompts import Given, one_prompt, read
from resid_widgets.results import Check


def edited_prompts(base: Run, prompt: Any, edits: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Return a name and the token ids of each edited prompt.

    Parameters
    ----------
    base, prompt
        The run of the prompt, and the prompt as it was given (None: the run's own).
    edits
        One or several: rewrites, or edited prompts (strings or token ids).

    Raises
    ------
    InputError
        If there is no edit, one is there twice, changes nothing or does not fit the text.
    """
    items = _items(edits)
    found = []
    for item in items:
        text = item.apply(_text_of(base, prompt)) if isinstance(item, Rewrite) else item.content
        ids = _ids(base, text)
        said = item if isinstance(item, Rewrite) else item.content
        if ids == base.token_ids:
            raise InputError.about("edits", said, "it changes nothing in the prompt", "Edit a word.")
        name = str(said) if isinstance(said, Rewrite | str) else f"token ids {list(ids)}"
        found.append((name, ids))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise InputError.about("edits", names, "one is there twice", "Give each once.")
    return found


def _items(edits: Any) -> list[Rewrite | Given]:
    """Return the rewrites and edited prompts, one after the other."""
    if edits is None or (isinstance(edits, Sequence) and not len(edits)):
        example = "For example edits=rw.swap('Mary', 'John'), or the edited text."
        raise InputError.about("edits", edits, "at least one edit is needed", example)
    if isinstance(edits, Rewrite):
        return [edits]
    if isinstance(edits, list | tuple) and any(isinstance(item, Rewrite) for item in edits):
        return [each for item in edits for each in _items(item)]
    return list(read("edits", edits).prompts)


def _ids(base: Run, text: Any) -> tuple[int, ...]:
    model = base.model
    bos = base.provenance.options["bos"] if isinstance(text, str) else None
    return tokenize(model.tokenizer, text, bos=bos, d_vocab=model.d_vocab, n_ctx=model.n_ctx).ids


def _text_of(base: Run, prompt: Any) -> str:
    """Return the prompt as text; that of a Run is put together from its tokens, and checked."""
    content = None if prompt is None else one_prompt("prompt", prompt).content
    if isinstance(content, str):
        return content
    for first in (0, 1):  # with or without the BOS that the tokenizer has added
        text = "".join(base.tokens[first:])
        if base.model.tokenizer is not None and text and _ids(base, text) == base.token_ids:
            return text
    rule = "its text cannot be told from its tokens"
    raise InputError.about("prompt", list(base.token_ids), rule, "Give the prompt as text, or the edited token ids.")


def counterparts_of(ids: Sequence[int], other: Sequence[int]) -> tuple[int | None, ...]:
    """Return for each position its place in another sequence, or None.

    Equal lengths: the same position. Otherwise the longest common beginning and, of the rest, the longest common end.
    """
    n, m = len(ids), len(other)
    if n == m:
        return tuple(range(n))
    start = next((k for k in range(min(n, m)) if ids[k] != other[k]), min(n, m))
    room = min(n, m) - start
    end = next((k for k in range(room) if ids[n - 1 - k] != other[m - 1 - k]), room)
    return tuple(pos if pos < start else pos + m - n if pos >= n - end else None for pos in range(n))


def alignment_check(base: Run, other: Run, places: Sequence[int | None]) -> Check:
    """Say how the two prompts were aligned."""
    if base.n_pos == other.n_pos:
        same = sum(a == b for a, b in zip(base.token_ids, other.token_ids, strict=True))
        text = f"{base.n_pos} tokens each, {base.n_pos - same} differ: compared position by position"
        return Check("alignment", "green", float(base.n_pos - same), None, text)
    lost = sum(place is None for place in places)
    text = (
        f"{base.n_pos} and {other.n_pos} tokens: common beginning and common end are aligned, {lost} position"
        f"{'' if lost == 1 else 's'} between without counterpart. A shifted position alone moves the stream"
    )
    return Check("alignment", "amber", float(lost), None, text)
