"""Path patching: what one site tells another directly, with everything between them held still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.metrics import require_metric
from resid_widgets.analysis.pairs import as_pairs
from resid_widgets.analysis.sweeps.cells import Cells, cells_of
from resid_widgets.analysis.sweeps.patch_result import (
    PatchedPair,
    PatchSweep,
    both_runs,
    patch_result,
    require_direction,
)
from resid_widgets.analysis.sweeps.path_code import path_code
from resid_widgets.analysis.sweeps.paths import ATTENTION, MLP, Paths
from resid_widgets.analysis.sweeps.sweep import Cell, Sweeping, run_cells, sweeping, work_of
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.progress import ending_bars
from resid_widgets.models.reuse.edits import checked_site
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import structure_of
from resid_widgets.results import in_title
from resid_widgets.sites import RESIDUAL, Site, named_site, require_component

SENDERS = (*RESIDUAL, "z")
LOGITS = "logits"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PathPatch(PatchSweep):
    """Effect of each sender on the metric through the named receivers alone.

    Attributes
    ----------
    values
        As of `resid_widgets.PatchSweep`, by sender; 0 in denoise (1 in noise) where no receiver comes after the sender.
        For one sender ``[layer, sender]``, of one cell.
    receivers
        Sites, and ``"logits"``.
    """

    receivers: tuple[Site | str, ...]


@ending_bars()
@plain_state()
def path_patch(
    model: Any,
    clean: Any,
    corrupt: Any,
    metric: Any,
    sender: Any = "z",
    receivers: Any = LOGITS,
    *,
    direction: Literal["denoise", "noise"] = "denoise",
    by: str | None = None,
    layers: Any = None,
    bos: bool | None = None,
    progress: Any = True,
    stop: Callable[[], bool] | None = None,
    budget: Any = None,
) -> PathPatch:
    """Give a receiver the sender's value from the other run, along the direct path between them and no other.

    All attention and all MLPs between the two are held at the base run, so that only the stream carries the change; the
    receiver's norm is computed anew. Then the receivers take what they make of it, and the model runs on from there.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.
    clean, corrupt, metric, direction, bos
        As in `resid_widgets.patch_sweep`: one pair or lists of them.
    sender
        A component to sweep over: ``"z"`` (each head of each layer), or resid_pre, resid_mid, resid_post, attn_out or
        mlp_out (each layer and position); or one `Site` of these.
    receivers
        A `Site` or several: q, k or v (the input of a head or of all heads), mlp_out or mlp_post (the input of an MLP);
        ``"logits"`` for the final norm and unembedding.
    by, layers
        Which senders, as in `resid_widgets.ablation_sweep`.
    progress, stop, budget
        As in `resid_widgets.ablation_sweep`.

    Returns
    -------
    PathPatch
        ``.values`` ``[layer, head]`` or ``[layer, pos]``, normalised as those of `resid_widgets.patch_sweep`.

    Raises
    ------
    InputError
        If an argument does not fit, or no receiver comes after the sender.
    UnsupportedModelError
        If writing a site would not reach the model's computation.

    Notes
    -----
    Wang et al. 2022 (IOI); Goldowsky-Dill et al. 2023. With one receiver this is the edge that
    ``transformer_lens.patching.get_act_patch_direct_path`` patches; Wang et al. let the MLPs between follow.
    """
    model = as_model(model)
    metric = require_metric(metric)
    require_direction(direction)
    one = named_site(sender)
    component = require_component(sender if one is None else one.component, SENDERS)
    targets = _receivers(receivers)
    tracker = sweeping(progress, stop)
    pairs, batch = as_pairs(model, clean, corrupt, bos)
    grids = [_grid(model, component, one, len(pair.clean), by, layers) for pair in pairs]
    if len({grid.shape for grid in grids}) > 1:
        raise InputError.about(
            "clean",
            f"{sorted({len(pair.clean) for pair in pairs})} tokens",
            "a map over positions needs pairs of one length",
            "Choose pairs of one length, or senders by head.",
        )
    cells, done = grids[0], []
    keep = dict.fromkeys((component, *(site.component for site in targets if isinstance(site, Site))))
    keep |= dict.fromkeys((*("attn_out",) * (component == "z"), "resid_pre", "resid_post"))
    if not structure_of(model).parallel:
        keep |= {"resid_mid": None}
    tracker.parts = len(pairs)
    for n, pair in enumerate(pairs):
        each = metric.for_prompt(n, len(pairs))
        ready = both_runs(model, pair, each, cells, direction, tuple(keep), not batch)
        paths = Paths(model, ready.engine, ready.base, ready.source, _checked(ready.base, targets), budget)
        raw = _swept(ready, paths, cells, one, tracker, budget, len(pairs) - n - 1)
        done.append(ready.measured(raw, done[0] if done else None))
        if tracker.stopped:
            break
    first = done[0]
    script = path_code(first.base, first.source, first.reading, cells, one, targets, (first.clean, first.corrupt))
    result = patch_result(done, cells, direction, tracker, batch, script)
    names = tuple(map(str, targets))
    told = {field.name: getattr(result, field.name) for field in fields(PatchSweep)} | {
        "title": f"Path patching · {direction} · {one or component} → {in_title(', '.join(names))}",
        "sentence": (
            f"Only what the sender tells {', '.join(names)} directly comes from the other run; all attention and MLPs "
            "between are held still. What it tells them by way of others is not counted."
        ),
        "tokens_visible": result.tokens_visible if one is None else (str(one),),
        "opening": None,  # along a path: no intervention on a site does that
        "provenance": with_options(
            result.provenance, sweep="path patching", sender=str(one or component), receivers=names
        ),
    }  # fmt: skip
    return PathPatch(**told, receivers=targets)


def _receivers(given: Any) -> tuple[Site | str, ...]:
    several = (given,) if isinstance(given, Site | str) else tuple(given) if isinstance(given, Sequence) else ()
    items = tuple(named_site(item) or item for item in several)
    for item in items or (given,):
        if item != LOGITS and not (isinstance(item, Site) and item.component in (*ATTENTION, *MLP)):
            rule = "a Site of q, k, v, mlp_out or mlp_post, or 'logits', is needed"
            raise InputError.about("receivers", item, rule, 'For example rw.Site("q", layer=3, head=1).')
    if len(set(items)) < len(items):
        raise InputError.about("receivers", given, "one is there twice", "Name each once.")
    return items


def _checked(base: Run, targets: tuple[Site | str, ...]) -> tuple[Site | str, ...]:
    return tuple(checked_site(base, item) if isinstance(item, Site) else item for item in targets)


def _grid(model: ResidualModel, component: str, one: Site | None, n_pos: int, by: str | None, layers: Any) -> Cells:
    if one is None:
        return cells_of(model, component, n_pos, by, layers)
    for name, value in (("by", by), ("layers", layers)):
        if value is not None:
            raise InputError.about(name, value, "there is one sender", "Leave it out, or sweep over a component.")
    cells_of(model, component, n_pos, None, [one.layer])  # refuses what is not there or cannot be written
    return Cells(component, ("layer", "sender"), ((one.layer,), (0,)))


def _swept(
    ready: PatchedPair,
    paths: Paths,
    cells: Cells,
    one: Site | None,
    tracker: Sweeping,
    budget: int | None,
    pairs_left: int,
) -> NDArray[np.float64]:
    """Compute the senders of one pair, layer by layer: so much is held at once."""
    senders = [(index, checked_site(ready.base, one or site)) for index, site in cells]
    sending = [(index, site) for index, site in senders if paths.reached(site)]
    if not sending:
        told = ", ".join(map(str, paths.receivers))
        raise InputError.about("receivers", told, "none comes after the sender", "Choose a receiver in a later layer.")
    raw = np.full(cells.shape, ready.reading.of_base())
    for index, _ in sending:
        raw[index] = np.nan
    waiting = len(sending)
    most = ready.base.n_pos * max(1, ready.base.model.n_layers - paths.first_layer)
    for layer in dict.fromkeys(site.layer for _, site in sending):
        here = [(index, site) for index, site in sending if site.layer == layer]
        edits = paths.edits([site for _, site in here])
        made = [Cell(index, each) for (index, _), each in zip(here, edits, strict=True)]
        waiting -= len(here)
        # An estimate until the last layer: what a sender does not reach is found out on the way.
        tracker.total = tracker.done + work_of(ready.engine, made) + most * (waiting + pairs_left * len(sending))
        raw = run_cells(ready.engine, ready.reading, made, cells.shape, tracker, budget, raw)
        if tracker.stopped:
            break
    return raw
