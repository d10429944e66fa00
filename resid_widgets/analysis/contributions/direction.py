"""The direction of the final stream that a metric reads, with the final norm held: what lies along it adds up to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.contributions.frozen_norm import frozen
from resid_widgets.analysis.metrics import Reading
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_pass, plain_state
from resid_widgets.models.hooks import without_foreign_hooks


@dataclass(frozen=True, eq=False)
class Direction:
    """What a metric reads at one position.

    Attributes
    ----------
    pos
        From 0.
    vector
        ``[d_model]`` float64, in the final stream.
    bias
        What the metric is where the stream is zero: the norm's own bias and the unembedding's.
    """

    pos: int
    vector: Float[Tensor, " d_model"]
    bias: float


@plain_state()
def directions_of(reading: Reading) -> list[Direction]:
    """Return what a metric reads, one for each of its positions; the metric is their mean.

    Raises
    ------
    InputError
        If the metric is not linear in the logits, or the model caps its logits.
    UnsupportedModelError
        If the final norm is neither LayerNorm nor RMSNorm.
    """
    metric, run = reading.metric, reading.base
    if metric.kind != "logit_diff":
        rule = "it is not linear in the logits, so that no parts add up to it"
        raise InputError.about("metric", reading.label, rule, "Use rw.logit_diff(answer, foil).")
    model = run.model
    final = run.activation("resid_post", model.n_layers - 1)
    found = []
    with model.lock, without_foreign_hooks(model):
        for pos in reading.positions:
            x = final[pos]
            norm = frozen(model.bridge.ln_final, x, f"final norm of {model.name}", model.gap_limit)
            with plain_pass():
                normed = model.bridge.ln_final(x.reshape(1, 1, -1))
            reads, offset = _read(reading, normed)
            found.append(Direction(pos, norm.read(reads), offset + float(reads @ norm.bias)))
    return found


def _read(reading: Reading, normed: Float[Tensor, "1 1 d_model"]) -> tuple[Float[Tensor, " d_model"], float]:
    """Return the direction and offset of the metric behind the norm, after checking that there is no more to it."""
    model = reading.base.model

    def measured(at: Tensor) -> Tensor:
        logits = model.bridge.adapter.apply_output_logits_transform(model.bridge.unembed(at))
        return reading.of_logits(logits)[0]

    with plain_pass(), torch.enable_grad():
        leaf = normed.detach().clone().requires_grad_()
        value = measured(leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
    with plain_pass():
        reads = gradient.flatten().double()
        offset = float(measured(torch.zeros_like(normed)))
        gaps = [
            abs(float(measured(share * normed)) - share * float(reads @ normed.flatten().double()) - offset)
            for share in (1.0, 2.0)
        ]
    size = float(reads.norm() * normed.double().norm()) or 1.0
    if not max(gaps) <= model.gap_limit * size:
        rule = f"{model.name} caps its logits, so that no metric of them is a sum over what is written into the stream"
        raise InputError.about("metric", reading.label, rule, "Use rw.ablation_sweep for effects of any metric.")
    return reads, offset
