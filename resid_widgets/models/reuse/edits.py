"""Interventions made ready for one base run: which numbers of which activation become what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.held import Captured
from resid_widgets.interventions import Intervention, Prompt
from resid_widgets.models.layers.shapes import head_count, site_shape
from resid_widgets.models.layers.writes import require_writable
from resid_widgets.models.runs.run import Run, run
from resid_widgets.sites import Site

Change = Callable[[Tensor], Tensor]
"""The present numbers of a site, positions first (pattern: head first unless one is named), to those in their place."""

ORDER = ("resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_post", "mlp_out", "resid_post")
"""In which order the components of one block are computed, and edited."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of one site, at the positions ``lo .. hi - 1``.

    Attributes
    ----------
    component, layer, head, neuron
        As in `resid_widgets.sites.Site`.
    lo, hi
        Range of positions, counted from 0.
    change
        From present to new numbers, the same shape.
    """

    component: str
    layer: int
    lo: int
    hi: int
    head: int | None
    neuron: int | None
    change: Change

    def index(self, start: int) -> tuple[int | slice, ...]:
        """Where its numbers are in one row of the component that begins at position `start`."""
        where = slice(self.lo - start, self.hi - start)
        everything = slice(None)
        if self.component == "pattern":
            return (everything if self.head is None else self.head, where)
        if self.component in ("q", "k", "v", "z"):
            return (where, everything if self.head is None else self.head)
        if self.component == "mlp_post":
            return (where, everything if self.neuron is None else self.neuron)
        return (where,)

    @property
    def place(self) -> tuple[int, int]:
        """Layer and place within it: edits are applied in this order."""
        return self.layer, ORDER.index(self.component)


def applied(value: Float[Tensor, ...], edits: Iterable[Edit], start: int = 0) -> Tensor:
    """Return one row of a component with `edits` applied one after the other; `value` stays as it is."""
    new = value.clone()
    for edit in edits:
        where = edit.index(start)
        new[where] = edit.change(new[where]).to(new)
    return new


def in_order(edits: Iterable[Edit]) -> list[Edit]:
    """Return edits in the order of the computation, those of one site as they were listed."""
    return sorted(edits, key=lambda edit: edit.place)


def constant(value: Tensor) -> Change:
    """Return the change that puts `value` there, whatever there was."""
    return partial(_constant, value)


def _constant(value: Tensor, old: Tensor) -> Tensor:
    return value.to(old).expand_as(old)


# --- from interventions ---------------------------------------------------------------------------------------------


def edits_for(base: Run, interventions: Sequence[Intervention]) -> list[Edit]:
    """Return what `interventions` do to `base`, in the order in which they are applied.

    Means, spreads and sources are those of runs without any intervention.

    Raises
    ------
    InputError
        If a layer, position, head, neuron, shape, source or model does not fit the run.
    UnsupportedModelError
        If a write would not reach the model's computation.
    """
    return in_order(edit_for(base, item) for item in interventions)


def edit_for(base: Run, item: Intervention) -> Edit:
    """Return what one intervention does to `base`; see `edits_for`."""
    site = checked_site(base, item.site)
    lo, hi = (0, base.n_pos) if site.pos is None else (site.pos, site.pos + 1)
    made = Edit(site.component, site.layer, lo, hi, site.head, site.neuron, torch.zeros_like)
    return replace(made, change=_MAKERS[item.op](base, item, made))


def checked_site(base: Run, site: Site) -> Site:
    """Return `site` with layer and position counted from 0, after checking that `base` has it and can write it."""
    layer = base.layer(site.layer)
    pos = None if site.pos is None else base.pos(site.pos)
    require_writable(base.model, site.component, layer)
    if site.head is not None:
        n = head_count(base.model, site.component, layer)
        if not 0 <= site.head < n:
            what = "key-value heads" if site.component in ("k", "v") else "heads"
            raise InputError.about("head", site.head, f"layer {layer} has {what} 0 .. {n - 1}", "Choose one of them.")
    if site.neuron is not None:
        n = site_shape(base.model, "mlp_post", layer)[0]
        if not 0 <= site.neuron < n:
            raise InputError.about(
                "neuron", site.neuron, f"the MLP of layer {layer} has neurons 0 .. {n - 1}", "Choose one of them."
            )
    return replace(site, layer=layer, pos=pos)


def _values(source: Run, edit: Edit) -> Tensor:
    """Return a run's numbers at the edit's component, layer, head and neuron: all positions."""
    everything = replace(edit, lo=0, hi=source.n_pos)
    return source.activation(edit.component, edit.layer)[everything.index(0)]


def _here(values: Tensor, edit: Edit) -> Tensor:
    """Return the edit's positions out of all."""
    return values[edit.lo : edit.hi]


def _zero(base: Run, item: Intervention, edit: Edit) -> Change:
    return torch.zeros_like


def _mean(base: Run, item: Intervention, edit: Edit) -> Change:
    prompts = item.option("over")
    runs = [base] if prompts is None else [prompt_run(base, prompt, edit.component) for prompt in prompts]
    rows = torch.cat([_values(each, edit)[unmarked(each)] for each in runs])
    return constant(rows.double().mean(dim=0))


