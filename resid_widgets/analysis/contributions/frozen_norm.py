"""A norm with its scale held at the value that it has for one vector: then it is affine, and what is normed adds up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.structure import relative_gap

Vector = Float[Tensor, " d_model"]


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """``x -> gain * (x - mean(x)) + bias``, or without the mean.

    Attributes
    ----------
    gain, bias
        ``[d_model]`` float64; the scale is in the gain.
    centred
        Whether the mean is taken off (LayerNorm), or not (RMSNorm).
    gap
        Largest relative difference from the norm itself, at the vector that it was frozen at.
    """

    gain: Vector
    bias: Vector
    centred: bool
    gap: float

    def of(self, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        """Return what becomes of parts of the vector; the bias belongs to none of them."""
        x = x.double()
        return self.gain * (x - x.mean(-1, keepdim=True) if self.centred else x)

    def read(self, direction: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        """Return the direction before the norm that reads what `direction` reads behind it."""
        pulled = direction.double() * self.gain
        return pulled - pulled.mean(-1, keepdim=True) if self.centred else pulled


def frozen(norm: Callable[[Tensor], Tensor], x: Vector, name: str, limit: float) -> FrozenNorm:
    """Freeze a norm at a vector. What kind of norm it is, and its weights, are found out by calling it.

    Parameters
    ----------
    norm
        Takes ``[1, 1, d_model]``.
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

    def called(vector: Tensor) -> Vector:
        with plain_pass():
            return norm(vector.to(x).reshape(1, 1, -1)).detach().double().flatten()

    d = len(x)
    bias = called(torch.zeros(d))
    # A vector of mean 0 and of one size everywhere, so large that the norm's epsilon is lost; of an odd number of
    # dimensions one is left out, and another one the next time.
    sizes = torch.zeros(d, dtype=torch.float64, device=x.device)
    for spare in (d - 1, 0) if d % 2 else (None,):
        kept = [i for i in range(d) if i != spare]
        signs = torch.zeros(d, dtype=torch.float64, device=x.device)
        signs[kept] = torch.tensor([1.0, -1.0] * (len(kept) // 2), dtype=torch.float64, device=x.device)
        weight = (called(signs * _LARGE) - bias) * (len(kept) / d) ** 0.5
        sizes[kept] = weight[kept] * signs[kept]
    shifted = torch.arange(d, dtype=torch.float64, device=x.device) - 0.25 * d
    centred = relative_gap(called(shifted + 3.0 * d), called(shifted)) <= max(limit, 1e-6)
    plain = FrozenNorm(sizes, bias, centred, 0.0)
    unscaled, given = plain.of(x), called(x) - bias
    size = unscaled.square().sum()
    scale = (unscaled @ given) / size if size > 0 else torch.zeros_like(size)
    gap = relative_gap(scale * unscaled + bias, called(x))
    if not gap <= limit:
        raise UnsupportedModelError(
            f"The {name} is neither LayerNorm nor RMSNorm (held at its scale it differs by {gap:.1e}, limit "
            f"{limit:.0e}): what is written into the stream cannot be split through it."
        )
    return FrozenNorm(scale * sizes, bias, centred, gap)


_LARGE = 1024.0
