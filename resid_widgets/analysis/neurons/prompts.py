"""The prompts of a neuron's patterns: their tokens, where they begin among all positions, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.errors import InputError
from resid_widgets.models.prompt_list import Entry
from resid_widgets.models.tokenize import Tokens
from resid_widgets.whole import from_zero

NUMERIC = "label"
"""What labels that are numbers are called together."""


@dataclass(frozen=True)
class Prompts:
    """Prompts as they are fed.

    Attributes
    ----------
    tokens
        Token ids of each, and what was done about BOS.
    positions
        Where a label is read in each: the position that a task's prompt names, or the last that is no pad token.
    labels
        One a prompt, or None where they are not labelled.
    """

    tokens: tuple[Tokens, ...]
    positions: tuple[int, ...]
    labels: tuple[str | float, ...] | None

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """``[prompt + 1]``: the number of each prompt's first position among all, and how many there are in all."""
        return np.concatenate([[0], np.cumsum([len(tokens.ids) for tokens in self.tokens])]).astype(np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, sorted; one name for numbers; none without labels."""
        if self.labels is None:
            return ()
        if all(isinstance(label, float) for label in self.labels):
            return (NUMERIC,)
        return tuple(sorted({str(label) for label in self.labels}))

    @property
    def numeric(self) -> bool:
        """Whether the labels are numbers and not classes."""
        return self.labels is not None and all(isinstance(label, float) for label in self.labels)

    @cached_property
    def targets(self) -> Float[NDArray, "prompt label"]:
        """1 where the prompt is of the class and 0 elsewhere, or the number itself; float64."""
        if self.labels is None:
            return np.zeros((len(self.tokens), 0))
        if self.numeric:
            return np.array(self.labels, dtype=np.float64)[:, None]
        return np.array([[float(label == name) for name in self.names] for label in self.labels])

    def place(self, number: int) -> tuple[int, int]:
        """Return prompt and position of a position's number among all."""
        prompt = int(np.searchsorted(self.starts, number, side="right")) - 1
        return prompt, number - int(self.starts[prompt])


def labelled_prompts(entries: Sequence[Entry], labels: object) -> Prompts:
    """Return prompts with their labels, checked.

    Parameters
    ----------
    entries
        Prompts as `resid_widgets.models.prompt_list.read_prompts` gives them.
    labels
        One a prompt: all numbers, or classes. None takes those that a task's prompts have, where they are of more than
        one class.

    Raises
    ------
    InputError
        If the labels are too few, too many, not finite or all the same.
    """
    tokens = tuple(entry.tokens for entry in entries)
    positions = tuple(_position(number, entry) for number, entry in enumerate(entries))
    if labels is not None:
        return Prompts(tokens, positions, _labels(labels, len(entries)))
    own = [entry.label for entry in entries]
    labelled = None not in own and len(set(map(str, own))) > 1
    return Prompts(tokens, positions, _labels(own, len(entries)) if labelled else None)


def _position(number: int, entry: Entry) -> int:
    n = len(entry.tokens.ids)
    if entry.position is None:
        return entry.tokens.last
    return from_zero(f"prompts[{number}].position", entry.position, n, "the prompt has positions")


def _labels(labels: Any, count: int) -> tuple[str | float, ...]:
    if hasattr(labels, "tolist"):
        labels = labels.tolist()
    if isinstance(labels, str) or not isinstance(labels, Sequence) or len(labels) != count:
        given = f"{len(labels)} labels" if isinstance(labels, Sequence) and not isinstance(labels, str) else labels
        raise InputError.about("labels", given, f"there are {count} prompts", "Give one label for each.")
    if len(set(labels)) < 2:
        raise InputError.about("labels", labels, "they are all the same", "Give prompts of two classes at least.")
    if all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels):
        if not np.isfinite(labels).all():
            raise InputError.about("labels", labels, "some are not finite", "Leave those prompts out.")
        return tuple(map(float, labels))
    return tuple(map(str, labels))
