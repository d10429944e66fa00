"""Which layers of a model are alike, so that what is proved of one holds for the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
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
    shapes, layers = layer_shapes(model), range(model.n_layers)
    inside = [_inside(model, layer) for layer in layers]
    words = [_words(modules) for modules in inside]
    # What is the layer's own number in each of them tells nothing.
    numbers = {name for name in words[0] if all(words[n].get(name, n) == n for n in layers)}
    found: dict[Any, list[int]] = defaultdict(list)
    for layer in layers:
        told = tuple(item for item in words[layer].items() if item[0] not in numbers)
        shown = tuple((component, shape) for (component, at), shape in shapes.items() if at == layer)
        kinds = tuple((name, _kind(module)) for name, module in inside[layer].items())
        found[kinds, told, shown].append(layer)
    return [tuple(of) for of in found.values()]


def _inside(model: ResidualModel, layer: int) -> dict[str, nn.Module]:
    """Return a block and the model's own modules in it, without TransformerLens' points and wrappers."""
    path, modules = f"{blocks_path(model)}.{layer}", plain_modules(model.bridge.original_model).own
    below = {name.removeprefix(path): m for name, m in modules.items() if f"{name}.".startswith(f"{path}.")}
    return {name: m for name, m in below.items() if not type(m).__module__.startswith("transformer_lens.")}


def _kind(module: nn.Module) -> tuple[Any, ...]:
    """Return a module's class and parameters, and the code of a forward that somebody put in its class's place."""
    replaced = module.__dict__.get("forward")
    code = getattr(getattr(replaced, "func", replaced), "__code__", replaced)
    parameters = tuple((name, tuple(p.shape), p.dtype) for name, p in module.named_parameters(recurse=False))
    return type(module), code, parameters


def _words(modules: Mapping[str, nn.Module]) -> dict[tuple[str, str], str | int | None]:
    """Return the words, flags and whole numbers that modules hold, by module and name."""
    return {
        (path, name): value
        for path, module in modules.items()
        for name, value in vars(module).items()
        if isinstance(value, str | int | None)
    }
