"""The first curve of a dashboard that fits: at once if that takes no time, else while it is on the page already."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.watch import EndedError, ended_after, passing
from resid_widgets.widgets.probing.chart import ProbeChart
from resid_widgets.widgets.probing.choice import LayerChoice
from resid_widgets.widgets.probing.drawn import Drawn
from resid_widgets.widgets.probing.fields import FitFields
from resid_widgets.widgets.probing.live import Fitted, Report, Wish, fit
from resid_widgets.widgets.probing.requests import Requests
from resid_widgets.widgets.probing.selection import LayerSelection
from resid_widgets.widgets.shell import awaited, cells


class FirstCurve(LayerSelection):
    """A dashboard whose first curve may be on its way; see `resid_widgets.widgets.shell.awaited`."""

    _known: Drawn  # without curves, while the first is fitted
    _options: dict[str, Any]
    _own: Any
    _chart: ProbeChart
    _choice: LayerChoice
    _fields: FitFields
    _requests: Requests
    _fitted: Callable[[Wish, Report, Event], Fitted]
    _take: Callable[[Fitted], None]

    @property
    def pending(self) -> bool:
        """Whether the first curve is fitted still. Reading anything else waits for it."""
        return not self._closed and not self._known.series

    @property
    def _drawn(self) -> Drawn:
        self._before_read()
        return self._known

    def _at_once(self, model: ResidualModel, wish: Wish) -> Fitted | None:
        """Fit, or return None where somebody watches and would have to wait."""
        if not cells.attended():
            return fit(model, wish, self._own, self._options, lambda *_: None, Event())
        try:
            with ended_after(awaited.AT_ONCE):
                return fit(model, wish, self._own, self._options, lambda *_: passing(), Event())
        except EndedError:
            return None

    def _wait_for_the_first(self, layer: Any) -> None:
        """Fit on the worker, and show empty axes meanwhile."""
        model = self._known.model
        assert model is not None, "only a model is fitted"
        self._choice.layout.display = "none"
        self._chart.expect(range(model.n_layers))

        def take(found: Fitted) -> None:
            self._take(found)
            if layer is not None:
                self.select(layer)
            cells.late_picture()

        wish = self._fields.wish()
        self._requests.fit(lambda report, stop: self._fitted(wish, report, stop), take)

    def _before_read(self) -> None:
        """Wait for the first curve, or fit it here where the worker could not go on."""
        if self.pending:
            self._requests.wait(None)
        if self.pending:
            raise self._requests.failure or InputError("The first fit was cancelled: click Fit, or call w.fit().")

    def _open(self) -> None:
        self._not_closed()
        self._before_read()

    def _not_closed(self) -> None:
        """Refuse to do anything with a closed dashboard."""
        if self._closed:
            raise InputError(
                "This ProbeCurves is closed: close() was called, or its cell ran again and no variable held it. "
                "Make a new one, and keep it in a variable."
            )
