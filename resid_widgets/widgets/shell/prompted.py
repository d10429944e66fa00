"""A picture of one run, whose prompt can be edited in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from resid_widgets.models.runs.run import Run, run
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.base import ResidWidget
from resid_widgets.widgets.shell.grid import GridWidget
from resid_widgets.widgets.shell.prompts import prompt_from_text, prompt_text, text_of
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Option, same

_tried: ContextVar[tuple[Any, Run] | None] = ContextVar("tried", default=None)  # a widget, and its run to be


class Prompted(ResidWidget):
    """Base of the widgets of one run. A subclass says what else the header offers (`_choices`).

    One that was made from a model and a prompt has the prompt as a field. Another prompt is run first, with the same
    components, and takes the place of the old run together with its picture, or not at all.
    """

    prompt = Option(None, help="What was run: a text, or token ids.")

    _field = False

    def __init__(self, source: Any, *positional: Any, **options: Any) -> None:
        self._field = not isinstance(source, (Run, *self.SHOWS))
        super().__init__(source, *positional, **options)

    # --- what a subclass says -------------------------------------------------------------------------------------

    def _choices(self, result: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what the header offers beside the prompt."""
        return []

    # --- what the base asks ---------------------------------------------------------------------------------------

    @property
    def _run(self) -> Run | None:
        tried = _tried.get()
        return tried[1] if tried is not None and tried[0] is self else self._held

    @_run.setter
    def _run(self, value: Run | None) -> None:
        self._held = value

    @contextmanager
    def _trying(self, run: Run) -> Iterator[None]:
        """Compute from another run within, and hold the old one still."""
        before = _tried.set((self, run))
        try:
            yield
        finally:
            _tried.reset(before)

    def _controls(self, result: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        choices = self._choices(result, options)
        if not self._field:
            return choices
        return [panel.text("prompt", "prompt", prompt_text(options["prompt"]), wide=True), *choices]

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        if name == "prompt":
            return {name: prompt_from_text(self._needed_run().model, name, str(value), self.prompt)}
        return super()._from_control(name, value)

    def _stated(self, options: Mapping[str, Any], result: Any) -> dict[str, Any]:
        current = self._run
        if isinstance(options["prompt"], str) or current is None:
            return dict(options)
        return {**options, "prompt": text_of(current.model, current.token_ids)}

    def _changing(self, old: State, options: Mapping[str, Any]) -> State:
        if "prompt" not in options or same(old.options["prompt"], options["prompt"]):
            return super()._changing(old, options)
        now = self._needed_run()
        other = run(now.model, options["prompt"], list(now.components))
        with self._trying(other):
            return replace(super()._changing(old, options), run=other)

    def _write(self, new: State) -> None:
        if new.run is not None:
            self._held = new.run
        super()._write(new)


class PromptedGrid(Prompted, GridWidget):
    """One that draws layers by columns."""
