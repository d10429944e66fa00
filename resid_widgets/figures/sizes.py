"""A causal test as bars: how far a probe's direction moves the output, beside random directions."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from resid_widgets.analysis.probing.causal_result import INTERVENTIONS, CausalTest
from resid_widgets.figures.bars import dress_bars
from resid_widgets.figures.frame import DIM, INK, LEAST_WIDTH, RIGHT, SMALL, framed

ROW, NAMES, AXIS_ROOM = 0.5, 1.0, 0.75  # inches
PROBE, RANDOM = "#2166ac", "#8b949e"


def draw_sizes(result: CausalTest) -> Figure:
    """Draw for each intervention the mean size of the change: a dot a prompt, a line a random direction."""
    high = ROW * len(INTERVENTIONS)
    sentence = f"{result.sentence} {result.verdict}"
    frame = framed(result.title, sentence, result.checks, result.origin, LEAST_WIDTH, high + AXIS_ROOM)
    axes = frame.axes(NAMES, 0.0, LEAST_WIDTH - NAMES - RIGHT - 0.2, high)
    changes = np.abs(result.values.sel(direction="probe").values)
    random = np.abs(result.random.values).mean(axis=-1)
    for row in range(len(INTERVENTIONS)):
        probe, others = result.size.values[row]
        axes.barh(row - 0.17, probe, height=0.26, color=PROBE, alpha=0.45, linewidth=0)
        axes.barh(row + 0.17, others, height=0.26, color=RANDOM, alpha=0.45, linewidth=0)
        spread = np.linspace(-0.09, 0.09, changes.shape[1])
        axes.plot(changes[row], row - 0.17 + spread, "o", color=PROBE, markersize=2.2, alpha=0.5)
        axes.plot(random[row], np.full(random.shape[1], row + 0.17), "|", color=INK, markersize=8, alpha=0.7)
    axes.set_xlim(left=0)
    told = f"size of the change in {result.metric} ({result.values.attrs['units']})"
    dress_bars(axes, INTERVENTIONS, told)
    y = frame.above + high + 0.47
    frame.place(NAMES, y, "probe's direction, a dot a prompt", SMALL, PROBE)
    frame.place(NAMES + 2.3, y, "random directions, a line each", SMALL, DIM)
    return frame.figure
