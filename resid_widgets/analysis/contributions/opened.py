"""Contributions with some of their bars opened: what a picture of them shows, as a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from resid_widgets.analysis.contributions.bars import Bar, bars_of
from resid_widgets.analysis.contributions.branches import Tree, tree_of
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.results import Check, Result

if TYPE_CHECKING:
    import pandas as pd

SHAPES = {"waterfall": "waterfall", "bars": "bars"}
"""How bars are drawn: each from where the one before it ends, or all from zero."""

_LEVELS = ("green", "amber", "red")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class OpenedContributions(Result):
    """What a chart of contributions shows. Made by `opened_contributions`.

    Attributes
    ----------
    values
        Those of the first of `contributions`.
    contributions
        The first is the whole sum; others open layers of it.
    by
        What the bars are of before any is opened: one of `resid_widgets.analysis.contributions.branches.VIEWS`.
    opened
        Keys of the bars that are open.
    shape
        Key of `SHAPES`.
    asks
        What further results could open, see `tree_of`.
    """

    contributions: tuple[Contributions, ...]
    by: str
    opened: tuple[str, ...]
    shape: str
    asks: Mapping[str, Sequence[int]]

    @cached_property
    def tree(self) -> Tree:
        """All that is known."""
        return tree_of(self.contributions, self.by, self.asks)

    @property
    def bars(self) -> list[Bar]:
        """The bars on show, from the top down."""
        return bars_of(self.tree, self.opened)

    @property
    def first(self) -> Contributions:
        """The whole sum."""
        return self.contributions[0]

    @property
    def title(self) -> str:
        """What the picture is called."""
        return self.first.title.partition(" · ")[0]

    @property
    def sentence(self) -> str:
        """What it shows, and what it does not prove."""
        folded = (
            f" Bars under {self.tree.limit:.2g} are summed as others."
            if any(part.key.endswith("others") for part in self.tree)
            else ""
        )
        return self.first.sentence.replace(f"What each {self.first.by} ", "What each part ", 1) + folded

    def code(self) -> str:
        """Return a short script that makes the same numbers with TransformerLens and PyTorch alone."""
        return "\n".join(each.script for each in self.contributions)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a bar on show; those of depth 0 and no others add up to the last, the total."""
        import pandas as pd

        rows = []
        for bar in self.bars:
            low, high = bar.part.amount.interval or (None, None)
            at = {name: bar.part.at.get(name) for name in ("layer", "head", "neuron", "pos")}
            places = {"depth": bar.depth, "start": bar.start, "low": low, "high": high}
            rows.append({"part": bar.part.key, "name": bar.part.name, **at, "value": bar.part.value, **places})
        table = pd.DataFrame(rows)
        numbers = dict.fromkeys(("layer", "head", "neuron", "pos"), "Int64")
        return table.astype({**numbers, "low": "float64", "high": "float64"})


def opened_contributions(
    results: Sequence[Contributions],
    by: str,
    opened: Sequence[str] = (),
    shape: str = "waterfall",
    asks: Mapping[str, Sequence[int]] | None = None,
) -> OpenedContributions:
    """Return contributions to one number with some bars open.

    Parameters
    ----------
    results
        The first is the whole sum; others open layers of it.
    by, opened, shape, asks
        As in `OpenedContributions`.
    """
    first = results[0]
    return OpenedContributions(
        values=first.values,
        checks=_worst(results),
        provenance=first.provenance,
        contributions=tuple(results),
        by=by,
        opened=tuple(opened),
        shape=shape,
        asks=asks or {},
    )


VIEWS_OF = {
    "component": ("layer", "component"),
    "layer": ("layer",),
    "head": ("head", "layer", "component"),
    "source": ("layer", "component", "head"),
    "neuron": ("neuron", "layer", "component"),
}
"""What the bars of one result can be of, by what it is split by; the first is that at first."""


def as_opened(result: Contributions) -> OpenedContributions:
    """Return one result as bars, none of them open."""
    by = VIEWS_OF[result.by][0] if result.by != "component" else "component"
    return opened_contributions([result], by)


def _worst(results: Sequence[Contributions]) -> tuple[Check, ...]:
    """Return each check once: that of the result in which it is worst."""
    found: dict[str, Check] = {}
    for check in (check for result in results for check in result.checks):
        old = found.get(check.name)
        if old is None or _badness(check) > _badness(old):
            found[check.name] = check
    return tuple(found.values())


def _badness(check: Check) -> tuple[int, float]:
    return _LEVELS.index(check.level), check.value or 0.0
