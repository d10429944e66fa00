"""What the tiny model can read and say: how a text is cut into pieces, and which pieces there are."""

from __future__ import annotations

import re

from resid_widgets.models.tiny import words as w
from resid_widgets.models.tiny.templates import TEMPLATES

PIECE = re.compile(r" ?\w+| ?[^\w\s]|\s")


def pieces(text: str) -> list[str]:
    """Cut a text into words that carry their leading space, as the tiny tokenizer does."""
    return PIECE.findall(text)


def vocabulary() -> list[str]:
    """Every piece that the corpus can say, in a fixed order.

    All words carry a leading space, except where a document can begin with them: those stand in both forms.
    """
    frames = [piece for kind in TEMPLATES.values() for frame in kind for piece in _frame_pieces(frame)]
    fixed = [" she", " he", " was", *(f" {word}" for word in w.VERDICTS.values())]
    fixed += [f" {continent}" for _, continent in w.CAPITALS.values()]
    slots = [f" {word}" for pair in (*w.NOUNS, *w.VERBS) for word in pair]
    slots += [f" {word}" for word in (*w.PREPOSITIONS, *w.CONTENT)]
    starts = [f" {piece}" for piece in frames if piece[0].isalpha()]
    return w.unique([".", ",", *frames, *starts, *fixed, *slots, *w.CONTENT])


def _frame_pieces(frame: str) -> list[str]:
    """The pieces of a sentence frame that are not slots."""
    parts = re.split(r"\{\w+\}", frame)
    # A slot's leading space belongs to the slot's word.
    parts = [part.removesuffix(" ") for part in parts[:-1]] + parts[-1:]
    return [piece for part in parts for piece in pieces(part)]
