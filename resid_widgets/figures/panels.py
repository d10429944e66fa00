"""Figures that are no single grid: effects with their intervals, and grids one below the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from resid_widgets.analysis.causal.causal_mediation import CausalMediation
from resid_widgets.analysis.causal.counterfactual import Counterfactual
from resid_widgets.colour import robust_scale
from resid_widgets.figures.bars import dress_bars
from resid_widgets.figures.frame import DIM, INK, LEAST_WIDTH, LEFT, RIGHT, SMALL, TOP, framed
from resid_widgets.figures.grid import BAR_GAP, BAR_WIDTH, Layout, draw_axes, draw_bar, draw_cells
from resid_widgets.figures.text import drawable, wrap

ROW, NAMES, AXIS_ROOM = 0.34, 1.6, 0.55  # inches: an effect's row, room for its name, what the axis takes
EFFECT = "#2166ac"
MEANS = {
    "TE": "total",
    "NDE": "direct",
    "NIE": "indirect",
    "TIE": "total indirect",
    "interaction": "interaction",
}
SUBTITLE = 0.24


def draw_effects(result: CausalMediation) -> Figure:
    """Draw each effect as a bar from zero, with a dot a pair and the 95 % interval of the mean."""
    effects = [str(effect) for effect in result.values["effect"].values]
    high = ROW * len(effects)
    origin = result.provenance.describe()
    frame = framed(result.title, result.sentence, result.checks, origin, LEAST_WIDTH, high + AXIS_ROOM)
    axes = frame.axes(NAMES, 0.0, LEAST_WIDTH - NAMES - RIGHT - 0.3, high)
    rows = np.arange(len(effects))
    means, pairs = result.values.values, result.pairs.values
    axes.barh(rows, means, height=0.5, color=EFFECT, alpha=0.35, linewidth=0)
    for row in rows:
        spread = np.linspace(-0.16, 0.16, len(pairs)) if len(pairs) > 1 else [0.0]
        axes.plot(pairs[:, row], row + np.asarray(spread), "o", color=EFFECT, markersize=2.5, alpha=0.5)
        low, top = float(result.low.values[row]), float(result.high.values[row])
        if np.isfinite(low):
            axes.plot([low, top], [row, row], color=INK, linewidth=1.5, solid_capstyle="butt")
        axes.plot([means[row]], [row], "|", color=INK, markersize=11, markeredgewidth=1.5)
    axes.axvline(0, color=DIM, linewidth=0.8)
    names = [f"{effect} ({MEANS[effect]})" if MEANS[effect] != effect else effect for effect in effects]
    units = result.values.attrs.get("units", "")
    dress_bars(axes, names, f"{result.metric} ({units})" if units else result.metric)
    return frame.figure


def draw_cases(result: Counterfactual) -> Figure:
    """Draw the grid of each edit, one below the other, on one scale of colours."""
    first = result.cases[0]
    everything = np.concatenate([case.values.values for case in result.cases])
    scale = robust_scale(everything, first.marked, signed=False, label=first.scale.label, bounds=(0.0, None))
    cases = [replace(case, scale=scale) for case in result.cases]
    layouts = [Layout.of(case) for case in cases]
    total = max(layout.total for layout in layouts)
    heads = []
    for case in cases:
        text = f"{case.edit}: {result.metric} {case.before:.3g} → {case.after:.3g}, KL {case.kl:.3g} nats"
        heads.append(wrap(drawable(text), "sans", SMALL, (total - 2 * TOP) * 72))
    steps = [
        SUBTITLE * len(head) + layout.grid[1] + layout.label_height + 0.14
        for head, layout in zip(heads, layouts, strict=True)
    ]
    frame = framed(
        f"Counterfactuals · {first.component}",
        "How far the stream is from where it was, for each edit of the prompt. A distance says that the runs part "
        "there, not that the output depends on it.",
        result.checks,
        result.provenance.describe(),
        total,
        sum(steps),
    )
    y = 0.0
    for case, layout, head, step in zip(cases, layouts, heads, steps, strict=True):
        for n, line in enumerate(head):
            frame.place(TOP, frame.above + y + n * SUBTITLE, line, SMALL, INK)
        down = y + SUBTITLE * len(head)
        axes = frame.axes(LEFT, down, *layout.grid)
        draw_cells(axes, case, layout)
        draw_axes(axes, case, layout)
        bar = frame.axes(LEFT + layout.grid[0] + BAR_GAP, down, BAR_WIDTH, layout.grid[1])
        draw_bar(frame.figure, bar, scale)
        y += step
    return frame.figure
