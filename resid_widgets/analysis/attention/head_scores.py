"""The numbers by which heads can be sorted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """One number of a head.

    Attributes
    ----------
    label, units
        What it is called.
    sentence
        What it is.
    signed
        Whether it can be negative; heads are then in order of its size.
    first
        Which heads come first in its order: the ``"largest"`` or the ``"smallest"``.
    """

    label: str
    units: str
    sentence: str
    signed: bool = False
    first: str = "largest"


SCORES: Mapping[str, Score] = {
    "induction": Score("induction", "", "attention to the token after an earlier occurrence of the same token"),
    "previous_token": Score("previous token", "", "attention to the token before"),
    "duplicate_token": Score("duplicate token", "", "attention to earlier occurrences of the same token"),
    "first_token": Score("first token", "", "attention to position 0, mostly a sink"),
    "entropy": Score("entropy", "nats", "how widely a row is spread", first="smallest"),
    "direct": Score("direct effect", "logits", "what the head writes into the answer by itself", signed=True),
    "causal": Score("effect when ablated", "", "change of the answer when the head is set to its mean", signed=True),
    "change": Score("change", "", "the pattern's largest change under the interventions"),
}
"""What heads can be sorted by, and what each is: means over rows but for the effects and the change."""

OF_PATTERNS = ("induction", "previous_token", "duplicate_token", "first_token", "entropy")
EFFECTS = ("direct", "causal")
