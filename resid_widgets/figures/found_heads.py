"""Heads that were found: where the best of each kind look, and what the model loses without them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from resid_widgets.analysis.attention.found_result import FoundHeads
from resid_widgets.figures.bars import dress_bars
from resid_widgets.figures.frame import DIM, INK, LEAST_WIDTH, RIGHT, SMALL, framed

ROW, NAMES, AXIS_ROOM, LEGEND = 0.62, 1.75, 0.5, 0.25  # inches
TAKEN, RANDOM = "#2166ac", "#8b949e"


def draw_found(result: FoundHeads) -> Figure:
    """Draw for each kind how much the loss rises without its heads: a bar, and a line for each random draw."""
    kinds = list(result.best)
    high = ROW * len(kinds)
    total = LEAST_WIDTH + 1.6
    body = high + AXIS_ROOM + LEGEND
    frame = framed(result.title, result.sentence, result.checks, result.provenance.describe(), total, body)
    axes = frame.axes(NAMES, LEGEND, total - NAMES - RIGHT - 1.6, high)
    for row, kind in enumerate(kinds):
        axes.barh(row, result.together[kind], height=0.42, color=TAKEN, linewidth=0)
        others = np.asarray(result.random[kind])
        axes.plot(others, np.full(len(others), row), "|", color=INK, markersize=15, alpha=0.75)
        scores = result.values.sel(kind=kind)
        shown = result.best[kind][:3]
        named = [f"{layer}.{head} ({float(scores.sel(layer=layer, head=head)):.2f})" for layer, head in shown]
        more = " …" if len(result.best[kind]) > 3 else ""
        for n, text in enumerate([*named[:-1], named[-1] + more]):
            y = frame.above + LEGEND + ROW * row + 0.04 + 0.17 * n
            frame.place(total - RIGHT - 1.35, y, text, SMALL, DIM, "mono")
    axes.axvline(0, color=INK, linewidth=0.8)
    dress_bars(axes, [kind.replace("_", " ") for kind in kinds], "rise of the loss (nats a token)")
    gone = {"mean": "replaced by their means", "zero": "set to zero"}[result.how]
    frame.place(NAMES, frame.above, f"these heads {gone}", SMALL, TAKEN)
    frame.place(NAMES + 2.6, frame.above, "as many others of their layers", SMALL, DIM)
    frame.place(total - RIGHT - 1.35, frame.above, "heads (attention)", SMALL, DIM)
    return frame.figure
