"""How wide each component of each layer is, found out by reading one short run; and which layers have it at all."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action, without_foreign_hooks
from resid_widgets.models.layers.neurons import without_neurons
from resid_widgets.models.listing import listed
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import probe_ids
from resid_widgets.sites import COMPONENTS

Shape = tuple[int, ...]
_HEADS = ("q", "k", "v", "z")


def site_shape(model: ResidualModel, component: str, layer: int) -> Shape:
    """Return the shape of one position: ``(d_model,)``, ``(head, d_head)``, ``(neuron,)``; of pattern ``(head,)``.

    Raises
    ------
    InputError
        If the layer has no such component, with the reason.
    """
    reason = why_not(model, component, layer)
    if reason:
        rule = f"layer {layer} of {model.name} has none: {reason}"
        layers = layers_with(model, component)
        remedy = f"Layers {listed(list(map(str, layers)), 8)} have it." if layers else "Choose another one."
        raise InputError.about("component", component, rule, remedy)
    shape = layer_shapes(model)[component, layer]
    assert not isinstance(shape, str), "a layer without it has a reason"
    return shape


def why_not(model: ResidualModel, component: str, layer: int) -> str:
    """Return why a layer has no such component; empty where it has."""
    shape = layer_shapes(model)[component, layer]
    if isinstance(shape, str):
        return shape
    return without_neurons(model).get(layer, "") if component == "mlp_post" else ""


def head_count(model: ResidualModel, component: str, layer: int) -> int:
    """Return how many heads q, z and pattern have at a layer, or how many key-value heads k and v."""
    return site_shape(model, component, layer)[0]


def layers_with(model: ResidualModel, component: str) -> tuple[int, ...]:
    """Return the layers that have a component."""
    return tuple(layer for layer in range(model.n_layers) if not why_not(model, component, layer))


def widest(model: ResidualModel, component: str) -> int:
    """Return the largest count of numbers that a component has a position, over all layers; 0 where there is none."""
    shapes = [layer_shapes(model)[component, layer] for layer in range(model.n_layers)]
    return max((math.prod(shape) for shape in shapes if not isinstance(shape, str)), default=0)


def widest_mlp(model: ResidualModel) -> int:
    """Return how many neurons an MLP has at most, as far as the model says; a mixture's experts count as one MLP."""
    stated = getattr(model.bridge.cfg, "d_mlp", None)
    return max(widest(model, "mlp_post"), stated if isinstance(stated, int) else 0) or 4 * model.d_model


def one_shape(
    model: ResidualModel, component: str, layers: Sequence[int], dims: int | None = None, *, otherwise: str = ""
) -> Shape:
    """Return the shape that a component has at all of `layers`: what can be one array.

    Parameters
    ----------
    dims
        How many of the first dims must agree; all by default.
    otherwise
        What to do instead; by default, to choose layers that are alike.

    Raises
    ------
    InputError
        If a layer has none or they differ, with the layers that can be one array.
    """
    reasons: dict[str, list[int]] = defaultdict(list)
    shapes: dict[Shape, list[int]] = defaultdict(list)
    for layer in layers:
        reason = why_not(model, component, layer)
        if reason:
            reasons[reason].append(layer)
        else:
            shapes[site_shape(model, component, layer)[:dims]].append(layer)
    if not shapes:
        site_shape(model, component, layers[0])  # which says why
    remedy = (
        otherwise or f"Choose layers that are alike: layers={' or layers='.join(str(of) for of in shapes.values())}."
    )
    if reasons:
        rule = "; ".join(f"none at {_named(of)} ({reason})" for reason, of in reasons.items())
        raise InputError.about("component", component, rule, remedy)
    if len(shapes) > 1:
        told = "; ".join(f"{list(shape)} at {_named(of)}" for shape, of in shapes.items())
        rule = f"the layers differ, and are no one array: {told}"
        raise InputError.about("component", component, rule, remedy)
    return next(iter(shapes))


def _named(layers: Sequence[int]) -> str:
    return f"layer{'' if len(layers) == 1 else 's'} {listed(list(map(str, layers)), 8)}"


def split(value: Tensor, rows: int, length: int, shape: Shape) -> Tensor:
    """Return ``[row, pos, *shape]`` of what a hook point shows for `rows` prompts of `length` positions.

    Heads lie side by side in some modules, and OPT flattens row and position inside its blocks. Nothing else is taken.

    Raises
    ------
    UnsupportedModelError
        If it has another size.
    """
    leading = value.shape[:2] == (rows, length) or value.shape[:1] == (rows * length,)
    if not leading or value.numel() != rows * length * math.prod(shape):
        raise UnsupportedModelError(
            f"a hook point shows {list(value.shape)} for {rows} x {length} positions of {list(shape)}."
        )
    return value.reshape(rows, length, *shape)


def layer_shapes(model: ResidualModel) -> dict[tuple[str, int], Shape | str]:
    """Return what the hook points of each layer show, or why there is nothing; found out once a bridge."""
    facts = model._shared.facts
    with model.lock:
        if "shapes" not in facts:
            with without_foreign_hooks(model):
                facts["shapes"] = _find(model)
    return facts["shapes"]


def _find(model: ResidualModel) -> dict[tuple[str, int], Shape | str]:
    ids = probe_ids(model.d_vocab, model.n_ctx)
    places = [(component, layer) for layer in range(model.n_layers) for component in COMPONENTS]
    there = [place for place in places if model.has(*place)]
    found: dict[tuple[str, int], Shape | str] = dict.fromkeys(places, "TransformerLens has no such hook point there")

    def note(place: tuple[str, int]) -> Action:
        return lambda value: found.update({place: _shape(place[0], value.shape, len(ids))})

    def read(places: Sequence[tuple[str, int]]) -> None:
        forward(model, ids, {model.hook_name(*place): note(place) for place in places}, allow_hooks=True)

    try:
        read(there)
    except UnsupportedModelError:
        for place in there:  # one of them does not fire, or more than once
            try:
                read([place])
            except UnsupportedModelError as error:
                found[place] = str(error)
    return found


def _shape(component: str, given: Sequence[int], n_pos: int) -> Shape | str:
    """Return the shape of one position in ``[1, pos, ...]`` or ``[pos, ...]``, or why it is none."""
    given = tuple(given)
    if component == "pattern":
        fits = len(given) == 4 and given[0] == 1 and given[2] == n_pos
        return given[1:2] if fits else f"TransformerLens shows {list(given)} there, not [1, head, pos, key]"
    inner = given[2:] if given[:2] == (1, n_pos) else given[1:] if given[:1] == (n_pos,) else ()
    wanted = 2 if component in _HEADS else 1
    return inner if len(inner) == wanted else f"TransformerLens shows {list(given)} there, not one row a position"
