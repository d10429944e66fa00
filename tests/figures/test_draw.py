"""The figure: each cell's colour at its place, every text literal and inside, the scale that the result states."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray

from resid_widgets.analysis.grid import GridResult
from resid_widgets.colour import robust_scale
from resid_widgets.figures.draw import draw
from resid_widgets.figures.frame import EMPTY_CELL, LEVELS, SMALL
from resid_widgets.figures.grid import colour_map
from resid_widgets.figures.text import columns, drawable, shorten, width, wrap
from resid_widgets.results import Check, Provenance, Scale
from resid_widgets.tokens import visible

SENTENCE = "How long the stream's vector is at each layer and token. A long vector is not an important one."
TOKENS: Sequence[str] = "<bos>| When| Mary| and| John| went| to| the| store|,| John| gave| a| drink| to".split("|")
ODD = ["<script>alert(1)</script>", "$x^2$", "$\\frac{1}$", "_{a}", "%", "\\", "\n\n", "\t", " \u200b", "\u202eabc"]
ODD += [
    " שלום",
    " مرحبا",
    "👨\u200d👩",
    "<0xE2>",
    "",
    "中文",
    "\u0301",
    '"q"',
    "ไทย",
    "नमस्ते",
    "\U0001f1eb",
    "\U00013000",
]
ODD += ["\x00", "a" * 200]


class Worded(GridResult):
    """A result with a text in each cell."""

    @property
    def cell_text(self) -> NDArray[np.object_]:
        texts = [[f"·t{layer}.{pos}" for pos in range(self.values.shape[1])] for layer in range(len(self.values))]
        return np.array(texts, dtype=object)


def make(
    values: Any = None, tokens: Sequence[str] = TOKENS, kind: type[GridResult] = GridResult, **changes: Any
) -> Any:
    n_pos = len(tokens)
    if values is None:
        values = 20 + 8 * np.arange(12)[:, None] + np.random.default_rng(0).random((12, n_pos))
    values = np.asarray(values, dtype=np.float32)
    fields = {
        "checks": (Check("identity", "green", 2e-7, 1e-4, "stream adds up, gap 2e-7"),),
        "provenance": Provenance("tiny", "0", tuple(range(n_pos)), "BOS added", "float32", "cpu", {}),
        "component": "resid_post",
        "scale": robust_scale(values, (0,), signed=False, label="norm", units="activation units"),
        "title": "Residual stream · norm · resid_post",
        "sentence": SENTENCE,
        "marked": (0,),
        "unknown": (),
        "script": "",
        **changes,
    }
    array = xr.DataArray(
        values, dims=("layer", "pos"), coords={"layer": np.arange(len(values)), "pos": np.arange(n_pos)}
    )
    return kind(values=array, tokens_visible=tuple(visible(token) for token in tokens), **fields)


def rendered(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def shown_texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def colour_at(figure: Figure, pixels: NDArray[np.uint8], layer: float, pos: float) -> NDArray[np.floating]:
    x, y = figure.axes[0].transData.transform((pos, layer))
    return pixels[pixels.shape[0] - 1 - int(y), int(x), :3] / 255


def test_each_cell_has_the_colour_of_its_value() -> None:
    values = np.arange(5 * 9, dtype=np.float32).reshape(5, 9)  # more columns than rows, all different
    result = make(values, [f" w{n}" for n in range(9)], marked=())
    figure = draw(result)
    pixels = rendered(figure)
    expected = colour_map(result.scale)((values - result.scale.low) / (result.scale.high - result.scale.low))
    for layer in range(5):
        for pos in range(9):
            np.testing.assert_allclose(colour_at(figure, pixels, layer, pos), expected[layer, pos, :3], atol=0.012)
    bottom, top = (figure.axes[0].transData.transform((0, layer))[1] for layer in (0, 4))
    assert bottom < top  # layer 0 is at the bottom


def test_cells_beyond_the_limits_have_colours_of_their_own() -> None:
    for kind, low in (("sequential", 0.0), ("diverging", -2000.0)):
        scale = Scale(kind, low, 2000.0, under=True, over=True, label="value", units="u")
        values = [[low - 1, low - 1e-5, low, 0.5 * low + 1000, 2000.0, 2000.001, 2001.0]]
        figure = draw(make(values, list("abcdefg"), scale=scale, marked=()))
        pixels = rendered(figure)
        below, nearly, least, _, most, almost, above = (colour_at(figure, pixels, 0.2, pos) for pos in range(7))
        assert (nearly == least).all()  # rounding
        assert (almost == most).all()
        assert abs(below - least).max() > 0.05
        assert abs(above - most).max() > 0.05
        assert "≥ 2000" in {text.get_text() for text in shown_texts(figure)}


def test_diverging_colours_are_centred_on_zero() -> None:
    scale = Scale("diverging", -2.0, 2.0, under=False, over=False, label="value", units="u")
    figure = draw(make([[-2.0, 0.0, 2.0]], ["a", "b", "c"], scale=scale, marked=()))
    pixels = rendered(figure)
    blue, white, red = (colour_at(figure, pixels, 0.2, pos) for pos in range(3))
    assert blue[2] > 2 * blue[0]
    assert red[0] > 2 * red[2]
    assert white.min() > 0.95


def test_cells_without_a_number_are_grey_and_crossed() -> None:
    values = np.arange(12.0).reshape(3, 4)
    values[1, 2], values[2, 3] = np.nan, np.inf
    figure = draw(make(values, ["a", "b", "c", "d"]))
    pixels = rendered(figure)
    grey = to_rgb(EMPTY_CELL)
    np.testing.assert_allclose(colour_at(figure, pixels, 1.3, 2), grey, atol=0.01)
    np.testing.assert_allclose(colour_at(figure, pixels, 2.3, 3), grey, atol=0.01)
    crosses = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    centres = {tuple(np.round(line.mean(axis=0), 3)) for line in crosses[0].get_segments()}
    assert centres == {(2.0, 1.0), (3.0, 2.0)}
    assert len(crosses[0].get_segments()) == 4


def test_marked_columns_are_hatched_and_their_labels_dim() -> None:
    figure = draw(make(marked=(0, 9)))
    hatched = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert [patch.get_x() + 0.5 for patch in hatched] == [0, 9]
    labels = figure.axes[0].get_xticklabels()
    assert labels[0].get_color() == labels[9].get_color() != labels[1].get_color()


def test_unknown_words_stand_out_by_more_than_colour() -> None:
    labels = draw(make(unknown=(3,))).axes[0].get_xticklabels()
    assert labels[3].get_text() == "·and ?"
    assert labels[3].get_color() == LEVELS["amber"][1]


def test_the_bar_says_what_the_scale_says() -> None:
    scale = Scale("sequential", 12.0, 118.0, under=False, over=True, label="norm", units="activation units")
    figure = draw(make(scale=scale))
    bar = figure.axes[1]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["12", "65", "≥ 118"]
    assert bar.get_ylabel() == "norm (activation units)"
    assert figure.axes[0].images[0].get_clim() == (12.0, 118.0)
    both = draw(make(scale=Scale("diverging", -2.0, 2.0, under=True, over=True, label="v", units=""))).axes[1]
    assert [text.get_text() for text in both.get_yticklabels()] == ["≤ −2", "0", "≥ 2"]
    assert both.get_ylabel() == "v"


def test_checks_and_origin_are_at_the_foot() -> None:
    checks = (
        Check("a", "green", 0.0, 1.0, "stream adds up"),
        Check("b", "amber", 1.0, 0.0, "position 0 left out"),
        Check("c", "red", 1.0, 0.0, "1 cell with numbers that are not finite"),
    )
    figure = draw(make(checks=checks))
    texts = {text.get_text(): text for text in figure.texts}
    for check in checks:
        mark, colour = LEVELS[check.level]
        assert check.text in texts
        assert texts[mark].get_color() == colour
    assert len({mark for mark, _ in LEVELS.values()}) == 3  # told apart without colour
    assert "tiny · 15 tokens · BOS added · float32" in texts
    assert "Residual stream · norm · resid_post" in texts


def all_inside(figure: Figure) -> None:
    """No text leaves the figure, none at the foot meets a token label, no two texts of the figure meet."""
    rendered(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    frame = figure.bbox.padded(1)
    own = [text.get_window_extent(renderer) for text in figure.texts]
    labels = [text.get_window_extent(renderer) for text in figure.axes[0].get_xticklabels()]
    for text in shown_texts(figure):
        box = text.get_window_extent(renderer)
        assert frame.x0 <= box.x0, text
        assert box.x1 <= frame.x1, text
        assert frame.y0 <= box.y0, text
        assert box.y1 <= frame.y1, text
    grid = figure.axes[0].bbox
    for n, box in enumerate(own):
        assert not any(box.overlaps(label) for label in labels), figure.texts[n]
        assert not box.overlaps(grid), figure.texts[n]
        for other, second in enumerate(own[:n]):
            assert not box.padded(-2).overlaps(second.padded(-2)), (figure.texts[n], figure.texts[other])


@pytest.mark.parametrize("kind", [GridResult, Worded])
@pytest.mark.parametrize("n_layers", [1, 48])
@pytest.mark.parametrize("n_pos", [1, 15, 40, 300])
def test_everything_fits(n_layers: int, n_pos: int, kind: type[GridResult]) -> None:
    tokens = [TOKENS[n % 15] for n in range(n_pos)]
    checks = tuple(Check(f"c{n}", "amber", 1.0, 0.0, f"check {n} says a few words more") for n in range(4))
    values = np.random.default_rng(0).random((n_layers, n_pos))
    figure = draw(make(values, tokens, kind, checks=(*checks, Check("long", "red", 1.0, 0.0, "word " * 60))))
    all_inside(figure)
    assert all(float(text.get_fontsize()) >= SMALL for text in shown_texts(figure))
    assert SMALL * 100 / 72 >= 11  # pixels


def test_text_wider_than_the_figure_is_broken() -> None:
    long = "x" * 400
    all_inside(draw(make(title=long, sentence=long, checks=(Check("long", "red", 1.0, 0.0, long),))))


def test_long_prompts_label_some_positions_and_number_them() -> None:
    figure = draw(make(np.ones((4, 300)), [f" w{n}" for n in range(300)]))
    labels = figure.axes[0].get_xticklabels()
    places = figure.axes[0].get_xticks()
    assert 30 < len(labels) < 100
    assert [text.get_text() for text in labels] == [f"{int(pos)} ·w{int(pos)}" for pos in places]
    gaps = np.diff([figure.axes[0].transData.transform((pos, 0))[0] for pos in places])
    assert gaps.min() >= 16  # pixels at 100 to the inch: a line of text at 60 degrees


class TestCellText:
    def test_written_where_it_fits(self) -> None:
        figure = draw(make(kind=Worded))
        inside = {(t.get_position(), t.get_text()) for t in figure.axes[0].texts}
        assert inside == {((pos, layer), f"·t{layer}.{pos}") for layer in range(12) for pos in range(15)}

    def test_readable_on_every_colour(self) -> None:
        figure = draw(make(np.linspace(0, 1, 15)[None], kind=Worded, marked=()))
        ink = [text.get_color() for text in figure.axes[0].texts]
        assert ink[0] == "white"
        assert ink[-1] == "black"

    def test_never_wider_than_its_cell(self) -> None:
        figure = draw(make(np.ones((3, 24)), [f"{n}" for n in range(24)], Worded))
        rendered(figure)
        cell = np.diff(figure.axes[0].transData.transform([(0, 0), (1, 0)])[:, 0])[0]
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert boxes
        assert max(box.width for box in boxes) <= cell

    def test_left_out_where_it_does_not_fit(self) -> None:
        assert not draw(make(np.ones((3, 100)), ["a"] * 100, Worded)).axes[0].texts


class TestLiteralText:
    """Tokens are drawn as they are: no mathematics, no missing glyphs, no warnings (they are errors in the tests)."""

    @pytest.mark.parametrize("form", ["png", "svg", "pdf"])
    def test_odd_tokens(self, form: str, caplog: pytest.LogCaptureFixture) -> None:
        values = np.random.default_rng(0).random((3, len(ODD)))
        text = "says $x$ and 中 \U0001f1eb"
        result = make(values, ODD, title=text, sentence=text, checks=(Check("odd", "amber", None, None, text),))
        figure = draw(result)
        with caplog.at_level(logging.WARNING):
            figure.savefig(io.BytesIO(), format=form)
        assert not caplog.records
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        for token, label in zip(ODD, labels, strict=True):
            assert label == shorten(drawable(visible(token), "mono"), 16)
        assert labels[1] == "$x^2$"
        assert not any(text.get_parse_math() or text.get_usetex() for text in shown_texts(figure))
        all_inside(figure)

    def test_a_user_style_with_tex_and_grid_changes_nothing(self) -> None:
        style: Any = {
            "text.usetex": True,
            "axes.grid": True,
            "figure.constrained_layout.use": True,
            "text.parse_math": True,
        }
        plain = rendered(draw(make(tokens=["$x$", *TOKENS[1:]])))
        with matplotlib.rc_context(style):
            styled = rendered(draw(make(tokens=["$x$", *TOKENS[1:]])))
        np.testing.assert_array_equal(plain, styled)

    @given(st.text(st.characters(exclude_categories=()), max_size=8))
    @settings(deadline=None)
    def test_any_token_becomes_drawable(self, token: str) -> None:
        shown = drawable(visible(token), "mono")
        assert drawable(shown, "mono") == shown
        assert columns(shorten(shown, 5)) <= 5
        assert width(shown, "mono", SMALL) > 0  # measuring warns of missing glyphs

    def test_wrapping_keeps_every_word(self) -> None:
        lines = wrap(SENTENCE, "sans", SMALL, 120.0)
        assert " ".join(lines) == SENTENCE
        assert len(lines) > 3
        assert all(width(line, "sans", SMALL) <= 120 for line in lines)


def test_pyplot_is_never_imported() -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.figures.test_draw import make, Worded
result = make(kind=Worded)
assert "matplotlib.pyplot" not in sys.modules, "by importing"
result.plot()._repr_png_()
assert "matplotlib.pyplot" not in sys.modules, "by drawing"
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", script, root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_figure_shows_itself_without_pyplot() -> None:
    png = make().plot()._repr_png_()
    assert png.startswith(b"\x89PNG")


def test_files(tmp_path: Path) -> None:
    result = make()
    assert result.to_png(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in result.to_svg(tmp_path / "a.svg").read_text(encoding="utf-8")


def test_what_has_no_figure_says_so() -> None:
    with pytest.raises(TypeError, match="no figure is known for int"):
        draw(3)
