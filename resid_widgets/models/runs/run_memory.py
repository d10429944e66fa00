"""How much memory a run takes, foretold before it allocates."""

from __future__ import annotations

from collections.abc import Sequence

from resid_widgets.models.model import ResidualModel
from resid_widgets.sites import RESIDUAL


def estimate_memory(model: ResidualModel, n_pos: int, kept: Sequence[str], all_logits: bool) -> int:
    """Bytes that a run will allocate at its peak: what is kept, plus one layer's attention and the logits."""
    item, d_mlp = model.dtype.itemsize, _d_mlp(model)
    passing = 3 * model.n_heads * n_pos * item + 4 * d_mlp * item + 8 * model.d_model * item
    logits = (n_pos if all_logits else 1) * model.d_vocab * max(4, item)
    return kept_memory(model, n_pos, kept, all_logits) + n_pos * passing + logits


def kept_memory(model: ResidualModel, n_pos: int, kept: Sequence[str], all_logits: bool) -> int:
    """Bytes that a run will hold in the end."""
    cfg = model.bridge.cfg
    d_head, key_heads = int(cfg.d_head), int(getattr(cfg, "n_key_value_heads", None) or model.n_heads)
    width = dict.fromkeys(RESIDUAL, model.d_model) | dict.fromkeys(("q", "z"), model.n_heads * d_head)
    width |= dict.fromkeys(("k", "v"), key_heads * d_head)
    width |= {"mlp_post": _d_mlp(model), "pattern": model.n_heads * n_pos}
    # resid_pre of a layer is resid_post of the one below, the same storage: only the embedded stream comes on top.
    shared = "resid_pre" in kept and "resid_post" in kept
    numbers = model.n_layers * sum(width[c] for c in kept if not (shared and c == "resid_pre"))
    numbers += model.d_model if shared else 0
    logits = (n_pos if all_logits else 1) * model.d_vocab
    norms = model.n_layers * n_pos * 4  # float32, whatever the model computes in
    return (n_pos * numbers + logits) * model.dtype.itemsize + norms


def _d_mlp(model: ResidualModel) -> int:
    return int(model.bridge.cfg.d_mlp or 4 * model.d_model)
