"""The cells of a sweep: which sites it visits, in which order they stand in its array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.components import require_offered
from resid_widgets.models.layers.shapes import layers_with, one_shape
from resid_widgets.models.layers.writes import maybe_writable, require_writable
from resid_widgets.models.model import ResidualModel
from resid_widgets.sites import Site, require_component
from resid_widgets.whole import several_whole, whole_number

HEADS = ("z", "q", "k", "v", "pattern")


@dataclass(frozen=True)
class Cells:
    """A grid of sites.

    Attributes
    ----------
    component
        What is visited.
    dims
        ``(layer, pos)``, ``(layer, head)``, ``(layer, pos, head)`` or ``(layer, neuron)``; for k and v ``kv_head``.
    coords
        Of each dim: layer numbers, positions, heads, neurons.
    """

    component: str
    dims: tuple[str, ...]
    coords: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return tuple(map(len, self.coords))

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], Site]]:
        """Yield the place of each cell in the array, and its site."""
        for index in np.ndindex(self.shape):
            values = dict(zip(self.dims, (of[i] for of, i in zip(self.coords, index, strict=True)), strict=True))
            head = values.get("head", values.get("kv_head"))
            yield index, Site(self.component, values["layer"], values.get("pos"), head, values.get("neuron"))


def cells_of(
    model: ResidualModel,
    component: object,
    n_pos: int,
    by: str | None = None,
    layers: Any = None,
    neurons: Any = None,
) -> Cells:
    """Return the cells of a sweep over `component`.

    Parameters
    ----------
    by
        For q, k, v, z and pattern: ``"head"`` (all positions at once, the default) or ``"head_pos"``.
    layers
        All by default; needed for ``mlp_post``, which has thousands of neurons a layer.
    neurons
        For ``mlp_post``; all by default.

    Raises
    ------
    InputError
        If the component is unknown, a layer has none or the layers differ in number of heads or neurons, `by` means
        nothing for it, or a number is out of range.
    UnsupportedModelError
        If writing the component would not reach the model's computation.
    """
    component = require_component(component)
    chosen = _numbers("layers", layers, model.n_layers)
    require_offered(model, component)
    if component == "mlp_post" and layers is None:
        rule = "a sweep over neurons needs its layers"
        raise InputError.about(
            "layers", layers, rule, f"For example layers=[{_middle(layers_with(model, component))}]."
        )
    shape = one_shape(model, component, chosen, dims=1)
    for layer in chosen:
        require_writable(model, component, layer)
    if by is not None and (component not in HEADS or by not in ("head", "head_pos")):
        rule = "'head' or 'head_pos' are meant for q, k, v, z and pattern"
        raise InputError.about("by", by, rule, "Leave it out.")
    if neurons is not None and component != "mlp_post":
        raise InputError.about("neurons", neurons, f"{component} has no neurons", "Leave it out.")
    positions = tuple(range(n_pos))
    if component in HEADS:
        name = "kv_head" if component in ("k", "v") else "head"
        heads = tuple(range(shape[0]))
        if by == "head_pos":
            return Cells(component, ("layer", "pos", name), (chosen, positions, heads))
        return Cells(component, ("layer", name), (chosen, heads))
    if component == "mlp_post":
        return Cells(component, ("layer", "neuron"), (chosen, _numbers("neurons", neurons, shape[0])))
    return Cells(component, ("layer", "pos"), (chosen, positions))


def sweepable(model: ResidualModel, component: str) -> bool:
    """Whether a sweep may visit a component in all layers, as far as is known without a trial of each."""
    layers = tuple(range(model.n_layers))
    try:
        require_offered(model, component)
        one_shape(model, component, layers, dims=1)
    except (InputError, UnsupportedModelError):
        return False
    return all(maybe_writable(model, component, layer) for layer in layers)


def _middle(layers: Sequence[int]) -> int:
    return layers[len(layers) // 2]


def _numbers(name: str, given: Any, count: int) -> tuple[int, ...]:
    """Return numbers below `count`, without repetition; all of them by default."""
    if given is None:
        return tuple(range(count))
    items = several_whole(given)
    if not items:
        rule = "it names nothing" if items == () else f"whole numbers from 0 to {count - 1} are needed"
        raise InputError.about(name, given, rule, "Leave it out for all.")
    checked = [whole_number(name, item, 0, count - 1, f"There are {count}.") for item in items]
    return tuple(dict.fromkeys(checked))
