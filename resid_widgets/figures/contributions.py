"""Contributions as bars that add up: from the embedding to the metric, with what is open below what it is part of."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resid_widgets.analysis.contributions.bars import Bar
from resid_widgets.analysis.contributions.opened import OpenedContributions, as_opened
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.figures.bars import dress_bars
from resid_widgets.figures.frame import DIM, INK, LEAST_WIDTH, LINE, LITERAL, RIGHT, SMALL, TOP, framed
from resid_widgets.figures.text import drawable, font, shorten, width

ROW, AXIS_ROOM, INDENT = 0.24, 0.5, 0.16  # inches
NAMES, NUMBERS = 24, 0.75  # columns of the longest name; inches right of the longest bar
PLUS, MINUS, SUM = "#c4313b", "#2f78c4", "#0b6bcb"


def draw_contributions(result: Contributions) -> Figure:
    """Draw a result with no bar opened, but what it is of."""
    return draw_opened(as_opened(result))


def draw_opened(result: OpenedContributions) -> Figure:
    """Draw the bars on show: in a waterfall each begins where the one before it ends, else all at zero."""
    bars = result.bars
    names = [shorten(drawable(bar.part.name, "mono"), NAMES) for bar in bars]
    room = max(INDENT * bar.depth + width(name, "mono", SMALL) / 72 for bar, name in zip(bars, names, strict=True))
    left, total, high = TOP + room + 0.15, LEAST_WIDTH + 1.0, ROW * len(bars)
    origin = result.provenance.describe()
    frame = framed(result.title, _sentence(result), result.checks, origin, total, high + AXIS_ROOM)
    axes = frame.axes(left, 0.0, total - left - NUMBERS - RIGHT, high)
    begins = [bar.start if result.shape == "waterfall" else 0.0 for bar in bars]
    ends = [begin + bar.part.value for begin, bar in zip(begins, bars, strict=True)]
    reach = [*begins, *ends, 0.0]
    if result.shape == "waterfall":
        _join(axes, bars, ends)
    told = _numbers(bars)
    for row, (bar, begin, end) in enumerate(zip(bars, begins, ends, strict=True)):
        is_total = row == len(bars) - 1
        colour = SUM if is_total else MINUS if bar.part.value < 0 else PLUS
        alpha = max(0.5, 1 - 0.14 * bar.depth)
        axes.barh(row, end - begin, left=begin, height=0.62, color=colour, alpha=alpha, linewidth=0)
        right, interval = max(begin, end), bar.part.amount.interval
        if interval is not None:
            low, upper = (begin + bound for bound in interval)
            axes.errorbar(
                [(low + upper) / 2], [row], xerr=[[(upper - low) / 2]] * 2, ecolor=INK, elinewidth=1.0, capsize=2.5
            )
            reach += [low, upper]
            right = max(right, upper)
        axes.annotate(
            told[row],
            (right, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=INK if is_total else DIM,
            fontproperties=font("bold" if is_total else "sans", SMALL, told[row]),
            annotation_clip=False,
            **LITERAL,
        )
        y = frame.above + ROW * (row + 0.5) - 0.06
        colour, kind = INK, "mono"
        frame.place(TOP + INDENT * bar.depth, y, names[row], SMALL, colour, kind)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=0.9)
    spare = 0.01 * ((max(reach) - min(reach)) or 1.0)
    axes.set_xlim(min(reach) - spare, max(reach) + spare)
    dress_bars(axes, [""] * len(bars), result.first.units or "product with the direction")
    return frame.figure


def _join(axes: Axes, bars: Sequence[Bar], ends: Sequence[float]) -> None:
    """Draw from the end of each bar to the beginning of the next one beside it."""
    for row, bar in enumerate(bars):
        later = [n for n in range(row + 1, len(bars)) if bars[n].depth <= bar.depth]
        if later and bars[later[0]].depth == bar.depth:
            colour = DIM if later[0] == row + 1 else LINE
            axes.plot([ends[row]] * 2, [row, later[0]], color=colour, linewidth=0.8, zorder=0.8)


def _numbers(bars: Sequence[Bar]) -> list[str]:
    """Return the numbers beside the bars, to about a thousandth of the largest."""
    most = max(abs(bar.part.value) for bar in bars)
    least = 2 if most < 100 else 1
    digits = max(least, next((n for n in range(1, 9) if most >= 10.0 ** (2 - n)), 9))
    told = [f"{bar.part.value:+.{digits}f}" for bar in bars]
    told = [text[1:] if float(text) == 0 else text.replace("-", "−") for text in told]
    return [*told[:-1], told[-1].removeprefix("+")]


def _sentence(result: OpenedContributions) -> str:
    count = len(result.first.totals)
    return (
        f"{result.sentence} Whiskers: 95 % interval of the mean over {count} prompts." if count > 1 else result.sentence
    )
