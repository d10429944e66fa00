"""Results as matplotlib figures, through the object-oriented API only: pyplot is global state and never imported."""

from __future__ import annotations

from functools import singledispatch

from matplotlib.figure import Figure

from resid_widgets.analysis.causal_mediation import CausalMediation
from resid_widgets.analysis.counterfactual import Counterfactual
from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.sweep_result import SweepResult
from resid_widgets.figure_grid import draw_grid
from resid_widgets.figure_panels import draw_cases, draw_effects


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
draw.register(CausalMediation, draw_effects)
draw.register(Counterfactual, draw_cases)


@draw.register
def _draw_sweep(result: SweepResult) -> Figure:
    """Draw a sweep of two dims; of three, the head with the largest effect at each layer and position."""
    return draw_grid(result.drawn())
