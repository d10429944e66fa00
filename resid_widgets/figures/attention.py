"""Where the heads of a layer look: tokens that look from the top down, tokens that are looked at from left to right."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from resid_widgets.analysis.attention.result import Attention
from resid_widgets.figures.attention_overview import weight_colours
from resid_widgets.figures.frame import DIM, INK, LEAST_WIDTH, LINE, LITERAL, SMALL, framed
from resid_widgets.figures.grid import colour_map, draw_bar, onto_limits
from resid_widgets.figures.text import drawable, font, width

SIDE, SMALLER, GAP, BAR, LABEL = 4.6, 1.5, 0.22, 1.0, 0.2  # inches
ACROSS = 4
MOST_TOKENS = 40
"""With more of them, positions stand at the axes."""


def draw_attention(result: Attention) -> Figure:
    """Draw one head with tokens at its axes, or all heads of a layer side by side."""
    values = np.asarray(result.values, dtype=np.float64)
    several = values.ndim == 3 and len(values) > 1
    pictures = values if values.ndim == 3 else values[None]
    quiet = not bool((np.nan_to_num(np.abs(values)) > result.rounding).any())
    sentence = f"{result.sentence}{' No effect: all is no more than rounding.' if quiet else ''}"
    origin = result.provenance.describe()
    colours = colour_map(result.scale) if result.scale.kind == "diverging" else weight_colours()
    if several:
        columns = min(ACROSS, len(pictures))
        rows = math.ceil(len(pictures) / columns)
        total = max(LEAST_WIDTH, 0.3 + columns * (SMALLER + GAP) + BAR)
        frame = framed(result.title, sentence, result.checks, origin, total, rows * (SMALLER + LABEL + GAP))
        for n, picture in enumerate(pictures):
            x, y = 0.3 + n % columns * (SMALLER + GAP), n // columns * (SMALLER + LABEL + GAP)
            _draw(frame.axes(x, y, SMALLER, SMALLER), result, picture, colours)
            frame.place(x, frame.above + y + SMALLER + 0.04, f"{result.layer}.{result.heads[n]}", SMALL, INK, "mono")
        draw_bar(frame.figure, frame.axes(0.3 + columns * (SMALLER + GAP), 0.0, 0.11, 2.2), result.scale, colours)
        return frame.figure
    names = _names(result)
    room = max(width(drawable(name, "mono"), "mono", SMALL) for name in names) / 72 + 0.25
    total = max(LEAST_WIDTH, room + SIDE + BAR + 0.2)
    frame = framed(result.title, sentence, result.checks, origin, total, SIDE + room + 0.1)
    axes = frame.axes(room, 0.0, SIDE, SIDE)
    _draw(axes, result, pictures[0], colours)
    places = [n for n, name in enumerate(names) if name]
    kept = [drawable(names[n], "mono") for n in places]
    axes.set_yticks(places, labels=kept, **LITERAL)
    axes.set_xticks(places, labels=kept, rotation=90, **LITERAL)
    axes.tick_params(length=0, pad=4)
    for label, n in zip([*axes.get_yticklabels(), *axes.get_xticklabels()], [*places, *places], strict=True):
        label.set(fontproperties=font("mono", SMALL, label.get_text()), color=DIM if n in result.marked else INK)
    draw_bar(frame.figure, frame.axes(room + SIDE + 0.15, 0.0, 0.11, SIDE), result.scale, colours)
    return frame.figure


def _names(result: Attention) -> list[str]:
    """Return what stands at the axes: tokens, or of many some positions."""
    tokens = list(result.tokens_visible)
    if len(tokens) <= MOST_TOKENS:
        return tokens
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000, 10**9) if len(tokens) / step <= MOST_TOKENS / 2)
    return [str(n) if n % step == 0 else "" for n in range(len(tokens))]


def _draw(axes: Axes, result: Attention, picture: NDArray[np.float64], colours: Colormap) -> None:
    """Draw one head's cells; what a token cannot see stays empty, and a marked column is hatched."""
    n = len(picture)
    later = np.triu(np.ones_like(picture, dtype=bool), 1)
    seen = bool((np.nan_to_num(picture[later]) != 0).any())  # a model that looks both ways
    hidden = np.zeros_like(later) if seen else later
    shown = np.ma.array(onto_limits(picture, result.scale), mask=hidden | ~np.isfinite(picture))
    norm = Normalize(result.scale.low, result.scale.high)
    axes.imshow(shown, cmap=colours.with_extremes(bad="white"), norm=norm, interpolation="nearest", aspect="auto")
    for row, column in np.argwhere(~np.isfinite(picture) & ~hidden):
        axes.plot([column - 0.3, column + 0.3], [row - 0.3, row + 0.3], color=LINE, linewidth=0.8)
    for column in result.marked if "left out of" in " ".join(check.text for check in result.checks) else ():
        where = (column - 0.5, -0.5 if seen else column - 0.5)
        high = n - 0.5 - where[1]
        axes.add_patch(Rectangle(where, 1, high, fill=False, hatch="///", edgecolor="#9aa3ad", linewidth=0))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    for spine in axes.spines.values():
        spine.set_color(LINE)
