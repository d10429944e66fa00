"""Why a head looks where it looks: the score between two positions, split by what wrote the query and the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.attention.score_form import ScoreForm, Side, score_form
from resid_widgets.analysis.attention.scores_code import scores_code
from resid_widgets.analysis.attention.scores_result import AttentionScore
from resid_widgets.analysis.attention.stream_parts import stream_parts
from resid_widgets.analysis.contributions.frozen_norm import FrozenNorm, frozen
from resid_widgets.analysis.grid import with_options
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.layers.shapes import head_count
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import relative_gap
from resid_widgets.results import Check
from resid_widgets.tokens import visible
from resid_widgets.whole import from_zero

BY = ("component", "head")


@plain_state()
def attention_scores(run: Any, layer: Any, head: Any, q: Any, k: Any, *, by: Any = "component") -> AttentionScore:
    """Split the score with which a head looks from one token at another: why it looks there.

    The score, before the softmax, is the product of a query and a key, and both are read from the stream, which is a
    sum of what has been written into it. With the norms on the way held at their scale in this run, and the rotation
    by position as it is, the score is a sum over pairs: what wrote the query times what wrote the key.

    Parameters
    ----------
    run
        From `resid_widgets.run` or `intervene`.
    layer, head
        Which head; negative counts from the end.
    q, k
        The position that looks and the one that is looked at; negative counts from the end.
    by
        ``"component"``: embedding, attention and MLP of each layer; ``"head"``: attention by head, as ``2.1``.

    Returns
    -------
    AttentionScore
        ``.values`` ``[query_component, key_component]``, which with ``.position`` add up to the score.

    Raises
    ------
    InputError
        If an argument is out of range, the head does not see `k` from `q`, or an intervention has changed queries, keys
        or patterns of the layer.
    UnsupportedModelError
        If the score is no product of one matrix each (multi-head latent attention), or goes through a norm that cannot
        be held.

    Notes
    -----
    Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits", split scores into paths in models without
    norms; here norms and rotations are held as they are in the run.
    """
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt).")
    layer, q, k = run.layer(layer), run.pos(q), run.pos(k)
    model = run.model
    head = from_zero("head", head, head_count(model, "z", layer), f"layer {layer} has heads")
    if k > q:
        raise InputError.about("k", k, f"a token sees none behind it, and q is {q}", "Choose k at or before q.")
    if not isinstance(by, str) or by not in BY:
        raise InputError.about("by", by, "there is no such split", f"Use one of {', '.join(BY)}.")
    for item in run.interventions:
        if item.site.layer == layer and item.site.component in ("q", "k", "pattern"):
            rule = f"an intervention stands in its way ({item})"
            raise InputError.about("layer", layer, rule, "Take the run without it: run.base.")
    form = score_form(run, layer, head, q, k)
    norm, gap = _read_norm(run, layer, form, (q, k))
    parts, opened = stream_parts(run, layer, (q, k), by)
    held = FrozenNorm(torch.ones_like(form.query.input)[None], torch.zeros_like(form.query.input), False, 0.0)
    held = held if norm is None else norm
    query, key = (_side(parts, held, side, row) for row, side in enumerate((form.query, form.key)))
    values = (query.parts @ form.between @ key.parts.T).cpu().numpy()
    total = float(values.sum()) + form.position
    tokens = visible(run.tokens[q]), visible(run.tokens[k])
    where = f"head {head} of layer {layer}"
    directions = (
        held.read(side.read.T @ against)[row if norm else 0].cpu().numpy()
        for row, (side, against) in enumerate(
            ((form.query, form.between @ form.key.vector), (form.key, form.between.T @ form.query.vector))
        )
    )
    query_direction, key_direction = directions
    return AttentionScore(
        values=xr.DataArray(
            values,
            dims=("query_component", "key_component"),
            coords={"query_component": np.array(query.names, object), "key_component": np.array(key.names, object)},
            name="score",
            attrs={"long_name": f"part of the score of {where}", "units": "score"},
        ),
        checks=(*run.checks, *_checks(run, form, total, values, gap)),
        provenance=with_options(run.provenance, method="attention_scores", layer=layer, head=head, q=q, k=k, by=by),
        total=total,
        score=form.score,
        position=form.position,
        weight=float(one_layer(run, "pattern", layer)[head, q, k]),
        layer=layer,
        head=head,
        q=q,
        k=k,
        tokens=tokens,
        query_direction=query_direction,
        key_direction=key_direction,
        title=f"Why head {layer}.{head} looks from {tokens[0]} ({q}) at {tokens[1]} ({k})",
        sentence=(
            f"The score of {where} before the softmax ({total:.3g}), as a sum over what wrote the query at {tokens[0]} "
            f"and what wrote the key at {tokens[1]}. A score counts only against those of the other tokens in its row."
        ),
        script=scores_code(
            run,
            (layer, head, q, k),
            form,
            None if norm is None else norm.centred,
            tuple(side.names[-1] == "bias" for side in (query, key)),
            opened,
            frozenset(int(name.partition(".")[0]) for name in parts if name.endswith("_bias")),
        ),
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    """A query or a key by what has written it, ``[component, d_head]``."""

    names: list[str]
    parts: Float[Tensor, "component d_head"]


def _side(parts: dict[str, Tensor], norm: FrozenNorm, side: Side, row: int) -> _Parts:
    """Return the parts of a query (row 0) or key (row 1); what no part of the stream gives is the bias."""
    written = torch.stack([vectors[row] for vectors in parts.values()])
    gain = FrozenNorm(norm.gain[row % len(norm.gain)][None], norm.bias, norm.centred, norm.gap)
    found = gain.of(written) @ side.read.T
    bias = side.vector - side.read @ (side.input - norm.bias)
    if float(bias.abs().max()) <= 1e-6 * float(side.vector.abs().max()):
        return _Parts(list(parts), found)
    return _Parts([*parts, "bias"], torch.cat([found, bias[None]]))


def _read_norm(run: Run, layer: int, form: ScoreForm, positions: tuple[int, int]) -> tuple[FrozenNorm | None, float]:
    """Return the norm before attention, held at both positions (None: there is none), and how far off it is."""
    model = run.model
    stream = run.activation("resid_pre", layer)[list(positions)]
    read = torch.stack([form.query.input, form.key.input])
    block = model.bridge.blocks[layer]
    with model.lock, without_foreign_hooks(model):
        if hasattr(block, "ln1"):
            norm = frozen(block.ln1, stream, f"norm before attention of layer {layer}", model.gap_limit)
            gap = relative_gap(norm.of(stream) + norm.bias, read)
            if gap <= model.gap_limit:
                return norm, gap
    gap = relative_gap(stream.double(), read)
    if not gap <= model.gap_limit:
        raise UnsupportedModelError(
            f"Scores of layer {layer} of {model.name} cannot be split: what attention reads is neither the stream nor "
            f"the stream behind one norm (gap {gap:.1e})."
        )
    return None, gap


def _checks(run: Run, form: ScoreForm, total: float, values: Float[NDArray, "query key"], gap: float) -> list[Check]:
    limit = run.model.gap_limit
    found = [Check.gap("attention reads", gap, limit, "the held norm gives what attention reads")]
    exact = float(form.query.vector @ form.between @ form.key.vector) + form.position
    size = max(float(np.abs(values).max()), abs(exact), 1e-30)
    if form.score is None:
        text = "parts = the score, which this model's code shows only behind the softmax: held against query times key"
        found.append(Check.gap("parts add up", abs(total - exact) / size, 10 * limit, text))
    else:
        found.append(Check.gap("parts add up", abs(total - form.score) / size, 10 * limit, "parts add up to the score"))
    if form.cap is not None:
        text = f"the score is split before its soft-cap of {form.cap:g}, behind which it is {_capped(form):.3g}"
        found.append(Check("soft-cap", "amber", None, None, text))
    if form.normed:
        found.append(Check("qk-norm", "green", None, None, "the norms of query and key are held at their scale here"))
    return found


def _capped(form: ScoreForm) -> float:
    assert form.cap is not None, "only what is capped is asked"
    assert form.score is not None, "a capped score is known"
    return form.cap * float(np.tanh(form.score / form.cap))
