"""The places in a transformer that can be read and written, in TransformerLens' words."""

from __future__ import annotations

from dataclasses import dataclass

from resid_widgets.errors import InputError

STREAM = ("resid_pre", "resid_mid", "resid_post")
"""States of the residual stream, each ``[pos, d_model]``."""

WRITES = ("attn_out", "mlp_out")
"""What attention and MLP add to the stream, each ``[pos, d_model]``."""

INNER = ("q", "k", "v", "z", "pattern", "mlp_post")
"""Inside a block. q and z ``[pos, head, d_head]``; k and v ``[pos, kv_head, d_head]``, before rotary;
pattern ``[head, pos, pos]``; mlp_post ``[pos, d_mlp]``."""

RESIDUAL = STREAM + WRITES
"""Everything of the stream's own width, the default of a run."""

COMPONENTS = RESIDUAL + INNER


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

    component: str
    layer: int
    pos: int | None = None
    head: int | None = None
    neuron: int | None = None

    def __post_init__(self) -> None:
        require_component(self.component)
        if isinstance(self.layer, bool) or not isinstance(self.layer, int) or self.layer < 0:
            raise InputError.about("layer", self.layer, "must be a whole number from 0", "Layers count from 0.")
        if self.pos is not None and (isinstance(self.pos, bool) or not isinstance(self.pos, int)):
            raise InputError.about("pos", self.pos, "must be a whole number or None", "None means every position.")
        if self.head is not None and self.component not in ("q", "k", "v", "z", "pattern"):
            raise InputError.about("head", self.head, f"{self.component} has no heads", "Leave head out.")
        if self.neuron is not None and self.component != "mlp_post":
            raise InputError.about("neuron", self.neuron, f"{self.component} has no neurons", "Leave neuron out.")

    def __str__(self) -> str:
        where = f"{self.component}[layer {self.layer}"
        for name in ("pos", "head", "neuron"):
            value = getattr(self, name)
            where += f", {name} {value}" if value is not None else ""
        return where + "]"
