"""A split score adds up to the model's own, in every family: differences of scores are log-ratios of attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.models.loading.load_model import load_model
from tests.analysis.handmade import induction_model
from tests.analysis.plain import script_result
from tests.architectures import ALL, REFUSED, build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than each window
Q, NEAR, NEXT = 9, 8, 9  # positions within each window
UNSPLIT = ("deepseek", "gemma4", "llama4", "olmo_hybrid")
"""Latent attention; norms between queries and keys of which only the softmax is shown; layers without queries."""
SPLIT = [family for family in ALL if family not in REFUSED and not family.startswith(UNSPLIT)]


@pytest.fixture(scope="module", params=SPLIT)
def recorded(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, rw.run(load_model((build(request.param), None)), IDS)


def test_differences_of_scores_are_log_ratios_of_attention(recorded: tuple[str, Any]) -> None:
    family, run = recorded
    for layer in {0, run.model.n_layers - 1, run.model.n_layers // 2}:
        near, itself = (rw.attention_scores(run, layer, 1, Q, k) for k in (NEAR, NEXT))
        totals = [near.total, itself.total]
        if family == "gemma2":
            cap = run.model.bridge.original_model.config.attn_logit_softcapping
            totals = [cap * np.tanh(total / cap) for total in totals]
        ratio = float(np.log(near.weight) - np.log(itself.weight))
        assert totals[0] - totals[1] == pytest.approx(ratio, abs=2e-4), (family, layer)
        assert not [check for check in near.checks if check.level == "red"], near.checks
        heads = rw.attention_scores(run, layer, 1, Q, NEAR, by="head")
        assert heads.total == pytest.approx(near.total, abs=2e-4)
        if near.score is not None:
            assert near.total == pytest.approx(near.score, abs=2e-4)
        mine = near.values.drop_sel(query_component="bias", errors="ignore").sum()
        read = rw.along(run, near.query_direction, rw.Site("resid_pre", layer, pos=Q)).total
        assert read == pytest.approx(float(mine), abs=2e-3)
        mine = near.values.drop_sel(key_component="bias", errors="ignore").sum()
        read = rw.along(run, near.key_direction, rw.Site("resid_pre", layer, pos=NEAR)).total
        assert read == pytest.approx(float(mine), abs=2e-3)


def test_a_soft_cap_is_taken_back() -> None:
    """The families' own caps are far above the scores of random weights: here it is near them."""
    plain, cap = build("gemma2"), 0.1
    plain.config.attn_logit_softcapping = cap
    for layer in plain.model.layers:
        layer.self_attn.attn_logit_softcapping = cap
    run = rw.run(load_model((plain, None)), IDS)
    near, itself = (rw.attention_scores(run, 2, 1, Q, k) for k in (NEAR, NEXT))
    capped = [cap * np.tanh(found.total / cap) for found in (near, itself)]
    ratio = float(np.log(near.weight) - np.log(itself.weight))
    assert capped[0] - capped[1] == pytest.approx(ratio, abs=1e-4)
    assert abs(capped[0]) < 0.9 * abs(near.total)
    (check,) = [check for check in near.checks if check.name == "soft-cap"]
    assert "before its soft-cap of 0.1" in check.text


def test_without_biases_there_is_no_part_of_them() -> None:
    """The part of the biases is what no writer gives: it would hold anything that is not linear."""
    for family in ("llama", "qwen3", "gemma2", "olmo2", "granite"):
        run = rw.run(load_model((build(family), None)), IDS)
        assert "bias" not in rw.attention_scores(run, 2, 0, Q, NEAR).values.query_component.values, family
    biased = rw.attention_scores(rw.run(load_model((build("qwen2"), None)), IDS), 2, 0, Q, NEAR)
    assert biased.values.query_component.values[-1] == "bias"
    assert biased.values.shape == (6, 6)  # embedding, two layers, biases


def test_the_closed_form_of_a_model_without_rotation() -> None:
    """GPT-2: both sides are the norm's output times weights, and the score their product over the root of the width."""
    plain = build("gpt2")
    run = rw.run(load_model((plain, None)), IDS)
    found = rw.attention_scores(run, 2, 3, Q, NEAR)
    block = plain.transformer.h[2]
    weight, bias = block.attn.c_attn.weight.detach().double(), block.attn.c_attn.bias.detach().double()
    d_head, d_model = 8, 32
    of_q, of_k = slice(3 * d_head, 4 * d_head), slice(d_model + 3 * d_head, d_model + 4 * d_head)
    sides = []
    for pos, of in ((Q, of_q), (NEAR, of_k)):
        stream = run.tensor("resid_pre", 2)[pos].double()
        scale = (stream.var(correction=0) + block.ln_1.eps).rsqrt()
        names = [("resid_pre", 0), ("attn_out", 0), ("mlp_out", 0), ("attn_out", 1), ("mlp_out", 1)]
        parts = torch.stack([run.tensor(*name)[pos].double() for name in names])
        parts = (parts - parts.mean(-1, keepdim=True)) * scale * block.ln_1.weight.detach().double()
        rest = block.ln_1.bias.detach().double() @ weight[:, of] + bias[of]
        sides.append(torch.cat([parts @ weight[:, of], rest[None]]))
    np.testing.assert_allclose(found.values, sides[0] @ sides[1].T / d_head**0.5, atol=1e-5)
    assert list(found.values.key_component.values) == [
        "embed",
        "0.attn_out",
        "0.mlp_out",
        "1.attn_out",
        "1.mlp_out",
        "bias",
    ]


