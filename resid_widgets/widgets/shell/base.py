"""What all widgets share: one picture of one run, a selection, and a front-end that only Python's state drives."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar

import anywidget
import traitlets as t
from ipywidgets import Layout

from resid_widgets.analysis.grid import GridResult
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.runs.run import Run, run
from resid_widgets.models.worker import Job, current_worker, worker_of
from resid_widgets.widgets.shell import arguments, cells
from resid_widgets.widgets.shell.exports import Exports
from resid_widgets.widgets.shell.frame import Buffers, encode, restored
from resid_widgets.widgets.shell.front_end import FrontEndWidget
from resid_widgets.widgets.shell.inbox import Inbox
from resid_widgets.widgets.shell.page import page
from resid_widgets.widgets.shell.state import State, Stateful
from resid_widgets.widgets.shell.traits import Selected, place, same, write

PATIENCE = 0.3  # seconds
READY = {"state": "ready", "text": ""}
_frame_ids = count(1)


class ResidWidget(Exports, Stateful, FrontEndWidget):
    """Base of the widgets. A subclass names its options and says what it computes (`_compute`) and tells (`_details`).

    Callbacks only enqueue: the model's one worker computes, and the latest request wins. From Python, setting a trait
    computes at once in the calling thread. (Where an observer that a click woke sets a widget of another model, that
    is enqueued as well, so that no two models ever wait for each other.) The traits named here are written by Python
    only; the front-end sends messages, which `resid_widgets.widgets.shell.inbox` answers.
    """

    SHOWS: ClassVar[tuple[type, ...]]
    POSITIONAL: ClassVar[tuple[str, ...]]

    frame = t.Dict(read_only=True).tag(sync=True)
    layer = Selected(help="Selected layer, or None.").tag(sync=True)
    pos = Selected(help="Selected position, or None.").tag(sync=True)
    details: Any = t.Instance(dict, allow_none=True, read_only=True).tag(sync=True)
    controls = t.List(read_only=True).tag(sync=True)
    summary: Any = t.Instance(dict, allow_none=True, read_only=True).tag(sync=True)
    actions = t.List(read_only=True).tag(sync=True)
    edited: Any = t.Instance(list, allow_none=True, read_only=True).tag(sync=True)
    inner: Any = anywidget.WidgetTrait().tag(sync=True)
    status = t.Dict(READY, read_only=True).tag(sync=True)
    offline = t.Bool(False, read_only=True).tag(sync=True)
    planes = t.Instance(dict, allow_none=True, read_only=True).tag(sync=True)  # a Dict of None would be {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give each widget a signature that names its options."""
        super().__init_subclass__(**kwargs)
        if "FRONT_END" in cls.__dict__:
            cls.__signature__ = arguments.signature(cls)

    def __init__(
        self,
        source: Any,
        *positional: Any,
        prompt: Any = None,
        layer: Any = None,
        pos: Any = None,
        layout: Layout | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        arguments.refuse_unknown(type(self), options)
        prompt, options = arguments.bind(type(self), source, positional, options, prompt)
        given = source if isinstance(source, self.SHOWS) else None
        self._run: Run | None = None
        if given is None:
            self._run = source if isinstance(source, Run) else run(as_model(source), prompt)
        model = self._model_behind()
        self._lock = RLock() if model is None else model.lock
        self._worker = worker_of(self if model is None else model.bridge, self._lock)
        self._name = object()  # whose requests they are, in the worker's queue
        self._links: list[Any] = []

        with plain_state():
            first = self._picture({**arguments.defaults(type(self)), **options}, given)
            self._first = self._selecting(first, layer, pos)
        self._write(self._first)
        self._owns_layout = not isinstance(layout, Layout)
        super().__init__(**({} if layout is None else {"layout": layout}))
        self._inbox = Inbox(self)
        self.on_msg(self._inbox.receive)
        cells.adopt(self)

    # --- what a subclass says -------------------------------------------------------------------------------------

    def _model_behind(self) -> ResidualModel | None:
        """Return the model that is behind the picture, whose lock and worker are the widget's."""
        return None if self._run is None else self._run.model

    def _compute(self, options: Mapping[str, Any]) -> GridResult:
        """Return the picture for `options`. Raises InputError for a bad value."""
        raise NotImplementedError

    def _encode(self, result: GridResult, frame_id: int) -> tuple[dict[str, Any], Buffers]:
        """Return the picture as it travels."""
        return encode(result, frame_id)

    def _stated(self, options: Mapping[str, Any], result: GridResult) -> dict[str, Any]:
        """Return `options` as they read after `result` was made: spellings settled."""
        raise NotImplementedError

    def _controls(self, result: GridResult, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what the header offers; only what can be had without a run, where there is none."""
        raise NotImplementedError

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        """Return the options that a control's value means."""
        return {name: value}

    def _details(self, result: GridResult, options: Mapping[str, Any], layer: int, pos: int) -> dict[str, Any]:
        """Return the side panel of one cell."""
        raise NotImplementedError

    def _planes(self, result: GridResult, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the side panels of all cells, for a page without Python; None where there is too much to tell."""
        raise NotImplementedError

    def _needed_run(self) -> Run:
        """Return the run to compute from."""
        if self._run is None:
            raise InputError(
                "This picture was made from a result, and there is no run to compute another one from. "
                f"Make it from the run: rw.{type(self).__name__}(run)."
            )
        return self._run

    # --- what a person uses ---------------------------------------------------------------------------------------

    @property
    def result(self) -> GridResult:
        """The result that is drawn."""
        return self._open().result

    @property
    def run(self) -> Run | None:
        """The run it is computed from; None for a widget made from a result."""
        self._open()
        return self._run

    def select(self, layer: Any = ..., pos: Any = ...) -> None:
        """Select a cell, or a row or column with None; what is left out stays as it is.

        Raises
        ------
        InputError
            If it is out of range. Nothing changes then.
        """
        self._open()
        if self._on_another_worker():
            self._enqueue("select", lambda job: self._apply_selection(layer, pos, job))
        else:
            self._worker.cancel(lambda key: key == (self._name, "select"))
            self._update(lambda old: self._selecting(old, layer, pos))

    def change(self, **options: Any) -> None:
        """Set several options at once: one computation, one picture. ``w.stat = "norm"`` is ``w.change(stat="norm")``.

        Changes from the browser that still wait are dropped: this one is later.

        Raises
        ------
        InputError
            If an option is unknown or a value is bad. The picture stays as it was then.
        """
        self._open()
        arguments.refuse_unknown(type(self), options)
        if self._on_another_worker():
            what = f"change {', '.join(options)}"
            self._enqueue(what, lambda job: self._update(lambda old: self._changing(old, options), job))
        else:
            self._drop_requests(but="select")
            self._update(lambda old: self._changing(old, options))

    def reset(self) -> None:
        """Return to the options and the selection that the widget was made with."""
        self._open()
        self._drop_requests()
        self._apply_reset()

    def wait(self, timeout: Any = None) -> bool:
        """Return when all that was asked for in the browser is done; False if `timeout` seconds were not enough."""
        return self._worker.wait(lambda key: key[0] is self._name, timeout)

    def close(self) -> None:
        """Remove the widget from the page and free its run and pictures. Waits for nothing."""
        was_open, self._state = not self.closed, None
        if was_open:
            self._drop_requests()
            for link in list(self._links):
                link.drop(self)
            if self._owns_layout:
                self.layout.close()
        super().close()
        if was_open:
            if self.inner is not None:
                self.inner.close()
            self.unobserve_all()
            self._run = self._first = self._drawn = None
            for name in ("frame", "details", "controls", "summary", *arguments.defaults(type(self))):
                self._trait_values.pop(name, None)

    def __repr__(self) -> str:
        state, name = self._state, type(self).__name__
        return f"{name}({state.result.provenance.describe()} · {state.result.title})" if state else f"{name}, closed"

    # --- how it changes -------------------------------------------------------------------------------------------

    def _picture(self, options: Mapping[str, Any], given: Any = None) -> State:
        """Compute the state for `options`, nothing selected."""
        result = self._compute(options) if given is None else given
        options = self._stated(options, result)
        old = self._state
        if old is not None and old.result is result:  # nothing to draw again
            frame, buffers = old.frame, old.buffers
        else:
            frame, buffers = self._encode(result, next(_frame_ids))
        return State(options, result, frame, buffers, self._controls(result, options))

    def _changing(self, old: State, options: Mapping[str, Any]) -> State:
        """Return the state with other options, the same cell selected."""
        if all(same(old.options[name], value) for name, value in options.items()):
            return (
                old if not old.refused else replace(old, refused={}, controls=self._controls(old.result, old.options))
            )
        return self._selecting(self._picture({**old.options, **options}), old.layer, old.pos)

    def _selecting(self, old: State, layer: Any, pos: Any) -> State:
        """Return the state with another cell selected."""
        rows, columns = old.result.values.shape[:2]
        layer = old.layer if layer is ... else place("layer", layer, rows)
        pos = old.pos if pos is ... else place("pos", pos, columns)
        if (layer, pos) == (old.layer, old.pos):
            return old
        details = None
        if layer is not None and pos is not None:
            details = self._details(old.result, old.options, layer, pos)
        return replace(old, layer=layer, pos=pos, details=details)

    def _write(self, new: State) -> None:
        super()._write(new)
        if self.status["state"] != "ready":
            write(self, "status", READY)

    # --- what the front-end asks for ------------------------------------------------------------------------------

    def _request(self, what: str, work: Callable[[Job], None], **told: Callable[..., Any]) -> None:
        """Put a request in the worker's queue, in place of an earlier one of its kind."""
        self._open()
        self._worker.submit((self._name, what), work, **told)

    def _on_another_worker(self) -> bool:
        """Whether this is called by an observer on the worker of another model, which must not wait for this one."""
        return current_worker() not in (None, self._worker)

    def _enqueue(self, what: str, work: Callable[[Job], None]) -> None:
        """Put a program's wish in the worker's queue; an error is shown and logged, as for one from the front-end."""
        self._request(what, work, failed=self._inbox.report, dropped=lambda: None)

    def _drop_requests(self, but: str | None = None) -> None:
        """Drop what was asked for and is not done, requests named `but` excepted."""
        self._worker.cancel(lambda key: key[0] is self._name and key[1] != but)

    def _await_model(self) -> None:
        """Say in every view that a request waits, where the model is in use for longer than a person would notice."""
        if self._lock.acquire(timeout=PATIENCE):
            self._lock.release()
        else:
            self._say("busy", "Waiting for the model: a cell is using it ...")

    def _apply_selection(self, layer: Any, pos: Any, job: Job) -> None:
        self._await_model()
        self._update(lambda old: self._selecting(old, layer, pos), job)

    def _apply_change(self, name: str, value: Any, job: Job) -> None:
        self._say("busy", f"Computing another {name.replace('_', ' ')} ...")
        self._try(name, value, job)

    def _try(self, name: str, value: Any, job: Job) -> None:
        """Change what a control stands for; what was typed and cannot be used stays in its field."""
        try:
            self._update(lambda old: self._changing(old, self._wanted(old, name, value)), job)
        except InputError as error:
            why = str(error)
            if not job.cancelled:
                self._update(lambda old: _refusing(old, name, value, why))
            raise

    def _wanted(self, old: State, name: str, value: Any) -> dict[str, Any]:
        """Return the options that a control's value means, beside what the fields hold already."""
        return self._from_control(name, value)

    def _apply_action(self, name: str, job: Job) -> None:
        """Do what a button of the header stands for."""
        raise NotImplementedError

    def _cancel(self) -> None:
        """Stop what takes long, and show what is known; called while the worker is at it."""

    def _next_frame(self) -> int:
        return next(_frame_ids)

    def _apply_edit(self, edit: Mapping[str, Any], job: Job) -> None:
        """Change what a click on the picture, or on something in the side panel, stands for."""
        raise NotImplementedError

    def _apply_reset(self, job: Job | None = None) -> None:
        first = self._first
        assert first is not None
        self._update(lambda old: self._selecting(self._changing(old, first.options), first.layer, first.pos), job)

    def _arrays(self, frame_id: Any) -> Buffers:
        """Return the arrays that were too large for the frame, if it is still the one shown."""
        state = self._open()
        return state.buffers if state.frame["id"] == frame_id else {}

    def _say(self, state: str, text: str = "", detail: str = "", progress: float | None = None) -> None:
        """Show a status in every view."""
        more = {"detail": detail} if detail else {} if progress is None else {"progress": progress}
        write(self, "status", {"state": state, "text": text, **more})

    @plain_state()
    def _page(self) -> str:
        state = self._open()
        traits = {
            "frame": restored(state.frame, state.buffers),
            "layer": state.layer,
            "pos": state.pos,
            "details": state.details,
            "controls": state.controls,
            "summary": state.summary,
            "actions": state.actions,
            "edited": state.edited,
            "inner": None,
            "status": READY,
            "offline": True,
            "planes": self._planes(state.result, state.options),
        }
        return page(self.FRONT_END, state.result.title, traits)


def _refusing(old: State, name: str, value: Any, why: str) -> State:
    """Return the state with what was typed into a field kept there, and marked."""
    mark = {"value": value, "refused": why.partition("\n")[0]}
    typed = ("text", "number")
    controls = [{**c, **mark} if c["name"] == name and c["kind"] in typed else c for c in old.controls]
    return replace(old, controls=controls, refused={**old.refused, name: value})
