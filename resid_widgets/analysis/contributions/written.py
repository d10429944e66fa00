"""What each head writes at each position: how much, whether with the stream or against it, and from which token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from resid_widgets.analysis.contributions.sublayer import Sublayer, sublayer
from resid_widgets.analysis.grid import lengths
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import relative_gap


@dataclass(frozen=True, eq=False)
class Written:
    """One layer's heads.

    Attributes
    ----------
    norm
        ``[head, pos]``: length of what a head adds to the stream.
    share
        ``[head, pos]``: its product with the stream that attention leaves, over that stream's squared length: the
        shares of all that ever wrote there add up to 1.
    cosine
        ``[head, pos]``, with the stream that it is added to: below 0 it erases.
    source, source_share
        ``[head, pos]``: the position that most of it was read from (by the length of pattern times value), and that
        one's share of all such lengths. None where the heads are not their patterns times their values.
    sublayer
        How attention writes.
    """

    norm: Float[NDArray, "head pos"]
    share: Float[NDArray, "head pos"]
    cosine: Float[NDArray, "head pos"]
    source: Int[NDArray, "head pos"] | None
    source_share: Float[NDArray, "head pos"] | None
    sublayer: Sublayer


def written_by_heads(run: Run, layer: int, modules: Sequence[Mapping[str, nn.Module]]) -> Written:
    """Measure what the heads of a layer write.

    Parameters
    ----------
    modules
        See `resid_widgets.analysis.contributions.sublayer.block_modules`.

    Raises
    ------
    InputError
        If the layer has no heads.
    UnsupportedModelError
        If its attention is more than a projection of them, with a factor or norm behind it.
    """
    z, written = run.activation("z", layer), run.activation("attn_out", layer)
    before = run.activation("resid_pre", layer).double()
    after = before + written.double()
    n_heads = z.shape[1]
    found = {name: np.zeros((n_heads, run.n_pos)) for name in ("norm", "share", "cosine")}
    with run.model.lock, without_foreign_hooks(run.model):
        how = sublayer(run.model, "attn_out", layer, z.flatten(1), written, modules)
        for head in range(n_heads):
            part = how.part(_alone(z, head).flatten(1))
            size = lengths(part)
            found["norm"][head] = size.cpu().numpy()
            found["share"][head] = ((part * after).sum(-1) / after.square().sum(-1)).cpu().numpy()
            found["cosine"][head] = ((part * before).sum(-1) / (size * lengths(before))).cpu().numpy()
        values = _values(run, layer, z)
        source = source_share = None
        if values is not None:
            pattern, v = values
            carried = torch.stack([lengths(how.part(_alone(v, head).flatten(1))) for head in range(n_heads)])
            if how.norm is not None:  # held at each position's scale, and these are to be added up at another one
                carried = carried / lengths(how.norm.gain)
            weighted = pattern * carried[:, None]
            most = weighted.max(dim=-1)
            source = most.indices.cpu().numpy()
            source_share = (most.values / weighted.sum(-1).clamp_min(1e-300)).cpu().numpy()
    return Written(**found, source=source, source_share=source_share, sublayer=how)


def _alone(heads: Float[Tensor, "pos head d_head"], head: int) -> Tensor:
    """Return the numbers of one head, and zeros for the others."""
    alone = torch.zeros_like(heads)
    alone[:, head] = heads[:, head]
    return alone


def _values(run: Run, layer: int, z: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the patterns in float64 and each query head's values, if the heads are their product; else None."""
    pattern, v = one_layer(run, "pattern", layer), one_layer(run, "v", layer)
    if z.shape[1] % v.shape[1] or v.shape[-1] != z.shape[-1]:
        return None
    v = v.repeat_interleave(z.shape[1] // v.shape[1], dim=1)
    gap = relative_gap(torch.einsum("hqk,khd->qhd", pattern.double(), v.double()), z.double())
    return (pattern.double(), v) if gap <= run.model.gap_limit else None
