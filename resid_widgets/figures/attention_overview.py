"""All heads as small pictures, layer 0 at the bottom, with a number under each."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from resid_widgets.analysis.attention.head_scores import SCORES
from resid_widgets.analysis.attention.overview import AttentionOverview
from resid_widgets.figures.frame import DIM, EMPTY_CELL, INK, LEAST_WIDTH, LINE, SMALL, framed
from resid_widgets.figures.grid import draw_bar

PICTURE, LABEL, GAP, LANE, BAR = 0.62, 0.2, 0.14, 0.5, 1.1  # inches
WIDEST = 12.0


def weight_colours() -> Colormap:
    """Return the colours of what is nothing in most places: from the ground to ink."""
    steps = ["#f4f5f6", "#a9cdf0", "#4b93dc", "#0b5cb0", "#062f63"]
    chosen = LinearSegmentedColormap.from_list("resid_widgets_weights", steps)
    return chosen.with_extremes(bad=EMPTY_CELL, over="#021529")


def draw_overview(result: AttentionOverview, score: str | None = None) -> Figure:
    """Draw the thumbnails of all heads, with induction or attention to the token before under each."""
    layers, heads = result.sinks["layer"].values, result.thumbnails.shape[1]
    name = score or ("induction" if np.isfinite(result.score("induction")).any() else "previous_token")
    side = min(PICTURE, (WIDEST - LANE - BAR) / heads - GAP)
    step = side + GAP
    tall = (side + LABEL + GAP / 2) * len(layers) + LABEL
    total = max(LEAST_WIDTH, LANE + heads * step + BAR)
    frame = framed(
        result.title,
        f"{result.sentence} The number under each head is: {SCORES[name].label}.",
        result.checks,
        result.provenance.describe(),
        total,
        tall,
    )
    values = result.score(name).values
    for row in range(len(layers)):
        y = LABEL / 2 + (len(layers) - 1 - row) * (side + LABEL + GAP / 2)
        frame.place(LANE - 0.12, frame.above + y + side / 2 - 0.07, str(layers[row]), SMALL, DIM, side="right")
        for head in range(heads):
            if not np.isfinite(result.sinks.values[row, head]):
                continue
            x = LANE + head * step
            _draw_head(frame.axes(x, y, side, side), result, row, head)
            under = frame.above + y + side + 0.03
            frame.place(x, under, f"{layers[row]}.{head}", SMALL, INK, "mono")
            if side > 0.55:
                frame.place(x + side, under, _short(values[row, head]), SMALL, DIM, side="right")
    high = min(tall - LABEL, 2.4)
    bar = frame.axes(LANE + heads * step + 0.12, LABEL / 2, 0.11, high)
    draw_bar(frame.figure, bar, result.scale, weight_colours())
    return frame.figure


def _draw_head(axes: Axes, result: AttentionOverview, row: int, head: int) -> None:
    picture = result.thumbnails[row, head].astype(float)
    if result.causal:
        picture = np.ma.array(picture, mask=np.triu(np.ones_like(picture, dtype=bool), 1))
    norm = Normalize(result.scale.low, result.scale.high)
    colours = weight_colours().with_extremes(bad="white")
    axes.imshow(picture, cmap=colours, norm=norm, interpolation="nearest", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(LINE)


def _short(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "0" if abs(value) < 1e-4 else "< .01" if abs(value) < 0.005 else f"{value:.2f}"
