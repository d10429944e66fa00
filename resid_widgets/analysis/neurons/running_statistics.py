"""Statistics of many neurons that are kept while positions stream by: moments, histograms, extremes, correlations.

Rows are neurons (of one layer or several), columns are positions. What is held does not grow with the positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SMALLEST_WIDTH = -20  # bins are at least 2^-20 wide, absolutely and relative to the largest activation


@dataclass
class Moments:
    """Count, mean, extremes and central moments of each row, merged chunk by chunk in float64.

    Pébay (2008), "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
    moments", Sandia report SAND2008-6212.
    """

    rows: int
    threshold: float

    def __post_init__(self) -> None:
        self.n = 0
        self.mean, self.m2, self.m3, self.m4 = (torch.zeros(self.rows, dtype=torch.float64) for _ in range(4))
        self.active, self.above = (torch.zeros(self.rows, dtype=torch.int64) for _ in range(2))
        self.low = torch.full((self.rows,), torch.inf, dtype=torch.float32)
        self.high = torch.full((self.rows,), -torch.inf, dtype=torch.float32)

    def update(self, x: Float[Tensor, "row pos"]) -> None:
        """Take in a chunk, at least one position."""
        na, nb = self.n, x.shape[1]
        n = na + nb
        self.low = torch.minimum(self.low, x.amin(1))
        self.high = torch.maximum(self.high, x.amax(1))
        self.active += (x > 0).sum(1)
        self.above += (x > self.threshold).sum(1)
        wide = x.double()
        mean = wide.mean(1)
        wide -= mean[:, None]
        square = wide.square()
        m2, m3, m4 = square.sum(1), (square * wide).sum(1), square.square().sum(1)
        d = mean - self.mean
        self.m4 += (
            m4
            + d**4 * (na * nb * (na * na - na * nb + nb * nb) / n**3)
            + 6 * d**2 * (na * na * m2 + nb * nb * self.m2) / n**2
            + 4 * d * (na * m3 - nb * self.m3) / n
        )
        self.m3 += m3 + d**3 * (na * nb * (na - nb) / n**2) + 3 * d * (na * m2 - nb * self.m2) / n
        self.m2 += m2 + d**2 * (na * nb / n)
        self.mean += d * nb / n
        self.n = n

    def kurtosis(self) -> Float[Tensor, " row"]:
        """Pearson's kurtosis, 3 = Gaussian; NaN where there is no spread (``scipy.stats.kurtosis(fisher=False)``)."""
        spread = self.m2 / self.n
        size = torch.maximum(self.low.abs(), self.high.abs()).double()
        return torch.where(spread > (1e-12 * size) ** 2, self.m4 / self.n / spread.square(), torch.nan)

    def std(self) -> Float[Tensor, " row"]:
        """Population standard deviation."""
        return (self.m2 / self.n).sqrt()


@dataclass
class Histograms:
    """An exact histogram of each row whose range need not be known beforehand.

    The bins of a row are ``[j w, (j + 1) w)``, so that zero is an edge, and the width w is the smallest power of two
    for which `bins` of them cover all that has come so far (and no smaller than 2^-20, absolutely and relative to the
    largest size). When w doubles, pairs of bins merge exactly: the outcome depends on neither order nor chunks.
    """

    rows: int
    bins: int

    def __post_init__(self) -> None:
        self.counts = torch.zeros((self.rows, self.bins), dtype=torch.int64)
        self.exponent = torch.full((self.rows,), SMALLEST_WIDTH, dtype=torch.int64)
        self.first = torch.zeros(self.rows, dtype=torch.int64)
        """Row ``r`` counts from ``first[r] * 2 ** exponent[r]``."""

    def update(self, x: Float[Tensor, "row pos"], low: Float[Tensor, " row"], high: Float[Tensor, " row"]) -> None:
        """Take in a chunk; `low` and `high` are the extremes of all so far, this chunk's included."""
        low, high, wide = low.double(), high.double(), x.double()
        exponent = self._exponents(low, high)
        first = _bin(low, exponent)
        # What is counted already goes to where its bin has gone.
        old = self.first[:, None] + torch.arange(self.bins)
        moved = (old >> (exponent - self.exponent)[:, None]) - first[:, None]
        counts = torch.zeros_like(self.counts)
        counts.scatter_add_(1, moved.clamp(0, self.bins - 1), self.counts)  # what falls outside counts nothing
        index = _bin(wide, exponent[:, None]) - first[:, None]
        counts.scatter_add_(1, index, torch.ones_like(index))
        self.counts, self.exponent, self.first = counts, exponent, first

    def _exponents(self, low: Float[Tensor, " row"], high: Float[Tensor, " row"]) -> Int[Tensor, " row"]:
        size = torch.maximum(low.abs(), high.abs())
        least = torch.where(size > 0, size.log2().ceil() + SMALLEST_WIDTH, float(SMALLEST_WIDTH))
        least = least.clamp(min=SMALLEST_WIDTH)
        fitting = ((high - low) / self.bins).log2().floor()  # a smaller width cannot do; -inf where all are equal
        exponent = torch.maximum(torch.maximum(least, fitting).long(), self.exponent)
        while (narrow := _bin(high, exponent) - _bin(low, exponent) + 1 > self.bins).any():
            exponent = exponent + narrow
        return exponent


