"""One forward pass over prompts of equal length, of which chosen positions are kept.

It takes the same way as a run of a single prompt: the bare model where each hook point has proved to give the same
bits there, else the bridge with its hooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.bare import BareModel, proven
from resid_widgets.models.forward import call_options
from resid_widgets.models.hooks import hooked, refuse_foreign_hooks
from resid_widgets.models.layers.shapes import layers_with, site_shape, split
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import probe_ids, relative_gap
from resid_widgets.models.trouble import TROUBLE, refused_by_name
from resid_widgets.models.watch import passing

Place = tuple[str, int]
"""Component and layer."""


def place_name(place: Place) -> str:
    """What a place is called in a safetensors file."""
    return f"{place[0]}.{place[1]}"


def read_batch(
    model: ResidualModel,
    rows: Sequence[Sequence[int]],
    kept: Sequence[Sequence[int]],
    places: Sequence[Place],
    weights_hash: str,
) -> dict[Place, Tensor]:
    """Run prompts of equal length together and return what stands at `places`.

    A model that mixes the rows of a batch up runs them one by one.

    Parameters
    ----------
    rows
        Token ids, ``[prompt, pos]``.
    kept
        Positions kept of each prompt.
    weights_hash
        What the model's must still be.

    Returns
    -------
    dict
        For each place a tensor ``[sample, width]`` in the model's dtype, on the CPU.

    Raises
    ------
    InputError
        If the model is in train mode, bears foreign hooks, or has changed.
    """
    with model.lock:
        model.require_eval()
        refuse_foreign_hooks(model)
        if model.weights_hash != weights_hash:
            rule = "a weight, buffer, setting or function of it has changed while activations were collected"
            raise InputError.about("model", model.name, rule, "Collect again from the start.")
        bare = not model.folded and proven(model, [model.hook_name(*place) for place in places], weights_hash)
        if len(rows) == 1 or _batchable(model, places, weights_hash, bare):
            found = _pass(model, rows, kept, places, bare)
        else:
            single = [_pass(model, [row], [at], places, bare) for row, at in zip(rows, kept, strict=True)]
            found = {place: torch.cat([of[place] for of in single]) for place in places}
        refuse_foreign_hooks(model)  # another thread may have put one on meanwhile
    return {place: value.cpu() for place, value in found.items()}


def _pass(
    model: ResidualModel,
    rows: Sequence[Sequence[int]],
    kept: Sequence[Sequence[int]],
    places: Iterable[Place],
    bare: bool,
) -> dict[Place, Tensor]:
    passing()
    length = len(rows[0])
    tokens = torch.tensor([list(row) for row in rows], device=model.device)
    at = torch.tensor([n * length + pos for n, of in enumerate(kept) for pos in of], device=model.device)
    found: dict[Place, Tensor] = {}

    def keep(place: Place, value: Tensor) -> None:
        # Indexing copies: the pass goes on and may overwrite.
        found[place] = split(value, len(rows), length, site_shape(model, *place)).reshape(tokens.numel(), -1)[at]

    actions = {model.hook_name(*place): partial(keep, place) for place in places}
    failed = f"a pass of {len(rows)} prompts of {length} tokens fails"
    with plain_pass():
        if bare:
            copy = BareModel(model)
            with copy.acting(actions), refused_by_name(model.name, failed):
                copy.root(input_ids=tokens, **call_options(copy.root, last_only=True))
        else:
            options = call_options(model.bridge.original_model, last_only=True)
            with hooked(model, actions), refused_by_name(model.name, failed):
                model.bridge(tokens, return_type="logits", **options)
    return found


def _batchable(model: ResidualModel, places: Sequence[Place], weights_hash: str, bare: bool) -> bool:
    """Whether two different prompts in one pass give what each gives alone; tried once for each set of components."""
    facts = model._shared.facts
    if facts.get("batches", (None,))[0] != weights_hash:
        facts["batches"] = weights_hash, {}
    known: dict[object, bool] = facts["batches"][1]
    components = frozenset(component for component, _ in places)
    if (components, bare) not in known:
        everywhere = [(component, n) for component in sorted(components) for n in layers_with(model, component)]
        known[components, bare] = _rows_stay_apart(model, everywhere, bare)
    return known[components, bare]


def _rows_stay_apart(model: ResidualModel, places: Sequence[Place], bare: bool) -> bool:
    one = probe_ids(model.d_vocab, model.n_ctx)
    other = [(i + 1) % model.d_vocab for i in reversed(one)]
    everything = list(range(len(one)))
    try:
        together = _pass(model, [one, other], [everything, everything], places, bare)
        apart = [_pass(model, [row], [everything], places, bare) for row in (one, other)]
        gaps = [relative_gap(together[place], torch.cat([row[place] for row in apart])) for place in places]
    except TROUBLE:
        return False  # a model whose code takes one prompt at a time
    return all(gap <= model.gap_limit for gap in gaps)
