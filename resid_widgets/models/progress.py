"""How far something long is: a bar that shows itself where there is something to wait for, or a user's function."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm.auto import tqdm

from resid_widgets.errors import InputError

Report = Callable[[int, int], Any]
"""Told how much is done, and of how much."""

BAR_AFTER = 2.0  # seconds


def reporter(progress: Any, name: str, unit: str) -> Report:
    """Return what is told how far it is: a bar for True, nobody for False and None, else the function itself.

    Raises
    ------
    InputError
        If `progress` is none of these.
    """
    require_progress(progress)
    if progress is True:
        return Bar(name, unit)
    return progress if callable(progress) else lambda done, total: None


def require_progress(progress: Any) -> None:
    """Refuse what is no ``progress=``.

    Raises
    ------
    InputError
        Saying what is one.
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise InputError.about("progress", progress, "True, False or a function is needed", "True shows a bar.")


@contextmanager
def ending_bars() -> Iterator[None]:
    """End the bars that are made within, or by the function that it decorates: none stays, whatever ends the work."""
    made: list[Bar] = []
    outer = _made.set(made)
    try:
        yield
        for bar in made:
            bar.fill()
    finally:
        _made.reset(outer)
        for bar in made:
            bar.close()


_made: ContextVar[list[Bar] | None] = ContextVar("bars", default=None)


class Bar:
    """A bar that is made only where there is something to wait for: in a notebook it is widgets, which stay.

    Whoever makes one is decorated with `ending_bars`.
    """

    def __init__(self, name: str, unit: str) -> None:
        self._name, self._unit = name, unit
        self._bar: Any = None
        self._began = time.perf_counter()
        bars = _made.get()
        if bars is not None:
            bars.append(self)

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        late = time.perf_counter() - self._began > BAR_AFTER
        if self._bar is None and late and done < total:
            self._bar = tqdm(total=total, initial=done, unit=self._unit, unit_scale=True, leave=False, desc=self._name)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def fill(self) -> None:
        """Show that the work is done, whatever was expected of it."""
        if self._bar is not None:
            self._bar.update(self._bar.total - self._bar.n)

    def close(self) -> None:
        """Take it off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
