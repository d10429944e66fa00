"""Direct paths: what reaches a receiver of what a sender writes into the stream, with everything between held still."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse.edits import Edit, constant, plus
from resid_widgets.models.reuse.engine import Engine
from resid_widgets.models.reuse.one_block import values_in_block
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import structure_of
from resid_widgets.sites import Site

ATTENTION, MLP = ("q", "k", "v"), ("mlp_post", "mlp_out")
"""Receivers that read the stream as it enters the block, and as it stands between attention and MLP."""


@dataclass(frozen=True, eq=False)
class Paths:
    """The direct paths of one pair, from senders to given receivers."""

    model: ResidualModel
    engine: Engine
    base: Run
    source: Run
    receivers: tuple[Site | str, ...]
    budget: int | None

    def edits(self, senders: Sequence[Site]) -> list[tuple[Edit, ...]]:
        """Return for each sender, all of one layer, what its receivers take; nothing where nothing reaches them."""
        changes = self._changes(senders)
        moved = [_first_position(change) for change in changes]
        found: list[list[Edit]] = [[] for _ in senders]
        for receiver in self.receivers:
            live = [n for n, site in enumerate(senders) if moved[n] is not None and self._has(receiver, site)]
            if isinstance(receiver, str):
                for n in live:
                    lo, top = moved[n] or 0, self.model.n_layers - 1
                    change = partial(plus, changes[n][lo:])
                    found[n].append(Edit("resid_post", top, lo, self.base.n_pos, None, None, change))
                continue
            for n, values in zip(live, self._received(receiver, [changes[n] for n in live]), strict=True):
                lo = moved[n] or 0
                if receiver.pos is not None and receiver.pos < lo:
                    continue  # nothing has changed there
                lo, hi = (lo, self.base.n_pos) if receiver.pos is None else (receiver.pos, receiver.pos + 1)
                edit = Edit(receiver.component, receiver.layer, lo, hi, receiver.head, receiver.neuron, _same)
                found[n].append(replace(edit, change=constant(values[edit.index(0)].clone())))
        return [tuple(edits) for edits in found]

    @property
    def first_layer(self) -> int:
        """The layer of the first receiver."""
        return min(self.model.n_layers, *(reads_at(receiver, True)[0] for receiver in self.receivers))

    def reached(self, sender: Site) -> bool:
        """Whether any receiver comes after a sender."""
        return any(self._has(receiver, sender) for receiver in self.receivers)

    def _has(self, receiver: Site | str, sender: Site) -> bool:
        parallel = structure_of(self.model).parallel
        return writes_at(sender, parallel) <= reads_at(receiver, parallel)

    def _changes(self, senders: Sequence[Site]) -> list[Float[Tensor, "pos d_model"]]:
        """Return what each sender's other value adds to the stream."""
        component, layer = senders[0].component, senders[0].layer
        here, there = (run.activation(component, layer) for run in (self.base, self.source))
        edits = []
        for site in senders:
            lo, hi = (0, self.base.n_pos) if site.pos is None else (site.pos, site.pos + 1)
            edit = Edit(component, layer, lo, hi, site.head, None, _same)
            edits.append(replace(edit, change=constant(there[edit.index(0)])))
        if component == "z":
            before = self.base.activation("attn_out", layer)
            written = values_in_block(self.engine, layer, [[edit] for edit in edits], "attn_out", self.budget)
            return [value - before for value in written]
        found = []
        for edit in edits:
            change = torch.zeros_like(here)
            change[edit.lo : edit.hi] = (there - here)[edit.lo : edit.hi]
            found.append(change)
        return found

    def _received(self, receiver: Site, changes: Sequence[Tensor]) -> list[Tensor]:
        """Return what a receiver is when the stream that it reads has changed, and nothing else has."""
        component = "resid_pre"
        if receiver.component in MLP and not structure_of(self.model).parallel:
            component = "resid_mid"
        stream = self.base.activation(component, receiver.layer)
        rows = []
        for change in changes:
            put = constant(stream + change)
            rows.append([Edit(component, receiver.layer, 0, self.base.n_pos, None, None, put)])
        return list(values_in_block(self.engine, receiver.layer, rows, receiver.component, self.budget))


def writes_at(site: Site, parallel: bool) -> tuple[int, int]:
    """Return layer and place at which a sender enters the stream: before, within or after the block."""
    within = 2 if parallel else 1
    place = {"resid_pre": 0, "z": within, "attn_out": within, "resid_mid": 1, "mlp_out": 2, "resid_post": 2}
    return site.layer, place[site.component]


def reads_at(receiver: Site | str, parallel: bool) -> tuple[int, int]:
    """Return layer and place from which a receiver reads the stream: it has what was written there or before."""
    if isinstance(receiver, str):
        return sys.maxsize, 0
    return receiver.layer, 1 if receiver.component in MLP and not parallel else 0


def _first_position(change: Float[Tensor, "pos d_model"]) -> int | None:
    """Return the first position at which something changes; None if there is none."""
    places = change.any(dim=-1).nonzero().flatten()
    return int(places[0]) if len(places) else None


def _same(old: Tensor) -> Tensor:
    return old
