"""Which layers of a model are alike, so that what is proved of one holds for the others."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import nn

from resid_widgets.models.layers.plain import plain_modules
from resid_widgets.models.layers.shapes import layer_shapes
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import blocks_path


def groups(model: ResidualModel) -> list[tuple[int, ...]]:
    """Return all layers in groups of alike ones: same classes, parameter shapes, switches and hook points' shapes.

    Switches are the modules' own words, flags and whole numbers (a window, a kind of attention), a layer's number not
    counted.
    """
    facts = model._shared.facts
    with model.lock:
        if "alike" not in facts:
            facts["alike"] = _find(model)
    return facts["alike"]


def group_of(model: ResidualModel, layer: int) -> tuple[int, ...]:
    """Return the layers that are alike to `layer`, itself included."""
    return next(group for group in groups(model) if layer in group)


def _find(model: ResidualModel) -> list[tuple[int, ...]]:
    shapes, blocks = layer_shapes(model), blocks_path(model)
    modules = plain_modules(model.bridge.original_model).own
    found: dict[Any, list[int]] = defaultdict(list)
    for layer in range(model.n_layers):
        path = f"{blocks}.{layer}"
        inside = {name.removeprefix(path): m for name, m in modules.items() if f"{name}.".startswith(f"{path}.")}
        shown = tuple((component, shape) for (component, at), shape in shapes.items() if at == layer)
        found[tuple((name, _signature(m, layer)) for name, m in inside.items()), shown].append(layer)
    return [tuple(layers) for layers in found.values()]


def _signature(module: nn.Module, layer: int) -> tuple[Any, ...]:
    """Return what a module's code depends on, as far as it can be compared."""
    weights = tuple(
        (name, tuple(p.shape), p.dtype) for name, p in module.named_parameters(recurse=False) if p is not None
    )
    switches = tuple(
        (name, value)
        for name, value in vars(module).items()
        if isinstance(value, str | bool | int | None) and not (type(value) is int and value == layer)
    )
    replaced = module.__dict__.get("forward")  # in place of its class's own; a partial's function, a function's code
    return type(module), getattr(getattr(replaced, "func", replaced), "__code__", replaced), weights, switches