def _resample(base: Run, item: Intervention, edit: Edit) -> Change:
    generator = torch.Generator().manual_seed(item.option("seed", 0))
    prompts = item.option("source")
    drawn = prompts[int(torch.randint(len(prompts), (), generator=generator))]
    source = prompt_run(base, drawn, edit.component)
    if source.n_pos == base.n_pos:
        return constant(_positions(_values(source, edit), edit, edit.lo, edit.hi))
    if edit.component == "pattern":
        raise InputError.about(
            "source",
            drawn,
            f"a pattern needs a source of as many tokens ({base.n_pos}, this has {source.n_pos})",
            "Use a prompt of the same length.",
        )
    pool = torch.tensor(unmarked(source))
    places = pool[torch.randint(len(pool), (base.n_pos,), generator=generator)]
    return constant(_here(_values(source, edit)[places], edit))


def _positions(values: Tensor, edit: Edit, lo: int, hi: int) -> Tensor:
    """Return positions ``lo .. hi - 1`` of numbers that cover all positions."""
    all_heads = edit.component == "pattern" and edit.head is None
    return values[:, lo:hi] if all_heads else values[lo:hi]


def _noise(base: Run, item: Intervention, edit: Edit) -> Change:
    generator = torch.Generator().manual_seed(item.option("seed", 0))
    values = _values(base, edit)
    spread = float(values[unmarked(base)].double().std(correction=0))
    shape = (base.n_pos, *site_shape(base.model, edit.component, edit.layer))
    whole = replace(edit, lo=0, hi=base.n_pos)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float32)[whole.index(0)]
    return partial(plus, item.option("sigma") * spread * _here(drawn, edit))


def plus(more: Tensor, old: Tensor) -> Tensor:
    """Return ``old + more``, in the dtype and on the device of `old`."""
    return old + more.to(old)


def _clamp(base: Run, item: Intervention, edit: Edit) -> Change:
    return partial(torch.clamp, min=item.option("low"), max=item.option("high"))


def _set_to(base: Run, item: Intervention, edit: Edit) -> Change:
    value = torch.from_numpy(item.option("value").array.copy())
    wanted = _values(base, edit)
    wanted = _positions(wanted, edit, edit.lo, edit.hi)
    # One position: its numbers may come without the position's own dimension.
    target = wanted.shape[1:] if edit.hi - edit.lo == 1 and value.ndim < wanted.ndim else wanted.shape
    try:
        torch.broadcast_to(value, target)
    except RuntimeError as error:
        rule = f"an array of shape {list(value.shape)} does not fit {list(target)}"
        raise InputError.about("value", item.option("value"), rule, "Give one number, or numbers of that shape.") from (
            error
        )
    return constant(value)


def _unit(base: Run, item: Intervention, edit: Edit) -> Tensor:
    direction = torch.from_numpy(item.option("direction").array.copy())
    width = _values(base, edit).shape[-1]
    if edit.neuron is not None or direction.shape != (width,):
        site = f"{edit.component}{'' if edit.neuron is None else ' of one neuron'}"
        rule = f"a direction in {site} has {1 if edit.neuron is not None else width} numbers"
        raise InputError.about("direction", list(direction.shape), rule, "Give one of that length.")
    return direction


def _project_out(base: Run, item: Intervention, edit: Edit) -> Change:
    direction = _unit(base, item, edit).double()
    return partial(_without, direction / direction.norm())


def _without(unit: Tensor, old: Tensor) -> Tensor:
    unit = unit.to(old)
    return old - (old @ unit)[..., None] * unit


def _add(base: Run, item: Intervention, edit: Edit) -> Change:
    return partial(plus, item.option("alpha") * _unit(base, item, edit))


def _patch(base: Run, item: Intervention, edit: Edit) -> Change:
    source = item.option("source")
    if isinstance(source, Captured):
        if source.weights_hash != base.model.weights_hash:
            raise InputError.about(
                "source",
                source.weights_hash,
                "the source run is of another model, or of other weights",
                "Run it again.",
            )
        whole = torch.from_numpy(source.values.array.copy())
        n_source = len(source.token_ids)
        everything = replace(edit, lo=0, hi=n_source)
        values = whole[everything.index(0)]
    else:
        other = prompt_run(base, source, edit.component)
        n_source, values = other.n_pos, _values(other, edit)
    if n_source != base.n_pos and (edit.hi > n_source or edit.hi - edit.lo > 1 or edit.component == "pattern"):
        raise InputError.about(
            "source",
            f"{n_source} tokens",
            f"the run has {base.n_pos}, and values are taken at the same positions",
            "Use prompts of the same length, or name a position that both have.",
        )
    return constant(_positions(values, edit, edit.lo, edit.hi))


_MAKERS: dict[str, Callable[[Run, Intervention, Edit], Change]] = {
    "zero": _zero,
    "mean": _mean,
    "resample": _resample,
    "noise": _noise,
    "clamp": _clamp,
    "set_to": _set_to,
    "project_out": _project_out,
    "add": _add,
    "patch": _patch,
}


def unmarked(source: Run) -> list[int]:
    """Return the positions that count for means and spreads: unmarked ones, or all where there are no others."""
    return [pos for pos in range(source.n_pos) if pos not in source.marked] or list(range(source.n_pos))


def prompt_run(base: Run, prompt: Prompt, component: str) -> Run:
    """Return a run of a source prompt that keeps `component`, with the base's BOS rule and hooks; `base` holds it."""
    key = (prompt, component)
    if key not in base.sources:
        options = base.provenance.options
        given, bos = (prompt, options["bos"]) if isinstance(prompt, str) else (list(prompt), None)
        made = run(base.model, given, keep=component, bos=bos, allow_hooks=options["allow_hooks"])
        while len(base.sources) >= _MOST_SOURCES:
            base.sources.pop(next(iter(base.sources)), None)
        base.sources[key] = made
    return base.sources[key]


_MOST_SOURCES = 8
