"""How much memory a run takes, foretold before it allocates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from resid_widgets.models.layers.shapes import layers_with, site_shape, widest, widest_mlp
from resid_widgets.models.model import ResidualModel


def estimate_memory(model: ResidualModel, n_pos: int, kept: Sequence[str], all_logits: bool) -> int:
    """Bytes that a run will allocate at its peak: what is kept, plus one layer's attention and the logits."""
    item, d_mlp = model.dtype.itemsize, widest_mlp(model)
    passing = 3 * widest(model, "pattern") * n_pos * item + 4 * d_mlp * item + 8 * model.d_model * item
    logits = (n_pos if all_logits else 1) * model.d_vocab * max(4, item)
    return kept_memory(model, n_pos, kept, all_logits) + n_pos * passing + logits


def kept_memory(model: ResidualModel, n_pos: int, kept: Sequence[str], all_logits: bool) -> int:
    """Bytes that a run will hold in the end."""
    # resid_pre of a layer is resid_post of the one below, the same storage: only the embedded stream comes on top.
    shared = "resid_pre" in kept and "resid_post" in kept
    numbers = sum(_numbers(model, c, n_pos) for c in kept if not (shared and c == "resid_pre"))
    numbers += model.d_model if shared else 0
    logits = (n_pos if all_logits else 1) * model.d_vocab
    norms = model.n_layers * n_pos * 4  # float32, whatever the model computes in
    return (n_pos * numbers + logits) * model.dtype.itemsize + norms


def _numbers(model: ResidualModel, component: str, n_pos: int) -> int:
    """Return the numbers of a position over all layers; a pattern has a row of them for each head."""
    sizes = [math.prod(site_shape(model, component, layer)) for layer in layers_with(model, component)]
    return sum(sizes) * (n_pos if component == "pattern" else 1)
