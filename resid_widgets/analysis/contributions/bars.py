"""A tree of contributions as bars, one below the other: where each begins, and which of them are on show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from resid_widgets.analysis.contributions.branches import Tree
from resid_widgets.analysis.contributions.tree import Part

AT_HAND = 64
"""Parts that come along with a closed bar, so that it opens without asking; more are left out until it is open."""


@dataclass(frozen=True, eq=False)
class Bar:
    """One row.

    Attributes
    ----------
    part
        What it is of.
    depth
        How many bars it stands inside of.
    start
        Where it begins in a waterfall: where the one before it ends, or where that begins which it is part of.
    """

    part: Part
    depth: int
    start: float

    @property
    def end(self) -> float:
        """Where it ends in a waterfall."""
        return self.start + self.part.value


def bars_of(tree: Tree, opened: Collection[str], *, at_hand: bool = False) -> list[Bar]:
    """Return the bars on show from the top down, the total last.

    Parameters
    ----------
    opened
        Keys of bars that are open.
    at_hand
        Whether what is in closed bars comes along, where that is little.
    """
    return [*_inside(tree.parts, opened, 0, 0.0, at_hand), Bar(tree.total, 0, 0.0)]


def _inside(parts: Sequence[Part], opened: Collection[str], depth: int, start: float, at_hand: bool) -> Iterator[Bar]:
    for part in parts:
        yield Bar(part, depth, start)
        if part.key in opened or (at_hand and _count(part.parts) <= AT_HAND):
            yield from _inside(part.parts, opened, depth + 1, start, at_hand)
        start += part.value


def _count(parts: Sequence[Part]) -> int:
    return sum(1 + _count(part.parts) for part in parts)
