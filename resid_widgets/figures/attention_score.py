"""Why a head looks somewhere, as bars: the pairs that give most to the score, then all others, then the score."""

from __future__ import annotations

from matplotlib.figure import Figure

from resid_widgets.analysis.attention.scores_result import AttentionScore
from resid_widgets.figures.bars import dress_bars
from resid_widgets.figures.frame import INK, LEAST_WIDTH, RIGHT, SMALL, framed
from resid_widgets.figures.text import width

ROW, AXIS_ROOM = 0.28, 0.5  # inches
SHOWN = 12
MORE, LESS, WHOLE = "#b2182b", "#2166ac", "#3b4754"


def draw_score(result: AttentionScore) -> Figure:
    """Draw the largest pairs of components, what all others give together, and the sum."""
    table = result.top(SHOWN)
    names = [
        f"q {query} × k {key}" if key else query
        for query, key in zip(table["query_component"], table["key_component"], strict=True)
    ]
    values = [*table["score"], result.total]
    names = [*names, "score"]
    room = max(width(name, "sans", SMALL) for name in names) / 72 + 0.2
    high = ROW * len(names)
    total = max(LEAST_WIDTH, room + 4.2)
    origin = result.provenance.describe()
    frame = framed(result.title, result.sentence, result.checks, origin, total, high + AXIS_ROOM)
    axes = frame.axes(room, 0.0, total - room - RIGHT - 0.5, high)
    colours = [MORE if value > 0 else LESS for value in values[:-1]] + [WHOLE]
    axes.barh(range(len(names)), values, height=0.62, color=colours, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    dress_bars(axes, names, f"part of the score of head {result.layer}.{result.head}, attention {result.weight:.2g}")
    return frame.figure
