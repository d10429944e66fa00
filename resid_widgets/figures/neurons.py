"""Neurons over prompts: a statistic of each, and of the neuron where it is largest the histogram and the contexts."""

from __future__ import annotations

from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from resid_widgets.analysis.neurons.contexts import Context
from resid_widgets.analysis.neurons.result import NeuronPatterns
from resid_widgets.figures.frame import DIM, INK, LEFT, LITERAL, RIGHT, SMALL, Frame, framed
from resid_widgets.figures.grid import BAR_GAP, BAR_WIDTH, MONO_COLUMN, colour_map, draw_bar
from resid_widgets.figures.text import columns, drawable, font, shorten
from resid_widgets.tokens import visible

WIDE, TALL = 6.2, (1.0, 4.0)  # inches: the picture of all neurons
ROW = 0.22  # inches: a layer, a context
MOST_COLUMNS = 620  # neurons side by side that can be told apart
SHOWN = 6  # contexts
HISTOGRAM = (2.1, 1.1)
HEAD, BELOW, TICKS = 0.22, 0.62, 0.5
POSITIVE, NEGATIVE = "#b2182b", "#2166ac"


def draw_neurons(result: NeuronPatterns) -> Figure:
    """Draw the statistic of every neuron, and below it the neuron where it is largest."""
    grid, step = thinned(result.values.values)
    high = float(np.clip(ROW * len(result.layers), *TALL))
    best = result.largest
    contexts = [] if best is None else result.contexts(*best, SHOWN)
    lower = max(HISTOGRAM[1] + TICKS, ROW * len(contexts)) + HEAD
    total = LEFT + WIDE + BAR_GAP + BAR_WIDTH + 1.0 + RIGHT
    frame = framed(
        result.title, result.sentence, result.checks, result.provenance.describe(), total, high + BELOW + lower
    )
    axes = frame.axes(LEFT, 0.0, WIDE, high)
    _draw_all(axes, result, grid, step)
    draw_bar(frame.figure, frame.axes(LEFT + WIDE + BAR_GAP, 0.0, BAR_WIDTH, high), result.scale)
    if best is not None:
        _draw_one(frame, result, *best, contexts, high + BELOW)
    return frame.figure


def thinned(values: Float[NDArray, "layer neuron"]) -> tuple[Float[NDArray, "layer column"], int]:
    """Return columns of which each is the value of largest size among several neurons, and how many those are."""
    n_layers, n = values.shape
    step = max(1, ceil(n / MOST_COLUMNS))
    padded = np.pad(values.astype(np.float64), ((0, 0), (0, -n % step)), constant_values=np.nan)
    blocks = padded.reshape(n_layers, -1, step)
    at = np.where(np.isfinite(blocks), np.abs(blocks), -1).argmax(axis=2)
    return np.take_along_axis(blocks, at[:, :, None], axis=2)[:, :, 0], step


def _draw_all(axes: Axes, result: NeuronPatterns, grid: Float[NDArray, "layer column"], step: int) -> None:
    n_layers, n = result.values.shape
    axes.imshow(
        np.ma.masked_invalid(grid),
        cmap=colour_map(result.scale),
        vmin=result.scale.low,
        vmax=result.scale.high,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, grid.shape[1] * step - 0.5, -0.5, n_layers - 0.5),
    )
    axes.set_xlim(-0.5, n - 0.5)
    places = np.unique(np.linspace(0, n - 1, min(n, 7)).round().astype(int))
    sans = font("sans", SMALL)
    axes.set_xticks(places, labels=[str(result.neurons[i]) for i in places], fontproperties=sans, color=DIM, **LITERAL)
    skip = max(1, ceil(n_layers / 12))
    rows = range(0, n_layers, skip)
    axes.set_yticks(rows, labels=[str(result.layers[i]) for i in rows], fontproperties=sans, color=DIM, **LITERAL)
    axes.set_ylabel("layer", fontproperties=sans, color=DIM, **LITERAL)
    unit = "neuron" if result.component == "mlp_post" else "dimension"
    several = "" if step == 1 else f" (each column the largest of {step})"
    axes.set_xlabel(unit + several, fontproperties=sans, color=DIM, **LITERAL)
    _bare(axes)


def _draw_one(
    frame: Frame, result: NeuronPatterns, layer: int, neuron: int, contexts: list[Context], top: float
) -> None:
    """Draw the histogram of one neuron and, beside it, where it was most active."""
    head = drawable(f"Largest: {result.name(layer, neuron)}. How often, and where it was most active", "sans")
    frame.place(LEFT, frame.above + top, head, SMALL, INK)
    down = top + HEAD
    counts, edges = result.histogram(layer, neuron)
    axes = frame.axes(LEFT, down, *HISTOGRAM)
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=NEGATIVE, alpha=0.6, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.set_xlim(edges[0], edges[-1])
    sans = font("sans", SMALL)
    axes.set_xlabel("activation", fontproperties=sans, color=DIM, **LITERAL)
    axes.set_ylabel("positions", fontproperties=sans, color=DIM, **LITERAL)
    axes.locator_params(axis="x", nbins=4)
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        label.set(fontproperties=sans, color=DIM)
    axes.minorticks_off()
    _bare(axes)
    left = LEFT + HISTOGRAM[0] + 0.25
    room = frame.total - RIGHT - left
    size = max((abs(context.activation) for context in contexts), default=1.0) or 1.0
    canvas = frame.axes(left, down, room, ROW * max(1, len(contexts)))
    canvas.set_xlim(0, room)
    canvas.set_ylim(max(1, len(contexts)), 0)
    canvas.set_axis_off()
    for row, context in enumerate(contexts):
        _draw_context(canvas, context, row, size, room)


def _draw_context(axes: Axes, context: Context, row: int, size: float, room: float) -> None:
    """Draw tokens on the colour of their activation, as many around the middle one as there is room for."""
    texts = [shorten(drawable(visible(token), "mono"), 16) for token in context.tokens]
    widths = [columns(text) * MONO_COLUMN + 0.05 for text in texts]
    number = f"{context.activation:.3g}".replace("-", "−")
    axes.text(
        0.42, row + 0.5, number, fontproperties=font("sans", SMALL), color=DIM, ha="right", va="center", **LITERAL
    )
    x = 0.5
    first = last = context.center
    while True:  # the token before, then the one after, as long as they fit
        longer = [(a, b) for a, b in ((first - 1, last), (first, last + 1)) if a >= 0 and b < len(texts)]
        fitting = [(a, b) for a, b in longer if sum(widths[a : b + 1]) <= room - x]
        if not fitting:
            break
        first, last = fitting[0] if first - context.center >= context.center - last else fitting[-1]
    for place in range(first, last + 1):
        share = float(np.clip(context.activations[place] / size, -1, 1))
        colour = POSITIVE if share > 0 else NEGATIVE
        box = Rectangle((x, row + 0.1), widths[place], 0.8, facecolor=colour, alpha=0.55 * abs(share), linewidth=0)
        axes.add_patch(box)
        axes.text(
            x + 0.025,
            row + 0.5,
            texts[place],
            fontproperties=font("mono", SMALL, texts[place]),
            color=INK,
            va="center",
            fontweight="bold" if place == context.center else "normal",
            **LITERAL,
        )
        x += widths[place]


def _bare(axes: Axes) -> None:
    axes.tick_params(axis="both", which="both", length=0, pad=4)
    axes.grid(visible=False, which="both")
    for spine in axes.spines.values():
        spine.set_visible(False)
