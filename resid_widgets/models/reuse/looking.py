"""Components that are too large to be held for all layers, as patterns are: looked at one layer at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from resid_widgets.models.ambient import plain_state
from resid_widgets.models.bare import record
from resid_widgets.models.components import require_offered
from resid_widgets.models.hooks import refuse_foreign_hooks
from resid_widgets.models.layers.shapes import layers_with, site_shape
from resid_widgets.models.reuse.block_actions import Watch
from resid_widgets.models.reuse.edits import Edit
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.reuse.one_block import values_in_block
from resid_widgets.models.runs.run import Run
from resid_widgets.models.runs.same_model import require_same_logits, require_same_model
from resid_widgets.sites import require_component

Look = Callable[[int, Tensor], Any]
"""Takes a layer and what `Run.tensor` would give of it, which it must not keep."""


@plain_state()
def each_layer(run: Run, component: str, look: Look, layers: Sequence[int] | None = None) -> None:
    """Look at a component of each layer, or of some, while one pass goes by; nothing of it is held.

    Parameters
    ----------
    look
        Called once a layer, from the lowest up; not for layers that have no such component.

    Raises
    ------
    InputError
        If the model has no such component, bears hooks that are not ours, or has changed since the run.
    """
    require_offered(run.model, require_component(component))
    wanted = [n for n in layers_with(run.model, component) if layers is None or n in layers]
    if run.holds(component):
        for layer in wanted:
            look(layer, run.activation(component, layer))
    elif run.base is None:
        _plain_pass(run, component, look, wanted)
    else:
        # Something that changes nothing makes the engine begin at the first layer and position.
        nothing = Edit("resid_pre", 0, 0, 1, None, None, torch.clone)
        for _ in engine_of(run, {component}).rows([[nothing]], watch=_Looked(component, look, wanted)):
            pass


@plain_state()
def one_layer(run: Run, component: str, layer: int) -> Tensor:
    """Return a component of one layer like `Run.activation`, at the cost of one block where blocks can be run alone.

    Raises
    ------
    InputError
        As `each_layer`, or if the layer has none.
    """
    if run.holds(component):
        return run.activation(component, layer)
    require_offered(run.model, require_component(component))
    site_shape(run.model, component, layer)  # which says why the layer has none
    if run.base is None:
        (value,) = next(iter(values_in_block(engine_of(run, ()), layer, [()], component)))[None]
        return value
    found: list[Tensor] = []
    each_layer(run, component, lambda _, value: found.append(value), [layer])
    return found[0]


class _Looked(Watch):
    """Shows each layer's numbers, and keeps none."""

    def __init__(self, component: str, look: Look, layers: Sequence[int]) -> None:
        super().__init__({component})
        self._look, self._layers = look, layers

    def see(self, component: str, layer: int, value: Tensor) -> None:
        """Show a component of one of the layers."""
        if component in self.components and layer in self._layers:
            self._look(layer, value[0])


def _plain_pass(run: Run, component: str, look: Look, layers: Sequence[int]) -> None:
    model, allow = run.model, bool(run.provenance.options["allow_hooks"])

    def shown(layer: int, value: Tensor) -> None:
        look(layer, value[0])

    with model.lock:
        model.require_eval()
        if not allow:
            refuse_foreign_hooks(model)
        require_same_model(model, run.provenance)
        actions = {model.hook_name(component, layer): partial(shown, layer) for layer in layers}
        logits = record(model, run.token_ids, actions, run.provenance.weights_hash, allow_hooks=allow)
        require_same_logits(model, run.provenance, run.final_logits, logits[-1])
