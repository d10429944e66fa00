"""What each head writes of each token: its pattern times the token's value, through the output matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.contributions.sublayer import Sublayer, sublayer
from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import relative_gap, worst_gap


@dataclass(frozen=True, eq=False)
class Weighted:
    """The size of what heads write, by the token that it is of.

    Attributes
    ----------
    norms
        ``[head, pos, key_pos]`` float32: ``||A[q, k] v[k] W_O||`` as it is added to the stream.
    written
        How attention writes.
    gap
        Largest relative difference between pattern times values and what the heads give.
    """

    norms: Float[Tensor, "head pos key_pos"]
    written: Sublayer
    gap: float


def value_weighted(run: Run, layer: int, heads: Sequence[int]) -> Weighted:
    """Return the norms of what heads write (Kobayashi et al., 2020).

    A norm or factor behind attention is in them, held at the scale of the position that is written to.

    Raises
    ------
    InputError
        If the layer shows no values.
    UnsupportedModelError
        If a head's output is more than its pattern times its values, or attention's more than a projection of heads.
    """
    model = run.model
    pattern, z, values = (one_layer(run, name, layer) for name in ("pattern", "z", "v"))
    values = values.repeat_interleave(len(pattern) // values.shape[1], dim=1)  # [pos, head, d_head]
    kept = _not_written(run, layer, len(pattern), heads)
    given = torch.einsum("hqk,khd->qhd", pattern.double(), values.double()) if values.shape == z.shape else None
    pairs = () if given is None else zip(given[:, kept], z[:, kept].double(), strict=True)
    gap = torch.inf if given is None else worst_gap(*(relative_gap(a, b) for a, b in pairs))
    if not gap <= model.gap_limit:
        raise UnsupportedModelError(
            f"What the heads of layer {layer} of {model.name} take from each token cannot be told: their output is "
            f"not their pattern times their values (gap {gap:.1e}, limit {model.gap_limit:.0e})."
        )
    flat = z.flatten(1)
    with model.lock, without_foreign_hooks(model), plain_pass():
        found = sublayer(model, "attn_out", layer, flat, one_layer(run, "attn_out", layer))
        nothing = found.project(torch.zeros_like(flat[:1]))
        columns = found.project(torch.eye(flat.shape[1], dtype=flat.dtype, device=flat.device)) - nothing
    columns = columns.double().unflatten(0, z.shape[1:])  # [head, d_head, d_model]
    norms = [_norms(pattern[h].double(), values[:, h].double() @ columns[h], found).float() for h in heads]
    return Weighted(torch.stack(norms), found, gap)


def _not_written(run: Run, layer: int, count: int, heads: Sequence[int]) -> list[int]:
    """Return the heads whose output is the model's own; raises if interventions have put one of `heads` there."""
    sites = [item.site for item in run.interventions if item.site.layer == layer]
    written = [site for site in sites if site.component == "z"]
    every = any(site.head is None for site in written) or any(site.component == "attn_out" for site in sites)
    gone = set(range(count)) if every else {site.head % count for site in written if site.head is not None}
    if gone & set(heads):
        raise UnsupportedModelError(
            f"What the heads of layer {layer} take from each token cannot be told: interventions have written what "
            "they give, so that it is not their pattern times their values. Use run.base, or another head."
        )
    return [head for head in range(count) if head not in gone]


def _norms(
    pattern: Float[Tensor, "pos key_pos"], moved: Float[Tensor, "key_pos d_model"], written: Sublayer
) -> Float[Tensor, "pos key_pos"]:
    norm = written.norm
    if norm is None:
        sizes = moved.norm(dim=-1)[None]
    else:
        moved = moved - moved.mean(-1, keepdim=True) if norm.centred else moved
        sizes = (norm.gain.square() @ moved.square().T).sqrt()
    return abs(written.factor) * pattern * sizes
