"""Which site of one run, put into another, moves the answer: edit both prompts, and the picture fills as it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.metrics import Metric, logit_diff, require_metric
from resid_widgets.analysis.pairs import as_pairs
from resid_widgets.analysis.sweeps.cells import HEADS, sweepable
from resid_widgets.analysis.sweeps.patch_result import require_direction
from resid_widgets.analysis.sweeps.patch_sweep import PatchSweep, patch_sweep
from resid_widgets.analysis.sweeps.sweep import Progress
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import run
from resid_widgets.models.worker import Job
from resid_widgets.sites import RESIDUAL, require_component
from resid_widgets.widgets.editing.cell_explorer import OpensCells
from resid_widgets.widgets.editing.metric_controls import metric_controls, metric_from_control
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.awaited import so_far
from resid_widgets.widgets.shell.frame import Words
from resid_widgets.widgets.shell.heatmap import heatmap
from resid_widgets.widgets.shell.prompts import prompt_from_text, prompt_text, text_of
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Option, same, write

DIRECTIONS = [("denoise", "clean into corrupt"), ("noise", "corrupt into clean")]
PROMPTS = ("clean", "corrupt")


class PatchingHeatmap(OpensCells):
    """Layer-by-token (or layer-by-head) picture of activation patching, with both prompts editable in it.

    ``PatchingHeatmap(model, clean, corrupt, rw.logit_diff(" Mary", " John"))``

    Parameters
    ----------
    source
        A model (or bare TransformerBridge), followed by the clean prompt; a `Run` of the clean prompt; or a
        `PatchSweep`.
    *positional
        After a model the clean prompt, then `corrupt` and `metric`; after a run these two.
    corrupt
        The other prompt (of any kind that `resid_widgets.run` takes), of as many tokens.
    metric
        By default the logit difference between the clean and the corrupt run's likeliest next tokens.
    clean, direction, component
        As in `resid_widgets.patch_sweep`. Each can be set later, also in the widget; setting computes at once.
    prompt
        The clean prompt, by name.
    layer, pos, layout
        As for the other widgets; where columns are heads, `pos` is the selected head.

    Raises
    ------
    InputError
        If the prompts do not fit each other, or an argument is unknown or has a bad value.
    """

    FRONT_END: ClassVar[str] = "patching_heatmap"
    SHOWS: ClassVar[tuple[type, ...]] = (PatchSweep,)
    POSITIONAL: ClassVar[tuple[str, ...]] = ("corrupt", "metric")

    corrupt = Option(None, help="The corrupt prompt.")
    metric = Option(None, help="What is measured.")
    clean = Option(None, help="The clean prompt.")
    component = Option("resid_pre", help="What is patched.")
    direction = Option("denoise", help="Clean into corrupt, or corrupt into clean.")

    _stop: threading.Event | None = None  # set by Cancel, while a sweep fills the picture

    @property
    def result(self) -> PatchSweep:
        """The sweep that is drawn."""
        shown = super().result
        assert isinstance(shown, PatchSweep)
        return shown

    # --- what the base asks ---------------------------------------------------------------------------------------

    @property
    def _model(self) -> ResidualModel:
        return self._needed_run().model

    def _refuse(self, model: ResidualModel, options: Mapping[str, Any], prompt: Any) -> None:
        super()._refuse(model, options, prompt)
        _require_corrupt(options["corrupt"])
        require_component(options["component"])
        require_direction(options["direction"])
        if options["metric"] is not None:
            require_metric(options["metric"]).targets(model)
        if self._run is not None:
            prompt = self._run.token_ids
        as_pairs(model, prompt if options["clean"] is None else options["clean"], options["corrupt"], None)

    def _compute(self, options: Mapping[str, Any]) -> GridResult:
        old, recorded, job = self._state, self._needed_run(), self._request_at_work()
        if old is not None and complete(old.result) and all(same(old.options[name], options[name]) for name in options):
            return old.result
        if recorded.base is not None:
            rule = "it has interventions, and patching starts from plain runs of two prompts"
            raise InputError.about("source", recorded.interventions, rule, "Pass the run without: run.base.")
        clean = recorded.token_ids if options["clean"] is None else options["clean"]
        _require_corrupt(options["corrupt"])
        metric = self._metric(options, clean)
        asked = {name: options[name] for name in ("component", "direction")}
        if job is None:
            return patch_sweep(self._model, clean, options["corrupt"], metric, progress=True, **asked)
        stop = self._stop = threading.Event()
        self._say("busy", "Patching ...", progress=0.0)
        try:
            return patch_sweep(
                self._model,
                clean,
                options["corrupt"],
                metric,
                progress=False,
                stop=lambda: stop.is_set() or job.cancelled or self.closed,
                partial=self._show_partial,
                **asked,
            )
        finally:
            self._stop = None

    def _metric(self, options: Mapping[str, Any], clean: Any) -> Metric:
        """Return the metric; by default between the two runs' likeliest next tokens."""
        if options["metric"] is not None:
            return require_metric(options["metric"])
        tops = [int(run(self._model, p, keep="resid_post").final_logits.argmax()) for p in (clean, options["corrupt"])]
        if tops[0] == tops[1]:
            token = self._model.token_strings(tops[:1])[0]
            raise InputError(
                f"Both prompts have the same likeliest next token, {token!r}, so that what to measure must be said: "
                "metric=rw.logit_diff(answer, foil)."
            )
        return logit_diff(*tops)

    def _show_partial(self, result: PatchSweep, progress: Progress) -> None:
        """Draw what is known so far; the state follows when all is."""
        share = progress.done / max(1, progress.total)
        if share < 1:
            frame, buffers = self._framed(result)
            if not buffers:
                write(self, "frame", frame)
            self._say("busy", so_far("Patching", share, progress.seconds_left), progress=share)

    def _words(self, result: PatchSweep) -> Words:
        return super()._words(result.drawn())

    def _axes(self, result: PatchSweep) -> Mapping[str, Sequence[int | str]]:
        return super()._axes(result.drawn())

    def _heatmap(self, result: PatchSweep) -> dict[str, Any]:
        drawn = result.drawn()
        return heatmap(drawn, also=[(result.metric, np.asarray(drawn.raw.values))])

    def _stated(self, options: Mapping[str, Any], result: GridResult) -> dict[str, Any]:
        assert isinstance(result, PatchSweep)
        stated = {**options, "component": result.component, "direction": result.direction}
        if self._run is not None:
            clean = text_of(self._model, self._run.token_ids) if options["clean"] is None else options["clean"]
            stated |= {"clean": clean, "metric": self._metric(options, clean)}
        return stated

    def _changing(self, old: State, options: Mapping[str, Any]) -> State:
        if not complete(old.result) and all(same(old.options[name], value) for name, value in options.items()):
            new = self._picture(old.options)  # asked for again: the rest of it
            return self._carrying(new, old.selection)
        moved = {"component", "clean", "corrupt"} & {n for n in options if not same(options[n], old.options[n])}
        return super()._changing(replace(old, selection={}, details=None) if moved else old, options)

    def _buttons(self, state: State) -> list[dict[str, Any]]:
        if self._run is None:
            return super()._buttons(state)
        again = panel.action("again", "Finish", True, "Compute the cells that are still empty")
        return [
            *([] if complete(state.result) else [again]),
            *super()._buttons(state),
            panel.action("code", "Copy as code", True, "A script that gives these numbers", copies=state.result.code()),
        ]

    def _controls(self, result: GridResult, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._run is None:
            return []
        model = self._model
        offered = [name for name in (*RESIDUAL, *HEADS) if sweepable(model, name)]
        hint = "Both prompts must have as many tokens."
        return [
            panel.text("clean", "clean", prompt_text(options["clean"]), hint=hint, wide=True),
            panel.text("corrupt", "corrupt", prompt_text(options["corrupt"]), hint=hint, wide=True),
            panel.select("direction", "put", options["direction"], DIRECTIONS),
            panel.select("component", "component", options["component"], offered),
            *metric_controls(self._run, options["metric"]),
        ]

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        if name in ("metric", "answer", "foil"):
            return {"metric": metric_from_control(self._needed_run(), self.metric, name, value)}
        if name in PROMPTS:
            return {name: prompt_from_text(self._model, name, str(value), getattr(self, name))}
        return {name: value}

    def _wanted(self, old: State, name: str, value: Any) -> dict[str, Any]:
        """Return what a control's value means; a prompt that did not fit before the other one changed may do now."""
        waiting = {n: text for n, text in old.refused.items() if name in PROMPTS and n in PROMPTS}
        return {n: v for typed in {**waiting, name: value}.items() for n, v in self._from_control(*typed).items()}

    def _details(self, result: GridResult, options: Mapping[str, Any], layer: int, pos: int) -> dict[str, Any]:
        assert isinstance(result, PatchSweep)
        drawn = result.drawn()
        rows = [("effect, 1 = clean", float(drawn.values.values[layer, pos]))]
        rows += [(result.metric, float(drawn.raw.values[layer, pos])), ("clean run", result.clean)]
        return panel.details([*rows, ("corrupt run", result.corrupt)], missing="not computed")

    def _planes(self, result: GridResult, options: Mapping[str, Any]) -> dict[str, Any] | None:
        assert isinstance(result, PatchSweep)
        drawn = result.drawn()
        return panel.planes([("effect, 1 = clean", drawn.values.values), (result.metric, drawn.raw.values)])

    # --- what a click does ----------------------------------------------------------------------------------------

    def _update(self, propose: Callable[[State], State], job: Job | None = None) -> None:
        """Change as the base does; what was partly drawn and did not become the picture goes."""
        try:
            super()._update(propose, job)
        finally:
            state = self._state
            if state is not None and self.frame["id"] != state.frame["id"]:
                write(self, "frame", state.frame)

    def _apply_change(self, name: str, value: Any, job: Job) -> None:
        self._await_model()
        self._try(name, value, job)

    def _apply_action(self, name: str, job: Job) -> None:
        if name == "again":
            self._await_model()
            self._update(lambda old: self._changing(old, {}), job)
        else:
            super()._apply_action(name, job)

    def _cancel(self) -> None:
        stop = self._stop
        if stop is None:
            super()._cancel()
        else:
            stop.set()


def _require_corrupt(corrupt: Any) -> None:
    if corrupt is None:
        remedy = "rw.PatchingHeatmap(model, clean, corrupt, metric)."
        raise InputError.about("corrupt", None, "patching needs a second prompt", remedy)


def complete(result: GridResult) -> bool:
    """Tell whether a sweep was not stopped."""
    return not any(check.name == "complete" for check in result.checks)