def _bin(x: Float[Tensor, "*shape"], exponent: Int[Tensor, "*other"]) -> Int[Tensor, "*shape"]:
    """Return the number of the bin of width ``2 ** exponent``; exact, for a power of two only shifts."""
    return torch.ldexp(x, -exponent.to(x.dtype)).floor().long()


@dataclass
class Extremes:
    """The k largest (or smallest) activations of each row, where they were, and the activations around them."""

    rows: int
    k: int
    context: int
    largest: bool

    def __post_init__(self) -> None:
        width = 2 * self.context + 1
        self._sign = 1.0 if self.largest else -1.0
        self._values = torch.full((self.rows, self.k), -torch.inf, dtype=torch.float32)
        self.places = torch.full((self.rows, self.k), -1, dtype=torch.int64)
        self.windows = torch.full((self.rows, self.k, width), torch.nan, dtype=torch.float32)

    @property
    def values(self) -> Float[Tensor, "row k"]:
        """The activations, the most extreme first."""
        return self._sign * self._values

    def update(
        self,
        x: Float[Tensor, "row prompt pos"],
        counted: Bool[Tensor, "prompt pos"],
        starts: Int[Tensor, " prompt"],
    ) -> None:
        """Take in whole prompts of equal length.

        Parameters
        ----------
        x
            Activations at all of their positions.
        counted
            Which positions may be kept; the others are only context.
        starts
            The number of each one's first position among all positions of all prompts.
        """
        prompt, pos = counted.nonzero().T
        signed = self._sign * x[:, prompt, pos]
        rows = (signed.amax(1) > self._values[:, -1]).nonzero().flatten()
        if not len(rows):
            return
        values, order = torch.cat([self._values[rows], signed[rows]], 1).topk(self.k, dim=1)
        old = order < self.k
        kept, new = order.clamp(max=self.k - 1), (order - self.k).clamp(min=0)
        # Prompts one after the other, each with room on both sides, so that no window reaches into the next one.
        padded = torch.nn.functional.pad(x[rows], (self.context, self.context), value=torch.nan)
        width = self.windows.shape[2]
        begin = (prompt * padded.shape[2] + pos)[new]
        around = begin[:, :, None] + torch.arange(width)
        new_windows = padded.flatten(1).gather(1, around.flatten(1)).view(len(rows), self.k, width)
        old_windows = self.windows[rows].gather(1, kept[:, :, None].expand(-1, -1, width))
        self._values[rows] = values
        self.places[rows] = torch.where(old, self.places[rows].gather(1, kept), (starts[prompt] + pos)[new])
        self.windows[rows] = torch.where(old[:, :, None], old_windows, new_windows)


@dataclass
class Correlations:
    """Pearson's correlation of each row with several labels, one observation a prompt (Welford's co-moments)."""

    rows: int
    labels: int

    def __post_init__(self) -> None:
        self.n = 0
        self._mean = torch.zeros(self.rows, dtype=torch.float64)
        self._spread = torch.zeros(self.rows, dtype=torch.float64)
        self._label_mean = torch.zeros(self.labels, dtype=torch.float64)
        self._label_spread = torch.zeros(self.labels, dtype=torch.float64)
        self._both = torch.zeros((self.labels, self.rows), dtype=torch.float64)

    def update(self, x: Float[Tensor, " row"], y: Float[Tensor, " label"]) -> None:
        """Take in one prompt: an activation a row, a number a label."""
        self.n += 1
        dx, dy = x.double() - self._mean, y.double() - self._label_mean
        self._mean += dx / self.n
        self._label_mean += dy / self.n
        rest = x.double() - self._mean
        self._both += dy[:, None] * rest
        self._spread += dx * rest
        self._label_spread += dy * (y.double() - self._label_mean)

    def pearson(self) -> Float[Tensor, "label row"]:
        """NaN where a row or a label does not vary."""
        flat = self._spread <= (1e-12 * self._mean).square() * self.n
        spread = torch.where(flat, torch.nan, self._spread)
        return (self._both / (spread * self._label_spread[:, None]).sqrt()).clamp(-1, 1)
