"""What stands along directions, by part: component, layer, head, neuron, or the token that a head has read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.contributions.rows import Rows
from resid_widgets.analysis.contributions.split import along_component, along_inside, along_sources, layers_inside
from resid_widgets.analysis.contributions.sublayer import INNER, Sublayer
from resid_widgets.errors import InputError
from resid_widgets.models.components import require_offered
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import STREAM, WRITES, Site
from resid_widgets.whole import several_whole, whole_number

BY = {"component": None, "layer": None, "head": "attn_out", "source": "attn_out", "neuron": "mlp_out"}
"""How the stream can be split, and which component is opened for it."""


@dataclass(frozen=True, eq=False)
class Parts:
    """A split of what stands along directions.

    Attributes
    ----------
    values
        ``[row, *dims]`` float64; NaN where a layer has fewer heads or neurons than another.
    dims, coords
        What they are over.
    rest
        By name, ``[row]``: what is in the stream and not in `values`.
    opened
        How each layer's sublayer writes, where its heads or neurons are named.
    """

    values: Float[NDArray, "row ..."]
    dims: tuple[str, ...]
    coords: dict[str, Any]
    rest: dict[str, Float[NDArray, " row"]]
    opened: dict[int, Sublayer]

    @property
    def sum(self) -> Float[NDArray, " row"]:
        """All of it."""
        inner = np.nansum(self.values.reshape(len(self.values), -1), axis=1)
        return inner + sum(self.rest.values(), np.zeros(len(self.values)))


def writers_before(model: ResidualModel, site: Site) -> list[tuple[str, int]]:
    """Return what has written into the stream where it is read, from the lowest up."""
    written = {"resid_pre": (), "resid_mid": WRITES[:1], "resid_post": WRITES}[site.component]
    below = [(component, layer) for layer in range(site.layer) for component in WRITES]
    return below + [(component, site.layer) for component in written]


def layers_of(model: ResidualModel, by: object, layers: Any, writers: Sequence[tuple[str, int]]) -> tuple[int, ...]:
    """Return the layers that are opened, checked.

    Raises
    ------
    InputError
        If `by` is unknown, `layers` means nothing for it or names a layer that is not there or has no such parts.
    """
    if not isinstance(by, str) or by not in BY:
        raise InputError.about("by", by, "there is no such split", f"Use one of {', '.join(BY)}.")
    if by == "component":
        if layers is not None:
            raise InputError.about("layers", layers, "by='component' shows all", "Leave it out, or use by='head'.")
        return ()
    component = BY[by]
    written = sorted({layer for name, layer in writers if component in (None, name)})
    if component is not None:
        require_offered(model, INNER[component])
    inside = [n for n in written if component is None or n in layers_inside(model, component)]
    if not inside:
        rule = "nothing has written there but the embedding"
        raise InputError.about("by", by, rule, "Use by='component', or a site higher up.")
    if layers is None:
        return tuple(inside)
    chosen = [whole_number("layers", item, 0, model.n_layers - 1, _SOME) for item in several_whole(layers) or (None,)]
    for layer in chosen:
        if layer not in inside:
            why = f"layer {layer} has no {INNER[component]}" if component and layer in written else "it is higher up"
            raise InputError.about("layers", layer, why, f"Choose among {inside}.")
    return tuple(dict.fromkeys(chosen))


_SOME = "Name some of them, or leave it out for all."


def places_of(model: ResidualModel, by: str, layers: Sequence[int]) -> list[tuple[str, int]]:
    """Return the places that must be read to split the final stream."""
    writes = [(component, layer) for layer in range(model.n_layers) for component in WRITES]
    component = BY[by]
    inner = [] if component is None else [(INNER[component], layer) for layer in layers]
    return [("resid_pre", 0), ("resid_post", model.n_layers - 1), *writes, *inner]


def parts_along(
    rows: Rows,
    vectors: Float[Tensor, "row d_model"],
    by: str,
    layers: Sequence[int],
    writers: Sequence[tuple[str, int]],
    run: Run | None = None,
) -> Parts:
    """Split what stands in the stream along directions.

    Parameters
    ----------
    layers
        Which are opened, see `layers_of`.
    writers
        What has written into the stream there.
    run
        Of all rows, for ``by="source"``.
    """
    whole = _whole(rows, vectors, writers)
    n = len(rows)
    if by == "component":
        return Parts(np.stack(list(whole.values()), axis=1), ("component",), {"component": list(whole)}, {}, {})
    if by == "layer":
        named = {layer: [name for name in whole if name.startswith(f"{layer}.")] for layer in layers}
        values = [sum((whole.pop(name) for name in named[layer]), np.zeros(n)) for layer in layers]
        return Parts(np.stack(values, axis=1), ("layer",), {"layer": list(layers)}, whole, {})
    component = str(BY[by])
    with rows.model.lock, without_foreign_hooks(rows.model):
        opened = {layer: along_inside(rows, component, layer, vectors) for layer in layers}
    part = "neuron" if by == "neuron" else "head"
    widest = max(inside.values.shape[1] for inside in opened.values())
    shape = (n, len(layers), widest) + ((run.n_pos,) if by == "source" and run is not None else ())
    values = np.full(shape, np.nan)
    for place, (layer, inside) in enumerate(opened.items()):
        found = inside.values
        if by == "source":
            assert run is not None, "sources are positions of one run"
            found = along_sources(run, layer, rows.positions, inside)
        values[:, place, : found.shape[1]] = found
    coords = {"layer": list(layers), part: list(range(widest))}
    dims: tuple[str, ...] = ("layer", part)
    if by == "source":
        dims, coords = (*dims, "pos"), {**coords, "pos": list(range(shape[-1]))}
    rest: dict[str, NDArray[np.float64]] = {}
    for name, along in whole.items():
        layer = -1 if "." not in name else int(name.partition(".")[0])
        if name != f"{layer}.{component}" or layer not in opened:
            rest[name] = along
        elif opened[layer].bias.any():
            rest[f"{layer}.{component.removesuffix('_out')}_bias"] = opened[layer].bias
    return Parts(values, dims, coords, rest, {layer: inside.sublayer for layer, inside in opened.items()})


def _whole(
    rows: Rows, vectors: Float[Tensor, "row d_model"], writers: Sequence[tuple[str, int]]
) -> dict[str, Float[NDArray, " row"]]:
    """Return what each component has written, the lowest first; what interventions put into the stream has its own."""
    found = {"embed": along_component(rows, "resid_pre", 0, vectors)}
    for layer in sorted({layer for _, layer in writers}):
        written = [component for component, of in writers if of == layer]
        if ("resid_pre", layer) in rows.edited and layer:  # the embedded stream is what it was made to be
            entered = along_component(rows, "resid_pre", layer, vectors)
            found[f"{layer}.edit_before"] = entered - along_component(rows, "resid_post", layer - 1, vectors)
        for component in written:
            found[f"{layer}.{component}"] = along_component(rows, component, layer, vectors)
        if {("resid_mid", layer), ("resid_post", layer)} & rows.edited:
            left = along_component(rows, STREAM[len(written)], layer, vectors)
            entered = along_component(rows, "resid_pre", layer, vectors)
            found[f"{layer}.edit"] = left - entered - sum(found[f"{layer}.{component}"] for component in written)
    return {name: along for name, along in found.items() if ".edit" not in name or along.any()}
