"""Click to change the stream, and watch the answer and everything downstream follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from resid_widgets import interventions as ops
from resid_widgets.analysis.ablation import Ablation, ablation, default_metric
from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.metrics import require_metric
from resid_widgets.errors import InputError
from resid_widgets.interventions import Intervention, as_interventions
from resid_widgets.models.run import Run
from resid_widgets.models.shapes import site_shape
from resid_widgets.models.tokenize import tokenize
from resid_widgets.models.worker import Job
from resid_widgets.models.writes import write_test
from resid_widgets.sites import Site
from resid_widgets.widgets import panel
from resid_widgets.widgets.base import ResidWidget
from resid_widgets.widgets.chips import chip_id, summary
from resid_widgets.widgets.frame import Buffers, encode
from resid_widgets.widgets.metric_controls import metric_controls, metric_from_control
from resid_widgets.widgets.prompts import prompt_from_text, prompt_text
from resid_widgets.widgets.state import State
from resid_widgets.widgets.traits import Option

MODES = {"cells": "cells", "heads": "heads", "mlps": "MLPs"}
HOWS = ("mean", "zero", "resample", "noise", "clamp", "project_out", "patch")
STREAM_SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out")


class AblationExplorer(ResidWidget):
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
    prompt, layer, pos, layout
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

    def undo(self) -> None:
        """Return to the interventions before the last change; nothing happens where there are none."""
        self._open()
        self._drop_requests(but="select")
        self._update(lambda old: self._travelled(old, "past", "future"))

    def redo(self) -> None:
        """Take an undo back; nothing happens where there is none."""
        self._open()
        self._drop_requests(but="select")
        self._update(lambda old: self._travelled(old, "future", "past"))

    def save_code(self, path: str | Path) -> Path:
        """Write `code` as a script, with the arrays it reads (if any) beside it, and return the script's path."""
        return self.result.save_code(path)

    # --- what the base asks ---------------------------------------------------------------------------------------

    def _compute(self, options: Mapping[str, Any]) -> GridResult:
        run = self._needed_run()
        for name, allowed in (("mode", tuple(MODES)), ("how", HOWS), ("site", STREAM_SITES)):
            if options[name] not in allowed:
                raise InputError.about(name, options[name], f"must be one of {', '.join(allowed)}", "Choose one.")
        if options["mode"] == "cells":
            _require_writes(run, options["site"])
        _require_parameters(run, options)
        metric = None if options["metric"] is None else require_metric(options["metric"])
        items = as_interventions(options["interventions"])
        if run.base is not None:  # what it was made with becomes chips, over the run without
            items, self._run = (*run.interventions, *items), run.base
            run = run.base
        shown = "heads" if options["mode"] == "heads" else "stream"
        old = self._state
        if old is not None and isinstance(old.result, Ablation):
            unchanged = old.result.interventions == items and old.options["metric"] == metric
            if unchanged and old.result.shown == shown:
                return old.result
        return ablation(run, items, metric, shown=shown)

    def _encode(self, result: GridResult, frame_id: int) -> tuple[dict[str, Any], Buffers]:
        frame, buffers = encode(result, frame_id)
        assert isinstance(result, Ablation)
        if result.shown == "heads":
            frame["column_name"] = "head"
        return frame, buffers

    def _stated(self, options: Mapping[str, Any], result: GridResult) -> dict[str, Any]:
        assert isinstance(result, Ablation)
        metric = options["metric"]
        if metric is None and self._run is not None:
            metric = default_metric(self._run)
        return {**options, "metric": metric, "interventions": result.interventions}

    def _picture(self, options: Mapping[str, Any], given: GridResult | None = None) -> State:
        new = super()._picture(options, given)
        result = new.result
        assert isinstance(result, Ablation)
        old = self._state
        past, future = ((), ()) if old is None else (old.past, old.future)
        if old is not None and old.options["interventions"] != result.interventions:
            past, future = (*past, old.options["interventions"]), ()
        return self._told(replace(new, past=past, future=future))

    def _changing(self, old: State, options: Mapping[str, Any]) -> State:
        if options.get("mode", old.options["mode"]) != old.options["mode"]:
            old = self._selecting(old, old.layer, None)  # another picture has other columns
        return super()._changing(old, options)

    def _told(self, state: State) -> State:
        """Return the state with what depends on its interventions and history."""
        result, live = state.result, self._run is not None
        assert isinstance(result, Ablation)
        return replace(
            state,
            summary=summary(result, self._run),
            actions=_actions(state, result) if live else [],
            edited=_cells(result, state.options) if live else None,
        )

    def _travelled(self, old: State, back: str, forth: str) -> State:
        """Return the state one step of its history away."""
        steps: tuple[Any, ...] = getattr(old, back)
        if not steps:
            return old
        new = self._changing(old, {"interventions": steps[-1]})
        here = (*getattr(old, forth), old.options["interventions"])
        return self._told(replace(new, **{back: steps[:-1], forth: here}))

    def _controls(self, result: GridResult, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        run = self._run
        if run is None:
            return []
        mode, how = options["mode"], options["how"]
        sites = [name for name in STREAM_SITES if write_test(run.model, name).works]
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
        return {name: value}

    def _details(self, result: GridResult, options: Mapping[str, Any], layer: int, pos: int) -> dict[str, Any]:
        return panel.details(layer, pos, [(result.scale.label, float(result.values.values[layer, pos]))])

    def _planes(self, result: GridResult, options: Mapping[str, Any]) -> dict[str, Any] | None:
        return panel.planes([(result.scale.label, result.values.values)])

    # --- clicks ---------------------------------------------------------------------------------------------------

    def _apply_change(self, name: str, value: Any, job: Job) -> None:
        self._await_model()
        self._try(name, value, job)

    def _apply_action(self, name: str, job: Job) -> None:
        self._await_model()
        steps = {"undo": ("past", "future"), "redo": ("future", "past")}[name]
        self._update(lambda old: self._travelled(old, *steps), job)

    def _apply_edit(self, edit: Mapping[str, Any], job: Job) -> None:
        self._await_model()
        self._update(lambda old: self._edited(old, edit), job)

    def _edited(self, old: State, edit: Mapping[str, Any]) -> State:
        """Return the state with cells switched on and off and chips dropped; what is so already stays."""
        items = list(old.options["interventions"])
        drop = set(edit["drop"])
        items = [item for item in items if chip_id(item) not in drop]
        for row, column in _pairs(edit["off"]):
            items = [item for item in items if _cell(item, old) != [row, column]]
        active = [_cell(item, old) for item in items]
        for row, column in _pairs(edit["on"]):
            if [row, column] not in active:
                items.append(self._made(old.options, row, column))
        return self._changing(old, {"interventions": tuple(items)})

    def _made(self, options: Mapping[str, Any], layer: int, column: int | None) -> Intervention:
        """Return what a click on a cell means."""
        run = self._needed_run()
        component = _component(options)
        head = column if component == "z" else None
        site = Site(component, run.layer(layer), None if component == "z" else column, head)
        match options["how"]:
            case "noise":
                return ops.noise(site, options["sigma"], options["seed"])
            case "clamp":
                return ops.clamp(site, options["low"], options["high"])
            case "resample":
                return ops.resample(site, _needed_prompt(options), options["seed"])
            case "patch":
                return ops.patch(site, _needed_prompt(options))
            case "project_out":
                return ops.project_out(site, self._direction(options, component))
            case how:
                return getattr(ops, how)(site)

    def _direction(self, options: Mapping[str, Any], component: str) -> Any:
        """Return the direction that project_out removes: the user's, or what the metric reads."""
        if options["direction"] is not None:
            return options["direction"]
        run, metric = self._needed_run(), options["metric"]
        if component == "z":
            raise InputError("A head's output is not in the stream: set w.direction to d_head numbers.")
        ids = [run.model.token_id(token) for token in (*metric.answers, *metric.foils)]
        if not ids:
            raise InputError("This metric reads no one direction: set w.direction to a vector of length d_model first.")
        rows = run.model.bridge.W_U.detach().double()[:, ids].cpu().numpy()
        return rows[:, 0] - (rows[:, 1] if len(ids) > 1 else 0.0)


def _require_writes(run: Run, site: str) -> None:
    outcome = write_test(run.model, site)
    if not outcome.works:
        raise InputError.about("site", site, f"it cannot be written: {outcome.reason}", "Choose another one.")


def _require_parameters(run: Run, options: Mapping[str, Any]) -> None:
    """Refuse what no click could use, before one does. Whether the bounds of clamp fit each other, a click says."""
    model, anywhere = run.model, Site("resid_post", 0)
    ops.noise(anywhere, options["sigma"], options["seed"])
    for bound in ("low", "high"):
        if options[bound] is not None:
            ops.clamp(anywhere, **{bound: options[bound]})
    if options["direction"] is not None:
        size = len(ops.project_out(anywhere, options["direction"]).option("direction").array)
        widths = (model.d_model, site_shape(model, "z")[-1])
        if size not in widths:
            rule = f"a direction in the stream has {widths[0]} numbers, one in a head's output {widths[1]}"
            raise InputError.about("direction", f"{size} numbers", rule, "Give one of that length.")
    if options["source_prompt"] is not None:
        for prompt in ops.resample(anywhere, options["source_prompt"]).option("source"):
            given = list(prompt) if isinstance(prompt, tuple) else prompt
            tokenize(model.tokenizer, given, bos=None, d_vocab=model.d_vocab, n_ctx=model.n_ctx)


def _component(options: Mapping[str, Any]) -> str:
    """Return what a click changes."""
    return str({"heads": "z", "mlps": "mlp_out"}.get(options["mode"], options["site"]))


def _needed_prompt(options: Mapping[str, Any]) -> Any:
    if options["source_prompt"] is None:
        raise InputError(f"{options['how']} takes values from another prompt: type one into 'other prompt' first.")
    return options["source_prompt"]


def _pairs(cells: Any) -> list[tuple[int, int | None]]:
    """Return the cells of a message, checked."""
    for cell in cells:
        ok = isinstance(cell, list) and len(cell) == 2 and isinstance(cell[0], int)
        if not ok or not isinstance(cell[1], int | None):
            raise InputError.about("cells", cell, "a layer and a column are needed", "Reload the page.")
    return [tuple(cell) for cell in cells]


def _cell(item: Intervention, state: State) -> list[int | None] | None:
    """Return the cell of the picture that an intervention belongs to; None where it is not in this picture."""
    return _cell_of(item, state.result, state.options)


def _cell_of(item: Intervention, result: GridResult, options: Mapping[str, Any]) -> list[int | None] | None:
    site = item.site
    if site.component != _component(options):
        return None
    pos = None if site.pos is None else site.pos % len(result.provenance.token_ids)
    return [site.layer, site.head if site.component == "z" else pos]


def _cells(result: Ablation, options: Mapping[str, Any]) -> list[list[int | None]]:
    found = (_cell_of(item, result, options) for item in result.interventions)
    return [cell for cell in found if cell is not None]


def _actions(state: State, result: Ablation) -> list[dict[str, Any]]:
    return [
        panel.action("undo", "Undo", bool(state.past), "Take the last change back"),
        panel.action("redo", "Redo", bool(state.future), "Do again what was taken back"),
        panel.action("code", "Copy as code", True, "A short script that gives this number", copies=result.code()),
    ]
