"""What all widgets of a run or a result share: what they are made from, their options, and the ways out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ipywidgets import Layout

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.runs.run import Run, run
from resid_widgets.models.worker import Job
from resid_widgets.results import Result
from resid_widgets.widgets.shell import arguments, cells
from resid_widgets.widgets.shell.exports import Exports
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import same


class ResidWidget(Exports):
    """Base of the widgets. A subclass names its options and says what it computes (`_compute`) and shows (`_parts`).

    Of a picture's shape nothing is known here: see `resid_widgets.widgets.shell.grid` for layers by columns.
    """

    SHOWS: ClassVar[tuple[type, ...]]
    """Results that it can be made from."""

    POSITIONAL: ClassVar[tuple[str, ...]] = ()
    """Options that may follow a run without their names."""

    TAKES: ClassVar[tuple[str, ...]] = ("prompt", "layout")
    """What it is made with beside its options."""

    _held: Run | None = None
    _first: State | None = None

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
        layout: Layout | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        arguments.refuse_unknown(type(self), options)
        prompt, options = arguments.bind(type(self), source, positional, options, prompt)
        given = source if isinstance(source, self.SHOWS) else None
        model = None if given is not None or isinstance(source, Run) else as_model(source)
        if isinstance(source, Run):
            self._run = source
        known = arguments.defaults(type(self))
        behind = self._model_behind() if model is None else model
        options = {**known, **options, **({"prompt": prompt} if "prompt" in known else {})}

        if behind is not None:
            self._refuse(behind, options, prompt)

        def make() -> State:
            with plain_state():
                if model is not None and self._run is None:
                    self._run = run(model, prompt)
                self._first = self._chosen_first(self._picture(options, given))
            return self._first

        self._appear(behind, make, layout)

    def _appear(self, model: ResidualModel | None, make: Callable[[], State], layout: Any) -> None:
        """Be there, with the first picture or before it; `make` may be called again where it was ended."""
        self._connect(model)
        self._owns_layout = not isinstance(layout, Layout)
        super().__init__(make, **({} if layout is None else {"layout": layout}))
        cells.adopt(self)

    # --- what a subclass says -------------------------------------------------------------------------------------

    @property
    def _run(self) -> Run | None:
        """The run to compute from; None for a widget made from a result."""
        return self._held

    @_run.setter
    def _run(self, value: Run | None) -> None:
        self._held = value

    def _model_behind(self) -> ResidualModel | None:
        """Return the model that is behind the picture, whose lock and worker are the widget's."""
        return None if self._run is None else self._run.model

    def _refuse(self, model: ResidualModel, options: Mapping[str, Any], prompt: Any) -> None:
        """Refuse, before anything is run, what can be seen to be bad without a run."""

    def _compute(self, options: Mapping[str, Any]) -> Result:
        """Return the result for `options`. Raises InputError for a bad value."""
        raise InputError(
            f"A {type(self).__name__} is made from a result: {', '.join(each.__name__ for each in self.SHOWS)}."
        )

    def _stated(self, options: Mapping[str, Any], result: Any) -> dict[str, Any]:
        """Return `options` as they read after `result` was made: spellings settled."""
        return dict(options)

    def _controls(self, result: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what the header offers; only what can be had without a run, where there is none."""
        return []

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        """Return the options that a control's value means."""
        return {name: value}

    def _chosen_first(self, first: State) -> State:
        """Return the first state with what is selected then."""
        return first

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
    def run(self) -> Run | None:
        """The run it is computed from; None for a widget made from a result."""
        self._open()
        return self._run

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
        options = arguments.settled(options)
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

    def close(self) -> None:
        """Remove the widget from the page and free its run and pictures. Waits for nothing."""
        was_open = not self.closed
        if was_open and self._owns_layout:
            self.layout.close()
        super().close()
        if was_open:
            self._run = self._first = self._pictured = None
            for name in arguments.defaults(type(self)):
                self._trait_values.pop(name, None)

    def __repr__(self) -> str:
        state, name = self._state, type(self).__name__
        if state is None:
            return f"{name}, {'closed' if self.closed else 'its picture is on its way'}"
        return f"{name}({state.result.provenance.describe()} · {state.frame['title']})"

    # --- how it changes -------------------------------------------------------------------------------------------

    def _picture(self, options: Mapping[str, Any], given: Any = None) -> State:
        result = self._compute(options) if given is None else given
        options = self._stated(options, result)
        old = self._state
        if old is not None and old.result is result:  # nothing to draw again
            frame, buffers = old.frame, old.buffers
        else:
            frame, buffers = self._framed(result)
        return State(options, result, frame, buffers, self._controls(result, options))

    def _changing(self, old: State, options: Mapping[str, Any]) -> State:
        """Return the state with other options, and of the selection what the new picture has, too."""
        if all(same(old.options[name], value) for name, value in options.items()):
            return (
                old if not old.refused else replace(old, refused={}, controls=self._controls(old.result, old.options))
            )
        return self._carrying(self._picture({**old.options, **options}), old.selection)

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
        except UnsupportedModelError:  # it was offered untried, and is no longer
            self._update(lambda old: replace(old, controls=self._controls(old.result, old.options)))
            raise

    def _wanted(self, old: State, name: str, value: Any) -> dict[str, Any]:
        """Return the options that a control's value means, beside what the fields hold already."""
        return self._from_control(name, value)

    def _apply_reset(self, job: Job | None = None) -> None:
        first = self._first
        assert first is not None
        whole = {**dict.fromkeys(self._axes(first.result)), **first.selection}
        self._update(lambda old: self._selecting(self._changing(old, first.options), whole), job)


def _refusing(old: State, name: str, value: Any, why: str) -> State:
    """Return the state with what was typed into a field kept there, and marked."""
    mark = {"value": value, "refused": why.partition("\n")[0]}
    typed = ("text", "number")
    controls = [{**c, **mark} if c["name"] == name and c["kind"] in typed else c for c in old.controls]
    return replace(old, controls=controls, refused={**old.refused, name: value})
