"""Seeded choices that know how surprising they were."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


def surprise(p: float) -> float:
    """Surprise at what had probability `p`, nats."""
    return -math.log(p)


@dataclass
class Choices:
    """A seeded source of choices that counts how surprising they were, in nats."""

    rng: random.Random
    surprise: float = 0.0

    @classmethod
    def seeded(cls, *seed: object) -> Choices:
        """Choices that depend on nothing but `seed`."""
        return cls(random.Random(":".join(map(str, seed))))

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`, each as likely."""
        self.surprise += math.log(len(options))
        return options[self.rng.randrange(len(options))]

    def several(self, options: Sequence[T], n: int) -> list[T]:
        """`n` different ones of `options`, in any order."""
        self.surprise += sum(math.log(len(options) - i) for i in range(n))
        return self.rng.sample(options, n)

    def coin(self, p: float) -> bool:
        """True with probability `p`."""
        heads = self.rng.random() < p
        self.surprise += surprise(p if heads else 1 - p)
        return heads

    def weighted(self, options: Mapping[T, float]) -> T:
        """One key of `options`, as likely as its share of the values."""
        names, weights = list(options), list(options.values())
        name = self.rng.choices(names, weights)[0]
        self.surprise += surprise(options[name] / sum(weights))
        return name

    def free(self, options: Sequence[T], n: int = 1) -> list[T]:
        """`n` different ones of `options` for what is not in the text (where to cut it, say): this counts nothing."""
        return self.rng.sample(options, n)
