"""The logit lens' arithmetic, chunk by chunk: no tensor of ``[layer, pos, vocab]`` ever exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.grid import row_chunks
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import relative_gap

CHUNK_BYTES = 128 * 2**20  # all tensors as wide as the vocabulary that are alive at once
WIDE_TENSORS = 8  # of those, for each row: logits and the copies made by unembedding, distributions, temporaries


@dataclass(frozen=True)
class LensTables:
    """The chunks' answers, on the CPU. Rows whose logits are not finite keep -1 and NaN.

    `gap` is the greatest relative difference between the final lens and the logits that the run holds.
    """

    ids: Int[NDArray, "layer pos k"]
    probs: Float[NDArray, "layer pos k"]
    logits: Float[NDArray, "layer pos k"]
    entropy: Float[NDArray, "layer pos"]
    kl: Float[NDArray, "layer pos"]
    rank: Float[NDArray, "layer pos target"]
    target_probs: Float[NDArray, "layer pos target"]
    target_logits: Float[NDArray, "layer pos target"]
    gap: float = 0.0

    @classmethod
    def empty(cls, n_layers: int, n_pos: int, top_k: int, n_targets: int) -> LensTables:
        """Allocate tables that say that nothing is known yet."""

        def blank(*last: int) -> NDArray[np.float32]:
            return np.full((n_layers, n_pos, *last), np.nan, dtype=np.float32)

        return cls(
            ids=np.full((n_layers, n_pos, top_k), -1, dtype=np.int64),
            probs=blank(top_k),
            logits=blank(top_k),
            entropy=blank(),
            kl=blank(),
            rank=blank(n_targets),
            target_probs=blank(n_targets),
            target_logits=blank(n_targets),
        )


@plain_state()
def read_lens(run: Run, component: str, top_k: int, target_ids: Sequence[int]) -> LensTables:
    """Return the lens' answers for every row of `run`.

    Positions are cut into chunks, and short prompts' layers are read several at once: as many rows as the budget
    allows share one reading of the unembedding matrix.
    """
    n_layers = run.model.n_layers
    row_bytes = WIDE_TENSORS * 4 * run.model.d_vocab
    tables = LensTables.empty(n_layers, run.n_pos, top_k, len(target_ids))
    gaps = []
    for columns in row_chunks(run.n_pos, row_bytes, CHUNK_BYTES):
        final = run.model.unembed(run.tensor("resid_post", n_layers - 1)[columns])
        gaps.append(_gap(run, final, columns))
        final = final.log_softmax(dim=-1)
        answer = (final, final.exp())
        for layers in row_chunks(n_layers, row_bytes * len(final), CHUNK_BYTES):
            h = torch.stack([run.tensor(component, layer)[columns] for layer in run.layers[layers]])
            _read_chunk(run.model.unembed(h), answer, target_ids, tables, (layers, columns))
    return replace(tables, gap=float(np.max(gaps)))  # NaN if one is


def _gap(run: Run, final: Float[Tensor, "pos d_vocab"], columns: slice) -> float:
    """Return how far the final lens is from the logits that the run holds for these positions."""
    if run.logits is not None:
        return relative_gap(final, run.logits[columns].to(final.dtype))
    if columns.stop == run.n_pos:
        return relative_gap(final[-1], run.final_logits.to(final.dtype))
    return 0.0


def _read_chunk(
    logits: Float[Tensor, "layer pos d_vocab"],
    answer: tuple[Float[Tensor, "pos d_vocab"], Float[Tensor, "pos d_vocab"]],
    target_ids: Sequence[int],
    tables: LensTables,
    place: tuple[slice, slice],
) -> None:
    """Reduce one chunk's logits into `tables` at `place`; `answer` is the final log-probabilities and probabilities."""
    top = logits.topk(tables.ids.shape[-1], dim=-1)
    asked = logits[..., list(target_ids)]
    rank = torch.empty_like(asked)
    for t in range(len(target_ids)):  # one at a time: all at once would need vocab x target numbers a row
        rank[..., t] = (logits > asked[..., [t]]).sum(dim=-1)
    log_probs = logits.log_softmax(dim=-1)
    top_log_probs = log_probs.gather(-1, top.indices)
    asked_probs = log_probs[..., list(target_ids)].exp()
    # An entry of the vocabulary may be masked by -inf; NaN or +inf comes first in the top and spoils its whole row.
    finite = torch.isfinite(top_log_probs[..., 0])

    # KL(final || lens) = sum p (log p - log q)
    final, p = answer
    terms = (final - log_probs).mul_(p)
    kl = terms.sum(dim=-1)
    if kl.isnan().any():  # 0 x inf: where p is 0 the term is 0, whatever q is
        kl = torch.where(torch.isfinite(p).all(dim=-1), terms.nansum(dim=-1), torch.nan)
    kl = kl.clamp(min=0.0)  # never negative but for rounding
    del terms
    entropy = torch.special.entr(log_probs.exp_()).sum(dim=-1)

    def keep(table: NDArray, values: Tensor, blank: float) -> None:
        wide = finite.reshape(*finite.shape, *[1] * (values.ndim - finite.ndim))
        table[place] = torch.where(wide, values, torch.full_like(values, blank)).cpu().numpy()

    keep(tables.ids, top.indices, -1.0)
    keep(tables.probs, top_log_probs.exp(), torch.nan)
    keep(tables.logits, top.values, torch.nan)
    keep(tables.entropy, entropy, torch.nan)
    keep(tables.kl, kl, torch.nan)
    keep(tables.rank, rank, torch.nan)
    keep(tables.target_probs, asked_probs, torch.nan)
    keep(tables.target_logits, asked, torch.nan)
