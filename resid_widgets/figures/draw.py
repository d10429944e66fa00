"""Results as matplotlib figures, through the object-oriented API only: pyplot is global state and never imported."""

from __future__ import annotations

from functools import singledispatch

from matplotlib.figure import Figure

from resid_widgets.analysis.attention.found_result import FoundHeads
from resid_widgets.analysis.attention.head_writes import HeadWrites
from resid_widgets.analysis.attention.overview import AttentionOverview
from resid_widgets.analysis.attention.result import Attention
from resid_widgets.analysis.attention.scores_result import AttentionScore
from resid_widgets.analysis.causal.causal_mediation import CausalMediation
from resid_widgets.analysis.causal.counterfactual import Counterfactual
from resid_widgets.analysis.contributions.heads_result import HeadContributions
from resid_widgets.analysis.contributions.opened import OpenedContributions
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.neurons.map import NeuronMap
from resid_widgets.analysis.neurons.result import NeuronPatterns
from resid_widgets.analysis.probing.causal_result import CausalTest
from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.sweeps.sweep_result import SweepResult
from resid_widgets.figures.attention import draw_attention
from resid_widgets.figures.attention_overview import draw_overview
from resid_widgets.figures.attention_score import draw_score
from resid_widgets.figures.contributions import draw_contributions, draw_opened
from resid_widgets.figures.curves import draw_curves
from resid_widgets.figures.found_heads import draw_found
from resid_widgets.figures.grid import draw_grid
from resid_widgets.figures.head_writes import draw_writes
from resid_widgets.figures.heads import draw_heads
from resid_widgets.figures.neurons import draw_neurons
from resid_widgets.figures.panels import draw_cases, draw_effects
from resid_widgets.figures.sizes import draw_sizes


@singledispatch
def draw(result: object) -> Figure:
    """Draw a result as a matplotlib figure.

    Raises
    ------
    TypeError
        If there is no drawing for the type of `result`.
    """
    raise TypeError(f"no figure is known for {type(result).__name__}")


draw.register(GridResult, draw_grid)
draw.register(Contributions, draw_contributions)
draw.register(OpenedContributions, draw_opened)
draw.register(CausalMediation, draw_effects)
draw.register(Counterfactual, draw_cases)
draw.register(NeuronPatterns, draw_neurons)
draw.register(NeuronMap, lambda result: draw_neurons(result.as_patterns()))
draw.register(Probe, draw_curves)
draw.register(CausalTest, draw_sizes)
draw.register(HeadContributions, draw_heads)
draw.register(AttentionOverview, draw_overview)
draw.register(HeadWrites, draw_writes)
draw.register(Attention, draw_attention)
draw.register(AttentionScore, draw_score)
draw.register(FoundHeads, draw_found)


@draw.register
def _draw_sweep(result: SweepResult) -> Figure:
    """Draw a sweep of two dims; of three, the head with the largest effect at each layer and position."""
    return draw_grid(result.drawn())
