"""The statistics of an activation map. Adding one is adding one entry to `STATS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.grid import lengths
from resid_widgets.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Rows:
    """What a statistic may read for some positions of one layer, all float32.

    Attributes
    ----------
    h
        The component's vectors.
    previous
        The vectors one layer before, where the statistic asked for them.
    final
        ``resid_post[N-1]``, before ``ln_final``, where the statistic asked for it.
    dim, direction, top
        The caller's options; `direction` has unit length.
    """

    h: Float[Tensor, "pos d_model"]
    previous: Float[Tensor, "pos d_model"] | None = None
    final: Float[Tensor, "pos d_model"] | None = None
    dim: int | None = None
    direction: Float[Tensor, " d_model"] | None = None
    top: int = 1


@dataclass(frozen=True)
class Stat:
    """One statistic: what it computes, and how it is named, drawn, explained and written as code.

    Attributes
    ----------
    compute
        `Rows` to one number a position.
    label, units
        What the colour bar says.
    signed
        Whether zero is a middle (diverging colours) or not.
    sentence
        What is shown and what it does not prove. ``{what}``, ``{dim}`` and ``{top}`` are filled in.
    code
        The same as a PyTorch expression over ``h``, ``previous``, ``final``, ``dim``, ``direction``, ``top``.
    needs
        Which of previous, final, dim, direction it reads.
    bounds
        Least and greatest possible value, where there is one.
    """

    compute: Callable[[Rows], Float[Tensor, " pos"]]
    label: str
    units: str
    signed: bool
    sentence: str
    code: str
    needs: tuple[str, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)


def _given(value: T | None) -> T:
    """Return what the statistic's `needs` promised."""
    assert value is not None, "whoever calls a statistic looks at its needs"
    return value


def _cosine(a: Float[Tensor, "pos d"], b: Float[Tensor, "pos d"]) -> Float[Tensor, " pos"]:
    """Return the cosine of each row's angle; NaN where a vector is zero."""
    a, b = (x / lengths(x)[:, None] for x in (a, b))
    return (a * b).sum(dim=-1).clamp(-1.0, 1.0)


def _kurtosis(h: Float[Tensor, "pos d"]) -> Float[Tensor, " pos"]:
    """Return Pearson's kurtosis over dimensions, E[(x-m)^4] / E[(x-m)^2]^2; NaN where there is no spread.

    Pearson (1905), "Das Fehlergesetz und seine Verallgemeinerungen"; scipy.stats.kurtosis(fisher=False).
    """
    size = h.abs().amax(dim=-1, keepdim=True)
    h = h / size
    h = h - h.mean(dim=-1, keepdim=True)
    spread = h.square().mean(dim=-1)
    # The mean of equal numbers is off by rounding: what is left then is not spread.
    rounding = (8 * torch.finfo(h.dtype).eps) ** 2
    return torch.where(spread > rounding, h.pow(4).mean(dim=-1) / spread.square(), torch.nan)


def _top_share(h: Float[Tensor, "pos d"], top: int) -> Float[Tensor, " pos"]:
    """Return the share of the squared length in the `top` largest dimensions; NaN for a zero vector."""
    squares = (h / h.abs().amax(dim=-1, keepdim=True)).square()
    return squares.topk(top, dim=-1).values.sum(dim=-1) / squares.sum(dim=-1)


STATS: dict[str, Stat] = {
    "norm": Stat(
        lambda rows: lengths(rows.h),
        label="norm",
        units="activation units",
        signed=False,
        sentence="How long {what} is at each layer and token. A long vector is not an important one.",
        code="h.norm(dim=-1)",
        bounds=(0.0, None),
    ),
    "update_norm": Stat(
        lambda rows: lengths(rows.h - _given(rows.previous)),
        label="update norm",
        units="activation units",
        signed=False,
        sentence="How far {what} moved from the layer before: the length of the difference. "
        "A large move may be undone by later layers.",
        code="(h - previous).norm(dim=-1)",
        needs=("previous",),
        bounds=(0.0, None),
    ),
    "cosine_final": Stat(
        lambda rows: _cosine(rows.h, _given(rows.final)),
        label="cosine to final",
        units="−1 to 1",
        signed=True,
        sentence="How nearly {what} points where the final stream points. Likeness is not cause, and a part "
        "that all vectors share makes everything look alike.",
        code="torch.cosine_similarity(h, final.expand_as(h), dim=-1)",
        needs=("final",),
        bounds=(-1.0, 1.0),
    ),
    "cosine_previous": Stat(
        lambda rows: _cosine(rows.h, _given(rows.previous)),
        label="cosine to previous layer",
        units="−1 to 1",
        signed=True,
        sentence="How nearly {what} points where it pointed one layer before. A direction that stays may still "
        "carry something new: small writes matter too.",
        code="torch.cosine_similarity(h, previous, dim=-1)",
        needs=("previous",),
        bounds=(-1.0, 1.0),
    ),
    "dimension": Stat(
        lambda rows: rows.h[:, _given(rows.dim)],
        label="value of dimension {dim}",
        units="activation units",
        signed=True,
        sentence="The value of dimension {dim} of {what}. A single dimension seldom has a meaning of its own.",
        code="h[..., dim]",
        needs=("dim",),
    ),
    "projection": Stat(
        lambda rows: rows.h @ _given(rows.direction),
        label="projection on the direction",
        units="activation units",
        signed=True,
        sentence="How far {what} reaches along the given direction, taken at unit length. What is there to be read "
        "need not be used by the model.",
        code="h @ direction.to(h.device)",
        needs=("direction",),
    ),
    "kurtosis": Stat(
        lambda rows: _kurtosis(rows.h),
        label="kurtosis",
        units="3 = Gaussian",
        signed=False,
        sentence="How much a few dimensions of {what} stand out from the rest. A high value says that there are "
        "such dimensions, not what they do.",
        code="((h - h.mean(-1, keepdim=True)) ** 4).mean(-1) / h.var(-1, unbiased=False) ** 2",
        bounds=(1.0, None),
    ),
    "top_share": Stat(
        lambda rows: _top_share(rows.h, rows.top),
        label="share of the top {top}",
        units="of the squared norm",
        signed=False,
        sentence="Which part of the squared length of {what} sits in its {top} largest dimensions. A large part "
        "marks a massive activation; it does not say what that does.",
        code="h.square().topk(top, dim=-1).values.sum(-1) / h.square().sum(-1)",
        bounds=(0.0, 1.0),
    ),
}


def stat_name(stat: object) -> str:
    """Return the key of `STATS` that `stat` means; spaces and hyphens may stand for underscores.

    Raises
    ------
    InputError
        If there is none.
    """
    name = "_".join(stat.lower().replace("-", " ").split()) if isinstance(stat, str) else ""
    if name not in STATS:
        raise InputError.about("stat", stat, "there is no such statistic", f"Use one of {', '.join(STATS)}.")
    return name
