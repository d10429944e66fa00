"""A norm with its scale held at the value that it has for a vector: then it is affine, and what is normed adds up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.structure import relative_gap, worst_gap

Rows = Float[Tensor, "row d_model"]


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """``x -> gain * (x - mean(x)) + bias``, or without the mean; one for each row that it was frozen at.

    Attributes
    ----------
    gain
        ``[row, d_model]`` float64; the scale is in it.
    bias
        ``[d_model]`` float64.
    centred
        Whether the mean is taken off (LayerNorm), or not (RMSNorm).
    gap
        Largest relative difference from the norm itself, at the rows that it was frozen at.
    """

    gain: Rows
    bias: Float[Tensor, " d_model"]
    centred: bool
    gap: float

    def of(self, x: Rows) -> Rows:
        """Return what becomes of a part of each row; the bias belongs to none of them."""
        x = x.double()
        return self.gain * (x - x.mean(-1, keepdim=True) if self.centred else x)

    def read(self, direction: Float[Tensor, "*rows d_model"]) -> Rows:
        """Return the directions before the norm that read what `direction` (one, or one a row) reads behind it."""
        pulled = direction.double() * self.gain
        return pulled - pulled.mean(-1, keepdim=True) if self.centred else pulled


def frozen(norm: Callable[[Tensor], Tensor], x: Rows, name: str, limit: float) -> FrozenNorm:
    """Freeze a norm at each of some rows. What kind of norm it is, and its weights, are found out by calling it.

    Parameters
    ----------
    norm
        Takes ``[1, row, d_model]``.
    x
        On the model's device and in its dtype.
    name
        What to call it in an error.
    limit
        Largest relative difference that counts as equal.

    Raises
    ------
    UnsupportedModelError
        If it is neither LayerNorm nor RMSNorm.
    """

    def called(rows: Tensor) -> Rows:
        with plain_pass():
            return norm(rows.to(x)[None]).detach().double()[0]

    d = x.shape[-1]
    # Vectors of mean 0 and of one size everywhere, so large that the norm's epsilon is lost; of an odd number of
    # dimensions one is left out, and another one the next time.
    spared = (d - 1, 0) if d % 2 else (None,)
    signs = torch.zeros(len(spared), d, dtype=torch.float64, device=x.device)
    for row, spare in zip(signs, spared, strict=True):
        kept = [i for i in range(d) if i != spare]
        row[kept] = torch.tensor([1.0, -1.0] * (len(kept) // 2), dtype=torch.float64, device=x.device)
    ramp = torch.arange(d, dtype=torch.float64, device=x.device) - 0.25 * d
    found = called(torch.cat([torch.zeros_like(ramp)[None], signs * _LARGE, ramp[None], ramp[None] + 3.0 * d]))
    bias, weights, shifted = found[0], found[1:-2] - found[0], found[-2:]
    sizes = torch.zeros_like(bias)
    for row, weight in zip(signs, weights, strict=True):
        there = row != 0
        sizes[there] = (weight * row)[there] * float(there.double().mean().sqrt())
    centred = relative_gap(shifted[1], shifted[0]) <= max(limit, 1e-6)
    plain = FrozenNorm(sizes.expand(len(x), d), bias, centred, 0.0)
    normed = called(x)
    unscaled, given = plain.of(x), normed - bias
    size = unscaled.square().sum(-1, keepdim=True)
    scale = torch.where(size > 0, (unscaled * given).sum(-1, keepdim=True) / size, 0.0)
    gap = worst_gap(*(relative_gap(a, b) for a, b in zip(scale * unscaled + bias, normed, strict=True)))
    if not gap <= limit:
        raise UnsupportedModelError(
            f"The {name} is neither LayerNorm nor RMSNorm (held at its scale it differs by {gap:.1e}, limit "
            f"{limit:.0e}): what is written into the stream cannot be split through it."
        )
    return FrozenNorm(scale * sizes, bias, centred, gap)


_LARGE = 1024.0
