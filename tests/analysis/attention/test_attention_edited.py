"""Attention of runs with interventions, edges that are nearly all of a row, and how attention leaves."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

import resid_widgets as rw
from resid_widgets.models.loading.load_model import load_model
from tests.analysis import handmade
from tests.analysis.attention.plain_attention import IDS
from tests.analysis.plain import PlainLlama, script_result
from tests.architectures import build

METRIC = rw.logit_diff(11, 40)


@pytest.fixture(scope="module")
def llama() -> Any:
    return rw.run(load_model((build("llama"), None)), IDS)


@pytest.fixture(scope="module")
def edited(llama: Any) -> Any:
    return rw.intervene(llama, rw.zero(rw.Site("z", 2, head=1)))


def test_a_cut_comes_on_top_of_the_interventions(llama: Any) -> None:
    """Both done by plain hooks on Hugging Face's own Llama."""
    run = rw.intervene(llama, rw.zero(rw.Site("z", 0, head=1)))
    found = rw.attention(run, 2, 3, "knockout", METRIC, renormalise=False, pos=9, progress=False)

    def zeroed(old: Any) -> Any:
        old[:, 1] = 0
        return old

    plain = PlainLlama()
    before, seen = plain.run(IDS, {("z", 0): zeroed})
    lost = run.activation("pattern", 2)[3, 9, 4] * seen["v", 2][4, 3 // 2]

    def less(old: Any) -> Any:
        old[9, 3] -= lost
        return old

    after, _ = plain.run(IDS, {("z", 0): zeroed, ("z", 2): less})
    expected = float((after[-1, 11] - after[-1, 40]) - (before[-1, 11] - before[-1, 40]))
    assert abs(expected) > 1e-4
    assert float(found.values.sel(pos=9, key_pos=4)) == pytest.approx(expected, abs=2e-6)
    assert found.base == pytest.approx(float(before[-1, 11] - before[-1, 40]), abs=1e-5)
    assert found.code().startswith("# Of an intervened run")


def test_edges_of_an_ablated_head_have_no_effect(edited: Any) -> None:
    found = rw.attention(edited, 2, 1, "knockout", METRIC, progress=False)
    assert float(np.nanmax(np.abs(found.values))) < found.rounding


def test_rollout_is_of_the_run_as_it_is(llama: Any) -> None:
    run = rw.intervene(llama, rw.zero(rw.Site("resid_pre", 1, pos=3)))
    expected = np.eye(len(IDS))
    for layer in range(4):
        expected = (0.5 * run.activation("pattern", layer).double().mean(0).numpy() + 0.5 * np.eye(12)) @ expected
    found = rw.attention(run, 3, kind="rollout").values
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert float(np.abs(found - rw.attention(llama, 3, kind="rollout").values).max()) > 1e-3


def test_the_values_of_other_heads_are_still_theirs(llama: Any, edited: Any) -> None:
    found = rw.attention(edited, 2, 0, "value_weighted").values
    np.testing.assert_allclose(found, rw.attention(llama, 2, 0, "value_weighted").values, rtol=1e-5)
    for run, head in ((edited, 1), (edited, None), (rw.intervene(llama, rw.mean(rw.Site("attn_out", 2))), 0)):
        with pytest.raises(rw.UnsupportedModelError, match="interventions have written what they give"):
            rw.attention(run, 2, head, "value_weighted")
    assert rw.attention(edited, 3, kind="value_weighted").values.shape == (4, 12, 12)  # other layers are as they are


def test_rows_that_interventions_wrote_are_not_called_a_sink(llama: Any) -> None:
    run = rw.intervene(llama, rw.zero(rw.Site("pattern", 2, pos=9, head=1)))
    found = rw.attention(run, 2)
    assert float(found.values.sel(head=1, pos=9).sum()) == 0
    (check,) = [check for check in found.checks if "rows" in check.name]
    assert (check.level, check.value) == ("amber", pytest.approx(1, abs=1e-6))
    assert "sum to 0.00 to 1.00: interventions have written it" in check.text
    cut = rw.attention(run, 2, 1, "knockout", METRIC, progress=False)
    assert float(np.abs(cut.values.sel(pos=9)).max()) == 0  # there is nothing left to cut
    assert np.isnan(cut.values.sel(pos=0, key_pos=0))  # one token's row, beside one that sums to less
    assert np.isfinite(cut.values).sum() == 12 * 12 - 1
    assert [check.value for check in cut.checks if check.name == "alone"] == [1]


@pytest.mark.parametrize("sharp", [12.0, 60.0])
def test_a_head_that_looks_at_next_to_nothing_else_is_cut(sharp: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weight may round to 1: the others, however small, take its share, as if its score were minus infinity."""
    monkeypatch.setattr(handmade, "_SHARP", sharp)
    run = rw.run(load_model((handmade.induction_model(), None)), [7, 0, 1, 2, 3, 0])
    found = rw.attention(run, 1, 1, "knockout", rw.logit_diff(1, 3), pos=5, progress=False)
    others = [0, 1, 3, 4, 5]
    pattern = run.activation("pattern", 1)[1, 5].double()
    assert bool((pattern[others] > 0).all())
    # The head writes which tokens it sees; evenly then, also the 3, and the 1 no more: 10 (0 - 1/5) after 10 before.
    assert float(found.values.sel(pos=5, key_pos=2)) == pytest.approx(-12, rel=0.02)
    assert not [check for check in found.checks if check.name == "alone"]
    again = np.asarray(script_result(found.code(), run.model.bridge))
    np.testing.assert_allclose(again[5], found.values.sel(pos=5), atol=1e-4)


def test_a_token_that_sees_only_itself_has_no_row_left(llama: Any) -> None:
    found = rw.attention(llama, 1, kind="knockout", metric=METRIC, progress=False)
    nothing = np.isnan(found.values)
    assert nothing.sum() == 4
    assert nothing.sel(pos=0, key_pos=0).all()
    (check,) = [check for check in found.checks if check.name == "alone"]
    assert check.text.startswith("4 edges are all that a token looks at")
    less = rw.attention(llama, 1, kind="knockout", metric=METRIC, renormalise=False, pos=0, progress=False)
    assert (np.abs(less.values.sel(pos=0, key_pos=0)) > 1e-4).all()


def test_completeness_is_held_against_the_run_without_the_layers_attention(llama: Any) -> None:
    found = rw.attention(llama, 2, kind="integrated", metric=METRIC)
    without = rw.intervene(llama, rw.zero(rw.Site("pattern", 2))).final_logits
    gone = float(without[11] - without[40])
    assert float(found.values.sum()) == pytest.approx(found.base - gone, rel=1e-3)
    (check,) = [check for check in found.checks if check.name == "completeness"]
    assert check.level == "green"
    assert f"and {gone:.3g} without them" in check.text


def test_a_cut_that_is_stopped_keeps_what_it_has(llama: Any) -> None:
    found = rw.attention(llama, 1, kind="knockout", metric=METRIC, progress=False, stop=lambda: True)
    assert np.isnan(found.values).any()
    assert any(check.text.startswith("stopped:") for check in found.checks)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"stop": 3}, "stop=3: a function is needed"),
        ({"budget": 0}, "budget=0: a whole number from 1"),
        ({"budget": "all"}, "budget='all': a whole number from 1"),
        ({"progress": "bar"}, "progress='bar'"),
        ({"pos": True}, "pos=True: positions of tokens"),
        ({"pos": [1.5]}, "positions of tokens"),
        ({"layer": True}, "layer=True"),
        ({"head": 1.5}, r"head=1.5: layer 3 has heads 0 \.\. 3"),
        ({"head": -5}, "head=-5"),
        ({"metric": "logit"}, "metric='logit': a metric is needed"),
        ({"metric": None}, "kind='knockout' is towards a metric"),
        ({"steps": 9}, "kind='knockout' has none. Leave it out, or use kind='integrated'"),
        ({"kind": "integrated", "steps": 2.5}, "steps=2.5"),
        ({"kind": "gradient", "renormalise": True}, "kind='gradient' has none. Leave it out, or use kind='knockout'"),
        ({"kind": ["pattern"]}, "there is no such kind"),
    ],
)
def test_bad_options_are_named_before_any_work(llama: Any, given: dict[str, Any], text: str) -> None:
    with pytest.raises(rw.InputError, match=text):
        rw.attention(llama, **{"kind": "knockout", "metric": METRIC, **given})


def test_it_leaves_as_a_table(llama: Any, tmp_path: Any) -> None:
    found = rw.attention(llama, 1, 2, "knockout", METRIC, progress=False)
    whole = rw.attention(llama, 1)
    table = whole.to_dataframe()
    assert len(table) == 4 * 12 * 12
    assert {"head", "pos", "key_pos", "token", "key_token"} <= set(table)
    path = found.to_csv(tmp_path / "cut.csv")
    back = pd.read_csv(io.StringIO(path.read_text(encoding="utf-8")), comment="#")
    assert len(back) == 12 * 12
    column = next(name for name in back if name not in ("pos", "key_pos", "token", "key_token", "head"))
    np.testing.assert_allclose(back[column], np.asarray(found.values).ravel(), equal_nan=True, rtol=1e-6)
