"""Which widget shows which result: found by the result's type."""

from __future__ import annotations

from functools import singledispatch

from resid_widgets.analysis.causal.counterfactual import Counterfactual
from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.lens.lens_view import LensView
from resid_widgets.analysis.lens.logit_lens import LogitLens
from resid_widgets.analysis.maps.activation_map import ActivationMap
from resid_widgets.analysis.neurons.map import NeuronMap
from resid_widgets.analysis.neurons.result import NeuronPatterns
from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.sweeps.ablation import Ablation
from resid_widgets.analysis.sweeps.patch_result import PatchSweep
from resid_widgets.widgets.editing.ablation_explorer import AblationExplorer
from resid_widgets.widgets.editing.patching_heatmap import PatchingHeatmap
from resid_widgets.widgets.heatmaps.activation_heatmap import ActivationHeatmap
from resid_widgets.widgets.heatmaps.grid_heatmap import GridHeatmap
from resid_widgets.widgets.heatmaps.logit_lens_heatmap import LogitLensHeatmap
from resid_widgets.widgets.neurons.neuron_explorer import NeuronExplorer
from resid_widgets.widgets.probing.probe_curves import ProbeCurves
from resid_widgets.widgets.shell.base import ResidWidget


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
