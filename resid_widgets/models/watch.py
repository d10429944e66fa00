"""Whoever waits for a model is told at each of its blocks how far it is, and may end the pass there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Look = Callable[[float | None], None]
"""Called with the share of a run that is done, where that is known. Ends the work by raising."""


class EndedError(BaseException):
    """Whoever watches a piece of work has ended it. No `Exception`: a proof that is ended has not failed."""


_looks: ContextVar[Look | None] = ContextVar("look", default=None)


@contextmanager
def watched(look: Look | None) -> Iterator[None]:
    """Let `look` be called at each block of what is run within, by this thread, in place of who watched so far."""
    before = _looks.set(look)
    try:
        yield
    finally:
        _looks.reset(before)


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """End what is run within at the first block after so many seconds.

    Raises
    ------
    EndedError
        Then.
    """
    end = time.monotonic() + seconds

    def look(_: float | None) -> None:
        if time.monotonic() > end:
            raise EndedError

    with watched(look):
        yield


def passing(share: float | None = None) -> None:
    """Say that a block, or a whole pass, is about to be run; `share` of the run is done."""
    look = _looks.get()
    if look is not None:
        look(share)
