"""Which layers have neurons: what a hook point of that name shows need not be them.

In a mixture of experts each expert has neurons of its own, and what TransformerLens shows there is the mixture's
output. So two things are asked of each layer, whatever becomes of its output afterwards: a matrix of the block takes
exactly these numbers, one row a position; and where they are silent, the MLP writes the same at every position.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action, plain_hooks, without_foreign_hooks
from resid_widgets.models.layers.plain import holder, plain_modules
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import blocks_path, probe_ids, relative_gap

_MIXTURE = "a mixture of experts has no one row of neurons: what stands there is its output"
_MORE = "the MLP also writes what these neurons do not (a mixture of experts beside them)"


def without_neurons(model: ResidualModel) -> dict[int, str]:
    """Return why ``mlp_post`` is not the MLP's neurons, for the layers where it is not; found out once a bridge."""
    facts = model._shared.facts
    with model.lock:
        if "neurons" in facts:
            return facts["neurons"]
        with without_foreign_hooks(model), plain_pass():
            found, finite = _find(model)
        if finite:  # nothing can be told from other numbers, and each run says in red that they are not
            facts["neurons"] = found
    return found


def _find(model: ResidualModel) -> tuple[dict[int, str], bool]:
    """Return the reasons by layer, and whether all activations were finite."""
    ids = probe_ids(model.d_vocab, model.n_ctx)
    layers = [layer for layer in range(model.n_layers) if model.has("mlp_post", layer)]
    modules, blocks = plain_modules(model.bridge.original_model), blocks_path(model)
    shown: dict[int, Tensor] = {}
    taken: dict[int, list[tuple[nn.Module, Tensor]]] = {layer: [] for layer in layers}

    def note(layer: int, module: nn.Module, value: Tensor) -> None:
        taken[layer].append((module, value.detach()))

    watched: list[tuple[nn.Module, str, Action]] = [
        (module, "in", partial(note, layer, module))
        for layer in layers
        for module in modules.projections(f"{blocks}.{layer}")
    ]
    reads: dict[str, Action] = {
        model.hook_name("mlp_post", layer): partial(shown.__setitem__, layer) for layer in layers
    }
    with plain_hooks(watched):
        forward(model, ids, reads, allow_hooks=True)
    found = {}
    finite = [layer for layer in layers if bool(torch.isfinite(shown[layer]).all())]
    for layer in finite:
        flat = shown[layer].reshape(-1, shown[layer].shape[-1])
        # With folded weights TransformerLens multiplies by its own, and calls no module of the model.
        taken_up = _fits(model, layer, flat) if model.folded else holder(taken[layer], flat, model.gap_limit)
        if len(flat) != len(ids) or not taken_up:
            found[layer] = _MIXTURE
    silent = _writes_of_silence(model, ids, [layer for layer in layers if layer not in found])
    found |= {layer: _MORE for layer, value in silent.items() if _varies(value, model.gap_limit)}
    return found, finite == layers


def _writes_of_silence(model: ResidualModel, ids: list[int], layers: list[int]) -> dict[int, Tensor]:
    """Return what the MLP of each layer writes where all that is shown as neurons is zero, in all of them at once."""
    written: dict[int, Tensor] = {}
    actions: dict[str, Action] = {model.hook_name("mlp_post", layer): torch.zeros_like for layer in layers}
    actions |= {model.hook_name("mlp_out", layer): partial(written.__setitem__, layer) for layer in layers}
    forward(model, ids, actions, allow_hooks=True)
    return {layer: value.reshape(len(ids), -1) for layer, value in written.items()}


def _fits(model: ResidualModel, layer: int, shown: Tensor) -> bool:
    """Whether TransformerLens has a matrix from what is shown to the stream."""
    mlp: Any = model.bridge.blocks[layer].mlp
    return getattr(mlp, "W_out", torch.empty(0)).shape == (shown.shape[1], model.d_model)


def _varies(written: Tensor, limit: float) -> bool:
    """Whether rows differ; those that are not finite do not."""
    return relative_gap(written, written[:1].expand_as(written)) > limit
