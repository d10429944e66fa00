"""What a model's residual stream really is, found out by running it once on a few tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action, without_foreign_hooks
from resid_widgets.models.model import ResidualModel
from resid_widgets.sites import RESIDUAL, WRITES

_PROBE_LENGTH = 7


@dataclass(frozen=True)
class Structure:
    """How the parts of a block add up.

    Attributes
    ----------
    parallel
        Attention and MLP both read ``resid_pre``; there is no ``resid_mid``.
    components
        The components of `RESIDUAL` that exist.
    causal
        A later token cannot change an earlier position. False for encoders.
    gap
        The largest relative gap of the identities, and of the last-layer lens against the logits.
    lens_gap
        The same for the lens alone.
    """

    parallel: bool
    components: tuple[str, ...]
    causal: bool
    gap: float
    lens_gap: float


def relative_gap(value: Tensor, reference: Tensor) -> float:
    """``max|value - reference| / max|reference|``, 0 where they are equal to the bit; NaN if either has one."""
    if torch.equal(value, reference):
        return 0.0
    scale = reference.abs().max().item()
    return (value - reference).abs().max().item() / (scale or 1.0)


def identity_gap(parallel: bool, parts: Mapping[str, Tensor]) -> float:
    """Largest relative gap of a block's true sums, in the model's own dtype.

    ``resid_pre + attn_out = resid_mid`` and ``resid_mid + mlp_out = resid_post``; in a parallel block
    ``resid_pre + attn_out + mlp_out = resid_post``.
    """
    if parallel:
        return relative_gap(parts["resid_pre"] + parts["attn_out"] + parts["mlp_out"], parts["resid_post"])
    middle = relative_gap(parts["resid_pre"] + parts["attn_out"], parts["resid_mid"])
    return worst_gap(middle, relative_gap(parts["resid_mid"] + parts["mlp_out"], parts["resid_post"]))


def worst_gap(*gaps: float) -> float:
    """Return the largest gap, NaN if one is (Python's max may lose it)."""
    return math.nan if any(map(math.isnan, gaps)) else max(gaps)


def blocks_path(model: ResidualModel) -> str:
    """Return the Hugging Face name of the list of blocks."""
    mapping = model.bridge.adapter.component_mapping
    assert mapping is not None, "every bridge that has blocks says where they are"
    return str(mapping["blocks"].name)


def probe_ids(d_vocab: int, n_ctx: int | None) -> list[int]:
    """A few token ids that any model takes, the same on every call."""
    generator = torch.Generator().manual_seed(0)
    length = min(_PROBE_LENGTH, n_ctx or _PROBE_LENGTH)
    return torch.randint(0, d_vocab, (length,), generator=generator).tolist()


def structure_of(model: ResidualModel) -> Structure:
    """Find out the structure once a bridge, without other people's hooks, and remember it.

    Where activations are not finite nothing can be told from them: each run's own checks then say so in red.

    Raises
    ------
    UnsupportedModelError
        If the recorded parts do not add up, the stream is not single, or the last-layer lens is not the logits.
    """
    facts = model._shared.facts
    with model.lock:
        if "structure" in facts:
            return facts["structure"]
        with without_foreign_hooks(model):
            found = _find(model)
        if math.isfinite(found.gap):
            facts["structure"] = found
    return found


def _find(model: ResidualModel) -> Structure:
    layers = range(model.n_layers)
    needed = ("resid_pre", "resid_post", "attn_out", "mlp_out")
    missing = [part for part in ("embed", "blocks", "ln_final", "unembed") if not hasattr(model.bridge, part)]
    missing = missing or [f"{c} at layer {n}" for c in needed for n in layers if not model.has(c, n)][:1]
    if missing:
        why = _without_attention(model, missing[0])
        raise UnsupportedModelError(
            f"{model.name} cannot be shown: TransformerLens offers no {', '.join(missing)}{why}."
        )
    ids = probe_ids(model.d_vocab, model.n_ctx)
    sequential = {model.has("resid_mid", n) for n in layers}
    if len(sequential) > 1:
        raise UnsupportedModelError(f"{model.name} cannot be shown: in some layers attention and MLP are parallel.")
    parallel = sequential == {False}
    components = tuple(c for c in RESIDUAL if not (parallel and c == "resid_mid"))
    seen: dict[tuple[str, int], Tensor] = {}

    places = [(c, n) for c in components for n in layers]
    actions: dict[str, Action] = {model.hook_name(*place): partial(seen.__setitem__, place) for place in places}
    logits = forward(model, ids, actions, last_only=False, allow_hooks=True)
    limit = model.gap_limit
    worst, finite = 0.0, True
    for layer in layers:
        parts = {c: seen[c, layer] for c in components}
        shapes = {tuple(p.shape) for p in parts.values()}
        if shapes != {(1, len(ids), model.d_model)}:
            raise UnsupportedModelError(
                f"{model.name} has no single residual stream [pos, d_model]: layer {layer} gives {sorted(shapes)}."
            )
        gap = identity_gap(parallel, parts)
        if layer:
            gap = worst_gap(gap, relative_gap(seen["resid_post", layer - 1], seen["resid_pre", layer]))
        finite = finite and all(bool(torch.isfinite(p).all()) for p in parts.values())
        if finite and not gap <= limit:
            raise UnsupportedModelError(
                f"{model.name}: at layer {layer} attention and MLP do not add up to the stream "
                f"(relative gap {gap:.1e}, limit {limit:.0e}). {_why_no_sum(model, ids, layer, parts['resid_post'])}"
            )
        worst = worst_gap(worst, gap)
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    lens_gap = relative_gap(model.unembed(seen["resid_post", model.n_layers - 1][0]), exact)
    if finite and bool(torch.isfinite(logits).all()) and not lens_gap <= limit:
        raise UnsupportedModelError(
            f"{model.name}: unembedding the last layer does not give the model's logits "
            f"(relative gap {lens_gap:.1e}, limit {limit:.0e}), so a logit lens would be wrong."
        )
    return Structure(parallel, components, _is_causal(model, ids, seen), worst_gap(worst, lens_gap), lens_gap)


def _without_attention(model: ResidualModel, missing: str) -> str:
    """Return of what a block is made that has no attention: a state-space, convolutional or recurrent layer."""
    component, _, layer = missing.partition(" at layer ")
    parts = list(getattr(model.bridge.blocks[int(layer)], "submodules", {})) if layer else []
    if component != "attn_out" or not parts or "attn" in parts:
        return ""
    return f", which is made of {', '.join(parts)}: it has no attention"


def _why_no_sum(model: ResidualModel, ids: list[int], layer: int, post: Tensor) -> str:
    """Return why a block's parts are not the stream that leaves it, where that can be told."""
    given: list[Tensor] = []
    names = [n for n in model.hooks if n.startswith(f"blocks.{layer}.ln") and n.endswith(".hook_out")]
    with suppress(UnsupportedModelError):  # not each of them need be called
        forward(model, ids, dict.fromkeys(names, given.append), allow_hooks=True)
    if any(torch.equal(value, post) for value in given):
        return (
            "A norm stands on the stream itself, after each addition as in BERT, so it is no sum of what layers write."
        )
    return "Its blocks are built in a way we cannot show truthfully."


def _is_causal(model: ResidualModel, ids: list[int], seen: Mapping[tuple[str, int], Tensor]) -> bool:
    """Whether changing the last token leaves what every layer writes at earlier positions as it was."""
    if len(ids) < 2:
        return True
    changed: dict[tuple[str, int], Tensor] = {}
    other = [*ids[:-1], (ids[-1] + 1) % model.d_vocab]
    # What is written, not the stream, beside whose largest numbers a write may be nothing.
    places = [(c, n) for c in WRITES for n in range(model.n_layers)]
    forward(model, other, {model.hook_name(*at): partial(changed.__setitem__, at) for at in places}, allow_hooks=True)
    gaps = [relative_gap(changed[place][0, :-1], seen[place][0, :-1]) for place in places]
    return all(gap <= model.gap_limit for gap in gaps)
