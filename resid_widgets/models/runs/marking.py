"""Positions that stand out so far that they would own every scale: attention sinks, and the first of each prompt."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

MARK_RATIO = 10.0
"""A position whose norm is more than this many times its layer's median is left out of scales."""


def marked_positions(norms: Float[Tensor, "layer *prompt pos"]) -> Bool[Tensor, "*prompt pos"]:
    """Return which positions are the first, or exceed 10x their layer's median norm (in their own prompt) anywhere.

    Parameters
    ----------
    norms
        Of resid_post.
    """
    marked = (norms > MARK_RATIO * norms.nanmedian(dim=-1, keepdim=True).values).any(dim=0)
    marked[..., 0] = True
    return marked
