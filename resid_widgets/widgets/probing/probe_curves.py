"""A dashboard of probes: curves by layer, what stands behind a layer, live fits, and the causal test in place."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import ipywidgets
import pandas as pd

from resid_widgets import tasks
from resid_widgets.analysis.probing.causal_result import CausalTest
from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.probing.series import Series
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.worker import worker_of
from resid_widgets.prompts import read
from resid_widgets.widgets.probing.chart import ProbeChart
from resid_widgets.widgets.probing.choice import LayerChoice
from resid_widgets.widgets.probing.content import Behind
from resid_widgets.widgets.probing.drawn import Drawn
from resid_widgets.widgets.probing.exports import ProbeExports
from resid_widgets.widgets.probing.fields import FitFields
from resid_widgets.widgets.probing.first import FirstCurve
from resid_widgets.widgets.probing.live import (
    YOURS,
    Fitted,
    Report,
    Wish,
    check_options,
    check_wish,
    components_of,
    fit,
)
from resid_widgets.widgets.probing.panel import ProbePanel
from resid_widgets.widgets.probing.requests import Requests
from resid_widgets.widgets.shell import cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST_TASK = "agreement"


class ProbeCurves(FirstCurve, ProbeExports, ipywidgets.VBox):
    """Accuracy by layer with its interval, beside baselines; click a layer for what stands behind it.

    ``ProbeCurves(result)``, ``ProbeCurves({"number": a, "sentiment": b})``, or in one line ``ProbeCurves(model)``.

    Parameters
    ----------
    source
        A result of `resid_widgets.probe`, several of them (a list, or by name), or a model to fit on.
    task
        For a model: what is fitted first, one of ``rw.tasks.names()``.
    prompts
        Labelled prompts of your own (as in ``rw.tasks.load(...).prompts``), which can then be fitted as well.
    pairs
        Pairs of prompts (``rw.tasks.load(...).pairs``) that the causal test of given results is run on.
    layer
        The layer that is selected at first.
    folds
        Of what is fitted here, until the field says otherwise.
    **options
        Further options of `resid_widgets.probe` for what is fitted here (``seeds``, ``metric``, ``kind``, ...).

    Attributes
    ----------
    layer, selected
        The selected layer and the name of the curve, or None; both can be set.
    results
        The results that are drawn, by name.
    causal
        The causal test of the selected layer, if it was run.

    Raises
    ------
    InputError
        If `source` is something else, or an option does not fit.
    """

    def __init__(
        self,
        source: Any,
        task: Any = None,
        *,
        prompts: Any = None,
        pairs: Any = None,
        layer: Any = None,
        folds: Any = 5,
        **options: Any,
    ) -> None:
        check_options(options)
        self._own = None if prompts is None else read("prompts", prompts).prompts
        self._options, given_pairs = options, list(getattr(pairs, "pairs", pairs) or ())
        if isinstance(source, ResidualModel) or hasattr(source, "original_model"):
            model = as_model(source)
            wish = Wish(FIRST_TASK if task is None and not self._own else task or YOURS, folds=folds)
            check_wish(model, wish, self._own)
            self._known = Drawn(self._at_once(model, wish), model, given_pairs)
        else:
            if task is not None:
                rule = "results have their tasks already"
                raise InputError.about("task", task, rule, "Give a model to fit on: rw.ProbeCurves(model, task).")
            self._known = Drawn(source, pairs=given_pairs)
            wish = Wish(YOURS if self._own else FIRST_TASK, folds=folds)
        model = self._known.model
        self._links: list[Any] = []
        self._closed = False
        self._chart, self._panel = ProbeChart(self._clicked), ProbePanel(self, model)
        self._choice = LayerChoice(self._chosen)
        choices = [*([YOURS] if self._own else []), *tasks.names()]
        offered = [wish.component] if model is None else components_of(model)
        self._fields = FitFields(wish, choices, offered, self._start, self.cancel)
        if model is None:
            self._fields.layout.display = "none"
        owner, self._lock = (self, RLock()) if model is None else (model.bridge, model.lock)
        self._requests = Requests(worker_of(owner, self._lock), self._fields, self._chart, self._panel)
        super().__init__([self._fields, self._chart, self._choice, self._panel], layout=ipywidgets.Layout(width="100%"))
        self.add_class("rw-dashboard")  # what the panel's button enlarges
        if self.pending:
            self._wait_for_the_first(layer)
        else:
            self._redraw()
            if layer is not None:
                self.select(layer)
        cells.adopt(self)

    # --- what a person uses ---------------------------------------------------------------------------------------

    @property
    def results(self) -> dict[str, Probe]:
        """The results that are drawn, by name."""
        return self._drawn.results

    @property
    def result(self) -> Probe:
        """The result of the selected curve; of the first, while none is selected."""
        self._open()
        return self._at().result

    @property
    def causal(self) -> CausalTest | None:
        """The causal test of the selected layer, if it was run."""
        return self._drawn.causal(self.selected, self.layer)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def fit(
        self,
        task: str | None = None,
        component: str | None = None,
        positions: str | None = None,
        folds: int | None = None,
        prompts: int | None = None,
    ) -> Probe:
        """Fit a task here and now, and draw it; what is left out is as the fields say.

        Raises
        ------
        InputError
            If there is no model, or something does not fit.
        """
        given = {"task": task, "component": component, "positions": positions, "folds": folds, "prompts": prompts}
        wish = replace(self._fields.wish(), **{name: value for name, value in given.items() if value is not None})
        found = self._fitted(wish, lambda *_: None, Event())
        self._take(found)
        return found.result

    def erase(self, label: Any = None) -> CausalTest:
        """Run the causal test of the selected layer's direction, and show it.

        Raises
        ------
        InputError
            If no layer is selected, or there is no model or no pair of prompts to run on.
        """
        self._open()
        return self._erased(self._at(), self.layer, label)

    def cancel(self) -> None:
        """Stop the fit that runs; what is known of it is drawn."""
        self._requests.stop.set()

    def wait(self, timeout: Any = None) -> bool:
        """Return when all that was asked for in the browser is done; False if `timeout` seconds were not enough."""
        return self._requests.wait(timeout) and self._panel.wait(timeout)

    def plot(self) -> Figure:
        """Draw what is shown as a matplotlib figure."""
        self._open()
        return self._figure(self._drawn.series)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a curve and layer."""
        self._open()
        tables = [series.table() for series in self._drawn.series]
        return pd.concat(tables, ignore_index=True)

    def about(self) -> Sequence[str]:
        """Return what the numbers of the table are and where they come from, a line each."""
        self._open()
        return [f"{name}: {line}" for name, result in self.results.items() for line in result.about()]

    def to_html(self, path: str | Path) -> Path:
        """Write one page with the curves as SVG, a title under each point, and the table, and return the path."""
        self._open()
        return self._write_page(path, self._drawn.series)

    def _file(self, form: str) -> tuple[str, str, bytes]:
        return self._exported(form, self._drawn.series)

    def _shows(self) -> Any:
        return list(self._drawn.results.items())

    def close(self) -> None:
        """Remove the dashboard from the page and free its results. Waits for nothing."""
        if not self._closed:
            self._closed = True
            self._requests.close()
            for link in list(self._links):
                link.drop(self)
            self._known.free()
            self._pictured = None
            for widget in (self._fields, self._chart, self._choice, self._panel):
                widget.close()
        super().close()

    def __repr__(self) -> str:
        if self._closed or self.pending:
            return f"ProbeCurves, {'closed' if self._closed else 'its first curve is on its way'}"
        return f"ProbeCurves({' · '.join(self.results)})"

    # --- what is on the page ------------------------------------------------------------------------------------------

    def _redraw(self) -> None:
        """Show the results as they are now; the selection stays where it can."""
        self._choice.layout.display = ""
        self._chart.draw(self._drawn.series)
        if self.selected not in self._drawn.names:
            self.selected = self.layer = None
        elif self.layer not in self._at().layers:
            self.layer = None
        self._show_selection()

    def _show_selection(self, label: Any = None) -> None:
        series = self._at()
        self._choice.show(self._drawn.series, series, self.layer)
        self._chart.mark(series.name, self.layer)
        self._panel.show(self._behind(label))

    def _behind(self, label: Any = None) -> Behind:
        """Return what stands behind the selection; `label` is a class, or its name."""
        if self.pending:
            return Behind((), None)
        every, series, layer = self._drawn.series, self._at(), self.layer
        if layer is None:
            return Behind(every, series)
        label = {str(name): name for name in series.result.classes}.get(str(label))
        causal = self._drawn.causal(series.name, layer)
        return Behind(every, series, layer, label, self._drawn.why_not(series), causal)

    # --- what the page asks for -----------------------------------------------------------------------------------

    def _start(self) -> None:
        """Fit what the fields say, on the worker."""
        wish = self._fields.wish()
        self._requests.fit(lambda report, stop: self._fitted(wish, report, stop), self._take)

    def _fitted(self, wish: Wish, report: Report, stop: Event) -> Fitted:
        self._not_closed()
        model = self._known.model
        if model is None:
            raise InputError("There is no model to fit on: these activations know none. Use rw.ProbeCurves(model).")
        check_wish(model, wish, self._own)
        return fit(model, wish, self._own, self._options, report, stop)

    def _take(self, found: Fitted) -> None:
        self._known.take(found, self._fields.beside.value)
        self._redraw()

    def _erased(self, series: Series, layer: Any, label: Any) -> CausalTest:
        if layer is None:
            raise InputError.about("layer", None, "no layer is selected", "Select one first: w.select(2).")
        if label is None and len(series.result.classes) > 2:
            label = series.result.classes[-1]
        test = self._drawn.erase(series, layer, label)
        if not self._closed and test is self.causal:
            self._show_selection(label)
        return test
