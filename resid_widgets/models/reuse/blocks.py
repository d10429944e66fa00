"""Exact reuse: blocks L.. are run again for positions p.. only, from a recorded run, many edited rows at once.

A change at layer L and position p of a causal model cannot touch layers before L or positions before p. So a row, one
edited copy of the base run, joins at its first edited layer and holds the positions from its first edited one on; the
keys and values of what comes before are the recorded ones. Rows that start at the same position go up together, and
the groups of one wave take turns at each block, so that its weights are read once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.bare import bare_components
from resid_widgets.models.layers.shapes import widest, widest_mlp
from resid_widgets.models.reuse.block_actions import BETWEEN, Watch, block_actions, inner_components
from resid_widgets.models.reuse.edits import Edit, applied, in_order
from resid_widgets.models.runs.recording import Prefix, Recording

Row = Sequence[Edit]
"""The edits of one row, at least one."""


class Replayed(NamedTuple):
    """Where one row has ended.

    Attributes
    ----------
    number
        Place of the row in what was asked for.
    start
        Position at which it begins; what is before is as in the base run.
    final
        ``[suffix, d_model]``: the stream that leaves the last block, before the final norm.
    """

    number: int
    start: int
    final: Tensor


def replayed(
    recording: Recording,
    rows: Sequence[Row],
    *,
    budget: int,
    most_tokens: int,
    watch: Watch | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[list[Replayed]]:
    """Run edited rows up to the final stream, and give them a wave at a time.

    Parameters
    ----------
    recording
        The base run.
    rows
        What is edited in each.
    budget
        Bytes that the rows of a wave may use; a wave has at least one row.
    most_tokens
        Tokens (rows times suffix) that may go through a block at once.
    watch
        For a single row: what is kept of its numbers on the way.
    check
        Called before each block; may raise to stop.
    """
    n_layers = recording.model.n_layers
    for wave in _waves(recording, rows, budget, most_tokens):
        for layer in range(min(group.joins[0] for group in wave), n_layers + 1):
            for group in wave:
                check()
                with recording.model.lock, plain_pass():
                    _between(recording, group, layer, watch)
                    if layer < n_layers and group.hidden.shape[0]:
                        group.hidden = _through(recording, group, layer, watch)
        yield [
            Replayed(number, group.start, final)
            for group in wave
            for number, final in zip(group.numbers, group.hidden, strict=True)
        ]


def joins_at(edits: Row) -> int:
    """Return the first block before which or in which a row differs (n_layers: only the final stream does)."""
    return min(edit.layer + (edit.component == "resid_post") for edit in edits)


def cost(recording: Recording, edits: Row) -> int:
    """Return how many tokens a row takes through a block: layers times positions."""
    return (recording.model.n_layers - joins_at(edits)) * (recording.n_pos - min(edit.lo for edit in edits))


@dataclass(eq=False)
class _Group:
    """Rows that start at one position, in the order in which they join."""

    start: int
    numbers: list[int]
    joins: list[int]
    prefix: Prefix
    hidden: Float[Tensor, "row suffix d_model"]
    edits: dict[tuple[str, int], dict[int, list[Edit]]] = field(default_factory=lambda: defaultdict(dict))
    """By resid_pre, resid_post or "inside" and layer: the edits of each row, by its place."""

    @classmethod
    def of(cls, recording: Recording, start: int, rows: Sequence[tuple[int, Row]]) -> _Group:
        rows = sorted(rows, key=lambda row: joins_at(row[1]))
        empty = recording.stream[0].new_empty((0, recording.n_pos - start, recording.model.d_model))
        joins = [joins_at(edits) for _, edits in rows]
        group = cls(start, [number for number, _ in rows], joins, recording.prefix(start), empty)
        for place, (_, edits) in enumerate(rows):
            for edit in in_order(edits):
                where = edit.component if edit.component in BETWEEN else "inside"
                group.edits[where, edit.layer].setdefault(place, []).append(edit)
        return group

    def edit(self, component: str, layer: int) -> None:
        """Edit the stream between two blocks."""
        here = self.edits.get((component, layer), {})
        if here:
            self.hidden = self.hidden.clone()  # a watch may still look at what it was
        for place, edits in here.items():
            self.hidden[place] = applied(self.hidden[place], edits, self.start)


def _waves(recording: Recording, rows: Sequence[Row], budget: int, most_tokens: int) -> Iterator[list[_Group]]:
    """Put together what goes up at once, the shortest suffixes first."""
    by_start: dict[int, list[tuple[int, Row]]] = defaultdict(list)
    for number, edits in enumerate(rows):
        by_start[min(edit.lo for edit in edits)].append((number, edits))
    wave: list[_Group] = []
    tokens, room = most_tokens, budget
    for start in sorted(by_start, reverse=True):
        length, size = recording.n_pos - start, row_bytes(recording, start)
        # The first to join cost most: a wave that cuts a group takes the others with the next.
        waiting = sorted(by_start[start], key=lambda row: joins_at(row[1]))
        while waiting:
            fits = max(0, min(tokens // length, room // size))  # a lone row may have taken more than there is
            taken = waiting[: fits if wave else max(1, fits)]
            if taken:
                wave.append(_Group.of(recording, start, taken))
                tokens -= len(taken) * length
                room -= len(taken) * size
                waiting = waiting[len(taken) :]
            if waiting:
                yield wave
                wave, tokens, room = [], most_tokens, budget
    if wave:
        yield wave


def row_bytes(recording: Recording, start: int) -> int:
    """Return the bytes that one row needs while it goes through a block, at most."""
    model, n_pos = recording.model, recording.n_pos
    q, k = widest(model, "z") or model.d_model, widest(model, "k") or model.d_model
    a_token = 8 * model.d_model + 4 * widest_mlp(model) + 3 * q + 4 * widest(model, "pattern") * n_pos
    keys = n_pos * (2 * k + 2 * q)  # the prefix is copied for each row, once for each query head
    return ((n_pos - start) * a_token + keys) * model.dtype.itemsize


def _between(recording: Recording, group: _Group, layer: int, watch: Watch | None) -> None:
    """Let the rows join that differ from this block on, and edit the stream before it."""
    new = group.joins.count(layer)
    if new:
        base = recording.stream[layer][group.start :].expand(new, -1, -1)
        group.hidden = torch.cat([group.hidden, base])
    group.edit("resid_post", layer - 1)
    # What has just joined is the base run's own until something edits it.
    changed = group.hidden.shape[0] > new or ("resid_post", layer - 1) in group.edits
    if watch is not None and changed and layer > 0:
        watch.see("resid_post", layer - 1, group.hidden)
    group.edit("resid_pre", layer)
    if watch is not None and (changed or ("resid_pre", layer) in group.edits):
        watch.see("resid_pre", layer, group.hidden)


def _through(recording: Recording, group: _Group, layer: int, watch: Watch | None) -> Tensor:
    """Take the rows of a group through one block."""
    model, hidden, edited = recording.model, group.hidden, group.edits.get(("inside", layer), {})
    if not edited and watch is None:
        return recording.call(layer, hidden, group.prefix)

    def call(hidden: Tensor, edited: Mapping[int, Sequence[Edit]], bare: bool) -> Tensor:
        actions = block_actions(
            model,
            layer,
            edited,
            rows=hidden.shape[0],
            length=hidden.shape[1],
            start=group.start,
            entering=lambda: hidden,
            watch=watch,
        )
        return recording.call(layer, hidden, group.prefix, actions, bare)

    quick = bare_components(model)
    touched = inner_components(edited.values()) | set(() if watch is None else watch.components)
    if watch is not None or touched <= quick:
        return call(hidden, edited, touched <= quick | set(BETWEEN))
    # TransformerLens' own block takes several times as long as the bare one: only the rows that need it go through it.
    slow = [place for place, edits in edited.items() if not inner_components([edits]) <= quick]
    others = [place for place in range(hidden.shape[0]) if place not in slow]
    new = torch.empty_like(hidden)
    for places, bare in ((others, True), (slow, False)):
        if places:
            new[places] = call(hidden[places], {n: edited[p] for n, p in enumerate(places) if p in edited}, bare)
    return new
