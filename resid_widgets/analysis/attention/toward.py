"""Attention attributed to a metric: gradient times pattern, and the same integrated along a scale of the pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.metrics import Reading
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.gradients import gradient_at, gradients_of
from resid_widgets.models.runs.run import Run


def gradient_times_pattern(run: Run, layer: int, reading: Reading) -> Float[Tensor, "head pos key_pos"]:
    """Return ``A dM/dA`` of a layer: what each edge gives to the metric, to first order; float64."""
    (gradient,) = gradients_of(run, "pattern", [layer], reading.positions, reading.of_logits).values()
    return gradient.double() * one_layer(run, "pattern", layer).double()


@dataclass(frozen=True, eq=False)
class Integrated:
    """Attributions that add up to a difference of the metric.

    Attributes
    ----------
    values
        ``[head, pos, key_pos]`` float64.
    without
        The metric where the layer's heads look at nothing.
    """

    values: Float[Tensor, "head pos key_pos"]
    without: float


def integrated(run: Run, layer: int, reading: Reading, steps: int) -> Integrated:
    """Return ``A`` times the mean of ``dM/dA`` at ``alpha A``, all heads of the layer scaled together.

    Attention attribution (Hao et al., 2021), over alpha from 0 to 1 by the rule of Gauss and Legendre.
    """
    pattern = one_layer(run, "pattern", layer)
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(pattern, dtype=torch.float64)

    def at(alpha: float) -> tuple[Tensor, float]:
        return gradient_at(run, "pattern", layer, alpha * pattern, reading.positions, reading.of_logits)

    for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
        total += 0.5 * weight * at(0.5 * (point + 1.0))[0].double()
    return Integrated(total * pattern.double(), at(0.0)[1])
