"""Undo and redo of what is changed, in any widget that has interventions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resid_widgets.models.worker import Job
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.base import ResidWidget
from resid_widgets.widgets.shell.state import State

_STEPS = {"undo": ("past", "future"), "redo": ("future", "past")}


class Undoing(ResidWidget):
    """A widget with an option ``interventions``, whose changes can be taken back."""

    def undo(self) -> None:
        """Return to the interventions before the last change; nothing happens where there are none."""
        self._travel("undo")

    def redo(self) -> None:
        """Take an undo back; nothing happens where there is none."""
        self._travel("redo")

    def _told(self, state: State) -> State:
        """Return the state with what depends on its interventions and history."""
        return state

    def _dated(self, new: State) -> State:
        """Return a new state with its history: that of the old one, and what the old one had."""
        old = self._state
        past, future = ((), ()) if old is None else (old.past, old.future)
        if old is not None and old.options["interventions"] != new.options["interventions"]:
            past, future = (*past, old.options["interventions"]), ()
        return replace(new, past=past, future=future)

    def _travel(self, name: str) -> None:
        self._open()
        self._drop_requests(but="select")
        self._update(lambda old: self._travelled(old, *_STEPS[name]))

    def _travelled(self, old: State, back: str, forth: str) -> State:
        """Return the state one step of its history away."""
        steps: tuple[Any, ...] = getattr(old, back)
        if not steps:
            return old
        new = self._changing(old, {"interventions": steps[-1]})
        here = (*getattr(old, forth), old.options["interventions"])
        return self._told(replace(new, **{back: steps[:-1], forth: here}))

    def _apply_action(self, name: str, job: Job) -> None:
        self._await_model()
        self._update(lambda old: self._travelled(old, *_STEPS[name]), job)


def history_actions(state: State, code: str) -> list[dict[str, Any]]:
    """Return the buttons for what was changed, and one that copies `code`."""
    return [
        panel.action("undo", "Undo", bool(state.past), "Take the last change back (Ctrl+Z)"),
        panel.action("redo", "Redo", bool(state.future), "Do again what was taken back (Ctrl+Shift+Z)"),
        panel.action("code", "Copy as code", True, "A short script that gives this number", copies=code),
    ]
