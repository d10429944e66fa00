"""How a widget changes: one state is replaced by the next as a whole, and everybody is told afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import ipywidgets
import traitlets

from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.worker import Job
from resid_widgets.widgets.shell.frame import Buffers
from resid_widgets.widgets.shell.traits import write


@dataclass(frozen=True, eq=False)
class State:
    """Everything that a picture shows at one moment.

    Attributes
    ----------
    options
        What the result was computed from, by trait name.
    result
        What is drawn.
    frame, buffers
        The same as it travels; see `resid_widgets.widgets.shell.frame`.
    controls
        What the header offers.
    selection
        The address of what is selected, as ``{"layer": 2, "pos": 5}``; empty where nothing is.
    details
        The side panel of what is selected.
    summary
        What the side panel says whatever is selected, or None.
    actions
        Buttons in the header.
    edited
        For a picture whose clicks change something: the cells that are changed, ``[row, column]``, a column of None
        for a whole row. None where clicks only select.
    refused
        What was typed into a field and cannot be used, by the control's name: it stays there to be mended.
    run
        A run to hold from now on, where another prompt was run for this state.
    past, future
        Values of `options` that undo and redo return to, the nearest last.
    """

    options: Mapping[str, Any]
    result: Any
    frame: dict[str, Any]
    buffers: Buffers
    controls: list[dict[str, Any]]
    selection: Mapping[str, Any] = field(default_factory=dict)
    details: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None
    actions: list[dict[str, Any]] = field(default_factory=list)
    edited: list[list[int | None]] | None = None
    refused: Mapping[str, Any] = field(default_factory=dict)
    run: Any = None
    past: tuple[Any, ...] = ()
    future: tuple[Any, ...] = ()


class Stateful(ipywidgets.DOMWidget):
    """A widget whose synced traits are the projection of one `State`.

    Threads meet here: a cell sets a trait while the worker finishes a click. Each computes the state that should
    follow, without a lock, and puts it in place with the model's lock held if the state is still the one it started
    from; otherwise it computes again. Front-end and observers are told with no lock held, so that an observer may
    run the model or set other widgets.
    """

    WRITTEN: ClassVar[tuple[str, ...]] = ("frame", "controls", "selection", "details", "summary", "actions")
    """Traits that are fields of the state."""

    _state: State | None = None
    _lock: Any
    _writer: int | None = None
    _changes: list[Any]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._state is None

    def _open(self) -> State:
        """Return the state of a widget that is not closed."""
        self._not_closed()
        state = self._state
        assert state is not None, "a widget without a state is closed"
        return state

    def _not_closed(self) -> None:
        """Refuse to do anything with a closed widget."""
        if self.closed:
            raise InputError(
                f"This {type(self).__name__} is closed: close() was called, or its cell ran again (or the next picture "
                "took its place) and no variable held it. Make a new one, and keep it in a variable."
            )

    def _update(self, propose: Callable[[State], State], job: Job | None = None) -> None:
        """Replace the state by what `propose` makes of it; a `job` that is no longer wanted changes nothing."""
        while True:
            old = self._open()
            with plain_state():
                new = propose(old)
            with self._lock:
                if job is not None and (job.cancelled or (self._state is old and not job.claim())):
                    return
                if self._state is old:
                    with self._writing() as changes:
                        self._write(new)
                    break
        self._tell(changes)
        self._on_the_page()

    def _on_the_page(self) -> None:
        """Do what is to be done when a new state is shown, with no lock held."""

    def _write(self, new: State) -> None:
        """Write what differs into the traits."""
        old, self._state = self._state, new
        if old is None or new.options is not old.options:
            for name, value in new.options.items():
                write(self, name, value)
        for name in self.WRITTEN:
            if old is None or getattr(new, name) is not getattr(old, name):
                write(self, name, getattr(new, name))

    @contextmanager
    def _writing(self) -> Iterator[list[Any]]:
        """Collect this thread's changes instead of telling of each. The lock is held, so there is one such thread."""
        self._writer, self._changes = threading.get_ident(), []
        try:
            yield self._changes
        finally:
            self._writer = None

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Take no state from the front-end but ipywidgets' own: what it wants, it asks for by message."""
        theirs = ipywidgets.DOMWidget.class_traits()
        super().set_state({name: value for name, value in sync_data.items() if name in theirs})

    def notify_change(self, change: Any) -> None:
        """Tell front-end and observers of a change; while a state is being written, later."""
        if self._writer == threading.get_ident():
            self._changes.append(change)
        else:
            super().notify_change(change)

    def _tell(self, changes: list[Any]) -> None:
        """Send one message for all changes, then call the observers of each, whatever another one raises."""
        names = [change["name"] for change in changes if change["name"] in self.keys]
        if names:
            self.send_state(names)
        failed: Exception | None = None
        for change in changes:
            try:
                traitlets.HasTraits.notify_change(self, change)
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
