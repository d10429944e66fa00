"""Does writing a site reach the computation? Proved once for layers that are alike, against plain PyTorch hooks.

A hook that fires need not have an effect: a hook point may sit on a copy. Each kind of site is therefore edited
twice, through TransformerLens' hook point and through plain hooks on the Hugging Face modules, and the two passes
must give the same logits and move them. Inner sites are found in the plain modules by their recorded values, not by
their names, so that a mislabelled hook point is caught as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action, plain_hooks
from resid_widgets.models.layers.alike import group_of, groups
from resid_widgets.models.layers.plain import PlainModules, holder, plain_modules
from resid_widgets.models.layers.shapes import why_not
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import blocks_path, probe_ids, relative_gap, structure_of
from resid_widgets.sites import COMPONENTS, INNER, RESIDUAL

PlainEdit = tuple[nn.Module, str, Action]


@dataclass(frozen=True)
class Write:
    """Outcome of one kind of site's self-test.

    Attributes
    ----------
    component
        One of `resid_widgets.sites.COMPONENTS`.
    works
        Whether a write reaches the computation.
    gap
        Relative gap between the two ways of writing, or NaN if it could not be tried.
    reason
        Why not, in words; empty if it works.
    """

    component: str
    works: bool
    gap: float
    reason: str = ""


def require_writable(model: ResidualModel, component: str, layer: int) -> None:
    """Refuse a write that would not reach the computation.

    Raises
    ------
    UnsupportedModelError
        Naming the model, the site and the reason.
    """
    outcome = write_test(model, component, layer)
    if not outcome.works:
        raise UnsupportedModelError(f"{model.name}: {component} cannot be written at layer {layer}: {outcome.reason}.")


def write_test(model: ResidualModel, component: str, layer: int) -> Write:
    """Return the remembered outcome for `component` at layers that are alike to `layer`, testing it on first use."""
    facts, group = model._shared.facts, group_of(model, layer)
    with model.lock:
        known: dict[tuple[str, tuple[int, ...]], Write] = facts.setdefault("writes", {})
        if (component, group) not in known:
            plain = plain_modules(model.bridge.original_model)
            known[component, group] = _test_write(model, component, group, plain)
    return known[component, group]


def maybe_writable(model: ResidualModel, component: str, layer: int) -> bool:
    """Whether a write may reach the computation, as far as is known without a trial. A menu offers what may be."""
    known = model._shared.facts.get("writes", {}).get((component, group_of(model, layer)))
    if known is not None:
        return known.works
    missing = component in RESIDUAL and component not in structure_of(model).components
    return not missing and not why_not(model, component, layer)


def writable_layers(model: ResidualModel, component: str) -> tuple[int, ...]:
    """Return the layers at which writing `component` reaches the computation."""
    return tuple(layer for layer in range(model.n_layers) if write_test(model, component, layer).works)


def write_matrix(model: ResidualModel, reference: nn.Module | None = None) -> dict[str, dict[tuple[int, ...], Write]]:
    """Outcome by component and group of layers; `reference` is an un-bridged copy of the model, if there is one."""
    plain = plain_modules(model.bridge.original_model if reference is None else reference)
    return {
        component: {group: _test_write(model, component, group, plain, reference) for group in groups(model)}
        for component in COMPONENTS
    }


@plain_state()
def _test_write(
    model: ResidualModel,
    component: str,
    group: tuple[int, ...],
    plain: PlainModules,
    reference: nn.Module | None = None,
) -> Write:
    """Edit `component` both ways at two of the layers that are alike, and compare the logits at every position."""
    structure = structure_of(model)
    if component in RESIDUAL and component not in structure.components:
        return Write(component, False, float("nan"), "attention and MLP are parallel, there is no such state")
    worst = 0.0
    for layer in sorted({group[0], group[len(group) // 2]}):
        reason = why_not(model, component, layer)
        if reason:
            return Write(component, False, float("nan"), reason)
        try:
            with warnings.catch_warnings():
                # TransformerLens warns that some patterns cannot be written: here that is the answer, not news.
                warnings.simplefilter("ignore")
                gap, moved = _compare(model, component, layer, plain, reference)
        except UnsupportedModelError as error:
            return Write(component, False, float("nan"), str(error))
        if moved == 0:
            why = ", as what is shown there is a copy" if component == "pattern" else ""
            return Write(component, False, gap, f"the write has no effect{why}")
        if not gap <= model.gap_limit:
            return Write(component, False, gap, f"it does not do what plain PyTorch does (gap {gap:.0e})")
        worst = max(worst, gap)
    return Write(component, True, worst)


def _compare(
    model: ResidualModel, component: str, layer: int, plain: PlainModules, reference: nn.Module | None
) -> tuple[float, float]:
    """Relative gap of the two ways of writing, and how far TransformerLens' way moved the logits at all."""
    ids = probe_ids(model.d_vocab, model.n_ctx)
    pos = len(ids) // 2
    recorded: dict[str, Tensor] = {}
    names = [c for c in (component, "z", "attn_out") if model.has(c, layer)]
    reading: dict[str, Action] = {model.hook_name(c, layer): partial(recorded.__setitem__, c) for c in names}
    base = forward(model, ids, reading, last_only=False, allow_hooks=True)
    value = recorded[component]
    generator = torch.Generator().manual_seed(layer)
    spread = float(value.float().std()) or 1.0  # an MLP whose weights are zero writes nothing, and can be written
    noise = torch.randn(value.shape, generator=generator, dtype=torch.float32).to(value) * spread
    head = 1 if value.ndim == 4 and value.shape[1 if component == "pattern" else 2] > 1 else 0
    shift = partial(_add_at, noise, (0, pos, head) if noise.ndim == 4 else (0, pos))
    if component == "pattern":
        # Attending to nothing must equal a head that gives nothing: no module of its own is needed to say so.
        if "z" not in recorded:
            raise UnsupportedModelError("the layer shows no z, so a write cannot be verified")
        through_bridge = partial(_zero_at, (0, head, pos))
        silent = recorded["z"].clone()
        silent[0, pos, head] = 0
        edits = _edit_by_value(model, layer, plain, reference, ids, "z", recorded["z"], silent)
    elif component in INNER:
        through_bridge = shift
        edits = _edit_by_value(model, layer, plain, reference, ids, component, value, shift(value))
    else:
        through_bridge = shift
        edits = _edit_stream(model, component, layer, plain, shift)
        if component in ("attn_out", "resid_mid"):
            giver = _giver(model, layer, plain, reference, ids, recorded["attn_out"])
            edits = edits if giver is None else [(giver, "out", shift)]
    # TransformerLens' resid_mid is only the MLP's input. Ours is the stream: it is written where attention adds to it.
    hook = model.hook_name("attn_out" if component == "resid_mid" else component, layer)
    ours = forward(model, ids, {hook: through_bridge}, last_only=False, allow_hooks=True)
    with plain_hooks(edits):
        theirs = _reference_logits(model, ids, reference)
    return relative_gap(ours, theirs), relative_gap(ours, base)


