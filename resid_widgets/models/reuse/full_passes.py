"""Edited runs as whole passes through the bridge: the slow way, for models on which exact reuse is not proved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor

from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse.block_actions import Watch, block_actions, inner_components
from resid_widgets.models.reuse.blocks import Replayed, Row
from resid_widgets.models.reuse.edits import Edit, applied, in_order


def full_pass(
    model: ResidualModel,
    ids: Sequence[int],
    edits: Sequence[Edit],
    *,
    watch: Watch | None = None,
    allow_hooks: bool = False,
) -> Float[Tensor, "pos d_model"]:
    """Run a prompt once with `edits`, and return the stream that leaves the last block.

    Raises
    ------
    UnsupportedModelError
        If a hook does not fire exactly once.
    """
    ordered = in_order(edits)
    entering: dict[int, Tensor] = {}
    final: list[Tensor] = []

    def between(component: str, layer: int, value: Tensor) -> Tensor:
        mine = [edit for edit in ordered if (edit.component, edit.layer) == (component, layer)]
        new = applied(value[0], mine)[None] if mine else value
        if component == "resid_pre":
            entering[layer] = new
        elif layer == model.n_layers - 1:
            final.append(new[0])
        if watch is not None:
            watch.see(component, layer, new)
        return new

    actions: dict[str, Action] = {}
    touched = {(edit.component, edit.layer) for edit in ordered} | {("resid_post", model.n_layers - 1)}
    if watch is not None:
        touched |= {(component, layer) for component in watch.components for layer in layers_with(model, component)}
    touched |= {("resid_pre", layer) for component, layer in touched if component == "resid_mid"}
    for component, layer in touched:
        if component in ("resid_pre", "resid_post"):
            actions[model.hook_name(component, layer)] = partial(between, component, layer)
    for layer in {layer for component, layer in touched if component not in ("resid_pre", "resid_post")}:
        inside = [edit for edit in ordered if edit.layer == layer and inner_components([[edit]])]
        actions |= block_actions(
            model,
            layer,
            {0: inside},
            rows=1,
            length=len(ids),
            start=0,
            entering=partial(entering.__getitem__, layer),
            watch=watch,
        )
    forward(model, ids, actions, allow_hooks=allow_hooks)
    return final[0]


def full_passes(
    model: ResidualModel,
    ids: Sequence[int],
    rows: Sequence[Row],
    *,
    watch: Watch | None = None,
    check: Callable[[], None] = lambda: None,
    allow_hooks: bool = False,
) -> Iterator[list[Replayed]]:
    """Do what `resid_widgets.models.reuse.blocks.replayed` does, one whole pass a row."""
    for number, edits in enumerate(rows):
        check()
        yield [Replayed(number, 0, full_pass(model, ids, edits, watch=watch, allow_hooks=allow_hooks))]
