"""One forward pass of a bridge, under its lock."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.hooks import Action, hooked, refuse_foreign_hooks
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.trouble import refused_by_name
from resid_widgets.models.watch import passing


def forward(
    model: ResidualModel,
    ids: Sequence[int],
    actions: Mapping[str, Action] | None = None,
    *,
    last_only: bool = True,
    allow_hooks: bool = False,
    gradients: bool = False,
) -> Float[Tensor, "pos d_vocab"]:
    """Run `ids` once and return logits of the last position (``[1, d_vocab]``), or of all.

    `gradients` keeps the graph; without it nothing is recorded for a backward pass, whatever the thread's setting.

    Raises
    ------
    InputError
        If the model is in train mode, or bears hooks that are not ours and `allow_hooks` is False.
    UnsupportedModelError
        If an action's hook point does not fire exactly once.
    """
    with model.lock:
        passing()
        model.require_eval()
        if not allow_hooks:
            refuse_foreign_hooks(model)
        tokens = torch.tensor([list(ids)], device=model.device)
        with plain_pass(), torch.set_grad_enabled(gradients), hooked(model, actions or {}):
            options = call_options(model.bridge.original_model, last_only)
            with refused_by_name(model.name, f"a pass of {len(ids)} tokens through TransformerLens' bridge fails"):
                logits = model.bridge(tokens, return_type="logits", **options)
        if not allow_hooks:
            refuse_foreign_hooks(model)  # another thread may have put one on meanwhile
    return rows_of(logits, last_only)


def call_options(hf_model: nn.Module, last_only: bool) -> dict[str, Any]:
    """Keyword arguments of a pass. Unembedding each position costs as much as several layers: ask for what is read."""
    can_keep_last = "logits_to_keep" in inspect.signature(hf_model.forward).parameters
    return {"use_cache": False} | ({"logits_to_keep": 1} if last_only and can_keep_last else {})


def cache_option(hf_model: nn.Module) -> str:
    """What a pass calls its cache of keys and values: ``cache``, or ``past_key_values`` before transformers 5.24."""
    return "cache" if "cache" in inspect.signature(hf_model.forward).parameters else "past_key_values"


def rows_of(logits: Float[Tensor, "1 pos d_vocab"], last_only: bool) -> Float[Tensor, "rows d_vocab"]:
    """The last position's logits, or all."""
    # A view of the last row would keep all rows.
    return logits[0, -1:].clone() if last_only and logits.shape[1] > 1 else logits[0]
