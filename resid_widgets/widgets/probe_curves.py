"""A dashboard of probes: curves by layer, what stands behind a layer, live fits, and the causal test in place."""

from __future__ import annotations

import logging
import time
import traceback
from _thread import RLock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import ipywidgets
import pandas as pd
import traitlets as t

from resid_widgets import tasks
from resid_widgets.analysis.probe_causal_result import CausalTest
from resid_widgets.analysis.probe_result import Probe
from resid_widgets.analysis.probe_series import Series, as_results, series_of
from resid_widgets.errors import InputError, ResidWidgetsError
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.worker import Job, worker_of
from resid_widgets.widgets import cells
from resid_widgets.widgets.probe_chart import ProbeChart
from resid_widgets.widgets.probe_exports import ProbeExports
from resid_widgets.widgets.probe_live import (
    POSITIONS,
    PROMPTS,
    YOURS,
    CancelledError,
    Fitted,
    Wish,
    check_options,
    check_wish,
    components_of,
    fit,
)
from resid_widgets.widgets.probe_panel import ProbePanel, content_of, nothing_selected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

OFTEN = 0.15  # seconds between two looks at a fit
FIRST_TASK = "agreement"


class ProbeCurves(ProbeExports, ipywidgets.VBox):
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

    layer: Any = t.Any(None)
    selected: Any = t.Any(None)
    _closed = True  # until it is made

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
        self._own = None if prompts is None else list(getattr(prompts, "prompts", prompts))
        self._options, self._given_pairs = options, list(getattr(pairs, "pairs", pairs) or ())
        self._pairs: dict[Any, Sequence[Any]] = {}
        self._causal: dict[tuple[str, int], CausalTest] = {}
        self._stop = Event()
        self._name = object()
        is_model = isinstance(source, ResidualModel) or hasattr(source, "original_model")
        if is_model:
            self._model: ResidualModel | None = as_model(source)
            wish = Wish(FIRST_TASK if task is None and not self._own else task or YOURS, folds=folds)
            check_wish(self._model, wish, self._own)
            first = fit(self._model, wish, self._own, options, lambda *_: None, Event())
            self._results: dict[Any, Probe] = {_key(wish): first.result}
            self._pairs[_key(wish)] = first.pairs
        else:
            if task is not None:
                rule = "results have their tasks already"
                raise InputError.about("task", task, rule, "Give a model to fit on: rw.ProbeCurves(model, task).")
            self._results = dict(as_results(source))
            known = next((result.model for result in self._results.values() if result.model is not None), None)
            self._model = None if known is None else as_model(known)
            wish = Wish(YOURS if self._own else FIRST_TASK, folds=folds)
        self._series: tuple[Series, ...] = series_of(self._results)
        self._lock = RLock() if self._model is None else self._model.lock
        self._worker = worker_of(self if self._model is None else self._model.bridge, self._lock)
        self._chart = ProbeChart(self._clicked)
        self._panel = ProbePanel(self._asked)
        self._build(wish)
        self._closed = False
        super().__init__([self._fitting, self._chart_row, self._foot], layout=ipywidgets.Layout(width="100%"))
        self._redraw()
        if layer is not None:
            self.select(layer)
        cells.adopt(self)

    # --- what a person uses ---------------------------------------------------------------------------------------

    @property
    def results(self) -> dict[str, Probe]:
        """The results that are drawn, by name."""
        return {key if isinstance(key, str) else " · ".join(key): result for key, result in self._results.items()}

    @property
    def result(self) -> Probe:
        """The result of the selected curve; of the first, while none is selected."""
        self._open()
        return self._at().result

    @property
    def causal(self) -> CausalTest | None:
        """The causal test of the selected layer, if it was run."""
        return self._causal.get((self.selected, self.layer))

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def select(self, layer: Any, series: Any = None) -> None:
        """Select a layer of a curve, by default of the one that is selected, else of the first.

        Raises
        ------
        InputError
            If there is no such curve or layer.
        """
        self._open()
        chosen = self._at(series)
        if isinstance(layer, bool) or layer not in chosen.layers:
            raise InputError.about("layer", layer, f"the layers are {list(chosen.layers)}", "Choose one of them.")
        with self.hold_trait_notifications():
            self.selected, self.layer = chosen.name, int(layer)

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
        wish = replace(self._wish(), **{name: value for name, value in given.items() if value is not None})
        model = self._needed_model()
        check_wish(model, wish, self._own)
        found = fit(model, wish, self._own, self._options, lambda *_: None, Event())
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
        series, layer = self._at(), self.layer
        if layer is None:
            raise InputError.about("layer", None, "no layer is selected", "Select one first: w.select(2).")
        why = self._cannot_erase(series)
        if why:
            raise InputError(why)
        return self._erased(series, layer, label)

    def cancel(self) -> None:
        """Stop the fit that runs; what is known of it is drawn."""
        self._stop.set()

    def wait(self, timeout: Any = None) -> bool:
        """Return when all that was asked for in the browser is done; False if `timeout` seconds were not enough."""
        return self._worker.wait(lambda key: key[0] is self._name, timeout)

    def close(self) -> None:
        """Remove the dashboard from the page and free its results. Waits for nothing."""
        if not self._closed:
            self._closed = True
            self._stop.set()
            self._worker.cancel(lambda key: key[0] is self._name)
            self._results, self._series, self._causal, self._pairs, self._model = {}, (), {}, {}, None
            for widget in (self._panel, self._chart, *self._fields, *self._boxes):
                widget.close()
        super().close()

    # --- what is on the page --------------------------------------------------------------------------------------

    def _build(self, wish: Wish) -> None:
        can_fit = self._model is not None
        choices = [*([YOURS] if self._own else []), *tasks.names()]
        narrow = {"style": {"description_width": "initial"}, "layout": ipywidgets.Layout(width="auto")}
        self._task = ipywidgets.Dropdown(options=choices, value=wish.task, description="task", **narrow)
        offered = components_of(self._model) if self._model is not None else [wish.component]
        self._component = ipywidgets.Dropdown(options=offered, value="resid_post", description="component", **narrow)
        self._positions = ipywidgets.Dropdown(
            options=[(told, name) for name, told in POSITIONS.items()], value="given", description="tokens", **narrow
        )
        number = {"style": {"description_width": "initial"}}
        self._folds = ipywidgets.BoundedIntText(
            wish.folds, min=2, max=20, description="folds", layout=ipywidgets.Layout(width="100px"), **number
        )
        self._count = ipywidgets.BoundedIntText(
            PROMPTS, min=20, max=5000, step=20, description="prompts", layout=ipywidgets.Layout(width="130px"), **number
        )
        self._beside = ipywidgets.Checkbox(
            False, description="beside the others", indent=False, layout=ipywidgets.Layout(width="auto")
        )
        self._go = ipywidgets.Button(description="Fit", button_style="primary", layout=ipywidgets.Layout(width="64px"))
        self._halt = ipywidgets.Button(description="Cancel", layout=ipywidgets.Layout(width="76px", display="none"))
        self._bar = ipywidgets.FloatProgress(
            0.0, min=0.0, max=1.0, layout=ipywidgets.Layout(width="140px", display="none")
        )
        self._said = ipywidgets.Label("", layout=ipywidgets.Layout(width="auto", min_width="0"))
        self._go.on_click(lambda _: self._start())
        self._halt.on_click(lambda _: self.cancel())
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center", width="100%")
        fields = [self._task, self._component, self._positions, self._folds, self._count, self._beside]
        self._fitting = ipywidgets.HBox([*fields, self._go, self._halt, self._bar, self._said], layout=wrap)
        if not can_fit:
            self._fitting.layout.display = "none"
        self._chooser = ipywidgets.Dropdown(description="layer", **narrow)
        self._which = ipywidgets.Dropdown(description="curve", **narrow)
        self._chooser.observe(self._chosen, names="value")
        self._which.observe(self._chosen, names="value")
        self._choice = ipywidgets.HBox([self._which, self._chooser], layout=wrap)
        self._foot = ipywidgets.VBox([self._choice, self._panel], layout=ipywidgets.Layout(width="100%"))
        self._chart_row = ipywidgets.Box([self._chart], layout=ipywidgets.Layout(width="100%"))
        self._fields = (*fields, self._go, self._halt, self._bar, self._said, self._chooser, self._which)
        self._boxes = (self._fitting, self._choice, self._foot, self._chart_row)
        self._updating = False

    def _redraw(self) -> None:
        """Show the results as they are now; the selection stays where it can."""
        self._chart.draw(self._series)
        names = [series.name for series in self._series]
        if self.selected not in names:
            self.selected = self.layer = None
        elif self.layer not in self._at().layers:
            self.layer = None
        self._show_selection()

    def _show_selection(self) -> None:
        series, layer = self._at(), self.layer
        self._updating = True
        try:
            self._which.options = [each.name for each in self._series]
            self._which.value = series.name
            self._which.layout.display = "" if len(self._series) > 1 else "none"
            self._chooser.options = [("none", None), *((str(n), n) for n in series.layers)]
            self._chooser.value = layer
        finally:
            self._updating = False
        self._chart.mark_layer(layer)
        if layer is None:
            self._panel.show(nothing_selected(self._series))
        else:
            causal = self._causal.get((series.name, layer))
            self._panel.show(content_of(self._series, series, layer, None, self._cannot_erase(series), causal))

    @t.observe("layer", "selected")
    def _reselected(self, _: Any) -> None:
        if not self._closed and self._series:
            self._show_selection()

    @t.validate("layer")
    def _valid_layer(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value is not None and not any(value in series.layers for series in self._series):
            raise InputError.about("layer", value, f"the layers are {list(self._at().layers)}", "Choose one of them.")
        if value is not None and self.selected is None:
            self.set_trait("selected", self._series[0].name)
        return value

    @t.validate("selected")
    def _valid_series(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value is not None and value not in [series.name for series in self._series]:
            names = ", ".join(series.name for series in self._series)
            raise InputError.about("selected", value, f"the curves are {names}", "Choose one of them.")
        return value

    # --- what the page asks for -----------------------------------------------------------------------------------

    def _clicked(self, name: str, layer: int) -> None:
        self.select(layer, name)

    def _chosen(self, _: Any) -> None:
        if self._updating or self._closed:
            return
        if self._chooser.value is None:
            self.layer = None
        else:
            chosen = self._at(self._which.value)
            self.select(self._chooser.value if self._chooser.value in chosen.layers else chosen.layers[0], chosen.name)

    def _asked(self, number: Any, content: Mapping[str, Any]) -> None:
        """Take a message of the panel: only the causal test is asked for there."""
        if content.get("kind") != "set" or content.get("name") != "erase":
            self._panel.failed(number, "This message is not understood. Reload the page.")
            return
        series, layer, label = self._at(), self.layer, content.get("value") or ""

        def work(job: Job) -> None:
            self._panel.say("busy", "Erasing the direction on each prompt ...")
            if layer is None:
                raise InputError("Select a layer first.")
            why = self._cannot_erase(series)
            if why:
                raise InputError(why)
            classes = {str(name): name for name in series.result.classes}
            self._erased(series, layer, classes.get(label) if len(classes) > 2 else None)
            self._panel.say("ready")
            self._panel.done(number)

        self._submit("erase", work, lambda text: self._panel.failed(number, text), lambda: self._panel.done(number))

    def _start(self) -> None:
        """Fit what the fields say, on the worker."""
        stop = self._stop = Event()
        wish, looked = self._wish(), [0.0]

        def report(share: float, what: str, layers: Sequence[int], curve: Any) -> None:
            if self._closed:
                stop.set()
            elif time.monotonic() - looked[0] > OFTEN:
                looked[0] = time.monotonic()
                self._bar.value, self._said.value = share, what
                self._chart.grow(layers, curve)

        def work(job: Job) -> None:
            self._busy(True)
            try:
                model = self._needed_model()
                check_wish(model, wish, self._own)
                found = fit(model, wish, self._own, self._options, report, stop)
                if not self._closed and job.claim():
                    self._take(found)
                    self._said.value = "Cancelled: the layers that were done are drawn." if stop.is_set() else ""
            except CancelledError:
                self._said.value = "Cancelled."
            finally:
                if not self._closed:
                    self._busy(False)

        self._said.value = ""
        self._submit("fit", work, lambda text: None, lambda: None)

    def _submit(
        self, what: str, work: Callable[[Job], None], failed: Callable[[str], None], dropped: Callable[[], None]
    ) -> None:
        def told(error: BaseException) -> None:
            if self._closed:
                return
            self._said.value = ""
            detail = ""
            if isinstance(error, ResidWidgetsError):
                text, _, detail = str(error).partition("\n")
                log.info("refused: %s", text)
            else:
                text = f"{type(error).__name__}: {error}"
                detail = "".join(traceback.format_exception(error))[-4000:]
                log.error("a request of the dashboard failed", exc_info=error)
            self._panel.say("error", text, detail)
            failed(text)

        self._worker.submit((self._name, what), work, failed=told, dropped=dropped)

    # --- how it changes -------------------------------------------------------------------------------------------

    def _wish(self) -> Wish:
        fields: list[Any] = [self._task, self._component, self._positions, self._folds, self._count]
        return Wish(*(field.value for field in fields))

    def _busy(self, busy: bool) -> None:
        shown, hidden = ("", "none") if busy else ("none", "")
        self._bar.layout.display = self._halt.layout.display = shown
        self._go.layout.display = hidden
        self._bar.value = 0.0
        for field in (self._task, self._component, self._positions, self._folds, self._count):
            field.disabled = busy
        if not busy:
            self._chart.grow((), None)
        else:
            self._panel.say("ready")

    def _take(self, found: Fitted) -> None:
        """Draw a fitted result, beside the others or in their place."""
        key = _key(found.wish)
        kept = self._results if self._beside.value else {}
        first = next(iter(kept.values()), None)
        if first is not None and first.metric != found.result.metric:
            kept = {}
        self._results = {**{name: result for name, result in kept.items() if name != key}, key: found.result}
        self._pairs = {name: pairs for name, pairs in self._pairs.items() if name in self._results} | {key: found.pairs}
        self._series, self._causal = series_of(self._results), {}
        self._redraw()

    def _erased(self, series: Series, layer: int, label: Any) -> CausalTest:
        result = series.result
        if label is None and len(result.classes) > 2:
            label = result.classes[-1]
        kind = "readout" if series.kind in ("full", "estimator") else series.kind
        test = result.causal_test(
            layer,
            self._model,
            self._pairs_of(series),
            label=label,
            component=series.component,
            kind=kind,
            progress=False,
        )
        if not self._closed and series in self._series:
            self._causal[series.name, layer] = test
            if (self.selected, self.layer) == (series.name, layer):
                self._panel.show(content_of(self._series, series, layer, label, "", test))
        return test

    def _cannot_erase(self, series: Series) -> str:
        """Say why there is no causal test of a curve; empty where there is one."""
        if self._model is None:
            return "The causal test needs a model: these activations know none."
        if series.component is None:
            return "The causal test needs to know which component was probed: give {'resid_post': {layer: X}}."
        if not self._pairs_of(series):
            return "The causal test needs prompts with answers: rw.ProbeCurves(result, pairs=rw.tasks.load(...).pairs)."
        if series.kind not in ("full", "estimator", "mean_difference", "sparse"):
            return "This kind of probe has no direction."
        return ""

    def _pairs_of(self, series: Series) -> Sequence[Any]:
        return self._pairs.get(series.key) or self._given_pairs

    def _at(self, name: Any = None) -> Series:
        """Return a series by name; by default the selected one, else the first."""
        wanted = name if name is not None else self.selected
        found = next((series for series in self._series if series.name == wanted), None)
        if found is None and name is not None:
            names = ", ".join(series.name for series in self._series)
            raise InputError.about("series", name, f"the curves are {names}", "Choose one of them.")
        return found or self._series[0]

    def _needed_model(self) -> ResidualModel:
        self._open()
        if self._model is None:
            raise InputError("There is no model to fit on: these activations know none. Use rw.ProbeCurves(model).")
        return self._model

    def _open(self) -> None:
        if self._closed:
            raise InputError(
                "This ProbeCurves is closed: close() was called, or its cell ran again and no variable held it. "
                "Make a new one, and keep it in a variable."
            )

    def plot(self) -> Figure:
        """Draw what is shown as a matplotlib figure."""
        self._open()
        return self._figure(self._series)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a curve and layer."""
        self._open()
        tables = [series.table() for series in self._series]
        return pd.concat(tables, ignore_index=True)

    def to_html(self, path: str | Path) -> Path:
        """Write one page with the curves as SVG, a title under each point, and the table, and return the path."""
        self._open()
        return self._write_page(path, self._series)


def _key(wish: Wish) -> tuple[str, str]:
    return wish.name, wish.component
