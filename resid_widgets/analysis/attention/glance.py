"""What is kept of each head's pattern while the patterns go by: a pooled picture, and a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.models.layers.shapes import head_count
from resid_widgets.models.reuse.looking import each_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check

ROUNDING = 1e-5
"""How far a row may miss 1 in float32; of other dtypes ten times their machine epsilon."""

HELD = 256 * 2**20
"""Bytes of patterns that may be held while two runs are compared."""


@dataclass(eq=False)
class Glance:
    """Looks at one layer after the other.

    Attributes
    ----------
    layers, n_heads, block
        Which layers, heads of the widest of them, and positions along one side of a block.
    marked
        ``[pos]``.
    earlier
        ``[pos, key_pos]``: earlier positions of the same token.
    scores
        ``[layer, head]`` by name.
    thumbnails
        ``[layer, head, query_block, key_block]``.
    unmarked
        All blocks that rows can look at, of unmarked positions, flat.
    sinks
        ``[layer, head]``.
    """

    layers: Sequence[int]
    n_heads: int
    block: int
    marked: Bool[Tensor, " pos"]
    earlier: Bool[Tensor, "pos key_pos"]
    scores: dict[str, Float[NDArray, "layer head"]]
    thumbnails: Float[NDArray, "layer head query_block key_block"]
    sinks: Float[NDArray, "layer head"]
    sums: list[float] = field(default_factory=list)
    seen: list[NDArray[np.float32]] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run, layers: Sequence[int], size: int) -> Glance:
        """Return one that has seen nothing yet."""
        n_heads = max(head_count(run.model, "pattern", layer) for layer in layers)
        block = -(-run.n_pos // size)
        side = -(-run.n_pos // block)
        ids = torch.tensor(run.token_ids)
        marked = torch.zeros(run.n_pos, dtype=torch.bool)
        marked[list(run.marked)] = True
        shape = len(layers), n_heads
        names = ("induction", "previous_token", "duplicate_token", "first_token", "entropy")
        return cls(
            layers=layers,
            n_heads=n_heads,
            block=block,
            marked=marked,
            earlier=(ids[:, None] == ids[None]).tril(-1),
            scores={name: np.full(shape, np.nan) for name in names},
            thumbnails=np.full((*shape, side, side), np.nan, dtype=np.float32),
            sinks=np.full(shape, np.nan),
        )

    @property
    def unmarked(self) -> NDArray[np.float32]:
        """All blocks of unmarked positions, flat."""
        return np.concatenate(self.seen)

    def look(self, layer: int, pattern: Float[Tensor, "head pos key_pos"]) -> None:
        """Keep what is to be kept of one layer."""
        row, p = self.layers.index(layer), pattern.float()
        heads = len(p)
        for name, found in self._scores(p).items():
            self.scores[name][row, :heads] = found.double().cpu().numpy()
        self.sinks[row, :heads] = p[:, :, self.marked.to(p.device)].sum(-1).mean(-1).double().cpu().numpy()
        self.thumbnails[row, :heads] = self._pooled(p).cpu().numpy()
        rows = p.sum(-1)
        self.sums += [float(rows.min()), float(rows.max())]
        pictures = self.thumbnails[row, :heads]
        kept = pictures[..., self._unmarked_blocks()]
        looked = kept.max(axis=0) > 0  # blocks above the diagonal, and outside windows, are no small weights
        self.seen.append(kept[:, looked].ravel())

    def look_at(self, run: Run) -> None:
        """Look at all layers of a run and, where it has interventions, at how far each is from that of its base."""
        if run.base is None:
            each_layer(run, "pattern", self.look)
            return
        found = np.where(self._there(run), 0.0, np.nan)
        lowest = min((item.site.layer or 0 for item in run.interventions), default=run.model.n_layers)
        left = [layer for layer in self.layers if layer >= lowest]  # nothing below can have changed
        step = max(1, HELD // (4 * self.n_heads * run.n_pos**2))
        held: dict[int, Tensor] = {}

        def keep(layer: int, pattern: Tensor) -> None:
            held[layer] = pattern.float().clone()

        def differ(layer: int, pattern: Tensor) -> None:
            if layer in held:
                change = (held.pop(layer) - pattern.float()).abs().amax(dim=(-1, -2))
                found[self.layers.index(layer), : len(change)] = change.double().cpu().numpy()

        def both(layer: int, pattern: Tensor) -> None:
            self.look(layer, pattern)
            differ(layer, pattern)

        chunks = [left[n : n + step] for n in range(0, len(left), step)] or [[]]
        for n, chunk in enumerate(chunks):  # one, where the patterns of all layers may be held
            if chunk:
                each_layer(run.base, "pattern", keep, chunk)
            each_layer(run, "pattern", both if n == 0 else differ, None if n == 0 else chunk)
        self.scores["change"] = found

    def _there(self, run: Run) -> Bool[NDArray, "layer head"]:
        """Return which heads there are."""
        counts = np.array([head_count(run.model, "pattern", layer) for layer in self.layers])
        return np.arange(self.n_heads)[None] < counts[:, None]

    def row_check(self, run: Run) -> Check:
        """Say whether rows sum to 1. With learned sinks (gpt-oss) they sum to less, and are left so."""
        low, high = min(self.sums), max(self.sums)
        limit = max(ROUNDING, 10 * torch.finfo(run.model.dtype).eps)
        gap = max(abs(low - 1), abs(high - 1))
        if gap <= limit:
            return Check("rows", "green", gap, limit, f"rows sum to 1, gap {gap:.1g}")
        text = f"rows sum to {low:.3g} to {high:.3g}: the rest goes to no token, and nothing is scaled up to 1"
        return Check("rows", "amber", gap, limit, text)

    def _scores(self, p: Float[Tensor, "head pos key_pos"]) -> dict[str, Float[Tensor, " head"]]:
        """Return the mean over rows of each score; rows that have nothing of the kind are left out."""
        after = torch.zeros_like(self.earlier)
        after[:, 1:] = self.earlier[:, :-1]
        return {
            "induction": _mean_on(p, after.tril(-1)),
            "previous_token": p.diagonal(-1, dim1=1, dim2=2).mean(-1),
            "duplicate_token": _mean_on(p, self.earlier),
            "first_token": p[:, 1:, 0].mean(-1),
            "entropy": -torch.xlogy(p, p)[:, 1:].sum(-1).mean(-1),
        }

    def _unmarked_blocks(self) -> list[int]:
        """Return the blocks of keys that have no marked position; all of them where each has one."""
        side = self.thumbnails.shape[-1]
        taken = {int(pos) // self.block for pos in self.marked.nonzero().flatten()}
        return [block for block in range(side) if block not in taken] or list(range(side))

    def _pooled(self, p: Float[Tensor, "head pos key_pos"]) -> Float[Tensor, "head query_block key_block"]:
        """Return the largest weight of each block."""
        if self.block == 1:
            return p
        side = self.thumbnails.shape[-1]
        room = side * self.block - p.shape[-1]
        wide = torch.nn.functional.pad(p, (0, room, 0, room))
        return wide.reshape(len(p), side, self.block, side, self.block).amax(dim=(2, 4))


def _mean_on(p: Float[Tensor, "head pos key_pos"], where: Bool[Tensor, "pos key_pos"]) -> Float[Tensor, " head"]:
    """Return what rows give to the places that are meant, mean over the rows that have some; NaN where none has."""
    q, k = where.nonzero(as_tuple=True)
    return p[:, q.to(p.device), k.to(p.device)].sum(-1) / len(q.unique())
