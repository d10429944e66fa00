"""Click to change the stream, and watch the answer and everything downstream follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.metrics import require_metric
from resid_widgets.analysis.sweeps.ablation import Ablation, ablation, default_metric
from resid_widgets.errors import InputError
from resid_widgets.interventions import as_interventions
from resid_widgets.models.layers.writes import maybe_writable
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.worker import Job
from resid_widgets.widgets.editing import clicks
from resid_widgets.widgets.editing.chips import chip_id, summary
from resid_widgets.widgets.editing.history import Undoing, history_actions
from resid_widgets.widgets.editing.metric_controls import metric_controls, metric_from_control
from resid_widgets.widgets.editing.preview import Previewing
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.prompts import prompt_from_text, prompt_text
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Option, same

MODES = {"cells": "cells", "heads": "heads", "mlps": "MLPs"}
HOWS = ("mean", "zero", "resample", "noise", "clamp", "project_out", "patch")
STREAM_SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out")


class AblationExplorer(Previewing, Undoing):
    """Layer-by-token picture in which a click ablates: the metric, the next tokens and the stream follow in place.

    ``AblationExplorer(run, rw.logit_diff(" Mary", " John"))``; in one line ``AblationExplorer(model, "Some text")``.

    Click a cell to change it, click again to take that back; drag for a region; Shift-click for a whole layer.

    Parameters
    ----------
    source
        A `Run`; or a model (or bare TransformerBridge), followed by the prompt to run; or an `Ablation`.
    *positional
        After a run, `metric`; after a model, the prompt first.
    metric
        From `resid_widgets.logit_diff`, `log_prob`, `kl_to_base` or `rank`; by default the log-probability of the
        likeliest next token.
    interventions
        What is active. A trait: reading gives a tuple, setting computes at once; undo takes it back.
    mode
        What a click changes: ``"cells"`` of the stream, ``"heads"`` or ``"mlps"``.
    site
        In mode cells: resid_pre, resid_mid, resid_post or attn_out.
    how
        What the next click does: mean, zero, resample, noise, clamp, project_out or patch.
    sigma, seed
        Of noise; `seed` also of resample.
    low, high
        Of clamp.
    source_prompt
        Of resample and patch: a text, token ids or a run.
    direction
        Of project_out, in the stream: a vector, or None for the direction that the metric reads (answer minus foil).
    prompt
        What to run, where `source` is a model; it can be set later, also in the widget.
    layer, pos, layout
        As for the other widgets; in mode heads `pos` is the selected head.

    Raises
    ------
    InputError
        If an argument is unknown, has a bad value or is of no use to `source`.
    """

    FRONT_END: ClassVar[str] = "ablation_explorer"
    SHOWS: ClassVar[tuple[type, ...]] = (Ablation,)
    POSITIONAL: ClassVar[tuple[str, ...]] = ("metric",)

    metric = Option(None, help="What is measured.")
    interventions = Option((), help="What is active.")
    mode = Option("cells", help="What a click changes.")
    site = Option("resid_post", help="Which state of the stream, in mode cells.")
    how = Option("mean", help="What the next click does.")
    sigma = Option(1.0, help="Strength of noise, in the site's own standard deviations.")
    seed = Option(0, help="Of noise and resample.")
    low = Option(-1.0, help="Lower bound of clamp, or None.")
    high = Option(1.0, help="Upper bound of clamp, or None.")
    source_prompt = Option(None, help="Where resample and patch take values from.")
    direction = Option(None, help="What project_out removes.")

    @property
    def result(self) -> Ablation:
        """The ablation that is drawn."""
        shown = super().result
        assert isinstance(shown, Ablation)
        return shown

    def save_code(self, path: str | Path) -> Path:
        """Write `code` as a script, with the arrays it reads (if any) beside it, and return the script's path."""
        return self.result.save_code(path)

    # --- what the base asks ---------------------------------------------------------------------------------------

    def _refuse(self, model: ResidualModel, options: Mapping[str, Any], prompt: Any) -> None:
        super()._refuse(model, options, prompt)
        _require_choices(options)
        as_interventions(options["interventions"])
        if options["metric"] is not None:
            require_metric(options["metric"]).targets(model)

    def _compute(self, options: Mapping[str, Any]) -> GridResult:
        run = self._needed_run()
        _require_choices(options)
        if options["mode"] == "cells":
            clicks.require_writes(run, options["site"])
        clicks.require_parameters(run, options)
        metric = None if options["metric"] is None else require_metric(options["metric"])
        items = as_interventions(options["interventions"])
        if run.base is not None:  # what it was made with becomes chips, over the run without
            items, self._run = (*run.interventions, *items), run.base
            run = run.base
        shown = "heads" if options["mode"] == "heads" else "stream"
        old = self._state
        if old is not None and isinstance(old.result, Ablation):
            unchanged = old.result.interventions == items and old.options["metric"] == metric
            unchanged &= same(old.options["prompt"], options["prompt"])
            if unchanged and old.result.shown == shown:
                return old.result
        return ablation(run, items, metric, shown=shown)

    def _stated(self, options: Mapping[str, Any], result: GridResult) -> dict[str, Any]:
        assert isinstance(result, Ablation)
        metric = options["metric"]
        if metric is None and self._run is not None:
            metric = default_metric(self._run)
        return {**super()._stated(options, result), "metric": metric, "interventions": result.interventions}

    def _picture(self, options: Mapping[str, Any], given: GridResult | None = None) -> State:
        new = super()._picture(options, given)
        return self._told(self._dated(new))

    def _told(self, state: State) -> State:
        """Return the state with what depends on its interventions and history."""
        result, live = state.result, self._run is not None
        assert isinstance(result, Ablation)
        return replace(
            self._previewed(state),
            summary=summary(result, self._run),
            actions=history_actions(state, result.code()) if live else [],
            edited=clicks.changed_cells(result, state.options) if live else None,
        )

    def _choices(self, result: GridResult, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        run = self._run
        if run is None:
            return []
        mode, how = options["mode"], options["how"]
        every = range(run.model.n_layers)
        sites = [name for name in STREAM_SITES if any(maybe_writable(run.model, name, layer) for layer in every)]
        return [
            panel.choice("mode", "click changes", mode, list(MODES.items())),
            panel.select("site", "of", options["site"], sites, visible=mode == "cells"),
            panel.select("how", "how", how, [(name, name.replace("_", " ")) for name in HOWS]),
            panel.real(
                "sigma",
                "sigma",
                options["sigma"],
                min=0,
                visible=how == "noise",
                hint="In standard deviations of the site.",
            ),
            panel.number("seed", "seed", options["seed"], 0, 2**31, visible=how in ("noise", "resample")),
            panel.real("low", "low", options["low"], visible=how == "clamp"),
            panel.real("high", "high", options["high"], visible=how == "clamp"),
            panel.text(
                "source_prompt",
                "other prompt",
                prompt_text(options["source_prompt"]),
                visible=how in ("resample", "patch"),
                hint="Values are taken from this prompt, at the same positions where it is as long.",
            ),
            *metric_controls(run, options["metric"]),
        ]

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        if name in ("metric", "answer", "foil"):
            return {"metric": metric_from_control(self._needed_run(), self.metric, name, value)}
        if name == "source_prompt":
            model = self._needed_run().model
            return {name: prompt_from_text(model, name, value, self.source_prompt) if value else None}
        return super()._from_control(name, value)

    def _details(self, result: GridResult, options: Mapping[str, Any], layer: int, pos: int) -> dict[str, Any]:
        shown = (result.scale.label, float(result.values.values[layer, pos]))
        return panel.details([shown, *self._would_do(options, layer, pos)])

    def _planes(self, result: GridResult, options: Mapping[str, Any]) -> dict[str, Any] | None:
        return panel.planes([(result.scale.label, result.values.values)])

    def _changing(self, old: State, options: Mapping[str, Any]) -> State:
        """With another prompt, a metric that nobody chose is that of its own likeliest next token."""
        if "prompt" in options and "metric" not in options:
            chosen = old.options["metric"] != default_metric(self._needed_run())
            options = options if chosen else {**options, "metric": None}
        return super()._changing(old, options)

    # --- clicks ---------------------------------------------------------------------------------------------------

    def _apply_change(self, name: str, value: Any, job: Job) -> None:
        self._await_model()
        self._try(name, value, job)

    def _apply_edit(self, edit: Mapping[str, Any], job: Job) -> None:
        self._await_model()
        self._update(lambda old: self._edited(old, edit), job)

    def _edited(self, old: State, edit: Mapping[str, Any]) -> State:
        """Return the state with cells switched on and off and chips dropped; what is so already stays."""
        items = list(old.options["interventions"])
        drop = set(edit["drop"])
        items = [item for item in items if chip_id(item) not in drop]
        cell = partial(clicks.cell_of, result=old.result, options=old.options)
        for place in clicks.checked_cells(edit["off"]):
            items = [item for item in items if cell(item) != place]
        active = [cell(item) for item in items]
        for place in clicks.checked_cells(edit["on"]):
            if place not in active:
                items.append(clicks.intervention_of(self._needed_run(), old.options, *place))
        return self._changing(old, {"interventions": tuple(items)})


def _require_choices(options: Mapping[str, Any]) -> None:
    for name, allowed in (("mode", tuple(MODES)), ("how", HOWS), ("site", STREAM_SITES)):
        if options[name] not in allowed:
            raise InputError.about(name, options[name], f"must be one of {', '.join(allowed)}", "Choose one.")
