"""What stands around every figure: title and sentence above, checks and origin at the foot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resid_widgets.figures.text import drawable, flow, font, width, wrap
from resid_widgets.results import Check

INK, DIM, LINE, EMPTY_CELL = "#1b1f24", "#626b75", "#d9dee4", "#e9ecef"
# A token such as "$x$" is drawn as it is, whatever the user's style.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}
LEVELS = {"green": ("●", "#1a7f37"), "amber": ("▲", "#9a6700"), "red": ("■", "#c4313b")}
SMALL, BODY, TITLE = 8.25, 9.0, 11.0  # points; the least is 11 px
LINE_HEIGHT, TITLE_HEIGHT = 0.17, 0.25  # inches
MARK_ROOM, ITEM_GAP = 12.0, 16.0  # points, at the foot
HINTED = 1.07  # small glyphs on few pixels are wider than measured
LEFT, RIGHT, TOP, BOTTOM = 0.62, 0.2, 0.12, 0.1  # margins in inches
LEAST_WIDTH = 6.4


class Picture(Figure):
    """A figure that shows itself in a notebook without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        return buffer.getvalue()


@dataclass(frozen=True)
class Frame:
    """A figure with all but its body.

    Attributes
    ----------
    figure
        To draw in.
    total, height
        Its size in inches.
    above
        Inches from its upper edge to the body.
    """

    figure: Picture
    total: float
    height: float
    above: float

    def axes(self, x: float, y: float, wide: float, high: float) -> Axes:
        """Return axes at a place in inches; `x` from the left edge, `y` from the top of the body."""
        bottom = self.height - self.above - y - high
        return self.figure.add_axes((x / self.total, bottom / self.height, wide / self.total, high / self.height))

    def place(
        self, x: float, y: float, text: str, size: float, colour: str, kind: str = "sans", side: str = "left"
    ) -> None:
        """Write a line; `x` and `y` in inches from the left and upper edge of the figure."""
        self.figure.text(
            x / self.total,
            1 - y / self.height,
            text,
            fontproperties=font(kind, size, text),
            color=colour,
            va="top",
            ha=side,
            **LITERAL,
        )


def framed(title: str, sentence: str, checks: Sequence[Check], origin: str, total: float, body: float) -> Frame:
    """Return a figure of `total` inches width with room for a body of `body` inches height."""
    room = (total - 2 * TOP) * 72
    titles = wrap(drawable(title, "bold"), "bold", TITLE, room / HINTED)
    says = wrap(drawable(sentence), "sans", BODY, room / HINTED)
    foot = [entry for check in checks for entry in _foot_lines(check, room)]
    widths = [HINTED * width(text, "sans", SMALL) + MARK_ROOM for _, _, text in foot]
    origins = wrap(drawable(origin), "sans", SMALL, room / HINTED)
    rows = flow([*widths, *(HINTED * width(line, "sans", SMALL) for line in origins)], ITEM_GAP, room)
    above = TOP + TITLE_HEIGHT * len(titles) + LINE_HEIGHT * len(says) + 0.12
    height = above + body + LINE_HEIGHT * len(rows) + BOTTOM
    figure = Picture(figsize=(total, height), facecolor="white")
    figure.set_layout_engine("none")
    made = Frame(figure, total, height, above)
    for n, line in enumerate(titles):
        made.place(TOP, TOP + n * TITLE_HEIGHT, line, TITLE, INK, "bold")
    for n, line in enumerate(says):
        made.place(TOP, TOP + TITLE_HEIGHT * len(titles) + n * LINE_HEIGHT, line, BODY, DIM)
    for n, row in enumerate(rows):
        x, y = TOP, height - BOTTOM - (len(rows) - n) * LINE_HEIGHT
        for index in row:
            if index >= len(foot):  # where it came from, at the right
                made.place(total - TOP, y, origins[index - len(foot)], SMALL, DIM, side="right")
                continue
            mark, colour, text = foot[index]
            if mark:
                made.place(x, y, mark, SMALL, colour)
            made.place(x + MARK_ROOM / 72, y, text, SMALL, DIM)
            x += (widths[index] + ITEM_GAP) / 72
    return made


def _foot_lines(check: Check, room: float) -> list[tuple[str, str, str]]:
    """Return a check as mark, colour of the mark and text; a text too wide for one line goes on without mark."""
    mark, colour = LEVELS[check.level]
    lines = wrap(drawable(check.text), "sans", SMALL, (room - MARK_ROOM) / HINTED)
    return [(mark if n == 0 else "", colour, line) for n, line in enumerate(lines)]
