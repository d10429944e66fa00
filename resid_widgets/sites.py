"""The places in a transformer that can be read and written, in TransformerLens' words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.whole import whole

STREAM = ("resid_pre", "resid_mid", "resid_post")
"""States of the residual stream, each ``[pos, d_model]``."""

WRITES = ("attn_out", "mlp_out")
"""What attention and MLP add to the stream, each ``[pos, d_model]``: behind a norm or multiplier, where a family has
one (Gemma 2, OLMo 2, Granite). Other engines may mean what stands before it."""

INNER = ("q", "k", "v", "z", "pattern", "mlp_post")
"""Inside a block. q and z ``[pos, head, d_head]``; k and v ``[pos, kv_head, d_head]``, before rotary;
pattern ``[head, pos, pos]``; mlp_post ``[pos, d_mlp]``."""

RESIDUAL = STREAM + WRITES
"""Everything of the stream's own width, the default of a run."""

COMPONENTS = RESIDUAL + INNER

HOOK_NAMES = {
    "resid_pre": "blocks.{layer}.hook_resid_pre",
    "resid_mid": "blocks.{layer}.hook_resid_mid",
    "resid_post": "blocks.{layer}.hook_resid_post",
    "attn_out": "blocks.{layer}.hook_attn_out",
    "mlp_out": "blocks.{layer}.hook_mlp_out",
    "q": "blocks.{layer}.attn.hook_q",
    "k": "blocks.{layer}.attn.hook_k",
    "v": "blocks.{layer}.attn.hook_v",
    "z": "blocks.{layer}.attn.hook_z",
    "pattern": "blocks.{layer}.attn.hook_pattern",
    "mlp_post": "blocks.{layer}.mlp.hook_post",
}
"""The one table from our component names to TransformerLens' hook points."""


def require_component(component: object, allowed: tuple[str, ...] = COMPONENTS) -> str:
    """Return `component` if it is one of `allowed`.

    Raises
    ------
    InputError
        With the nearest name, if it is not.
    """
    if isinstance(component, str) and component in allowed:
        return component
    from difflib import get_close_matches

    near = get_close_matches(str(component), allowed, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "Choose one of these."
    raise InputError.about("component", component, f"must be one of {', '.join(allowed)}", hint)


@dataclass(frozen=True)
class Site:
    """One place in a model: a component of a layer, at one position or at all.

    ``Site("resid_post", 10)``; or by the names of TransformerLens, ``Site("blocks.10.hook_resid_post")``, and in short
    ``Site("resid_post.10")``.

    Attributes
    ----------
    component
        One of `COMPONENTS`.
    layer
        0 .. n_layers - 1.
    pos
        Token position, negative from the end; None means every position.
    head
        For q, z and pattern a head, for k and v a key-value head; None means every head.
    neuron
        For mlp_post; None means every neuron.
    """

    component: Any
    layer: Any = None  # an int in the end; None may stand only beside a name that says it
    pos: Any = None
    head: Any = None
    neuron: Any = None

    def __post_init__(self) -> None:
        component, layer = _by_name(self.component, self.layer)
        object.__setattr__(self, "component", require_component(component))
        number = whole(layer)
        if number is None or number < 0:
            raise InputError.about("layer", layer, "must be a whole number from 0", "Layers count from 0.")
        object.__setattr__(self, "layer", number)
        if self.head is not None and self.component not in ("q", "k", "v", "z", "pattern"):
            raise InputError.about("head", self.head, f"{self.component} has no heads", "Leave head out.")
        if self.neuron is not None and self.component != "mlp_post":
            raise InputError.about("neuron", self.neuron, f"{self.component} has no neurons", "Leave neuron out.")
        for name, every in (("pos", "position"), ("head", "head"), ("neuron", "neuron")):
            value = getattr(self, name)
            number = whole(value)
            if value is not None and number is None:
                raise InputError.about(name, value, "must be a whole number or None", f"None means every {every}.")
            object.__setattr__(self, name, number)

    def __str__(self) -> str:
        where = f"{self.component}[layer {self.layer}"
        for name in ("pos", "head", "neuron"):
            value = getattr(self, name)
            where += f", {name} {value}" if value is not None else ""
        return where + "]"


def as_site(given: object) -> Site:
    """Return a `Site`, or the one that a name means: ``"blocks.10.hook_resid_post"``, ``"resid_post.10"``.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(given, Site):
        return given
    if not isinstance(given, str):
        raise InputError.about("site", given, "a Site is needed", 'For example rw.Site("resid_post", layer=3, pos=5).')
    return Site(given)


def named_site(given: object) -> Site | None:
    """Return a `Site`, or the one whose name is given; None for anything else, such as the name of a component."""
    named = isinstance(given, str) and _NUMBERED.fullmatch(given)
    return as_site(given) if named or isinstance(given, Site) else None


_NAMES = {name.format(layer=""): component for component, name in HOOK_NAMES.items()}
_NUMBERED = re.compile(r"blocks\.(?P<hook>\d+)(?P<of>\..+)|(?P<short>[a-z_]+)\.(?P<layer>\d+)")


def _by_name(component: object, layer: object) -> tuple[object, object]:
    """Return component and layer, also where a name says both."""
    found = _NUMBERED.fullmatch(component) if isinstance(component, str) else None
    if found is None:
        if layer is None and isinstance(component, str) and component in COMPONENTS:
            example = f'For example rw.Site("{component}", layer=10), or "{component}.10".'
            raise InputError.about("site", component, "a Site is needed", example)
        return component, layer
    name, number = found["short"], int(found["layer"] or found["hook"])
    if name is None:
        name = _NAMES.get(f"blocks.{found['of']}")
        if name is None:
            known = ", ".join(each.format(layer=number) for each in HOOK_NAMES.values())
            raise InputError.about("site", component, f"it is none of {known}", "Choose one of these.")
    if layer is not None and whole(layer) != number:
        raise InputError.about("layer", layer, f"{component!r} names layer {number}", "Leave layer out.")
    return name, number
