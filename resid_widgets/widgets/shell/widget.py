"""A widget in the common frame: one state, a selection, requests to the model's worker, and an end."""

from __future__ import annotations

import uuid
from _thread import RLock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import anywidget
import traitlets as t

from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.worker import Job, current_worker, worker_of
from resid_widgets.widgets.shell.awaited import Awaited
from resid_widgets.widgets.shell.frame import Buffers, Words, framed, restored, told
from resid_widgets.widgets.shell.front_end import FrontEndWidget
from resid_widgets.widgets.shell.inbox import Inbox
from resid_widgets.widgets.shell.page import page
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Address, Shown, placed, write

PATIENCE = 0.3  # seconds
IDLE = "idle"
READY = {"state": "ready", "text": ""}
frame_ids = count(1)


class ShellWidget(Awaited, FrontEndWidget):
    """Any parts in the common frame. A subclass says what they show (`_parts`) and what can be selected (`_axes`).

    Callbacks only enqueue: the model's one worker computes, and the latest request wins. From Python, setting a trait
    computes at once in the calling thread. (Where an observer that a click woke sets a widget of another model, that
    is enqueued as well, so that no two models ever wait for each other.) The traits named here are written by Python
    only; the front-end sends messages, which `resid_widgets.widgets.shell.inbox` answers.
    """

    frame = Shown({}).tag(sync=True)
    selection = Address(help='What is selected, as {"layer": 2, "pos": 5}; {} is nothing.').tag(sync=True)
    details = Shown(None).tag(sync=True)
    controls = Shown([]).tag(sync=True)
    summary = Shown(None).tag(sync=True)
    actions = Shown([]).tag(sync=True)
    inner: Any = anywidget.WidgetTrait().tag(sync=True)
    status = t.Dict(READY, read_only=True).tag(sync=True)
    offline = t.Bool(False, read_only=True).tag(sync=True)
    kept = t.Unicode(read_only=True).tag(sync=True)

    _idle: Callable[[Job], None] | None = None  # what is done while there is nothing else to do

    @t.default("kept")
    def _kept(self) -> str:
        return uuid.uuid4().hex

    def _connect(self, model: ResidualModel | None) -> None:
        """Take lock and worker of the model behind the picture, or ones of its own; before there is a state."""
        self._lock = RLock() if model is None else model.lock
        self._worker = worker_of(self if model is None else model.bridge, self._lock)
        self._name = object()  # whose requests they are, in the worker's queue
        self._links: list[Any] = []

    def __init__(self, make: Callable[[], State], **more: Any) -> None:
        self._begin(make)
        super().__init__(**more)
        self._inbox = Inbox(self)
        self.on_msg(self._inbox.receive)
        if self.pending:
            self._ask_first()
        else:
            self._on_the_page()

    # --- what a subclass says -------------------------------------------------------------------------------------

    def _parts(self, result: Any) -> dict[str, Mapping[str, Any]]:
        """Return what each part of the front-end shows, by the name that the entry in ``js/widgets`` gives it."""
        raise NotImplementedError

    def _words(self, result: Any) -> Words:
        """Return what stands around the parts."""
        checks = [told(check) for check in result.checks]
        return Words(result.title, result.sentence, result.provenance.describe(), checks)

    def _axes(self, result: Any) -> Mapping[str, Sequence[int | str]]:
        """Return the names of an address in this picture, with what each can be."""
        raise NotImplementedError

    def _places(self) -> Mapping[str, Sequence[int | str]]:
        """Return the names of an address in the picture that is shown, with what each can be."""
        return self._axes(self._open().result)

    def _side(self, state: State) -> dict[str, Any] | None:
        """Return the side panel of what is selected; None where too little is, or nothing more is known."""
        return None

    def _picture(self, options: Mapping[str, Any]) -> State:
        """Return the state for `options`, nothing selected."""
        raise NotImplementedError

    # --- what a person uses ---------------------------------------------------------------------------------------

    def select(self, **address: Any) -> None:
        """Select by address, as ``select(layer=2, head=1)``; None clears a part of it, what is left out stays.

        Raises
        ------
        InputError
            If the picture has no such axis, or it is out of range. Nothing changes then.
        """
        self._open()
        if self._on_another_worker():
            self._enqueue("select", lambda job: self._update(lambda old: self._selecting(old, address), job))
        else:
            self._worker.cancel(lambda key: key == (self._name, "select"))
            self._update(lambda old: self._selecting(old, address))

    def select_at(self, address: Any) -> None:
        """Select by a whole address, as ``{"layer": 2, "pos": 5}``; ``{}`` or None selects nothing.

        Raises
        ------
        InputError
            As `select` does.
        """
        if address is not None and not isinstance(address, Mapping):
            rule = "an address is a mapping"
            raise InputError.about("selection", address, rule, 'Write it as {"layer": 2, "pos": 5}.')
        self.select(**{**dict.fromkeys(self._places()), **(address or {})})

    def wait(self, timeout: Any = None) -> bool:
        """Return when all that was asked for in the browser is done; False if `timeout` seconds were not enough."""
        return self._worker.wait(lambda key: key[0] is self._name and key[1] != IDLE, timeout)

    def close(self) -> None:
        """Remove the widget from the page and free its pictures. Waits for nothing."""
        was_open = not self.closed
        self._state = self._later = None
        if was_open:
            self._drop_requests()
            for link in list(self._links):
                link.drop(self)
        super().close()
        if was_open:
            if self.inner is not None:
                self.inner.close()
            self.unobserve_all()
            for name in ("frame", "details", "controls", "summary"):
                self._trait_values.pop(name, None)

    def __reduce_ex__(self, protocol: object) -> Any:
        """Refuse to be pickled."""
        raise self._one_place("pickled")

    def __copy__(self) -> Any:
        """Refuse to be copied."""
        raise self._one_place("copied")

    def __deepcopy__(self, memo: object) -> Any:
        """Refuse to be copied."""
        raise self._one_place("copied")

    def _one_place(self, done: str) -> InputError:
        rule = f"a widget belongs to its page and kernel: it cannot be {done}"
        remedy = "Make another from what it shows (its .run or .result); .to_html(path) keeps the picture."
        return InputError.about("widget", type(self).__name__, rule, remedy)

    # --- how it changes -------------------------------------------------------------------------------------------

    def _framed(self, result: Any) -> tuple[dict[str, Any], Buffers]:
        """Return a new picture as it travels."""
        return framed(next(frame_ids), self._words(result), self._parts(result))

    def _selecting(self, old: State, address: Mapping[str, Any]) -> State:
        """Return the state with another selection; what `address` leaves out stays."""
        axes = self._axes(old.result)
        for name in address:
            if name not in axes:
                rule = f"this picture has no {name}"
                raise InputError.about(name, address[name], rule, f"It selects by {', '.join(axes)}.")
        wanted = {**old.selection, **{name: placed(name, value, axes[name]) for name, value in address.items()}}
        selection = {name: wanted[name] for name in axes if wanted.get(name) is not None}
        if selection == old.selection:
            return old
        new = replace(old, selection=selection)
        details = self._side(new)
        return replace(new, details=None if details is None else {**details, "at": selection})

    def _carrying(self, new: State, selection: Mapping[str, Any]) -> State:
        """Return the state with what it can show of a selection."""
        axes = self._axes(new.result)
        return self._selecting(new, {name: value for name, value in selection.items() if value in axes.get(name, ())})

    def _write(self, new: State) -> None:
        super()._write(new)
        if self.status["state"] != "ready":
            write(self, "status", READY)

    # --- what the front-end asks for ------------------------------------------------------------------------------

    def _request(self, what: str, work: Callable[[Job], None], **told: Callable[..., Any]) -> None:
        """Put a request in the worker's queue, in place of an earlier one of its kind."""
        self._not_closed()
        self._worker.submit((self._name, what), self._watched(work), **told)

    def _when_idle(self, work: Callable[[Job], None]) -> None:
        """Have something done while there is nothing else to do with the model; begun again where it was ended."""
        if not self.closed:
            self._idle = work
            key, again = (self._name, IDLE), partial(self._again_when_idle, work)
            self._worker.submit(key, self._watched(work), failed=self._inbox.report, dropped=again, idle=True)

    def _again_when_idle(self, work: Callable[[Job], None]) -> None:
        if self._idle is work:  # nothing else has taken its place
            self._when_idle(work)

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

    def _apply_selection(self, at: Any, job: Job) -> None:
        """Select what a click or key has chosen: a whole address."""
        if at is not None and not isinstance(at, Mapping):
            raise InputError.about("at", at, "it is no address", "Reload the page.")
        self._await_model()
        whole = {**dict.fromkeys(self._places()), **(at or {})}
        self._update(lambda old: self._selecting(old, whole), job)

    def _apply_change(self, name: str, value: Any, job: Job) -> None:
        """Change what a control stands for."""
        raise NotImplementedError

    def _apply_reset(self, job: Job) -> None:
        """Return to the first state."""
        raise NotImplementedError

    def _apply_action(self, name: str, job: Job) -> None:
        """Do what a button of the header stands for."""
        raise NotImplementedError

    def _apply_edit(self, edit: Mapping[str, Any], job: Job) -> None:
        """Change what a click on the picture, or on something in the side panel, stands for."""
        raise NotImplementedError

    def _arrays(self, frame_id: Any) -> Buffers:
        """Return the arrays that were too large for the frame, if it is still the one shown."""
        state = self._state
        return {} if state is None else state.buffers if state.frame["id"] == frame_id else {}

    def _file(self, form: str) -> tuple[str, str, bytes]:
        """Return name, MIME type and content of an export of what is shown."""
        raise NotImplementedError

    def _say(self, state: str, text: str = "", detail: str = "", progress: float | None = None) -> None:
        """Show a status in every view."""
        more = {"detail": detail} if detail else {} if progress is None else {"progress": progress}
        write(self, "status", {"state": state, "text": text, **more})

    @plain_state()
    def _page(self) -> str:
        """Return what is shown as a page of its own."""
        state = self._open()
        traits = {name: getattr(state, name) for name in self.WRITTEN}
        whole = {"frame": restored(state.frame, state.buffers), "inner": None, "status": READY, "offline": True}
        return page(self.FRONT_END, state.frame["title"], {**traits, **whole, **self._page_only(state)})

    def _page_only(self, state: State) -> dict[str, Any]:
        """Return the traits that only a page of its own has."""
        return {}
