"""Contributions as a tree: a layer is attention and MLP, attention is heads, a head the tokens it has read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.intervals import mean_of

SMALL = 0.01
"""Share of the total from which a bar has a name of its own; smaller ones are summed as others."""

MOST, LEAST = 40, 5
"""Bars side by side that have names of their own, the largest ones: at most, and where all are small."""

AGAIN = 3
"""How often others can be opened that stand among others: of tens of thousands of neurons not all get a bar."""

Address = Mapping[str, int | str]


@dataclass(frozen=True, eq=False)
class Amount:
    """A number, and over several prompts that of each; None where there is one prompt or they are not known."""

    value: float
    each: Float[NDArray, " prompt"] | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the mean over prompts."""
        if self.each is None or len(self.each) < 2:
            return None
        mean = mean_of(self.each)
        return float(mean.low), float(mean.high)


def total_of(amounts: Sequence[Amount]) -> Amount:
    """Return the sum of some amounts; its interval is known where those of all are."""
    known = [amount.each for amount in amounts if amount.each is not None]
    whole = np.sum(known, axis=0) if known and len(known) == len(amounts) else None
    return Amount(sum((amount.value for amount in amounts), 0.0), whole)


@dataclass(frozen=True, eq=False)
class Part:
    """One bar.

    Attributes
    ----------
    key
        Names it among all: ``"embed"``, ``"layer.3"``, ``"3.attn_out"``, ``"3.head.0"``, ``"3.head.0.pos.5"``,
        ``"3.neuron.17"``, ``"bias"``, ``"total"``; ``"others"`` and ``"3.mlp_out.others"`` are sums of small ones.
    name
        What stands beside the bar, within what it is a part of.
    told
        The same alone, as three pieces: where it is, what it is, and more.
    at
        Its address.
    amount
        How long it is.
    parts
        What it consists of, as far as that is known. They add up to it.
    asks
        What would have to be computed to open it: ``"source"``, ``"neuron"`` or ``""`` for nothing.
    """

    key: str
    name: str
    told: tuple[str, str, str]
    at: Address
    amount: Amount
    parts: tuple[Part, ...] = ()
    asks: str = ""

    @property
    def value(self) -> float:
        """How long it is, with its sign."""
        return self.amount.value

    @property
    def opens(self) -> bool:
        """Whether there is something inside that can be shown."""
        return bool(self.parts or self.asks)


def folded(parts: Sequence[Part], limit: float, key: str, where: str, again: int = AGAIN) -> tuple[Part, ...]:
    """Return parts with the small ones summed as others, which come last.

    Parameters
    ----------
    limit
        Size below which a part is small; the embedding is not. There are no others where only one part is small.
        Of more than `MOST` large ones the largest are named, and where all are small the `LEAST` largest.
    key
        Of what the parts are in; "" for the whole.
    where
        The same in words.
    again
        How often the others among others can be opened.
    """
    sizes = np.abs([part.value for part in parts])
    order = np.argsort(-sizes, kind="stable")
    kept = {int(n) for n in order[:MOST] if sizes[n] >= limit} or {int(n) for n in order[:LEAST]}
    kept |= {n for n, part in enumerate(parts) if part.key == "embed"}
    small = [part for n, part in enumerate(parts) if n not in kept]
    if len(small) < 2:
        return tuple(parts)
    name = f"{key}.others" if key else "others"
    inside = folded(small, 0.0, name, f"others{where and f' of {where}'}", again - 1) if again else ()
    others = Part(
        key=name,
        name=f"others, {len(small)}",
        told=(where or "small ones", f"{len(small)} others", "summed"),
        at={"part": name},
        amount=total_of([part.amount for part in small]),
        parts=inside,
    )
    return (*(part for n, part in enumerate(parts) if n in kept), others)
