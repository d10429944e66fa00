"""The pictures of a probe: every curve where its numbers are, told apart, nothing cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

import resid_widgets as rw
from resid_widgets.figures.curves import STYLES, apart


def made(**options: Any) -> rw.Probe:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    layers = {n: rng.normal(size=(120, 5)) + n * 0.4 * y[:, None] for n in range(4)}
    data = options.pop("data", layers)
    options = {"groups": np.arange(120), "control_units": np.arange(120) % 9, "seeds": (0,), **options}
    return rw.probe(data, options.pop("labels", y), progress=False, **options)


def lines(figure: Figure, panel: int = 0) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for line in figure.axes[panel].get_lines():
        found.setdefault(str(line.get_label()), []).append(line)
    return found


def boxes(figure: Figure) -> list[tuple[str, Any]]:
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.canvas.draw()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown]


def test_each_curve_is_its_numbers() -> None:
    result = made()
    figure = result.plot()
    drawn = lines(figure)
    assert set(drawn) == set(STYLES)
    for name in STYLES:
        (line,) = drawn[name]
        assert np.array_equal(line.get_xdata(), [0, 1, 2, 3])
        assert np.allclose(line.get_ydata(), getattr(result, name).mean("fold"))
    (band,) = [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(float(result.low.min()))
    assert corners[:, 1].max() == pytest.approx(float(result.high.max()))
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for (line,) in drawn.values()}) == 4


@pytest.mark.parametrize(
    "options",
    [{}, {"metric": "accuracy"}, {"kind": ("full", "sparse", "mean_difference")}, {"control_units": None}],
    ids=str,
)
def test_all_text_is_inside_and_no_labels_touch(options: dict[str, Any]) -> None:
    figure = made(**options).plot()
    width, height = figure.get_size_inches() * figure.dpi
    found = boxes(figure)
    for text, box in found:
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text
    for n, (text, box) in enumerate(found):
        for other, second in found[n + 1 :]:
            assert not box.padded(-1).overlaps(second.padded(-1)), (text, other)


def test_several_components_have_a_colour_each() -> None:
    rng = np.random.default_rng(0)
    data = {name: {n: rng.normal(size=(120, 5)) for n in range(3)} for name in ("resid_post", "attn_out", "mlp_out")}
    figure = made(data=data).plot()
    drawn = lines(figure)["accuracy"]
    assert len({line.get_color() for line in drawn}) == 3
    texts = [text for text, _ in boxes(figure)]
    assert {"resid_post", "attn_out", "mlp_out"} <= set(texts)
    assert "Dashes: control task." in " ".join(texts)


def test_one_layer_and_numbers_have_a_picture() -> None:
    rng = np.random.default_rng(0)
    one = made(data={7: rng.normal(size=(120, 5))})
    assert lines(one.plot())["accuracy"][0].get_xdata().tolist() == [7]
    numbers = made(labels=rng.normal(size=120), task="regress").plot()
    low, high = numbers.axes[0].get_ylim()
    assert low < min(line.get_ydata().min() for group in lines(numbers).values() for line in group)
    assert high >= 1


def test_places_are_moved_apart_in_their_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        places = rng.random(5).tolist()
        moved = np.array(apart(places, 0.1, (-0.5, 1.0)))
        assert np.array_equal(np.argsort(moved), np.argsort(places))
        assert (np.diff(np.sort(moved)) >= 0.1 - 1e-12).all() and moved.max() <= 1.0
    assert apart([0.1, 0.9], 0.1, (0.0, 1.0)) == [0.1, 0.9]


def test_a_causal_test_has_a_picture(tiny: rw.ResidualModel) -> None:
    task = rw.tasks.load("agreement", tiny, n=60)
    probed = rw.probe(tiny, task.prompts, layers=2, seeds=(0,), progress=False)
    tested = probed.causal_test(2, prompts=task.pairs[:5], seeds=range(3), progress=False)
    figure = tested.plot()
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    assert np.allclose(bars, tested.size.values.ravel())
    texts = [text for text, _ in boxes(figure)]
    assert {"erase", "add", "subtract"} <= set(texts)
    assert "Encoded at resid_post, layer 2" in " ".join(texts)
    width, _ = figure.get_size_inches() * figure.dpi
    assert all(box.x1 <= width + 1 for _, box in boxes(figure))
