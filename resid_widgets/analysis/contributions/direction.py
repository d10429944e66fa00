"""Directions of the final stream that a metric reads, with the final norm held: what lies along them adds up to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.contributions.frozen_norm import frozen
from resid_widgets.errors import InputError
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.model import ResidualModel

Weights = Sequence[tuple[int, float]]
"""What is read of the logits: token ids, each with what its logit counts."""


@dataclass(frozen=True, eq=False)
class Directions:
    """What is read of the stream at some rows: positions of one prompt or of several.

    Attributes
    ----------
    vectors
        ``[row, d_model]`` float64.
    bias
        ``[row]``: what is read where the stream is zero, the norm's own bias and the unembedding's.
    total
        ``[row]``: what the model itself gives, with no norm held.
    centred
        Whether the final norm takes off the mean.
    """

    vectors: Float[Tensor, "row d_model"]
    bias: Float[Tensor, " row"]
    total: Float[Tensor, " row"]
    centred: bool


def logit_directions(
    model: ResidualModel, stream: Float[Tensor, "row d_model"], weights: Sequence[Weights], label: str
) -> Directions:
    """Return what weighted sums of logits read of the stream, if it ends as it is there.

    Parameters
    ----------
    stream
        The final one; of an earlier one these are the logits that the logit lens shows.
    weights
        One a row.
    label
        What the metric is called in an error.

    Raises
    ------
    InputError
        If the model caps its logits.
    UnsupportedModelError
        If the final norm is neither LayerNorm nor RMSNorm.
    """
    ids = sorted({token for row in weights for token, _ in row})
    counts = torch.zeros(len(weights), len(ids), dtype=torch.float64, device=stream.device)
    for row, given in zip(counts, weights, strict=True):
        for token, weight in given:
            row[ids.index(token)] += weight
    with model.lock, without_foreign_hooks(model):
        norm = frozen(model.bridge.ln_final, stream, f"final norm of {model.name}", model.gap_limit)
        normed = norm.of(stream) + norm.bias
        # The logits are affine behind the norm: unit vectors tell their weights, and zero their offset.
        units = torch.eye(model.d_model, dtype=model.dtype, device=stream.device)
        found = model.unembed(torch.cat([torch.zeros_like(units[:1]), units]), ids, normed=True).double()
        offset, columns = found[0], (found[1:] - found[0]).T
        for share in (1.0, 2.0):
            given = model.unembed((share * normed).to(model.dtype), ids, normed=True).double()
            gap = (given - share * normed @ columns.T - offset).abs().max()
            if not gap <= model.gap_limit * (columns.norm(dim=-1).max() * normed.norm(dim=-1).max()):
                rule = f"{model.name} caps its logits, so that no sum of them is one over what the stream consists of"
                raise InputError.about("metric", label, rule, "Use rw.ablation_sweep for effects on any metric.")
        total = (model.unembed(stream, ids).double() * counts).sum(-1)
    reads = counts @ columns
    return Directions(norm.read(reads), counts @ offset + reads @ norm.bias, total, norm.centred)
