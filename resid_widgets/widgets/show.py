"""Which widget shows which result: found by the result's type."""

from __future__ import annotations

from functools import singledispatch

from resid_widgets.analysis.ablation import Ablation
from resid_widgets.analysis.activation_map import ActivationMap
from resid_widgets.analysis.counterfactual import Counterfactual
from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.lens_view import LensView
from resid_widgets.analysis.logit_lens import LogitLens
from resid_widgets.analysis.neuron_map import NeuronMap
from resid_widgets.analysis.neuron_result import NeuronPatterns
from resid_widgets.analysis.patch_result import PatchSweep
from resid_widgets.analysis.probe_result import Probe
from resid_widgets.widgets.ablation_explorer import AblationExplorer
from resid_widgets.widgets.activation_heatmap import ActivationHeatmap
from resid_widgets.widgets.base import ResidWidget
from resid_widgets.widgets.grid_heatmap import GridHeatmap
from resid_widgets.widgets.logit_lens_heatmap import LogitLensHeatmap
from resid_widgets.widgets.neuron_explorer import NeuronExplorer
from resid_widgets.widgets.patching_heatmap import PatchingHeatmap
from resid_widgets.widgets.probe_curves import ProbeCurves


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


@show.register
def _(result: Probe) -> ProbeCurves:
    return ProbeCurves(result)
