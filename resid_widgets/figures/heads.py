"""Heads as bars: the direct effect of each beside its causal effect; without a metric, how much each writes."""

from __future__ import annotations

from matplotlib.figure import Figure

from resid_widgets.analysis.contributions.heads_result import HeadContributions
from resid_widgets.figures.bars import dress_bars
from resid_widgets.figures.frame import INK, LEAST_WIDTH, RIGHT, SMALL, framed

ROW, NAMES, AXIS_ROOM, LEGEND = 0.36, 0.95, 0.5, 0.25  # inches
MOST = 16
DIRECT, CAUSAL = "#8bb4d9", "#2166ac"


def draw_heads(result: HeadContributions) -> Figure:
    """Draw the heads with the largest effects (without a metric: the longest writes, as means over positions)."""
    table = result.to_dataframe()
    shown, left = table.head(MOST), len(table) - MOST
    high = ROW * len(shown)
    more = f" {left} heads with smaller ones are not drawn." if left > 0 else ""
    total = LEAST_WIDTH + 1.2
    origin = result.provenance.describe()
    legend = LEGEND if result.label else 0.0
    body = high + AXIS_ROOM + legend
    frame = framed(result.title, result.sentence + more, result.checks, origin, total, body)
    axes = frame.axes(NAMES, legend, total - NAMES - RIGHT - 1.0, high)
    names = [f"head {layer}.{head}" for layer, head in zip(shown["layer"], shown["head"], strict=True)]
    if not result.label:
        axes.barh(range(len(shown)), shown["norm"], height=0.6, color=CAUSAL, linewidth=0)
        dress_bars(axes, names, "length of what is written, mean over positions")
        return frame.figure
    rows = range(len(shown))
    axes.barh([row - 0.18 for row in rows], shown["direct"], height=0.3, color=DIRECT, linewidth=0)
    axes.barh([row + 0.18 for row in rows], shown["causal"], height=0.3, color=CAUSAL, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    dress_bars(axes, names, f"effect on {result.label} ({result.heads['direct'].attrs.get('units', 'logits')})")
    for row, word in zip(rows, shown["reading"], strict=True):
        y = frame.above + legend + ROW * (row + 0.5) - 0.06
        frame.place(total - RIGHT - 0.95, y, "" if word == "direct" else word, SMALL, "#626b75")
    gone = {"zero": "when set to zero", "mean": "when replaced by its mean"}[result.how]
    frame.place(NAMES, frame.above, "written directly", SMALL, "#4b82b8")
    frame.place(NAMES + 1.3, frame.above, f"lost {gone}", SMALL, CAUSAL)
    return frame.figure
