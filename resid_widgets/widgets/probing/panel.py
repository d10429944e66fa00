"""The panel of a dashboard of probes: what stands behind the selected layer, and the causal test in place."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from resid_widgets.models.model import ResidualModel
from resid_widgets.models.worker import Job
from resid_widgets.widgets.probing.content import Behind, content, words
from resid_widgets.widgets.shell.frame import Words
from resid_widgets.widgets.shell.panel import action, select
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.widget import ShellWidget


@runtime_checkable
class Board(Protocol):
    """What the panel asks of its dashboard."""

    def _behind(self, label: Any = None) -> Behind: ...
    def _erased(self, series: Any, layer: Any, label: Any) -> Any: ...
    def _unselect(self) -> None: ...
    def _file(self, form: str) -> tuple[str, str, bytes]: ...


class ProbePanel(ShellWidget):
    """Shows what stands behind the layer that its dashboard has selected.

    Parameters
    ----------
    board
        The dashboard.
    model
        Whose worker runs the causal test, if there is one.
    """

    FRONT_END: ClassVar[str] = "probe_panel"

    def __init__(self, board: Board, model: ResidualModel | None) -> None:
        self._board = board
        self._connect(model)
        self._lock = RLock()  # a layer can be looked at while the model is in use
        super().__init__(lambda: self._showing(board._behind()))

    def show(self, behind: Behind) -> None:
        """Put something else on show."""
        self._update(lambda _: self._showing(behind))

    def _showing(self, behind: Behind) -> State:
        frame, buffers = self._framed(behind)
        series, layer = behind.series, behind.layer
        selection = {} if series is None or layer is None else {"curve": series.name, "layer": layer}
        return State({}, behind, frame, buffers, _controls(behind), selection, actions=_actions(behind))

    def _words(self, result: Behind) -> Words:
        return words(result)

    def _parts(self, result: Behind) -> dict[str, Mapping[str, Any]]:
        return {"probe": content(result)}

    def _axes(self, result: Behind) -> Mapping[str, Sequence[int | str]]:
        if result.series is None:
            return {}
        return {"curve": [each.name for each in result.every], "layer": result.series.layers}

    def _apply_change(self, name: str, value: Any, job: Job) -> None:
        if job.claim():
            self.show(self._board._behind(value))

    def _apply_action(self, name: str, job: Job) -> None:
        self._say("busy", "Erasing the direction on each prompt ...")
        shown = self._open().result
        self._board._erased(shown.series, shown.layer, shown.label)
        if job.claim():
            self._say("ready")

    def _apply_reset(self, job: Job) -> None:
        if job.claim():
            self._board._unselect()

    def _file(self, form: str) -> tuple[str, str, bytes]:
        return self._board._file(form)


def _controls(behind: Behind) -> list[dict[str, Any]]:
    """Return the choice of a class, where there is a direction for each of several."""
    if behind.series is None or behind.layer is None:
        return []
    classes = [str(name) for name in behind.series.result.classes]
    if len(classes) < 3:
        return []
    return [select("label", "class", classes[-1] if behind.label is None else str(behind.label), classes)]


def _actions(behind: Behind) -> list[dict[str, Any]]:
    if behind.layer is None:
        return []
    hint = behind.why_not or "Is what is encoded also used? Take the direction out, and see how far the output moves"
    return [action("erase", "Erase this direction", not behind.why_not, hint)]
