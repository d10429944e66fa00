"""Does writing a site reach the computation? Proved once a model, against plain PyTorch hooks on its own modules.

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

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action, plain_hooks
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


def require_writable(model: ResidualModel, component: str) -> None:
    """Refuse a write that would not reach the computation.

    Raises
    ------
    UnsupportedModelError
        Naming the model, the site and the reason.
    """
    outcome = write_test(model, component)
    if not outcome.works:
        raise UnsupportedModelError(f"{model.name}: {component} cannot be written: {outcome.reason}.")


def write_test(model: ResidualModel, component: str) -> Write:
    """Return the remembered outcome for `component`, testing it on first use."""
    facts = model._shared.facts
    with model.lock:
        if f"write {component}" not in facts:
            facts[f"write {component}"] = test_write(model, component, plain_modules(model.bridge.original_model))
    return facts[f"write {component}"]


def write_matrix(model: ResidualModel, reference: nn.Module | None = None) -> dict[str, Write]:
    """Outcome for every component; `reference` is an un-bridged copy of the model, if there is one."""
    plain = plain_modules(model.bridge.original_model if reference is None else reference)
    return {component: test_write(model, component, plain, reference) for component in COMPONENTS}


@dataclass(frozen=True)
class PlainModules:
    """A Hugging Face model's modules by their own names.

    In a bridged model a wrapper stands around each. `called` has the outermost, which the model's code calls
    (a norm's wrapper computes on its own and never calls what it wraps); `own` the innermost, Hugging Face's.
    """

    called: dict[str, nn.Module]
    own: dict[str, nn.Module]


def plain_modules(root: nn.Module) -> PlainModules:
    """Sort the modules of a bridged or plain model by their Hugging Face names."""
    called: dict[str, nn.Module] = {}
    own: dict[str, nn.Module] = {}
    for name, module in root.named_modules():
        plain = ".".join(part for part in name.split(".") if part != "_original_component")
        called.setdefault(plain, module)
        own[plain] = module
    return PlainModules(called, own)


@torch.no_grad()
def test_write(model: ResidualModel, component: str, plain: PlainModules, reference: nn.Module | None = None) -> Write:
    """Edit `component` both ways at two layers and compare the logits at every position."""
    structure = structure_of(model)
    if component in RESIDUAL and component not in structure.components:
        return Write(component, False, float("nan"), "attention and MLP are parallel, there is no such state")
    worst = 0.0
    for layer in sorted({0, model.n_layers // 2}):
        if not model.has(component, layer):
            return Write(component, False, float("nan"), f"TransformerLens has no such hook point at layer {layer}")
        try:
            with warnings.catch_warnings():
                # TransformerLens warns that some patterns cannot be written: here that is the answer, not news.
                warnings.simplefilter("ignore")
                gap, moved = _compare(model, component, layer, plain, reference)
        except UnsupportedModelError as error:
            return Write(component, False, float("nan"), str(error))
        if moved == 0:
            return Write(component, False, gap, "the write has no effect")
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
    names = [c for c in (component, "z", "mlp_out") if model.has(c, layer)]
    reading: dict[str, Action] = {model.hook_name(c, layer): partial(recorded.__setitem__, c) for c in names}
    base = forward(model, ids, reading, last_only=False, allow_hooks=True)
    value = recorded[component]
    generator = torch.Generator().manual_seed(layer)
    spread = float(value.float().std()) or 1.0  # an MLP whose weights are zero writes nothing, and can be written
    noise = torch.randn(value.shape, generator=generator).to(value) * spread
    head = 1 if value.ndim == 4 and value.shape[1 if component == "pattern" else 2] > 1 else 0
    shift = partial(_add_at, noise, (0, pos, head) if noise.ndim == 4 else (0, pos))
    if component == "pattern":
        # Attending to nothing must equal a head that gives nothing: no module of its own is needed to say so.
        through_bridge = partial(_zero_at, (0, head, pos))
        silent = recorded["z"].clone()
        silent[0, pos, head] = 0
        edits = _edit_by_value(model, layer, plain, reference, ids, "z", recorded["z"], silent)
    elif component in INNER:
        through_bridge = shift
        if component == "mlp_post" and torch.equal(value, recorded["mlp_out"]):
            raise UnsupportedModelError("the hook point holds the MLP's output, not its neurons (mixture of experts)")
        edits = _edit_by_value(model, layer, plain, reference, ids, component, value, shift(value))
    else:
        through_bridge = shift
        edits = _edit_stream(model, component, layer, plain, shift)
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
    blocks = blocks_path(model)
    inside = [m for n, m in plain.own.items() if n.startswith(f"{blocks}.{layer}.")]
    seen: list[tuple[nn.Module, Tensor]] = []
    # Neurons and z are what a projection takes; q, k and v are what one gives.
    side = "in" if component in ("z", "mlp_post") else "out"
    projections = [m for m in inside if isinstance(getattr(m, "weight", None), Tensor)]
    with plain_hooks([(m, side, partial(_note, seen, m)) for m in projections]):
        _reference_logits(model, ids, reference)
    flat_old, flat_new = old.reshape(len(ids), -1), new.reshape(len(ids), -1)
    for module, value in seen:
        columns = _columns(flat_old, value.reshape(-1, value.shape[-1]), model.gap_limit)
        if columns is not None:
            return [(module, side, partial(_add_columns, columns, flat_new - flat_old))]
    raise UnsupportedModelError("no module of the model takes or gives these values, so a write cannot be verified")


def _columns(wanted: Float[Tensor, "pos a"], given: Float[Tensor, "rows b"], limit: float) -> Tensor | None:
    """For each column of `wanted`, the column of `given` that equals it at every position; None if one has none."""
    if given.shape[0] != wanted.shape[0] or given.shape[1] < wanted.shape[1]:
        return None
    # As many columns in the same order is the plain case, and settles columns that are alike (dead ReLUs).
    if given.shape == wanted.shape and relative_gap(given, wanted) <= limit:
        return torch.arange(wanted.shape[1])
    distance = torch.cdist(
        wanted.T.float(), given.T.float(), p=float("inf"), compute_mode="donot_use_mm_for_euclid_dist"
    )
    best = distance.min(dim=1)
    scale = float(wanted.abs().max()) or 1.0
    if float(best.values.max()) > limit * scale or best.indices.unique().numel() != wanted.shape[1]:
        return None
    return best.indices


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
