"""Heads as pictures with tokens at their axes, and why a head looks somewhere as bars that add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import resid_widgets as rw

METRIC = rw.logit_diff(" Mary", " John")


@pytest.fixture(scope="module")
def run(tiny: Any) -> Any:
    return rw.run(tiny, "When Mary and John went to the store, John gave a drink to")


def test_one_head_has_its_tokens_and_nothing_above_the_diagonal(run: Any) -> None:
    result = rw.attention(run, 2, 0)
    axes, bar = result.plot().axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(result.tokens_visible)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(result.tokens_visible)
    shown = axes.images[0].get_array()
    assert (shown.mask == np.triu(np.ones(shown.shape, dtype=bool), 1)).all()
    np.testing.assert_allclose(np.tril(shown.filled(0)), result.values, atol=1e-6)
    assert len(axes.patches) == 1  # the first token, which does not own the colours
    assert "attention" in bar.get_ylabel()


def test_the_heads_of_a_layer_stand_side_by_side(run: Any) -> None:
    result = rw.attention(run, 2, kind="knockout", metric=METRIC, progress=False)
    figure = result.plot()
    assert len(figure.axes) == 5
    assert {"2.0", "2.1", "2.2", "2.3"} <= {text.get_text() for text in figure.texts}
    np.testing.assert_allclose(
        figure.axes[1].images[0].get_array().compressed().min(), float(result.values.sel(head=1).min()), rtol=1e-5
    )
    assert not list(figure.axes[1].patches)  # effects at a sink are effects like others


def test_what_is_no_more_than_rounding_is_no_effect(run: Any) -> None:
    edited = rw.intervene(run, rw.zero(rw.Site("z", 3, head=0)))
    result = rw.attention(edited, 0, kind="change")  # below the change
    assert "No effect: all is no more than rounding." in " ".join(
        text.get_text().replace("\n", " ") for text in result.plot().texts
    )
    assert result.scale.high >= result.rounding > 0


def test_bars_of_a_score_add_up(run: Any) -> None:
    result = rw.attention_scores(run, 2, 0, -1, 10, by="head")
    (axes,) = result.plot().axes
    lengths = [bar.get_width() for bar in axes.patches]
    assert sum(lengths[:-1]) == pytest.approx(lengths[-1]) == pytest.approx(result.total)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[-1] == "score"
    assert names[-2].endswith(" others")
    assert names[0].startswith("q ")


def test_of_many_tokens_some_positions_are_named(tiny: Any) -> None:
    run = rw.run(tiny, "When Mary and John went to the store, John gave a drink to " * 4)
    axes = rw.attention(run, 0, 0).plot().axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [str(n) for n in range(0, run.n_pos, 10)]
