"""What a head adds to the stream at a position, or what of it comes from one token, and what that speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.attention.head_writes_code import head_writes_code
from resid_widgets.analysis.contributions.direction import logit_directions
from resid_widgets.analysis.contributions.frozen_norm import frozen
from resid_widgets.analysis.contributions.sublayer import sublayer
from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.metrics import Reading, require_metric
from resid_widgets.analysis.sweeps.ablation import ablation
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.interventions import set_to
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.layers.shapes import head_count
from resid_widgets.models.reuse.looking import one_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check, Result
from resid_widgets.sites import Site
from resid_widgets.tokens import visible
from resid_widgets.whole import from_zero, whole_number


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class HeadWrites(Result):
    """What a head writes at a position. Made by `head_writes`.

    Attributes
    ----------
    values
        ``[token]``, logits: what it adds to them there by itself, less what it adds to all on average, the final norm
        held at that position's scale; the tokens that it raises most, then those that it lowers most. Empty where a
        model caps its logits.
    layer, head, pos, key_pos
        Of what; `key_pos` is None for all that it writes there.
    weight
        How much the head looks at `key_pos`; NaN without one.
    vector
        ``[d_model]``, what is added to the stream.
    norm, share
        Of the vector; its size, and that relative to the stream that it is added to.
    direct
        What it writes into the metric; NaN where the metric is read elsewhere, or is not linear.
    cut
        The metric without it minus with it, computed exactly: the value is taken away, and weights are left as they
        are. NaN without a metric.
    metric
        In words, or None.
    """

    layer: int
    head: int
    pos: int
    key_pos: int | None
    weight: float
    vector: Float[NDArray[np.float64], " d_model"]
    norm: float
    share: float
    direct: float
    cut: float
    metric: str | None
    title: str
    sentence: str
    script: str

    def code(self) -> str:
        """Return a script that gives the same logits with TransformerLens and PyTorch alone."""
        return self.script


@plain_state()
def head_writes(
    run: Any, layer: Any, head: Any, pos: Any = -1, key_pos: Any = None, metric: Any = None, *, top_k: Any = 5
) -> HeadWrites:
    """Tell what a head adds to the stream at a position, all of it or what it takes from one token.

    Parameters
    ----------
    run
        From `resid_widgets.run` or `intervene`.
    layer, head
        Which head; negative numbers count from the end.
    pos
        Where it writes.
    key_pos
        The token that it reads from, ``A[pos, key_pos] v[key_pos] W_O``; None for all of them.
    metric
        What taking it away is measured by; see `resid_widgets.logit_diff`.
    top_k
        How many tokens on either side.

    Returns
    -------
    HeadWrites

    Raises
    ------
    InputError
        If an argument does not fit the run.
    UnsupportedModelError
        If what the layer writes is no sum over heads, or a head's output none over tokens.
    """
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt).")
    layer, pos = run.layer(layer), run.pos(pos)
    head = from_zero("head", head, head_count(run.model, "z", layer), f"layer {layer} has heads")
    key_pos = None if key_pos is None else from_zero("key_pos", key_pos, run.n_pos, "the prompt has positions")
    top_k = whole_number("top_k", top_k, 1, 100, "5 is the default.")
    reading = None if metric is None else require_metric(metric).bound(run)
    z = one_layer(run, "z", layer)[pos]
    weight, part = float("nan"), z[head].double()
    gap = 0.0
    if key_pos is not None:
        pattern = one_layer(run, "pattern", layer)[head, pos].double()
        v = one_layer(run, "v", layer)
        v = v[:, head // (head_count(run.model, "pattern", layer) // v.shape[1])].double()
        gap = _gap_of_sources(run, layer, head, z[head], pattern @ v)
        weight, part = float(pattern[key_pos]), pattern[key_pos] * v[key_pos]
    whole = torch.zeros_like(z, dtype=torch.float64)
    whole[head] = part
    vector, stream = _written(run, layer, pos, z, whole)
    tokens, values, capped = _logits(run, pos, vector, top_k)
    norm, below = float(vector.norm()), float(stream.double().norm())
    named = f"head {layer}.{head}"
    where = f"at {visible(run.tokens[pos])}"
    source = "" if key_pos is None else f" from {visible(run.tokens[key_pos])}"
    options = {"layer": layer, "head": head, "pos": pos, "key_pos": key_pos}
    checks = [*run.checks]
    if key_pos is not None:
        checks.append(Check.gap("sources", gap, run.model.gap_limit, "sources sum to the head's output"))
    if capped:
        text = "the model caps its logits: what a part adds to them cannot be told"
        checks.append(Check("capped logits", "amber", None, None, text))
    return HeadWrites(
        values=xr.DataArray(
            values,
            dims=("token",),
            coords={
                "token": np.arange(len(values)),
                "token_id": ("token", tokens),
                "text": ("token", _texts(run, tokens)),
            },
            name="logits",
            attrs={"long_name": "what is added to a logit, less the mean over all", "units": "logits"},
        ),
        checks=tuple(checks),
        provenance=with_options(run.provenance, **options, metric=None if reading is None else reading.label),
        layer=layer,
        head=head,
        pos=pos,
        key_pos=key_pos,
        weight=weight,
        vector=vector.cpu().numpy(),
        norm=norm,
        share=norm / below if below else float("nan"),
        direct=float("nan") if reading is None else _direct(run, reading, pos, vector),
        cut=float("nan") if reading is None else _cut(run, reading, layer, head, pos, z[head], part),
        metric=None if reading is None else reading.label,
        title=f"What {named} writes",
        sentence=(
            f"What {named} adds to the stream {where}{source}, and to the logits there by itself. Later layers may "
            "read it, change it or erase it."
        ),
        script=head_writes_code(run, layer, head, pos, key_pos, tokens),
    )


@plain_state()
def norms_written(run: Run, layer: int, head: int) -> Float[NDArray[np.float64], " pos"]:
    """Return the norm of what a head adds to the stream at each position.

    Raises
    ------
    UnsupportedModelError
        If what the layer writes is no sum over heads.
    """
    z = one_layer(run, "z", layer)
    whole = torch.zeros_like(z, dtype=torch.float64)
    whole[:, head] = z[:, head].double()
    with run.model.lock, without_foreign_hooks(run.model):
        found = sublayer(run.model, "attn_out", layer, z.flatten(1), run.activation("attn_out", layer))
        return found.part(whole.flatten(1).to(z)).double().norm(dim=-1).cpu().numpy()


def _gap_of_sources(run: Run, layer: int, head: int, z: Tensor, summed: Tensor) -> float:
    """Return how far a head's output is from the sum over its tokens; refuse where it is none."""
    size = float(z.double().norm()) or 1.0
    gap = float((z.double() - summed).norm()) / size
    if not gap <= run.model.gap_limit:
        raise UnsupportedModelError(
            f"What head {layer}.{head} of {run.model.name} takes from each token cannot be told: its output is not its "
            f"pattern times its values (gap {gap:.1e}, limit {run.model.gap_limit:.0e})."
        )
    return gap


