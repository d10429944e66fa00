"""What a head writes, and what of it comes from one token: sums, closed forms, and an independent model, cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resid_widgets.analysis.attention.head_writes import head_writes, norms_written
from tests.analysis.conftest import IDS
from tests.analysis.plain import PlainLlama
from tests.architectures import build

SENTENCE = "When Mary and John went to the store, John gave a drink to"


def plain_parts(layer: int, head: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a plain Llama's head takes from each token, ``[pos, key_pos, d_model]``, and its pattern; by einsum."""
    plain = PlainLlama()
    _, seen = plain.run(IDS)
    model = plain.model
    with torch.no_grad():
        attentions = model(torch.tensor([IDS]), output_attentions=True).attentions
    pattern = attentions[layer][0, head].double()
    v = seen["v", layer][:, head // 2].double()  # two query heads share one key-value head
    w = model.model.layers[layer].self_attn.o_proj.weight.double()[:, 8 * head : 8 * head + 8]
    return torch.einsum("qk,kd,md->qkm", pattern, v, w).detach(), pattern


def test_parts_are_a_direct_einsum_and_sum_to_the_head(llama_run):
    parts, pattern = plain_parts(2, 3)
    for q, k in ((6, 0), (6, 3), (4, 4)):
        found = head_writes(llama_run, 2, 3, q, k)
        assert found.norm == pytest.approx(float(parts[q, k].norm()), rel=1e-5)
        assert found.weight == pytest.approx(float(pattern[q, k]), rel=1e-5)
    whole = head_writes(llama_run, 2, 3, 6)
    assert whole.norm == pytest.approx(float(parts[6].sum(0).norm()), rel=1e-5)
    assert np.isnan(whole.weight)
    np.testing.assert_allclose(norms_written(llama_run, 2, 3), parts.sum(1).norm(dim=-1), rtol=1e-5)
    stream = llama_run.activation("resid_pre", 2)[6].double().norm()
    assert whole.share == pytest.approx(whole.norm / float(stream))


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "olmo2", "granite", "gpt_neox"])
def test_heads_and_the_bias_sum_to_what_attention_adds(make_model, family):
    import resid_widgets as rw

    run, layer = rw.run(make_model(family), IDS), 1
    heads = run.activation("z", layer).shape[1]
    for pos in (2, 6):
        summed = sum(head_writes(run, layer, head, pos).vector for head in range(heads))
        bias = run.activation("attn_out", layer)[pos].double().numpy() - summed
        known = {"gpt2": "transformer.h.1.attn.c_proj.bias", "gpt_neox": "gpt_neox.layers.1.attention.dense.bias"}
        expected = dict(build(family).named_parameters())[known[family]].detach().numpy() if family in known else 0.0
        np.testing.assert_allclose(bias, expected, atol=1e-5 * float(np.abs(summed).max()) + 1e-6)
    for head in range(heads):
        norms = [head_writes(run, layer, head, pos).norm for pos in range(len(IDS))]
        np.testing.assert_allclose(norms_written(run, layer, head), norms, rtol=1e-5)


def test_logits_are_the_final_norms_at_its_scale(llama_run):
    parts, _ = plain_parts(2, 3)
    found = head_writes(llama_run, 2, 3, 5, 1, top_k=3)
    model = PlainLlama().model
    x = llama_run.activation("resid_post", 3)[5].double()
    norm = model.model.norm
    scale = (x.square().mean() + norm.variance_epsilon).rsqrt()
    expected = (model.lm_head.weight.double() @ (norm.weight.double() * parts[5, 1] * scale)).detach()
    expected -= expected.mean()
    np.testing.assert_allclose(found.values.values, expected[found.values["token_id"].values], rtol=1e-4)
    assert found.values.values[0] == pytest.approx(float(expected.max()), rel=1e-4)
    assert found.values.values[-1] == pytest.approx(float(expected.min()), rel=1e-4)
    assert found.values.attrs["units"] == "logits"


