"""Which widget shows which result: found by the result's type; and what a result at the end of a cell looks like."""

from __future__ import annotations

import base64
import html
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from resid_widgets.analysis.attention.overview import AttentionOverview
from resid_widgets.analysis.causal.counterfactual import Counterfactual
from resid_widgets.analysis.contributions.opened import OpenedContributions
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.lens.lens_view import LensView
from resid_widgets.analysis.lens.logit_lens import LogitLens
from resid_widgets.analysis.maps.activation_map import ActivationMap
from resid_widgets.analysis.neurons.map import NeuronMap
from resid_widgets.analysis.neurons.result import NeuronPatterns
from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.sweeps.ablation import Ablation
from resid_widgets.analysis.sweeps.patch_result import PatchSweep
from resid_widgets.results import Result
from resid_widgets.widgets.attention.attention_explorer import AttentionExplorer
from resid_widgets.widgets.contributions.contribution_chart import ContributionChart
from resid_widgets.widgets.editing.ablation_explorer import AblationExplorer
from resid_widgets.widgets.editing.patching_heatmap import PatchingHeatmap
from resid_widgets.widgets.heatmaps.activation_heatmap import ActivationHeatmap
from resid_widgets.widgets.heatmaps.grid_heatmap import GridHeatmap
from resid_widgets.widgets.heatmaps.logit_lens_heatmap import LogitLensHeatmap
from resid_widgets.widgets.neurons.neuron_explorer import NeuronExplorer
from resid_widgets.widgets.probing.probe_curves import ProbeCurves
from resid_widgets.widgets.shell import cells
from resid_widgets.widgets.shell.base import ResidWidget
from resid_widgets.widgets.shell.exports import FALLBACK_DPI, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE_ROWS = 20


@singledispatch
def show(result: object) -> ResidWidget | ProbeCurves:
    """Return the widget of a result. It has no run behind it, so it offers only what the result knows.

    Raises
    ------
    TypeError
        If there is none for the type of `result`.
    """
    raise TypeError(f"no widget is known for {type(result).__name__}: draw it with .plot(), or read .to_dataframe()")


@show.register(GridResult)
@show.register(Counterfactual)
def _(result: GridResult | Counterfactual) -> ResidWidget:
    return GridHeatmap(result)


@show.register
def _(result: ActivationMap) -> ResidWidget:
    return ActivationHeatmap(result)


@show.register
def _(result: AttentionOverview) -> ResidWidget:
    return AttentionExplorer(result)


@show.register
def _(result: Ablation) -> ResidWidget:
    return AblationExplorer(result)


@show.register
def _(result: PatchSweep) -> ResidWidget:
    return PatchingHeatmap(result)


@show.register(LogitLens)
@show.register(LensView)
def _(result: LogitLens | LensView) -> ResidWidget:
    return LogitLensHeatmap(result)


@show.register
def _(result: NeuronPatterns) -> ResidWidget:
    return NeuronExplorer(result)


@show.register
def _(result: NeuronMap) -> ResidWidget:
    return NeuronExplorer(result.patterns)


@show.register(Contributions)
@show.register(OpenedContributions)
def _(result: Contributions | OpenedContributions) -> ResidWidget:
    return ContributionChart(result)


@show.register
def _(result: Probe) -> ProbeCurves:
    return ProbeCurves(result)


def bundle(result: Result) -> Any:
    """Return the MIME bundle of a result in a notebook; None where no kernel could answer a widget.

    A result that has no widget is its figure with its table.
    """
    if not cells.in_kernel():
        return None
    if _has_widget(result):
        data, metadata = show(result)._repr_mimebundle_()
        return {**data, "text/plain": str(result)}, metadata
    picture = base64.b64encode(draw(result, "png", FALLBACK_DPI)).decode("ascii")
    table = result.to_dataframe().to_html(max_rows=TABLE_ROWS, index=False, border=0, na_rep="")
    image = f'<img alt="{html.escape(type(result).__name__)}" src="data:image/png;base64,{picture}">'
    whole = f"{image}<details><summary>Table</summary>{table}</details>"
    return {"text/html": whole, "text/plain": str(result)}, {}


def drawn(result: Result) -> ResidWidget | ProbeCurves | Figure:
    """Return what shows a result in a host that draws what it is given: its widget, or its figure."""
    return show(result) if _has_widget(result) else result.plot()


def _has_widget(result: Result) -> bool:
    return show.dispatch(type(result)) is not show.dispatch(object)
