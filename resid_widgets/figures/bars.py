"""What figures of lying bars have in common: named rows from the top down, and one scale below, without a frame."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from resid_widgets.figures.frame import DIM, INK, LINE, LITERAL, SMALL
from resid_widgets.figures.text import drawable, font


def dress_bars(axes: Axes, names: Sequence[str], told: str) -> None:
    """Name the rows 0, 1, ... of drawn bars, and say below what their length is."""
    sans, told = font("sans", SMALL), drawable(told)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), labels=list(names), fontproperties=sans, color=INK, **LITERAL)
    axes.tick_params(axis="both", length=0, pad=5)
    for label in axes.get_xticklabels():
        label.set(fontproperties=sans, color=DIM)
    axes.set_xlabel(told, fontproperties=font("sans", SMALL, told), color=DIM, **LITERAL)
    axes.grid(visible=True, axis="x", color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
