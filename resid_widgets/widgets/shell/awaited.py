"""A widget appears at once: what takes longer is done on the model's worker, while the page shows how far it is.

Its first picture is made where the widget is, if that takes no time. Otherwise the work is ended at the next block and
begun again by the worker, when the cell is over; whoever reads the widget before that waits for it. Where nobody
watches a page (a script, ``nbconvert --execute``) nothing is put off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from resid_widgets.errors import InputError, ResidWidgetsError
from resid_widgets.models.watch import EndedError, ended_after, watched
from resid_widgets.models.worker import Job
from resid_widgets.widgets.shell import cells, panel
from resid_widgets.widgets.shell.state import State, Stateful
from resid_widgets.widgets.shell.traits import write

AT_ONCE = 0.3
"""Seconds that a first picture may take where the widget is made."""

OFTEN = 0.1  # seconds between two words on how far it is
FIRST = "first picture"
WORKING = "Running the model"

_works_on: ContextVar[tuple[Any, Job] | None] = ContextVar("works on", default=None)  # a widget, and its request
_as_it_is: ContextVar[bool] = ContextVar("as it is", default=False)  # what is read is for the front-end


@contextmanager
def _telling() -> Iterator[None]:
    before = _as_it_is.set(True)
    try:
        yield
    finally:
        _as_it_is.reset(before)


def so_far(what: str, share: float, left: float) -> str:
    """Say how far something is, and about how many seconds are left."""
    told = f"{what}: {100 * share:.0f} %"
    if left < 1:
        return told
    return f"{told}, about {f'{left:.0f} s' if left < 90 else f'{left / 60:.0f} min'} left"


class Awaited(Stateful):
    """A widget whose first picture may be on its way, and whose requests say how far they are."""

    _later: Callable[[], State] | None = None  # makes the first state, while there is none
    _why: BaseException | None = None  # what the last try to make it has failed with
    _ended = False
    _attended = False  # somebody watched when it was made; on the worker nobody can tell
    _worker: Any
    _name: object
    _inbox: Any
    _say: Callable[..., None]
    _request: Callable[..., None]
    _apply_action: Callable[[str, Job], None]
    _await_model: Callable[[], None]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._state is None and self._later is None

    @property
    def pending(self) -> bool:
        """Whether the first picture is on its way still. Reading anything else waits for it."""
        return self._later is not None

    def _open(self) -> State:
        if self._state is None and self._later is not None:
            self._settle()
        return super()._open()

    def _before_read(self) -> None:
        """Wait for the first picture, where a person reads a trait of it; what the page is told is as it is now."""
        if self._later is not None and not _as_it_is.get() and self._request_at_work() is None:
            self._settle()

    def get_state(self, *args: Any, **kwargs: Any) -> Any:
        """Return the traits for the front-end as they are now."""
        with _telling():
            return super().get_state(*args, **kwargs)

    def notify_change(self, change: Any) -> None:
        """Tell the front-end of a change as things are now."""
        with _telling() if self._later is not None else nullcontext():
            super().notify_change(change)

    def _begin(self, make: Callable[[], State]) -> None:
        """Make the first state now, or see that it is made; before the front-end is told of the widget."""
        self._attended = cells.attended()
        if self._attended:
            try:
                with ended_after(AT_ONCE):
                    self._write(make())
            except EndedError:
                self._later = make
                write(self, "status", {"state": "busy", "text": f"{WORKING} ..."})
        else:
            self._write(make())

    def _ask_first(self) -> None:
        """Have the worker make the first state."""
        self._why = None
        self._request(FIRST, self._make_first, failed=self._first_failed, dropped=self._first_ended)

    def _settle(self) -> None:
        """Wait for the first state, or make it here where the worker could not go on."""
        for _ in range(2):
            self._worker.wait(lambda key: key == (self._name, FIRST))
            if self._later is None:
                return
            if isinstance(self._why, ResidWidgetsError):
                raise self._why
            self._ask_first()  # it was cancelled
        raise InputError(f"The first picture of this {type(self).__name__} was cancelled before it was there.")

    def _make_first(self, job: Job) -> None:
        make = self._later
        if make is None:
            return
        self._say("busy", f"{WORKING} ...", progress=0.0)
        self._await_model()
        made = make()
        with self._lock:
            if self._later is not make or not job.claim():
                return
            with self._writing() as changes:
                self._later = None
                self._write(made)
        self._tell(changes)
        self._on_the_page()
        cells.late_picture()

    def _first_failed(self, error: BaseException) -> None:
        if self._later is not None:
            self._why = error
            self._inbox.report(error)
            self._offer_again()

    def _first_ended(self) -> None:
        if self._later is not None and self._ended:
            self._say("cancelled", "There is no picture yet.")
            self._offer_again()

    def _offer_again(self) -> None:
        write(self, "actions", [panel.action("again", "Run", True, "Make the picture after all")])

    def _act(self, name: str, job: Job) -> None:
        """Do what a button stands for; while there is no picture, it is that which asks for one again."""
        if self._later is None:
            self._apply_action(name, job)
        elif job.claim():
            self._ask_first()

    # --- requests -------------------------------------------------------------------------------------------------

    def _request_at_work(self) -> Job | None:
        """Return the request that the calling thread works on for this widget."""
        found = _works_on.get()
        return found[1] if found is not None and found[0] is self else None

    def _cancel(self) -> None:
        """End what is computed; called while the worker is at it."""
        self._ended = True

    def _watched(self, work: Callable[[Job], None]) -> Callable[[Job], None]:
        """Return `work` with its progress shown, and ended at the next block when it is cancelled or superseded."""

        def whole(job: Job) -> None:
            self._ended = False
            token = _works_on.set((self, job))
            try:
                with watched(self._look(job)):
                    work(job)
            finally:
                _works_on.reset(token)

        return whole

    def _look(self, job: Job) -> Callable[[float | None], None]:
        began, told, before = time.monotonic(), time.monotonic(), 0.0

        def look(share: float | None) -> None:
            nonlocal began, told, before
            if job.cancelled or self._ended or self.closed:
                raise EndedError
            now = time.monotonic()
            if share is None or share >= 1:
                return
            if share < before:  # another run
                began = now
            before = share
            if now - told > OFTEN:
                told = now
                self._say("busy", so_far(WORKING, share, (now - began) * (1 / share - 1)), progress=share)

        return look
