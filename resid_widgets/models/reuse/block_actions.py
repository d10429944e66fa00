"""What edits inside a block are to its hook points: one function for each, for many rows or for one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from resid_widgets.models.hooks import Action
from resid_widgets.models.layers.shapes import site_shape, split, why_not
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse.edits import ORDER, Edit, applied

BETWEEN = ("resid_pre", "resid_post")
"""The stream between blocks: edited there, not inside one."""


@dataclass
class Watch:
    """Keeps the numbers of some components while one row goes up.

    Attributes
    ----------
    components
        What to keep.
    seen
        ``[suffix, ...]`` (pattern: ``[head, suffix, key_pos]``) by component and layer.
    """

    components: Collection[str]
    seen: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def see(self, component: str, layer: int, value: Tensor) -> None:
        """Keep the one row of a component, if it is wanted."""
        if component in self.components:
            self.seen[component, layer] = value[0]


def inner_components(rows: Iterable[Sequence[Edit]]) -> set[str]:
    """Return the components inside a block that are edited."""
    return {edit.component for edits in rows for edit in edits if edit.component not in BETWEEN}


def block_actions(
    model: ResidualModel,
    layer: int,
    edited: Mapping[int, Sequence[Edit]],
    *,
    rows: int,
    length: int,
    start: int,
    entering: Callable[[], Tensor],
    watch: Watch | None = None,
) -> dict[str, Action]:
    """Return an action for each hook point inside a block at which something is edited or watched.

    Parameters
    ----------
    edited
        Edits inside this block, in order, by place of their row in the batch.
    rows, length, start
        Size of the batch, how many positions its rows have, and at which they begin.
    entering
        Gives what enters the block, ``[row, suffix, d_model]``: the stream between attention and MLP is that plus
        ``attn_out``. (TransformerLens' hook_resid_mid is only what the MLP reads.)
    watch
        What is to be kept, of a batch of one.
    """
    watched = () if watch is None else watch.components
    wanted = inner_components(edited.values()) | {c for c in watched if not why_not(model, c, layer)}

    def edit(component: str, value: Tensor) -> Tensor:
        for n, edits in edited.items():
            mine = [edit for edit in edits if edit.component == component]
            if mine:
                value = value.clone()
                value[n] = applied(value[n], mine, start)
        if watch is not None:
            watch.see(component, layer, value)
        return value

    def apart(component: str, value: Tensor) -> Tensor:
        if component == "pattern":
            return edit(component, value)
        shaped = split(value, rows, length, site_shape(model, component, layer))
        return edit(component, shaped).reshape(value.shape)

    def middle(value: Tensor) -> Tensor:
        new = edit("attn_out", value)
        if "resid_mid" in wanted:
            before = entering() + new
            after = edit("resid_mid", before)
            new = new if after is before else after - entering()
        return new

    found: dict[str, Action] = {
        model.hook_name(component, layer): partial(apart, component)
        for component in ORDER
        if component in wanted and component not in (*BETWEEN, "resid_mid", "attn_out")
    }
    if {"attn_out", "resid_mid"} & wanted:
        found[model.hook_name("attn_out", layer)] = middle
    return found
