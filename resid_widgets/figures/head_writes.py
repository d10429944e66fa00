"""What a head writes, as bars: the tokens that it speaks for and against."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from resid_widgets.analysis.attention.head_writes import HeadWrites
from resid_widgets.figures.bars import dress_bars
from resid_widgets.figures.frame import DIM, LEAST_WIDTH, RIGHT, framed
from resid_widgets.figures.text import drawable, shorten

ROW, NAMES, AXIS_ROOM = 0.24, 1.5, 0.55  # inches
FOR, AGAINST = "#b2182b", "#2166ac"


def draw_writes(result: HeadWrites) -> Figure:
    """Draw what is added to the logit of each token."""
    values = result.values.values
    names = [shorten(drawable(str(text)), 20) for text in result.values["text"].values]
    high = ROW * max(1, len(values))
    said = f"{result.sentence} Norm {result.norm:.3g}, {100 * result.share:.2g} % of the stream there."
    frame = framed(result.title, said, result.checks, result.provenance.describe(), LEAST_WIDTH, high + AXIS_ROOM)
    axes = frame.axes(NAMES, 0.0, LEAST_WIDTH - NAMES - RIGHT - 0.3, high)
    rows = np.arange(len(values))
    axes.barh(rows, values, height=0.6, color=np.where(values < 0, AGAINST, FOR), alpha=0.75, linewidth=0)
    axes.axvline(0, color=DIM, linewidth=0.8)
    dress_bars(axes, names, "added to the logit, less the mean over all (logits)")
    return frame.figure
