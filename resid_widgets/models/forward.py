"""One forward pass of a bridge, under its lock."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.models.interventions import Action, hooked, refuse_foreign_hooks
from resid_widgets.models.model import ResidualModel


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
        model.require_eval()
        if not allow_hooks:
            refuse_foreign_hooks(model)
        tokens = torch.tensor([list(ids)], device=model.device)
        with hooked(model, actions or {}), torch.set_grad_enabled(gradients):
            # Unembedding every position costs as much as several layers: ask only for what is read.
            keep = {"logits_to_keep": 1} if last_only and _can_keep_last(model) else {}
            logits = model.bridge(tokens, return_type="logits", use_cache=False, **keep)
        if not allow_hooks:
            refuse_foreign_hooks(model)  # another thread may have put one on meanwhile
    if not last_only:
        return logits[0]
    # A view of the last row would keep all rows.
    return logits[0, -1:].clone() if logits.shape[1] > 1 else logits[0]


def _can_keep_last(model: ResidualModel) -> bool:
    return "logits_to_keep" in inspect.signature(model.bridge.original_model.forward).parameters
