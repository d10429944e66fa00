"""A picture of layers by columns (positions, heads, neurons): one cell can be selected, and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from resid_widgets.analysis.grid import GridResult
from resid_widgets.models.model import ResidualModel
from resid_widgets.widgets.shell.base import ResidWidget
from resid_widgets.widgets.shell.heatmap import heatmap
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Selected, Shown, place, write


class GridWidget(ResidWidget):
    """Base of the widgets that draw a `GridResult`. A subclass says what it tells of one cell (`_details`)."""

    TAKES: ClassVar[tuple[str, ...]] = ("prompt", "layer", "pos", "layout")
    WRITTEN: ClassVar[tuple[str, ...]] = (*ResidWidget.WRITTEN, "edited")

    layer = Selected(help="Selected layer, or None.")
    pos = Selected(help="Selected column, counted from 0, or None: a position, or a head where columns are heads.")
    edited = Shown(None).tag(sync=True)
    planes = Shown(None).tag(sync=True)

    def __init__(self, source: Any, *positional: Any, layer: Any = None, pos: Any = None, **options: Any) -> None:
        self._at_first = {"layer": layer, "pos": pos}
        super().__init__(source, *positional, **options)

    # --- what a subclass says -------------------------------------------------------------------------------------

    def _heatmap(self, result: Any) -> dict[str, Any]:
        """Return the picture as it travels."""
        return heatmap(result)

    def _details(self, result: Any, options: Mapping[str, Any], layer: int, pos: int) -> dict[str, Any]:
        """Return the side panel of one cell."""
        raise NotImplementedError

    def _planes(self, result: Any, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the side panels of all cells, for a page without Python; None where there is too much to tell."""
        raise NotImplementedError

    def _refuse(self, model: ResidualModel, options: Mapping[str, Any], prompt: Any) -> None:
        super()._refuse(model, options, prompt)
        place("layer", self._at_first["layer"], model.n_layers)

    # --- what a person uses ---------------------------------------------------------------------------------------

    @property
    def result(self) -> GridResult:
        """The result that is drawn."""
        return self._open().result

    def select(self, layer: Any = ..., pos: Any = ..., **address: Any) -> None:
        """Select a cell, or a row or column with None; what is left out stays as it is.

        Parameters
        ----------
        layer
            Negative numbers count from the end.
        pos
            The column, whatever columns are: a position, or a head.
        **address
            The column by its own name, as in ``select(layer=2, head=1)``.

        Raises
        ------
        InputError
            If it is out of range. Nothing changes then.
        """
        given = {name: value for name, value in (("layer", layer), ("pos", pos)) if value is not ...}
        super().select(**self._named(self._open().result, given), **address)

    # --- what the base asks ---------------------------------------------------------------------------------------

    def _parts(self, result: Any) -> dict[str, Mapping[str, Any]]:
        return {"heatmap": self._heatmap(result)}

    def _axes(self, result: Any) -> Mapping[str, Sequence[int | str]]:
        return {str(dim): result.values.coords[dim].values.tolist() for dim in result.values.dims[:2]}

    def _named(self, result: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return layer and column as an address: the column under its own name."""
        column, labels = list(self._axes(result).items())[1]
        found = {name: value for name, value in given.items() if name == "layer"}
        if "pos" in given:
            at = place("pos", given["pos"], len(labels))
            found[column] = None if at is None else labels[at]
        return found

    def _cell(self, state: State) -> tuple[int | None, int | None]:
        """Return the selected layer, and the selected column counted from 0."""
        column, labels = list(self._axes(state.result).items())[1]
        chosen = state.selection.get(column)
        return state.selection.get("layer"), None if chosen is None else labels.index(chosen)

    def _side(self, state: State) -> dict[str, Any] | None:
        layer, pos = self._cell(state)
        return None if layer is None or pos is None else self._details(state.result, state.options, layer, pos)

    def _chosen_first(self, first: State) -> State:
        return self._selecting(first, self._named(first.result, self._at_first))

    def _write(self, new: State) -> None:
        super()._write(new)
        for name, value in zip(("layer", "pos"), self._cell(new), strict=True):
            write(self, name, value)

    def _page_only(self, state: State) -> dict[str, Any]:
        return {"planes": self._planes(state.result, state.options)}
