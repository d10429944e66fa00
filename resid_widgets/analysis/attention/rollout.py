"""Attention rolled out over layers: which tokens of the prompt may have reached each position."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.reuse.looking import each_layer
from resid_widgets.models.runs.run import Run


def rolled_out(run: Run, layer: int) -> Float[Tensor, "pos key_pos"]:
    """Return ``(A_l + 1)/2 ... (A_0 + 1)/2``, heads averaged (Abnar & Zuidema, 2020); one pattern is held at a time.

    Raises
    ------
    InputError
        If a layer below has no pattern.
    """
    without = sorted(set(range(layer + 1)) - set(layers_with(run.model, "pattern")))
    if without:
        rule = f"layer {without[0]} has no pattern to be rolled out over"
        raise InputError.about("kind", "rollout", rule, "Use kind='pattern'.")
    own = torch.eye(run.n_pos, dtype=torch.float64, device=run.model.device)
    found = [own]

    def look(_: int, pattern: Tensor) -> None:
        found[0] = (0.5 * pattern.double().mean(0) + 0.5 * own) @ found[0]

    each_layer(run, "pattern", look, range(layer + 1))
    return found[0].float()
