"""How wide each component of a model is, found out by reading one short run."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action, without_foreign_hooks
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import probe_ids
from resid_widgets.sites import COMPONENTS


def site_shape(model: ResidualModel, component: str) -> tuple[int, ...]:
    """Return the shape of one position: ``(d_model,)``, ``(head, d_head)``, ``(neuron,)``; of pattern ``(head,)``.

    Raises
    ------
    InputError
        If the model has no such component.
    """
    facts = model._shared.facts
    with model.lock:
        if "shapes" not in facts:
            with without_foreign_hooks(model):
                facts["shapes"] = _find(model)
    if component not in facts["shapes"]:
        raise InputError.about("component", component, f"{model.name} has none", "Choose another one.")
    return facts["shapes"][component]


def head_count(model: ResidualModel, component: str) -> int:
    """Return how many heads q, z and pattern have, or how many key-value heads k and v."""
    return site_shape(model, component)[0]


def _find(model: ResidualModel) -> dict[str, tuple[int, ...]]:
    ids = probe_ids(model.d_vocab, model.n_ctx)
    seen: dict[str, Tensor] = {}
    names = [component for component in COMPONENTS if model.has(component)]
    reads: dict[str, Action] = {model.hook_name(name, 0): partial(seen.__setitem__, name) for name in names}
    forward(model, ids, reads, allow_hooks=True)
    shapes = {}
    for name, value in seen.items():
        # Without batch and position; OPT flattens the two inside its blocks.
        shapes[name] = (value.shape[1],) if name == "pattern" else tuple(value.reshape(len(ids), -1).shape[1:])
        if name in ("q", "k", "v", "z") and value.ndim == 4:
            shapes[name] = tuple(value.shape[2:])
    return shapes
