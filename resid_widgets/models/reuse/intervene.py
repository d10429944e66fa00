"""intervene: a new run of the same prompt with sites changed, re-computing only what can have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.interventions import Intervention, as_interventions
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.components import offered_components, wanted_components
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.listing import listed
from resid_widgets.models.reuse.block_actions import Watch
from resid_widgets.models.reuse.edits import Edit, edit_for, in_order
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check


@plain_state()
def intervene(run: Run, interventions: Any, *, keep: object = None) -> Run:
    """Run a prompt again with some sites changed.

    Layers before the first change and positions before it are taken from `run`; only the rest is computed, and gives
    the numbers of a full hooked run (proved once for each model; where it is not proved, full runs are made).

    Parameters
    ----------
    run
        From `resid_widgets.run`. For one that was made by `intervene`, the new interventions come on top of its own.
    interventions
        One or several, made by `resid_widgets.zero`, `mean`, `resample`, `noise`, `clamp`, `set_to`, `project_out`,
        `add`, `patch`. They are applied in the order of the computation, those of one site as listed.
    keep
        As in `resid_widgets.run`; by default what `run` keeps.

    Returns
    -------
    Run
        With ``.base``, ``.interventions``, and a check for each intervention that changes nothing.

    Raises
    ------
    InputError
        If something is no run or intervention, or an intervention does not fit the run.
    UnsupportedModelError
        If a write would not reach the model's computation, or did not fire exactly once.
    """
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt).")
    items = (*run.interventions, *as_interventions(interventions))
    base = run if run.base is None else run.base
    model = base.model
    wanted = wanted_components(run.provenance.options["keep"] if keep is None else keep)
    kept = run.components if keep is None else offered_components(model, wanted, by_default=False)
    reports = [Report(item) for item in items]
    edits = in_order(report.watched(edit_for(base, report.item)) for report in reports)
    engine = engine_of(base, {edit.component for edit in edits})
    watch = Watch({*kept, "resid_post"})
    start, final = base.n_pos, _whole(base, "resid_post", model.n_layers - 1, base.n_pos, Watch(()))
    if edits:
        ((replayed,),) = engine.rows([edits], watch=watch)
        start, final = replayed.start, torch.cat([final[: replayed.start], replayed.final])
    recorded = {(c, layer): _whole(base, c, layer, start, watch) for c in kept for layer in layers_with(model, c)}
    norms = torch.stack([_whole(base, "resid_post", n, start, watch).float().norm(dim=-1) for n in base.layers])
    logits = model.unembed(final if "logits" in wanted else final[-1:]).to(base.final_logits.dtype)
    options = {**base.provenance.options, "keep": wanted, "interventions": tuple(map(str, items))}
    return Run(
        model,
        base.prompt,
        kept,
        recorded,
        norms.cpu(),
        logits,
        (engine.check, *report_checks(reports)),
        replace(base.provenance, options=options),
        lambda component: intervene(base, items, keep=component),
        base,
        items,
    )


def _whole(base: Run, component: str, layer: int, start: int, watch: Watch) -> Tensor:
    """Return a component at all positions: those before `start` from the base run, the others as they were seen."""
    new = watch.seen.get((component, layer))
    if new is None:
        return base.activation(component, layer)
    axis = 1 if component == "pattern" else 0
    if start == 0:
        return new
    return torch.cat([base.activation(component, layer).narrow(axis, 0, start).to(new), new], dim=axis)


class Report:
    """What became of one intervention: how often it fired, and whether it changed anything."""

    def __init__(self, item: Intervention) -> None:
        self.item = item
        self.fired = 0
        self.changed = False

    def watched(self, edit: Edit) -> Edit:
        """Return an edit that reports."""

        def change(old: Tensor) -> Tensor:
            new = edit.change(old)
            self.fired += 1
            self.changed = self.changed or not torch.equal(new.to(old), old)
            return new

        return replace(edit, change=change)


def report_checks(reports: Sequence[Report]) -> list[Check]:
    """Say that each intervention fired once, and which changed nothing."""
    wrong = [report for report in reports if report.fired != 1]
    if wrong:
        raise UnsupportedModelError(f"{wrong[0].item} fired {wrong[0].fired} times in one pass, once was expected.")
    if not reports:
        return []
    count = float(len(reports))
    checks = [Check("interventions", "green", count, count, "each intervention fired once")]
    idle = [str(report.item) for report in reports if not report.changed]
    if idle:
        text = f"no change by {listed(idle)}: what it puts there stands there already"
        checks.append(Check("no effect", "amber", float(len(idle)), 0.0, text))
    return checks
