"""Any layer-by-column result as a picture to hover over, where there is nothing to compute again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from resid_widgets.analysis.causal.counterfactual import Counterfactual
from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.sweeps.sweep_result import SweepResult
from resid_widgets.errors import InputError
from resid_widgets.widgets.editing.cell_explorer import OpensCells
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Option


class GridHeatmap(OpensCells):
    """What ``result.show()`` opens for sweeps, traces and comparisons: hover or click for the numbers of a cell.

    A cell of a sweep or trace opens in an ablation explorer below the picture, where what is done in it can be built
    upon, as long as the model lives.

    Parameters
    ----------
    source
        A result with one number a layer and column; or a `Counterfactual`, whose cases can be chosen: ``w.case = ...``.
    case
        Which case of a `Counterfactual` is shown at first.
    layer, pos
        The cell that is selected at first.
    layout
        As for any ipywidget.

    Raises
    ------
    InputError
        If `source` is no such result, or an argument has a bad value.
    """

    FRONT_END: ClassVar[str] = "grid_heatmap"
    SHOWS: ClassVar[tuple[type, ...]] = (GridResult, Counterfactual)
    POSITIONAL: ClassVar[tuple[str, ...]] = ()

    case = Option(None, help="Which case is shown, where there are several.")

    def __init__(self, source: Any, *positional: Any, case: Any = None, **options: Any) -> None:
        if not isinstance(source, self.SHOWS):
            rule = "a result with one number a layer and column is needed"
            raise InputError.about("source", source, rule, "Give what rw.ablation_sweep or rw.causal_trace returns.")
        several = source.cases if isinstance(source, Counterfactual) else (source,)
        self._pictures = {_name(each): each.drawn() if isinstance(each, SweepResult) else each for each in several}
        self._first_case = case
        super().__init__(source, *positional, **options)

    def close(self) -> None:
        """Remove the widget from the page and free its pictures."""
        super().close()
        self._pictures = {}

    def _picture(self, options: Mapping[str, Any], given: Any = None) -> State:
        return super()._picture({**options, "case": self._first_case} if self._state is None else options)

    def _compute(self, options: Mapping[str, Any]) -> GridResult:
        name = options["case"]
        if name is not None and name not in self._pictures:
            raise InputError.about("case", name, f"must be one of {', '.join(self._pictures)}", "Choose one of these.")
        return next(iter(self._pictures.values())) if name is None else self._pictures[name]

    def _stated(self, options: Mapping[str, Any], result: GridResult) -> dict[str, Any]:
        return {**options, "case": _name(result)}

    def _controls(self, result: GridResult, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        several = len(self._pictures) > 1
        return [panel.select("case", "case", options["case"], list(self._pictures))] if several else []

    def _details(self, result: GridResult, options: Mapping[str, Any], layer: int, pos: int) -> dict[str, Any]:
        missing = "not computed" if isinstance(result, SweepResult) else "not defined"
        row = self._axes(result)["layer"].index(layer)
        rows = [(name, float(values[row, pos])) for name, values in _numbers(result)]
        return panel.details(rows, missing=missing)

    def _planes(self, result: GridResult, options: Mapping[str, Any]) -> dict[str, Any] | None:
        columns = _numbers(result)
        return panel.planes(columns) if panel.fits(result.values.size, len(columns)) else None


def _name(result: GridResult) -> str:
    """What a picture is called in the menu."""
    return getattr(result, "edit", result.title)


def _numbers(result: GridResult) -> list[tuple[str, Any]]:
    """Name and ``[layer, column]`` numbers that are known of a cell: value, metric, interval."""
    found = [(result.scale.label, result.values.values)]
    for field, label in (("raw", ""), ("spread", "spread"), ("low", "95 % from"), ("high", "95 % to")):
        more: Any = getattr(result, field, None)
        if getattr(more, "shape", None) == result.values.shape:
            found.append((label or str(more.attrs.get("long_name", field)), more.values))
    return found
