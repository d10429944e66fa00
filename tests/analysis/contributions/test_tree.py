"""Contributions as a tree of bars: at every level parts add up to what they are part of; small ones are summed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.analysis.contributions.bars import AT_HAND, bars_of
from resid_widgets.analysis.contributions.branches import VIEWS, tree_of
from resid_widgets.analysis.contributions.opened import as_opened, opened_contributions
from resid_widgets.analysis.contributions.promoted import attention_weight, promoted
from resid_widgets.analysis.contributions.tree import LEAST, MOST, SMALL, Amount, Part, folded, total_of

PROMPTS = [
    "When Mary and John went to the store, John gave a drink to",
    "When Anna and John went to the store, John gave a drink to",
    "When Mary and Anna went to the park, Anna gave a book to",
]
METRIC = rw.logit_diff(" Mary", " John")


@pytest.fixture(scope="module")
def ioi(tiny: Any) -> Any:
    return rw.run(tiny, PROMPTS[0])


@pytest.fixture(scope="module")
def splits(ioi: Any) -> dict[str, Any]:
    return {
        by: rw.direct_logit_attribution(ioi, METRIC, by) for by in ("component", "layer", "head", "neuron", "source")
    }


def holds(part: Any, close: float = 1e-5) -> None:
    """Every part is the sum of what it consists of, down to the last."""
    if part.parts:
        assert sum(inner.value for inner in part.parts) == pytest.approx(part.value, abs=close), part.key
    for inner in part.parts:
        holds(inner, close)


@pytest.mark.parametrize("by", VIEWS)
@pytest.mark.parametrize("of", ["component", "layer", "head", "neuron", "source"])
def test_parts_add_up_at_every_level(splits: Any, by: str, of: str) -> None:
    tree = tree_of([splits[of]], by)
    assert sum(part.value for part in tree.parts) == pytest.approx(tree.total.value, abs=1e-5)
    assert tree.total.value == splits[of].total
    for part in tree.parts:
        holds(part)
    keys = [part.key for part in tree]
    assert len(set(keys)) == len(keys)


def test_a_layer_opens_into_heads_and_a_head_into_tokens(splits: Any, ioi: Any) -> None:
    tree = tree_of([splits["component"], splits["source"], splits["neuron"]], "layer")
    parts = {part.key: part for part in tree}
    assert parts["2.attn_out"] in parts["layer.2"].parts
    assert parts["2.head.0"] in parts["2.attn_out"].parts
    most = parts["2.head.0.pos.10"]
    assert most.value == pytest.approx(float(splits["source"].values.sel(layer=2, head=0, pos=10)))
    assert most.name == "← ·John 10", "the token stands twice, so that its position is told"
    assert parts["2.head.1"].value == pytest.approx(float(splits["head"].values.sel(layer=2, head=1)), abs=1e-6)
    assert parts["3.neuron.231"].at == {"layer": 3, "neuron": 231}
    assert tree.at({"layer": 2, "head": 0, "pos": 10}) is most
    assert tree.at({"layer": 2, "head": 1, "component": "attn_out"}) is parts["2.head.1"]
    assert tree.at({"layer": 2, "pos": 3}) is parts["layer.2"], "a layer reads from no token"
    assert tree.at({"pos": 3}) is None


def test_bars_under_one_percent_are_summed_as_others(splits: Any) -> None:
    tree = tree_of([splits["neuron"]], "neuron")
    limit = SMALL * abs(tree.total.value)
    (others,) = [part for part in tree.parts if part.key == "others"]
    named = [part for part in tree.parts if part.key not in ("others", "embed", "bias")]
    assert all(abs(part.value) >= limit for part in named)
    small = splits["neuron"].values.values
    inside = small[np.abs(small) < limit].sum() + sum(
        float(value) for value in splits["neuron"].rest.sel(component=["0.attn_out"]) if abs(value) < limit
    )
    assert others.value == pytest.approx(inside, abs=1e-6)
    assert len(others.parts) == MOST + 1, "the others of the others are summed again"


def amounts(*values: float) -> list[Part]:
    return [Part(str(n), "", ("", "", ""), {"part": str(n)}, Amount(float(value))) for n, value in enumerate(values)]


def test_one_small_bar_is_not_renamed_and_where_all_are_small_the_largest_are_named() -> None:
    one = folded(amounts(5.0, -3.0, 0.01), 0.1, "k", "k")
    assert [part.key for part in one] == ["0", "1", "2"]
    two = folded(amounts(0.01, 5.0, -0.02), 0.1, "k", "k")
    assert [part.key for part in two] == ["1", "k.others"]
    assert two[1].value == pytest.approx(-0.01)
    small = folded(amounts(*np.linspace(0.001, 0.02, 20)), 0.1, "k", "k")
    assert [part.key for part in small] == [*map(str, range(20 - LEAST, 20)), "k.others"]
    assert len(folded(amounts(*range(1, 100)), 0.1, "", "")) == MOST + 1
    assert folded([], 0.1, "k", "k") == ()


def test_intervals_are_of_the_sums_over_prompts(tiny: Any) -> None:
    result = rw.direct_logit_attribution(tiny, rw.logit_diff(" Mary", " John"), "component", prompts=PROMPTS)
    parts = {part.key: part for part in tree_of([result], "layer")}
    assert parts["1.attn_out"].amount.interval == pytest.approx(
        (float(result.low.sel(component="1.attn_out")), float(result.high.sel(component="1.attn_out")))
    )
    low, high = parts["layer.1"].amount.interval or (0.0, 0.0)
    each = result.prompts.sel(component=["1.attn_out", "1.mlp_out"]).sum("component").values
    half = 4.302653 * each.std(ddof=1) / np.sqrt(3)  # Student's t for 2 degrees of freedom
    assert (low, high) == pytest.approx((each.mean() - half, each.mean() + half), rel=1e-5)
    assert parts["total"].amount.interval is not None
    heads = {
        part.key: part
        for part in tree_of([rw.direct_logit_attribution(tiny, METRIC, "head", prompts=PROMPTS)], "layer")
    }
    assert heads["1.head.0"].amount.interval is not None
    assert heads["layer.1"].amount.interval is None, "of the rest only means are known"


def test_sums_know_their_prompts_where_all_do() -> None:
    known, unknown = Amount(2.0, np.array([1.0, 3.0])), Amount(1.0)
    assert total_of([known, known]).each.tolist() == [2.0, 6.0]
    assert total_of([known, unknown]).each is None
    assert (total_of([known, unknown]).value, total_of([]).value) == (3.0, 0)


def test_bars_begin_where_those_before_them_end(splits: Any) -> None:
    tree = tree_of([splits["component"], splits["source"]], "layer")
    opened = ("layer.2", "2.attn_out", "2.head.0")
    bars = {bar.part.key: bar for bar in bars_of(tree, opened)}
    assert bars["layer.1"].start == pytest.approx(bars["layer.0"].end)
    assert bars["2.attn_out"].start == bars["layer.2"].start
    assert bars["2.mlp_out"].end == pytest.approx(bars["layer.2"].end, abs=1e-6)
    assert bars["2.head.3"].end == pytest.approx(bars["2.attn_out"].end, abs=1e-6)
    assert (bars["total"].start, bars["2.head.0.pos.10"].depth) == (0.0, 3)
    assert "3.attn_out" not in bars
    more = {bar.part.key for bar in bars_of(tree, (), at_hand=True)}
    assert "3.attn_out" not in more and AT_HAND == 64, "a layer with all of its heads and tokens is too much"
    alone = {bar.part.key for bar in bars_of(tree_of([splits["component"]], "layer"), (), at_hand=True)}
    assert "3.attn_out" in alone


def test_what_interventions_put_in_is_a_bar(ioi: Any) -> None:
    changed = rw.intervene(ioi, rw.add(rw.Site("resid_post", 1), np.ones(128, dtype=np.float32)))
    tree = tree_of([rw.direct_logit_attribution(changed, METRIC)], "layer")
    parts = {part.key: part for part in tree}
    assert [part.name for part in parts["layer.1"].parts] == ["attention", "MLP", "put in"]
    holds(parts["layer.1"])


def test_the_result_of_a_picture_is_a_table_and_says_what_is_folded(splits: Any) -> None:
    shown = opened_contributions([splits["component"], splits["source"]], "layer", ("layer.2", "2.attn_out"))
    table = shown.to_dataframe()
    assert table["part"].tolist()[-1] == "total"
    assert float(table["value"][(table["depth"] == 0) & (table["part"] != "total")].to_numpy().sum()) == pytest.approx(
        splits["component"].total, abs=1e-5
    )
    assert "Direct effect only" in shown.sentence and "summed as others" in shown.sentence
    assert shown.code().count("import") >= 2
    assert {check.name for check in shown.checks} >= {"parts add up", "inside adds up"}
    assert as_opened(splits["head"]).by == "head"
    plain = as_opened(splits["component"])
    assert "others" not in plain.sentence or any("others" in part.key for part in plain.tree)


def test_a_head_promotes_what_a_plain_product_says(ioi: Any, tiny: Any) -> None:
    """The head's output through W_O, the frozen norm's scale and W_U, by hand."""
    found = promoted(ioi, {"layer": 2, "head": 0}, [14], most=3, least=1)
    z = ioi.activation("z", 2)[14, 0].double()
    attention = tiny.bridge.blocks[2].attn
    written = z @ attention.W_O[0].double()
    stream = ioi.activation("resid_post", 3)[14].double()
    gain = tiny.bridge.ln_final.weight.double()
    scale = (tiny.bridge.ln_final(stream.float()[None, None])[0, 0].double() / (gain * stream)).median()
    logits = ((written * scale * gain) @ tiny.bridge.W_U.double()).detach()
    logits = logits - logits.mean()
    assert found[0].value == pytest.approx(float(logits.max()), rel=1e-3)
    assert found[-1].value == pytest.approx(float(logits.min()), rel=1e-3)
    assert found[0].token == "·Mary"
    sources = [promoted(ioi, {"layer": 2, "head": 0, "pos": k}, [14], most=1, least=0)[0] for k in (10,)]
    assert sources[0].value == pytest.approx(found[0].value, rel=0.02), "it reads from there alone"
    assert attention_weight(ioi, 2, 0, [14], 10) > 0.9


@pytest.mark.parametrize(
    "at",
    [{"component": "embed"}, {"layer": 3}, {"layer": 3, "component": "mlp_out"}, {"layer": 3, "neuron": 231}],
)
def test_what_other_parts_promote_agrees_with_their_contribution(ioi: Any, splits: Any, at: Any) -> None:
    every = {each.token: each.value for each in promoted(ioi, at, [14], most=ioi.model.d_vocab, least=0)}
    parts = {str(part.at): part for part in tree_of([splits["component"], splits["neuron"]], "layer")}
    assert every["·Mary"] - every["·John"] == pytest.approx(parts[str(at)].value, abs=1e-4)


def test_tens_of_thousands_of_parts_are_named_down_to_some_depth() -> None:
    (*named, others) = folded(amounts(*np.linspace(0.001, 0.002, 50_000)), 0.1, "", "")
    assert len(named) == LEAST and others.name == "others, 49995"
    depth, inner = 0, others
    while inner.parts:
        assert len(inner.parts) == MOST + 1
        depth, inner = depth + 1, inner.parts[-1]
    assert depth == 3