def test_position_alone_has_a_term_of_its_own() -> None:
    run = rw.run(load_model((build("bloom"), None)), IDS)
    found = rw.attention_scores(run, 1, 2, Q, NEAR)
    slope = 2 ** (-8 * 3 / 4)  # ALiBi's, of the third of four heads
    itself = rw.attention_scores(run, 1, 2, Q, Q)
    assert itself.position - found.position == pytest.approx(slope, abs=1e-5)
    assert found.total == pytest.approx(float(found.values.sum()) + found.position)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neo", "gemma2", "gemma3_text", "olmo2", "granite", "gpt_oss"])
@pytest.mark.parametrize("by", ["component", "head"])
def test_the_script_gives_the_parts(family: str, by: str) -> None:
    model = load_model((build(family), None))
    found = rw.attention_scores(rw.run(model, IDS), 2, 1, Q, NEAR, by=by)
    again = script_result(found.code(), model.bridge).detach().numpy()
    np.testing.assert_allclose(again, found.values.values, atol=1e-5)


def test_an_induction_head_looks_for_what_the_head_before_it_has_written() -> None:
    run = rw.run(load_model((induction_model(), None)), [7, 0, 1, 2, 3, 0])
    found = rw.attention_scores(run, 1, 1, -1, 2, by="head")
    assert found.query_parts.query_component.values[0] == "embed"
    assert found.key_parts.key_component.values[0] == "0.1"
    top = found.top(1)
    assert tuple(top.loc[0, ["query_component", "key_component"]]) == ("embed", "0.1")
    assert top.loc[0, "score"] == pytest.approx(found.total, rel=0.2)
    assert float(top["score"].to_numpy().sum()) == pytest.approx(found.total)


def test_of_an_intervened_run(tiny: Any) -> None:
    run = rw.run(tiny, "When Mary and John went to the store, John gave a drink to")
    edits = [rw.zero(rw.Site("z", 1, head=1)), rw.add(rw.Site("resid_post", 0, pos=10), np.linspace(-1, 1, 128))]
    edited = rw.intervene(run, edits)
    found = rw.attention_scores(edited, 2, 0, -1, 10, by="head")
    assert found.total == pytest.approx(found.score, abs=1e-3)
    assert "interventions" in found.values.key_component.values
    assert float(abs(found.values.sel(query_component="1.1")).max()) == 0
    others = rw.attention_scores(edited, 2, 0, -1, 14)
    ratio = float(np.log(found.weight) - np.log(others.weight))
    assert found.total - others.total == pytest.approx(ratio, abs=1e-3)
    assert "intervened run" in found.code()
    with pytest.raises(rw.InputError, match=r"an intervention stands in its way.*run\.base"):
        rw.attention_scores(rw.intervene(run, rw.zero(rw.Site("q", 2, head=0))), 2, 0, -1, 10)


@pytest.mark.parametrize("family", ["deepseek_v3", "gemma4_text wide heads", "llama4_text"])
def test_what_cannot_be_split_is_refused(family: str) -> None:
    run = rw.run(load_model((build(family), None)), IDS)
    with pytest.raises(rw.UnsupportedModelError, match=r"Scores of layer 0 of .* cannot be split"):
        rw.attention_scores(run, 0, 0, Q, NEAR)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda run: rw.attention_scores("run", 0, 0, 1, 0), "a Run is needed"),
        (lambda run: rw.attention_scores(run, 9, 0, 1, 0), "layer=9"),
        (lambda run: rw.attention_scores(run, 0, 4, 1, 0), r"head=4: layer 0 has heads 0 \.\. 3"),
        (lambda run: rw.attention_scores(run, 0, 0, 99, 0), "pos=99"),
        (lambda run: rw.attention_scores(run, 0, 0, 1, 2), "k=2: a token sees none behind it, and q is 1"),
        (lambda run: rw.attention_scores(run, 0, 0, 1, 0, by="layer"), "by='layer': there is no such split"),
        (lambda run: rw.attention_scores(run, 0, 0, 11, 0), "k=0: head 0 of layer 0 does not see it from position 11"),
    ],
)
def test_bad_input_is_named(make: Any, text: str) -> None:
    with pytest.raises(rw.InputError, match=text):
        make(rw.run(load_model((build("mistral"), None)), IDS))