def test_a_cut_edge_is_one_cut_by_a_plain_hook(llama_run):
    import resid_widgets as rw

    plain = PlainLlama()
    _, seen = plain.run(IDS)
    _, pattern = plain_parts(1, 2)
    taken = pattern[6, 3] * seen["v", 1][3, 1].double()

    def cut(z):
        z[6, 2] -= taken.to(z)
        return z

    before, _ = plain.run(IDS)
    after, _ = plain.run(IDS, {("z", 1): cut})
    found = head_writes(llama_run, 1, 2, 6, 3, rw.logit_diff(7, 8))
    expected = float((after[-1, 7] - after[-1, 8]) - (before[-1, 7] - before[-1, 8]))
    assert abs(expected) > 1e-4
    assert found.cut == pytest.approx(expected, rel=1e-3)


def test_direct_effects_are_those_of_direct_logit_attribution(tiny):
    import resid_widgets as rw

    run, metric = rw.run(tiny, SENTENCE), rw.logit_diff(" Mary", " John")
    by_source = rw.direct_logit_attribution(run, metric, by="source").values
    for layer, head, k in ((3, 2, 4), (2, 0, 10)):
        found = head_writes(run, layer, head, -1, k, metric)
        assert found.direct == pytest.approx(float(by_source.sel(layer=layer, head=head, pos=k)), rel=1e-4, abs=1e-7)
    assert np.isnan(head_writes(run, 2, 0, 5, 3, metric).direct)  # the metric is not read there
    assert np.isnan(head_writes(run, 2, 0, -1, 3, rw.log_prob(" Mary")).direct)  # it is not linear
    assert np.isnan(head_writes(run, 2, 0).cut)


def test_an_intervened_run_is_read_as_it_is(llama_run):
    import resid_widgets as rw

    edited = rw.intervene(llama_run, rw.zero(rw.Site("z", 0, head=1)))
    metric = rw.logit_diff(7, 8)
    found = head_writes(edited, 2, 3, 6, 2, metric)
    assert found.norm != head_writes(llama_run, 2, 3, 6, 2, metric).norm
    taken = rw.set_to(rw.Site("z", 2, pos=6, head=3), 0.0)
    whole = head_writes(edited, 2, 3, 6, None, metric)
    both = rw.ablation(llama_run, [*edited.interventions, taken], metric)
    assert whole.cut == pytest.approx(both.after - rw.ablation(llama_run, edited.interventions, metric).after, rel=1e-4)


def test_its_script_makes_the_same_numbers(tiny, capsys):
    import resid_widgets as rw

    for key_pos in (None, 4):
        found = head_writes(rw.run(tiny, SENTENCE), 3, 2, -1, key_pos)
        exec(compile(found.code(), "writes", "exec"), {})  # noqa: S102
        norm, logits = capsys.readouterr().out.splitlines()
        assert float(norm) == pytest.approx(found.norm, rel=1e-5)
        np.testing.assert_allclose([float(v) for v in logits.strip("[]").split(",")], found.values.values, rtol=1e-4)


def test_what_cannot_be_told_is_refused_or_said(make_model):
    import resid_widgets as rw

    capped = head_writes(rw.run(make_model("gemma2"), IDS), 1, 0, -1, 2, rw.logit(7))
    assert capped.values.size == 0
    assert any("caps its logits" in check.text for check in capped.checks)
    assert np.isnan(capped.direct)
    assert np.isfinite(capped.cut)


def test_an_ablated_head_takes_nothing_from_tokens(llama_run):
    import resid_widgets as rw

    edited = rw.intervene(llama_run, rw.mean(rw.Site("z", 1, head=2)))
    with pytest.raises(rw.UnsupportedModelError, match="not its pattern times its values"):
        head_writes(edited, 1, 2, 6, 3)
    assert head_writes(edited, 1, 2, 6).norm > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((9, 0), "layer"),
        ((1, 4), "head"),
        ((1, 0, 7), "pos"),
        ((1, 0, 6, 9), "key_pos"),
        ((1, 0, 6, 2, "Mary"), "metric"),
    ],
)
def test_bad_arguments_are_refused(llama_run, arguments, says):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match=says):
        head_writes(llama_run, *arguments)
    with pytest.raises(rw.InputError, match="a Run is needed"):
        head_writes("text", 0, 0)
