"""One block, run for many rows that differ in what enters it or in what is edited inside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.bare import bare_components
from resid_widgets.models.reuse.block_actions import BETWEEN, Watch, block_actions, inner_components
from resid_widgets.models.reuse.blocks import Row, row_bytes
from resid_widgets.models.reuse.edits import applied, in_order
from resid_widgets.models.reuse.engine import Engine, default_budget
from resid_widgets.models.reuse.full_passes import full_pass
from resid_widgets.models.runs.recording import Recording

_MOST_TOKENS = 4096


@dataclass
class _AllRows(Watch):
    """Keeps the numbers of all rows, not of one."""

    def see(self, component: str, layer: int, value: Tensor) -> None:
        """Keep a component, if it is wanted."""
        if component in self.components:
            self.seen[component, layer] = value


def values_in_block(
    engine: Engine, layer: int, rows: Sequence[Row], component: str, budget: int | None = None
) -> Iterator[Float[Tensor, "pos ..."]]:
    """Yield what a component of one block is in each row, at all positions.

    Parameters
    ----------
    engine
        Of a plain run (no background of interventions).
    layer
        Which block.
    rows
        Edits of each, all in this block: ``resid_pre`` of it, or inside it before `component`.
    component
        A component inside the block.
    budget
        Bytes that may be in use at once; a quarter of what is free by default.
    """
    recording = engine.recording
    if recording is None:
        allow = bool(engine.run.provenance.options["allow_hooks"])
        for row in rows:
            watch = Watch({component})
            full_pass(engine.run.model, engine.run.token_ids, list(row), watch=watch, allow_hooks=allow)
            yield watch.seen[component, layer]
        return
    room = (budget or default_budget(engine.run)) // row_bytes(recording, 0)
    step = max(1, min(room, _MOST_TOKENS // recording.n_pos))
    for first in range(0, len(rows), step):
        yield from _together(recording, layer, rows[first : first + step], component)


def _together(recording: Recording, layer: int, rows: Sequence[Row], component: str) -> Float[Tensor, "row pos ..."]:
    model, base = recording.model, recording.stream[layer]
    hidden = torch.stack([applied(base, [e for e in row if e.component == "resid_pre"]) for row in rows])
    edited = {n: in_order(e for e in row if e.component not in BETWEEN) for n, row in enumerate(rows)}
    edited = {n: edits for n, edits in edited.items() if edits}
    watch = _AllRows({component})
    bare = inner_components(edited.values()) | {component} <= bare_components(model)
    with model.lock, plain_pass():
        actions = block_actions(
            model, layer, edited, rows=len(rows), length=len(base), start=0, entering=lambda: hidden, watch=watch
        )
        recording.call(layer, hidden, recording.prefix(0), actions, bare)
    return watch.seen[component, layer]
