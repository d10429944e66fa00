"""Does exact reuse give this model's own numbers? Proved once a model, four ways, each against a full pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.layers.alike import groups
from resid_widgets.models.layers.writes import write_test
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse.blocks import replayed
from resid_widgets.models.reuse.edits import Edit
from resid_widgets.models.reuse.full_passes import full_pass
from resid_widgets.models.runs.recording import Recording
from resid_widgets.models.structure import probe_ids, relative_gap, worst_gap
from resid_widgets.models.trouble import TROUBLE, in_short

_MANY = 10**9


@dataclass(frozen=True)
class Proof:
    """Outcome of the proofs.

    Attributes
    ----------
    gap
        Largest relative gap against a full pass; NaN if it could not be tried.
    failed
        Which proof failed, in words; empty if all hold.
    """

    gap: float
    failed: str = ""


def proof_of(model: ResidualModel, components: set[str]) -> Proof:
    """Prove exact reuse for edits of `components`; remembered for each bridge until a weight changes."""
    facts = model._shared.facts
    with model.lock:
        weights = model.weights_hash
        if facts.get("reuse", (None,))[0] != weights:
            facts["reuse"] = weights, {}
        known: dict[str, Proof] = facts["reuse"][1]
        missing = [name for name in ("", *sorted(components)) if name not in known]
        if missing:
            with without_foreign_hooks(model), plain_pass():
                known.update(_prove(model, missing))
    proofs = [known[name] for name in ("", *sorted(components))]
    failed = next((proof for proof in proofs if proof.failed), None)
    return failed or Proof(worst_gap(*(proof.gap for proof in proofs)))


def _prove(model: ResidualModel, components: list[str]) -> dict[str, Proof]:
    """Run the three general proofs (named ``""``) and one for each component."""
    try:
        recording = Recording(model, probe_ids(model.d_vocab, model.n_ctx))
    except TROUBLE as error:
        return dict.fromkeys(components, Proof(math.nan, f"its run cannot be recorded ({in_short(error)})"))
    found = {}
    for component in components:
        steps = _GENERAL if component == "" else {f"an edit of {component}": _edit_of(component)}
        gaps = [0.0]
        failed = ""
        for name, step in steps.items():
            try:
                gaps.append(step(recording))
            except TROUBLE as error:
                failed = f"{name} does not run ({in_short(error)})"
                break
            if not gaps[-1] <= model.gap_limit:
                failed = f"{name} differs from a full pass (gap {gaps[-1]:.0e})"
                break
        found[component] = Proof(worst_gap(*gaps), failed)
    return found


def base_replay(recording: Recording) -> float:
    """All blocks again, from the embedded stream."""
    return relative_gap(_upwards(recording, 0), _full(recording, []))


def suffix(recording: Recording) -> float:
    """The positions from the middle on, over recorded keys and values."""
    start = recording.n_pos // 2
    return relative_gap(_upwards(recording, start), _full(recording, [])[start:])


def two_rows(recording: Recording) -> float:
    """Two different edits side by side in one batch, through all blocks."""
    middle = recording.n_pos // 2
    edits = [_noisy("resid_pre", 0, middle, recording.n_pos), _noisy("resid_pre", 0, middle, middle + 1)]
    return _against_full(recording, edits)


_GENERAL: dict[str, Callable[[Recording], float]] = {
    "the base run replayed": base_replay,
    "a suffix over recorded keys and values": suffix,
    "two rows in one batch": two_rows,
}


def _edit_of(component: str) -> Callable[[Recording], float]:
    """Edits of one kind of site, at one position and at all, in one of each of the layers that are alike."""

    def step(recording: Recording) -> float:
        model, middle = recording.model, recording.n_pos // 2
        gaps = [0.0]
        for layer in (group[len(group) // 2] for group in groups(model)):
            if write_test(model, component, layer).works:
                edits = [_noisy(component, layer, middle, middle + 1), _noisy(component, layer, 0, recording.n_pos)]
                gaps.append(_against_full(recording, edits))
        return worst_gap(*gaps)

    return step


def _upwards(recording: Recording, start: int) -> Tensor:
    hidden, prefix = recording.stream[0][None, start:], recording.prefix(start)
    for layer in range(recording.model.n_layers):
        hidden = recording.call(layer, hidden, prefix)
    return hidden[0]


def _against_full(recording: Recording, edits: list[Edit]) -> float:
    """Largest gap at any position: what comes before an edit must be as in the base run."""
    gaps, base = [], recording.stream[-1]
    for wave in replayed(recording, [[edit] for edit in edits], budget=_MANY, most_tokens=_MANY):
        for row in wave:
            whole = _full(recording, [edits[row.number]])
            gaps.append(relative_gap(torch.cat([base[: row.start], row.final]), whole))
            if torch.equal(whole, base):
                raise UnsupportedModelError("an edit changed nothing")
    return worst_gap(*gaps)


def _full(recording: Recording, edits: list[Edit]) -> Tensor:
    return full_pass(recording.model, recording.ids, edits, allow_hooks=True)


def _noisy(component: str, layer: int, lo: int, hi: int) -> Edit:
    def change(old: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(layer + 7 * lo)
        noise = torch.randn(old.shape, generator=generator, dtype=torch.float32).to(old)
        return old * 0.5 + noise * (float(old.float().std(correction=0)) or 1.0)

    return Edit(component, layer, lo, hi, None, None, change)