def _add_at(noise: Tensor, where: tuple[int, ...], value: Tensor) -> Tensor:
    new = value.clone().reshape(noise.shape)  # OPT flattens batch and position inside its blocks
    new[where] += noise[where]
    return new.reshape(value.shape)


def _zero_at(where: tuple[int, ...], value: Tensor) -> Tensor:
    new = value.clone()
    new[where] = 0
    return new


def _edit_stream(
    model: ResidualModel, component: str, layer: int, plain: PlainModules, shift: Action
) -> list[PlainEdit]:
    """Plain edits that add the same noise to the stream, using only where a block begins, ends and feeds its MLP."""
    blocks = blocks_path(model)
    block = plain.called[f"{blocks}.{layer}"]
    if component == "resid_pre":
        return [(block, "in", shift)]
    end: PlainEdit = (block, "out", shift)
    if component in ("resid_post", "mlp_out") or structure_of(model).parallel:
        return [end]
    # Adding to attention's write shifts what the MLP reads and, past it, what the block gives.
    target = model.bridge.blocks[layer].hook_aliases["hook_resid_mid"]
    parts = str(target).split(".")[:-1]
    path, owner = f"{blocks}.{layer}", model.bridge.blocks[layer]
    for part in parts:
        owner = owner.submodules[part]
        path = f"{path}.{owner.name}"
    return [(plain.called[path], "in", shift), end]


def _giver(
    model: ResidualModel,
    layer: int,
    plain: PlainModules,
    reference: nn.Module | None,
    ids: Sequence[int],
    written: Float[Tensor, "1 pos d_model"],
) -> nn.Module | None:
    """Find the plain module that gives exactly what attention writes; whatever reads that, has it from there."""
    found: list[nn.Module] = []

    def look(module: nn.Module, value: object) -> None:
        if isinstance(value, Tensor) and value.shape == written.shape:
            found.extend([module] if relative_gap(value, written) <= model.gap_limit else [])

    path = f"{blocks_path(model)}.{layer}."
    # No hook point of TransformerLens', which may sit on a copy: that is what is to be found out.
    below = [m for name, m in plain.called.items() if name.startswith(path) and not isinstance(m, HookPoint)]
    with plain_hooks([(module, "out", partial(look, module)) for module in below]):
        _reference_logits(model, ids, reference)
    return next(iter(found), None)


def _edit_by_value(
    model: ResidualModel,
    layer: int,
    plain: PlainModules,
    reference: nn.Module | None,
    ids: Sequence[int],
    component: str,
    old: Float[Tensor, "1 pos *width"],
    new: Float[Tensor, "1 pos *width"],
) -> list[PlainEdit]:
    """Find the plain module that takes or gives exactly `old`, and return the edit that makes it `new`."""
    seen: list[tuple[nn.Module, Tensor]] = []
    # Neurons and z are what a projection takes; q, k and v are what one gives.
    side = "in" if component in ("z", "mlp_post") else "out"
    projections = plain.projections(f"{blocks_path(model)}.{layer}")
    with plain_hooks([(m, side, partial(_note, seen, m)) for m in projections]):
        _reference_logits(model, ids, reference)
    flat_old, flat_new = old.reshape(len(ids), -1), new.reshape(len(ids), -1)
    found = holder(seen, flat_old, model.gap_limit)
    if found is None:
        raise UnsupportedModelError("no module of the model takes or gives these values, so a write cannot be verified")
    module, columns = found
    return [(module, side, partial(_add_columns, columns, flat_new - flat_old))]


def _note(seen: list[tuple[nn.Module, Tensor]], module: nn.Module, value: Tensor) -> None:
    seen.append((module, value.detach()))


def _add_columns(columns: Tensor, change: Float[Tensor, "pos a"], value: Tensor) -> Tensor:
    new = value.clone().reshape(-1, value.shape[-1])
    new[:, columns] += change.to(new)
    return new.reshape(value.shape)


def _reference_logits(model: ResidualModel, ids: Sequence[int], reference: nn.Module | None) -> Tensor:
    if reference is None:
        return forward(model, ids, last_only=False, allow_hooks=True)
    output: Any = reference(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
    return output.logits[0]
