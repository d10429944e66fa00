"""The figure of neurons: the colour of each value, contexts as text, columns put together by the largest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text


@pytest.fixture(scope="module")
def patterns(worded) -> Any:
    import resid_widgets as rw

    prompts = np.random.default_rng(0).integers(1, 90, (12, 14)).tolist()
    prompts += [list(range(1, 16))]  # texts that break axes
    return rw.neuron_patterns(worded, prompts, top_k=8)


def test_each_neuron_has_the_colour_of_its_value(patterns) -> None:
    from resid_widgets.figures.grid import colour_map

    image = patterns.plot().axes[0].images[0]
    values = patterns.values.values
    np.testing.assert_array_equal(np.asarray(image.get_array()), values)
    expected = colour_map(patterns.scale)
    assert image.norm.vmin == patterns.scale.low
    assert image.cmap(image.norm(values[2, 5])) == expected(
        (values[2, 5] - patterns.scale.low) / (patterns.scale.high - patterns.scale.low)
    )
    bottom, top = (patterns.plot().axes[0].transData.transform((0, layer))[1] for layer in (0, 3))
    assert bottom < top


def test_a_column_of_several_shows_the_largest() -> None:
    from resid_widgets.figures.neurons import thinned

    values = np.zeros((2, 1300), dtype=np.float32)
    values[0, 7], values[0, 8], values[1, 1298] = 2, -5, np.nan
    grid, step = thinned(values)
    assert (step, grid.shape) == (3, (2, 434))
    assert (grid[0, 2], grid[1, 432]) == (-5, 0)
    same, one = thinned(values[:, :500])
    assert one == 1
    np.testing.assert_array_equal(same, values[:, :500])


def test_it_names_the_largest_and_shows_its_contexts(patterns) -> None:
    figure = patterns.plot()
    best = patterns.top(k=1).iloc[0]
    layer, neuron = int(best["layer"]), int(best["neuron"])
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert any(f"neuron {layer}.{neuron}" in text for text in texts)
    for context in patterns.contexts(layer, neuron, 6):
        assert f"{context.activation:.3g}".replace("-", "−") in texts
    counts, _ = patterns.histogram(layer, neuron)
    bars = [patch for patch in figure.axes[2].patches if isinstance(patch, Rectangle)]
    assert [bar.get_height() for bar in bars] == counts.tolist()


def test_tokens_are_literal_and_inside_the_picture(patterns) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    row = [n for n, tokens in enumerate(patterns.prompts.tokens) if tokens.ids[-1] == 15]
    assert row
    for layer, neuron in ((0, 0), (3, 47)):
        from dataclasses import replace

        values = patterns.values.copy()
        values.loc[{"layer": layer, "neuron": neuron}] = 1e6
        changed = replace(patterns, stats=patterns.stats.assign(max=values.astype(float)), values=values)
        figure = changed.plot()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for text in figure.axes[3].texts:
            assert not text.get_parse_math()
            box = text.get_window_extent(canvas.get_renderer())
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1


def test_a_single_layer_of_dimensions_draws_too(worded) -> None:
    import resid_widgets as rw

    one = rw.neuron_patterns(worded, [[3, 4, 5, 6, 7]], component="resid_post", layers=3, neurons=[4], stat="kurtosis")
    assert any("resid_post dimension 3.4" in text.get_text() for text in one.plot().findobj(Text))
