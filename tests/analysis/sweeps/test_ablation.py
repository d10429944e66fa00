"""One run beside the same run without interventions: the picture by hand, the numbers against `intervene`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from tests.analysis.plain import PlainLlama
from tests.csv_tables import table

SITES = {
    "a cell": rw.Site("resid_post", 1, 3),
    "from the end": rw.Site("resid_post", 1, -2),
    "a layer": rw.Site("attn_out", 2),
    "an MLP": rw.Site("mlp_out", 0, 5),
    "a head": rw.Site("z", 2, None, 1),
    "the last cell": rw.Site("resid_post", 3, 6),
}


def by_hand(old: Any, new: Any) -> np.ndarray:
    """``sign((h' - h) . h) |h' - h| / |h|`` over whole arrays, in float64."""
    old, new = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    change = new - old
    sign = np.where((change * old).sum(-1) < 0, -1.0, 1.0)
    return sign * np.linalg.norm(change, axis=-1) / np.linalg.norm(old, axis=-1)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("op", [rw.zero, rw.mean, rw.noise])
def test_the_picture_is_the_relative_change_of_the_stream(llama_run, site, op):
    items = [op(SITES[site])]
    found = rw.ablation(llama_run, items)
    new = rw.intervene(llama_run, items)
    wanted = by_hand(llama_run.residual("resid_post"), new.residual("resid_post"))
    np.testing.assert_allclose(found.values, wanted, rtol=1e-4, atol=1e-6)
    assert found.values.dims == ("layer", "pos")
    assert (found.shown, found.component, found.marked) == ("stream", "resid_post", llama_run.marked)
    assert "later layers repaired it" in found.sentence


def test_the_picture_of_heads_has_each_heads_most_changed_token(llama_run):
    items = [rw.zero(rw.Site("resid_post", 0, 2)), rw.zero(rw.Site("z", 2, None, 3))]
    found = rw.ablation(llama_run, items, shown="heads")
    new = rw.intervene(llama_run, items)
    wanted = np.zeros((4, 4))
    for layer in range(4):
        change = by_hand(llama_run.activation("z", layer), new.activation("z", layer))
        largest = np.abs(change).argmax(axis=0)
        wanted[layer] = change[largest, np.arange(4)]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-4, atol=1e-6)
    assert float(found.values[2, 3]) == -1  # all of it is gone
    assert found.values.dims == ("layer", "head")
    assert found.tokens_visible == ("head 0", "head 1", "head 2", "head 3")
    assert (found.marked, found.unknown) == ((), ())


def test_what_a_change_cannot_reach_is_exactly_zero(llama_run):
    found = rw.ablation(llama_run, rw.zero(rw.Site("resid_post", 1, 3))).values.values
    assert (found[0] == 0).all()
    assert (found[:, :3] == 0).all()
    assert found[1, 3] == -1
    assert (found[1, 4:] == 0).all()  # later positions read it only from the next layer on
    assert (found[2:, 3:] != 0).all()


@pytest.mark.parametrize(
    "metric",
    [rw.logit_diff(7, 8), rw.log_prob(3, pos=[2, -1]), rw.prob(3), rw.rank(40), rw.kl_to_base(pos=[0, -1])],
    ids=lambda metric: metric.kind,
)
def test_metric_before_and_after_are_those_of_the_two_runs(llama_run, metric):
    items = [rw.mean(rw.Site("resid_post", 1, 3)), rw.zero(rw.Site("z", 2, None, 0))]
    found = rw.ablation(llama_run, items, metric)
    plain = PlainLlama()
    unmarked = [p for p in range(7) if p not in llama_run.marked]

    def mean(x: torch.Tensor) -> torch.Tensor:
        x[3] = llama_run.tensor("resid_post", 1)[unmarked].double().mean(0)
        return x

    def gone(x: torch.Tensor) -> torch.Tensor:
        x[:, 0] = 0
        return x

    base, _ = plain.run(llama_run.token_ids)
    after, _ = plain.run(llama_run.token_ids, {("resid_post", 1): mean, ("z", 2): gone})

    def measured(logits: torch.Tensor) -> float:
        at = [p % 7 for p in metric.pos]
        logits, before = logits[at].double(), base[at].double().log_softmax(-1)
        log_probs = logits.log_softmax(-1)
        return float(
            {
                "logit_diff": lambda: logits[:, 7] - logits[:, 8],
                "log_prob": lambda: log_probs[:, 3],
                "prob": lambda: log_probs[:, 3].exp(),
                "rank": lambda: (logits > logits[:, [40]]).sum(-1).double(),
                "kl_to_base": lambda: (before.exp() * (before - log_probs)).sum(-1),
            }[metric.kind]().mean()
        )

    assert found.before == pytest.approx(measured(base), abs=1e-5)
    assert found.after == pytest.approx(measured(after), abs=1e-5)
    assert found.metric == metric.bound(llama_run).label


def test_next_tokens_are_the_likeliest_of_both_runs_with_both_probabilities(llama_run):
    items = [rw.zero(rw.Site("resid_post", 3, -1))]
    found = rw.ablation(llama_run, items, top_k=6)
    old, new = (r.final_logits.double().softmax(-1) for r in (llama_run, rw.intervene(llama_run, items)))
    assert len(found.top) == 6
    chosen = {token.token_id for token in found.top}
    assert chosen == set(torch.maximum(old, new).topk(6).indices.tolist())
    for token in found.top:
        assert token.before == pytest.approx(float(old[token.token_id]), abs=1e-6)
        assert token.after == pytest.approx(float(new[token.token_id]), abs=1e-6)
    assert [t.before for t in found.top] == sorted((t.before for t in found.top), reverse=True)


def test_nothing_is_no_change(llama_run):
    found = rw.ablation(llama_run, [])
    assert (found.values == 0).all()
    assert found.before == found.after
    assert (found.layers_run, found.tokens_run, found.interventions) == (0, 0, ())
    assert found.metric == f"log-probability of {found.top[0].token}"  # the default: the likeliest next token


def test_only_what_can_have_changed_is_computed_and_said(llama_run):
    found = rw.ablation(llama_run, rw.zero(rw.Site("resid_pre", 2, 4)))
    assert (found.layers_run, found.tokens_run) == (2, 3)
    assert found.seconds > 0
    assert {check.level for check in found.checks} == {"green"}


def test_an_intervention_that_changes_nothing_is_amber(llama_run):
    same = rw.patch(rw.Site("resid_post", 1, 3), list(llama_run.token_ids))
    found = rw.ablation(llama_run, same)
    assert float(abs(found.values).max()) < 1e-6  # rounding, and drawn without colour
    assert found.scale.high >= 1e-4  # all zeros, on some machines to the bit, have the scale of ones
    (check,) = [c for c in found.checks if c.level == "amber"]
    assert "no change by patch resid_post[layer 1, pos 3]" in check.text


def test_an_edited_run_is_compared_with_the_run_without_any(llama_run):
    first, second = rw.zero(rw.Site("resid_post", 0, 2)), rw.zero(rw.Site("mlp_out", 2, 5))
    both = rw.ablation(llama_run, [first, second])
    found = rw.ablation(rw.intervene(llama_run, first), second)
    assert found.interventions == (first, second)
    np.testing.assert_array_equal(found.values, both.values)
    assert (found.before, found.after) == (both.before, both.after)


def test_it_is_a_result_like_others(llama_run, tmp_path):
    found = rw.ablation(llama_run, rw.zero(rw.Site("resid_post", 1, 3)))
    frame = found.to_dataframe()
    assert list(frame.columns) == ["layer", "pos", "token", "change"]
    assert len(frame) == 28
    assert found.to_png(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    heads = rw.ablation(llama_run, [], shown="heads")
    assert list(heads.to_dataframe().columns) == ["layer", "head", "change"]
    assert list(table(heads.to_csv(tmp_path / "a.csv")))[:3] == ["layer", "head", "change"]
    assert heads.to_svg(tmp_path / "a.svg").exists()
    assert "fired once" in str(found)
    assert found.provenance.options["interventions"] == ("zero resid_post[layer 1, pos 3]",)


@pytest.mark.parametrize(
    ("items", "options", "says"),
    [
        ([rw.zero(rw.Site("resid_post", 9))], {}, "layer=9"),
        ([rw.zero(rw.Site("resid_post", 1, 99))], {}, "pos=99"),
        ([rw.zero(rw.Site("z", 1, None, 4))], {}, r"head=4: layer 1 has heads 0 \.\. 3"),
        ([rw.zero(rw.Site("mlp_post", 1, None, None, 48))], {}, r"neuron=48: the MLP of layer 1 has neurons 0 \.\. 47"),
        ([rw.project_out(rw.Site("resid_post", 1), [1.0, 2.0])], {}, r"direction=\[2\]: .* has 32 numbers"),
        ([rw.patch(rw.Site("resid_post", 1), [1, 2])], {}, "source='2 tokens': the run has 7"),
        (["zero"], {}, "interventions='zero'"),
        ([], {"metric": "logit_diff"}, "metric='logit_diff': a metric is needed"),
        ([], {"metric": rw.logit_diff(3, 3)}, "foil=3: answer and foil are the same token"),
        ([], {"metric": rw.log_prob(3, pos=7)}, "pos=7"),
        ([], {"metric": rw.log_prob(97)}, "97"),
        ([], {"shown": "logits"}, "shown='logits': must be one of stream, heads"),
    ],
)
def test_bad_input_names_value_and_rule(llama_run, items, options, says):
    with pytest.raises(rw.InputError, match=says):
        rw.ablation(llama_run, items, **options)


def test_no_run_is_said(llama_run):
    with pytest.raises(rw.InputError, match=r"a Run is needed.*rw\.run\(model, prompt\)"):
        rw.ablation(llama_run.model, [])


def test_a_source_run_of_another_model_is_refused(llama_run, make_model):
    other = rw.run(make_model("qwen2"), list(llama_run.token_ids))
    with pytest.raises(rw.InputError, match="of another model, or of other weights"):
        rw.ablation(llama_run, rw.patch(rw.Site("resid_post", 1), other))
