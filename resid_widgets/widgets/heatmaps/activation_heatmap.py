"""The stream's vectors, reduced to one number for each layer and token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from resid_widgets.analysis.grid import GridResult, named_component
from resid_widgets.analysis.maps.activation_map import ActivationMap, activation_map, check_options
from resid_widgets.analysis.maps.cell_reading import cell_reading, simple_stats
from resid_widgets.analysis.maps.statistics import STATS, stat_name
from resid_widgets.models.model import ResidualModel
from resid_widgets.sites import RESIDUAL
from resid_widgets.tokens import visible
from resid_widgets.whole import whole_number
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.prompted import PromptedGrid
from resid_widgets.widgets.shell.traits import Option


class ActivationHeatmap(PromptedGrid):
    """Layer-by-token picture of one statistic of the stream; a click tells all of them for one cell.

    ``ActivationHeatmap(run, "mlp_out", "kurtosis")``, or in one line ``ActivationHeatmap(model, "Some text")``.

    Parameters
    ----------
    source
        A `Run`; or a model (or bare TransformerBridge), followed by the prompt to run; or an `ActivationMap`.
    *positional
        After a run, `component` and `stat`; after a model, the prompt first.
    component, stat, dim, direction, top, per_layer
        As in `resid_widgets.activation_map`. Each can be set later: ``w.stat = "norm"``.
    prompt
        What to run, where `source` is a model; it can be set later, also in the widget.
    layer, pos
        The cell that is selected at first.
    layout
        As for any ipywidget.

    Raises
    ------
    InputError
        If an argument is unknown, has a bad value or is of no use to `source`.
    """

    FRONT_END: ClassVar[str] = "activation_heatmap"
    SHOWS: ClassVar[tuple[type, ...]] = (ActivationMap,)
    POSITIONAL: ClassVar[tuple[str, ...]] = ("component", "stat")

    component = Option("resid_post", help="Which vectors are read.")
    stat = Option("norm", help="What is computed of each vector.")
    dim = Option(0, help='Which dimension, for stat="dimension".')
    direction = Option(None, help='``[d_model]``, for stat="projection".')
    top = Option(3, help='How many dimensions, for stat="top_share".')
    per_layer = Option(False, help="Show each layer in standard deviations from its own mean.")

    @property
    def result(self) -> ActivationMap:
        """The map that is drawn."""
        shown = super().result
        assert isinstance(shown, ActivationMap)
        return shown

    def _refuse(self, model: ResidualModel, options: Mapping[str, Any], prompt: Any) -> None:
        super()._refuse(model, options, prompt)
        named_component(options["component"])
        _asked(model, options)

    def _compute(self, options: Mapping[str, Any]) -> ActivationMap:
        run = self._needed_run()
        stat, asked = _asked(run.model, options)
        return activation_map(
            run, options["component"], stat, top=options["top"], per_layer=options["per_layer"], **asked
        )

    def _stated(self, options: Mapping[str, Any], result: GridResult) -> dict[str, Any]:
        assert isinstance(result, ActivationMap)
        return {
            **super()._stated(options, result),
            **result.options,
            "component": result.component,
            "stat": result.stat,
            "per_layer": result.per_layer,
            "direction": options["direction"],
        }

    def _choices(self, result: GridResult, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._run is None:
            return []
        d_model, stat = self._run.model.d_model, options["stat"]
        components = [name for name in RESIDUAL if name in self._run.components]
        stats = [name for name in STATS if name != "projection" or options["direction"] is not None]
        return [
            panel.select("component", "component", options["component"], components),
            panel.select("stat", "statistic", stat, [(name, name.replace("_", " ")) for name in stats]),
            panel.number("dim", "dimension", options["dim"], 0, d_model - 1, visible=stat == "dimension"),
            panel.number("top", "largest", options["top"], 1, d_model, visible=stat == "top_share"),
            panel.check(
                "per_layer",
                "per layer",
                options["per_layer"],
                hint="Each layer in standard deviations from its own mean: compare within rows only.",
            ),
        ]

    def _details(self, result: GridResult, options: Mapping[str, Any], layer: int, pos: int) -> dict[str, Any]:
        assert isinstance(result, ActivationMap)
        rows = [] if self._shown_is_listed(result) else [(result.scale.label, float(result.values.values[layer, pos]))]
        if self._run is None:
            return panel.details(rows or [(result.scale.label, float(result.raw.values[layer, pos]))])
        cell = cell_reading(self._run, options["component"], layer, pos, top=options["top"])
        top = [(visible(token), prob) for token, prob in cell.top]
        return panel.details([*rows, *cell.stats], top, "Logit lens here")

    def _planes(self, result: GridResult, options: Mapping[str, Any]) -> dict[str, Any] | None:
        assert isinstance(result, ActivationMap)
        columns = [] if self._shown_is_listed(result) else [(result.scale.label, result.values.values)]
        if self._run is None:
            return panel.planes(columns or [(result.scale.label, result.raw.values)])
        stats = simple_stats()
        if not panel.fits(result.values.size, len(columns) + len(stats)):
            return None
        for name in stats:
            one = activation_map(self._run, options["component"], name, top=options["top"])
            columns.append((one.scale.label, one.values.values))
        return panel.planes(columns)

    @staticmethod
    def _shown_is_listed(result: ActivationMap) -> bool:
        """Whether the side panel has the shown number anyway, among the statistics that it lists."""
        return result.stat in simple_stats() and not result.per_layer


def _asked(model: ResidualModel, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the statistic and those of its own options that it reads, checked."""
    d_model, stat = model.d_model, stat_name(options["stat"])
    dim = whole_number("dim", options["dim"], 0, d_model - 1, f"The model has d_model={d_model} dimensions.")
    asked = {"dim": dim, "direction": options["direction"]}
    needed = {name: value for name, value in asked.items() if name in STATS[stat].needs}
    check_options(stat, d_model, **{**dict.fromkeys(asked), **needed}, top=options["top"])
    return stat, needed
