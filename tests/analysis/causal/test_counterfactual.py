"""Counterfactual prompts: the edits, the alignment, and the distances against plain PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis.causal.edited_prompts import counterparts_of
from tests.analysis.plain import PlainLlama, script_result

IDS, EDITED, LONGER = [1, 5, 9, 20, 33, 4, 60], [1, 5, 40, 20, 33, 8, 60], [1, 5, 9, 70, 71, 33, 4, 60]
METRIC = rw.logit_diff(7, 11)
TEXT = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def llama(make_model):
    return make_model("llama")


@pytest.mark.parametrize("component", ["resid_post", "resid_mid", "attn_out"])
@pytest.mark.parametrize("other", [EDITED, LONGER])
def test_distances_and_output_equal_plain_pytorch(llama, component, other):
    result = rw.counterfactual(llama, IDS, other, metric=METRIC, component=component)
    (case,) = result.cases
    plain = PlainLlama()
    (logits, base), (logits_edited, edited) = plain.run(IDS), plain.run(other)
    shift = len(other) - len(IDS)
    for pos in range(len(IDS)):
        # The longer one has the same beginning of three and the same end of three: one token became two.
        place = pos if not shift or pos < 3 else pos + shift if pos > 3 else None
        assert case.counterparts[pos] == place
        for layer in range(4):
            if place is None:
                assert np.isnan(float(case.values[layer, pos]))
                continue
            a, b = base[component, layer][pos].double(), edited[component, layer][place].double()
            assert float(case.values[layer, pos]) == pytest.approx(float((a - b).norm() / a.norm()), abs=1e-5)
            cosine = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
            assert float(case.cosine[layer, pos]) == pytest.approx(cosine, abs=1e-5)
    assert case.before == pytest.approx(float(logits[-1, 7] - logits[-1, 11]), abs=1e-5)
    assert case.after == pytest.approx(float(logits_edited[-1, 7] - logits_edited[-1, 11]), abs=1e-5)
    p, q = (each[-1].double().log_softmax(-1) for each in (logits, logits_edited))
    assert case.kl == pytest.approx(float(torch.nn.functional.kl_div(q, p, reduction="sum", log_target=True)), rel=1e-4)
    assert case.top[0].before == pytest.approx(float(p.exp().max()), rel=1e-4)
    for token in case.top:
        assert token.after == pytest.approx(float(q[token.token_id].exp()), rel=1e-4)
    np.testing.assert_allclose(script_result(case.code(), llama.bridge).numpy(), case.values.values, atol=1e-5)


def test_before_the_first_edit_nothing_parts(llama):
    case = rw.counterfactual(llama, IDS, EDITED, metric=METRIC).cases[0]
    assert not case.values.values[:, :2].any()
    np.testing.assert_allclose(case.cosine.values[:, :2], 1, atol=1e-6)
    assert (case.values.values[:, 2] > 0.01).all()


@pytest.mark.parametrize(
    ("ids", "other", "expected"),
    [
        ([1, 2, 3], [4, 5, 6], (0, 1, 2)),
        ([1, 2, 3], [1, 2, 9, 3], (0, 1, 3)),
        ([1, 2, 9, 3], [1, 2, 3], (0, 1, None, 2)),
        ([1, 1, 1], [1, 1], (0, 1, None)),
        ([1, 2, 3], [7, 8], (None, None, None)),
        ([5, 1, 2], [1, 2], (None, 0, 1)),
    ],
)
def test_alignment(ids, other, expected):
    assert counterparts_of(ids, other) == expected


def test_edits_side_by_side(tiny):
    edits = [rw.swap("Mary", "John"), TEXT.replace("John gave", "Mary gave"), TEXT.replace("store", "old store")]
    result = rw.counterfactual(tiny, TEXT, edits, metric=rw.logit_diff(" Mary", " John"))
    assert result.values.dims == ("edit", "layer", "pos")
    assert list(result.values.edit.values) == ["Mary ↔ John", *edits[1:]]
    for n, case in enumerate(result.cases):
        np.testing.assert_array_equal(result.values.values[n], case.values.values)
        assert case.before == result.cases[0].before > 3
    swapped, giver, longer = result.cases
    assert swapped.after < -3  # the model follows the names
    assert giver.after < -3
    assert longer.after > 3
    assert [check.level for check in longer.checks if check.name == "alignment"] == ["amber"]
    assert [check.level for check in swapped.checks if check.name == "alignment"] == ["green"]
    table = result.summary()
    assert list(table["top before"]) == ["·Mary"] * 3
    assert list(table["top after"]) == ["·John", "·John", "·Mary"]
    assert "Mary ↔ John" in str(result)
    assert giver.tokens_visible[10] == "·John/·Mary"


def test_all_edits_are_drawn_on_one_scale(tiny):
    edits = [rw.swap("Mary", "John"), TEXT.replace("store", "old store")]
    result = rw.counterfactual(tiny, TEXT, edits)
    images = [axes.images[0] for axes in result.plot().axes if axes.images]
    assert len(images) == 2
    assert len({image.norm.vmax for image in images}) == 1
    for image, case in zip(images, result.cases, strict=True):
        np.testing.assert_allclose(np.ma.filled(image.get_array(), np.nan), case.values.values)
    assert result.cases[0].plot() is not None


def test_a_run_stands_for_its_prompt(tiny):
    run = rw.run(tiny, TEXT)
    by_run = rw.counterfactual(run, edits=rw.swap("Mary", "John"))
    by_text = rw.counterfactual(tiny, TEXT, rw.swap("Mary", "John"))
    np.testing.assert_array_equal(by_run.values.values, by_text.values.values)
    assert by_run.metric == "log-probability of ·Mary"  # the likeliest next


def test_divergence_from_the_prompt_is_a_metric(llama):
    case = rw.counterfactual(llama, IDS, LONGER, metric=rw.kl_to_base()).cases[0]
    assert case.before == 0
    assert case.after == pytest.approx(case.kl, rel=1e-6)


# --- edits of texts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (rw.swap("Mary", "John"), "Mary and John: John's, Maryland", "John and Mary: Mary's, Maryland"),
        (rw.swap("a", "ab"), "a ab aab", "ab a aab"),
        (rw.change_number("dog"), "The dog and the dogs", "The dogs and the dogs"),
        (rw.change_number("cities"), "two cities", "two city"),
        (rw.change_number("boxes"), "boxes", "box"),
        (rw.change_number("child"), "the child", "the children"),
        (rw.change_number("are"), "They are", "They is"),
        (rw.change_number("knife", "knives"), "the knife", "the knives"),
        (rw.change_number("boy"), "boy", "boys"),
        (rw.change_number("dish"), "dish", "dishes"),
        (rw.change_number("class"), "class", "classes"),
        (rw.negate(), "The boy is happy", "The boy is not happy"),
        (rw.negate(), "The boy is not happy", "The boy is happy"),
        (rw.negate("went"), "He went and is here", "He went not and is here"),
        (rw.negate(), "He is nothing", "He is not nothing"),
    ],
)
def test_an_edit_changes_what_it_says(edit, before, after):
    assert edit.apply(before) == after


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ((), "at least one edit"),
        (rw.swap("Mary", "Karen"), "swap='Karen'"),
        (rw.change_number("dog"), "number='dog'"),
        (rw.negate(), "no auxiliary"),
        (TEXT, "changes nothing"),
        ([rw.swap("Mary", "John"), rw.swap("Mary", "John")], "there twice"),
    ],
)
def test_wrong_edits_are_named(tiny, edits, words):
    with pytest.raises(rw.InputError, match=words):
        rw.counterfactual(tiny, TEXT, edits)


@pytest.mark.parametrize("make", [lambda: rw.swap("Mary", "Mary"), lambda: rw.swap("", "x"), lambda: rw.negate("  "),
                                  lambda: rw.change_number(3), lambda: rw.change_number("dog", "dog")])  # fmt: skip
def test_an_edit_of_no_words_is_none(make):
    with pytest.raises((rw.InputError, TypeError)):
        make()


def test_other_wrong_input_is_named(llama, tiny):
    with pytest.raises(rw.InputError, match="a prompt is needed"):
        rw.counterfactual(llama, None, EDITED)
    with pytest.raises(rw.InputError, match="a Run has its prompt"):
        rw.counterfactual(rw.run(llama, IDS), IDS, EDITED)
    with pytest.raises(rw.InputError, match="cannot be told"):
        rw.counterfactual(llama, IDS, rw.swap("a", "b"))
    with pytest.raises(rw.InputError, match="top_k=0"):
        rw.counterfactual(llama, IDS, EDITED, top_k=0)
    with pytest.raises(rw.InputError, match="component='z'"):
        rw.counterfactual(llama, IDS, EDITED, component="z")
