"""Heads as bars: both effects of each, in the order of the table, with a word where they differ."""

from __future__ import annotations

from typing import Any

import pytest

import resid_widgets as rw


@pytest.fixture(scope="module")
def run(tiny: Any) -> Any:
    return rw.run(tiny, "When Mary and John went to the store, John gave a drink to")


def said(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_both_effects_of_each_head(run: Any) -> None:
    result = rw.head_contributions(run, rw.logit_diff(" Mary", " John"), "mean", progress=False)
    figure, table = result.plot(), result.to_dataframe()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"head {layer}.{head}" for layer, head in zip(table["layer"], table["head"], strict=True)
    ]
    lengths = [bar.get_width() for bar in axes.patches]
    assert lengths[: len(table)] == pytest.approx(list(table["direct"]))
    assert lengths[len(table) :] == pytest.approx(list(table["causal"]))
    assert {"written directly", "lost when replaced by its mean"} <= set(said(figure))
    assert said(figure).count("self-repair") == (table["reading"] == "self-repair").sum() > 0


def test_without_a_metric_the_lengths_of_what_is_written(run: Any) -> None:
    result = rw.head_contributions(run)
    (axes,) = result.plot().axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(list(result.to_dataframe()["norm"]))
    assert not [text for text in said(result.plot()) if text == "self-repair"]
