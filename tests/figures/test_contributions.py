"""The figure of contributions: each bar from where the one before it ends, its number beside it, whiskers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.text import Text

import resid_widgets as rw
from resid_widgets.analysis.contributions.opened import opened_contributions
from resid_widgets.figures.contributions import MINUS, PLUS, SUM

PROMPTS = [
    "When Mary and John went to the store, John gave a drink to",
    "When Anna and John went to the store, John gave a drink to",
    "When Mary and Anna went to the park, Anna gave a book to",
]
METRIC = rw.logit_diff(" Mary", " John")


@pytest.fixture(scope="module")
def ioi(tiny: Any) -> Any:
    return rw.run(tiny, PROMPTS[0])


def drawn(figure: Any) -> list[Rectangle]:
    (axes,) = figure.axes
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("shape", ["waterfall", "bars"])
def test_each_bar_stands_where_the_sum_so_far_is(ioi: Any, shape: str) -> None:
    splits = [rw.direct_logit_attribution(ioi, METRIC), rw.direct_logit_attribution(ioi, METRIC, "source", layers=[2])]
    result = opened_contributions(splits, "layer", ("layer.2", "2.attn_out", "2.head.0"), shape)
    figure = result.plot()
    bars, found = result.bars, drawn(figure)
    assert len(found) == len(bars)
    for row, (bar, patch) in enumerate(zip(bars, found, strict=True)):
        start = bar.start if shape == "waterfall" else 0.0
        assert (patch.get_x(), patch.get_width()) == pytest.approx((start, bar.part.value), abs=1e-9)
        assert patch.get_y() + patch.get_height() / 2 == pytest.approx(row)
    colours = {rectangle.get_facecolor()[:3] for rectangle in found}
    assert colours == {to_rgb(colour) for colour in (PLUS, MINUS, SUM)}
    said = texts(figure)
    for name in ("layer 2", "attention", "head 2.0", "← ·John 10", "·Mary − ·John", "8.25", "+1.56", "−1.81", "logits"):
        assert name in said, name
    assert any("Direct effect only" in text for text in said)


def test_all_texts_are_inside_and_rows_do_not_touch(ioi: Any) -> None:
    figure = rw.direct_logit_attribution(ioi, METRIC, "head").plot()
    FigureCanvasAgg(figure).draw()
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    for box in boxes:
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1
    overlapping = [
        (a, b) for n, a in enumerate(boxes) for b in boxes[n + 1 :] if a.shrunk(0.96, 0.8).overlaps(b.shrunk(0.96, 0.8))
    ]
    assert overlapping == []


def test_over_prompts_there_are_whiskers_of_the_intervals(tiny: Any) -> None:
    result = rw.direct_logit_attribution(tiny, rw.logit_diff(" Mary", " John"), prompts=PROMPTS)
    figure = result.plot()
    (axes,) = figure.axes
    (low, high) = (float(end.sel(component="1.attn_out")) for end in (result.low, result.high))
    start = float(result.values.sel(component=["embed", "0.attn_out", "0.mlp_out"]).sum())
    ends = [segments for each in axes.collections for segments in each.get_segments()]
    assert any(np.allclose(np.sort(segment[:, 0]), (start + low, start + high), atol=1e-5) for segment in ends)
    assert any("95 % interval of the mean over 3 prompts" in text for text in texts(figure))


def test_odd_tokens_are_drawn_as_text(worded: Any) -> None:
    run = rw.run(worded, list(range(1, 16)))
    split = rw.direct_logit_attribution(run, rw.logit_diff(9, 10), "source")
    opened = ("layer.2", "2.attn_out", *(f"2.head.{n}" for n in range(4)))
    opened_contributions([split], "layer", opened).plot().savefig("/dev/null", format="png")
    assert not any("\u202e" in text for text in texts(opened_contributions([split], "layer", opened).plot()))