def _written(run: Run, layer: int, pos: int, z: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is added to the stream, and the stream that it is added to."""
    written = run.activation("attn_out", layer)[pos]
    with run.model.lock, without_foreign_hooks(run.model):
        found = sublayer(run.model, "attn_out", layer, z.flatten()[None], written[None])
        vector = found.part(whole.flatten()[None].to(z))[0].double()
    return vector, run.activation("resid_pre", layer)[pos]


def _logits(run: Run, pos: int, vector: Tensor, top_k: int) -> tuple[NDArray, NDArray, bool]:
    """Return the tokens that a vector raises and lowers most, by how much, and whether the model caps its logits."""
    model = run.model
    final = run.activation("resid_post", model.n_layers - 1)[pos][None]
    with model.lock, without_foreign_hooks(model):
        norm = frozen(model.bridge.ln_final, final, f"final norm of {model.name}", model.gap_limit)
        part = norm.of(vector[None]).to(model.dtype)
        zero, once, twice = (model.unembed(share * part, normed=True)[0].double() for share in (0.0, 1.0, 2.0))
    logits = once - zero
    if not float((twice - zero - 2 * logits).abs().max()) <= 10 * model.gap_limit * float(logits.abs().max()):
        return np.zeros(0, dtype=int), np.zeros(0), True
    logits = logits - logits.mean()
    up = logits.topk(min(top_k, len(logits)))
    down = (-logits).topk(min(top_k, len(logits)))
    tokens = torch.cat([up.indices, down.indices.flip(0)]).cpu().numpy()
    return tokens, torch.cat([up.values, -down.values.flip(0)]).cpu().numpy(), False


def _texts(run: Run, tokens: NDArray) -> NDArray[np.object_]:
    return np.array([visible(text) for text in run.model.token_strings(tokens.tolist())], dtype=object)


def _direct(run: Run, reading: Reading, pos: int, vector: Tensor) -> float:
    """Return what a vector writes into a metric; NaN where the metric is not read there, or is not linear."""
    metric = reading.metric
    if not metric.coefficients or pos not in reading.positions:
        return float("nan")
    final = run.activation("resid_post", run.model.n_layers - 1)[pos][None]
    weights = tuple(zip(reading.token_ids, metric.coefficients, strict=True))
    try:
        read = logit_directions(run.model, final, [weights], reading.label)
    except InputError:  # it caps its logits
        return float("nan")
    return float(read.vectors[0] @ vector) / len(reading.positions)


def _cut(run: Run, reading: Reading, layer: int, head: int, pos: int, z: Tensor, part: Tensor) -> float:
    """Return the change of a metric when it is taken away from what the head has written."""
    without = set_to(Site("z", layer, pos=pos, head=head), (z.double() - part).float().cpu().numpy())
    found = ablation(run, without, reading.metric, top_k=0)
    before = reading.of_base() if run.base is None else ablation(run, (), reading.metric, top_k=0).after
    return found.after - before
