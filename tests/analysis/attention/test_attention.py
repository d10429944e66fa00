"""Attention in every kind: rows that sum to 1, norms and effects against independent computations, and its words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.loading.load_model import load_model
from tests.analysis.handmade import induction_model
from tests.analysis.plain import PlainLlama, script_result
from tests.architectures import build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than each window
METRIC = rw.logit_diff(11, 40)
FAMILIES = ("gpt2", "bloom", "mistral", "gemma2", "gemma3_text", "olmo2", "granite", "gpt_oss", "falcon", "mpt", "phi3")
"""Of each kind of attention one: windows, caps, sinks, one key-value head, ALiBi, norms and multipliers behind."""


@pytest.fixture(scope="module", params=FAMILIES)
def recorded(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, rw.run(load_model((build(request.param), None)), IDS)


@pytest.fixture(scope="module")
def llama() -> Any:
    return rw.run(load_model((build("llama"), None)), IDS)


@pytest.fixture(scope="module")
def induction() -> Any:
    return rw.run(load_model((induction_model(), None)), [7, 0, 1, 2, 3, 0])


def test_rows_sum_to_one_or_it_is_said(recorded: tuple[str, Any]) -> None:
    family, run = recorded
    for layer in layers_with(run.model, "pattern"):
        found = rw.attention(run, layer)
        assert found.values.dims == ("head", "pos", "key_pos")
        np.testing.assert_allclose(found.values, run.activation("pattern", layer).float(), atol=1e-5)
        sums = found.values.sum("key_pos")
        (check,) = [check for check in found.checks if "rows" in check.name]
        if family == "gpt_oss":
            assert (sums < 1 - 1e-3).all()
            assert "not renormalised" in check.text
        else:
            np.testing.assert_allclose(sums, 1, atol=1e-5)
            assert check.level == "green"


def test_a_rollout_is_the_product_and_its_rows_sum_to_one(recorded: tuple[str, Any]) -> None:
    family, run = recorded
    found = rw.attention(run, 2, kind="rollout").values
    expected = np.eye(len(IDS))
    for layer in range(3):
        mean = run.activation("pattern", layer).double().mean(0).numpy()
        expected = (0.5 * mean + 0.5 * np.eye(len(IDS))) @ expected
    assert found.dims == ("pos", "key_pos")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if family != "gpt_oss":
        np.testing.assert_allclose(found.sum("key_pos"), 1, atol=1e-6)


def test_value_weighted_norms_are_what_heads_write(recorded: tuple[str, Any]) -> None:
    """Against what attention adds when a head has nothing but one token's value: the block's own modules, and norms."""
    family, run = recorded
    found = rw.attention(run, 1, kind="value_weighted").values
    pattern = run.activation("pattern", 1).double()
    v = run.activation("v", 1).double()
    v = v.repeat_interleave(len(pattern) // v.shape[1], dim=1)
    q, head = 9, 2
    parts = (
        rw.along(run, np.ones(run.model.d_model), rw.Site("resid_mid", 1, pos=q), "source", layers=[1])
        if (family not in ("falcon", "phi3"))
        else None
    )
    if parts is not None:  # along a direction, a head's sources are products of the same vectors
        along = np.abs(parts.values.sel(layer=1, head=head).values)
        assert (along <= found.sel(head=head, pos=q).values * run.model.d_model**0.5 * (1 + 1e-4) + 1e-6).all()
    if family in ("gpt2", "mistral", "gemma2", "bloom", "falcon", "granite"):
        rows = run.model.bridge.blocks[1].attn.o
        module = rows.original_component
        for k in (7, 8, 9):
            alone = torch.zeros(1, 1, *pattern.shape[:1], v.shape[-1])
            alone[0, 0, head] = (pattern[head, q, k] * v[k, head]).float()
            with torch.no_grad():
                moved = module(alone.flatten(2)) - module(torch.zeros_like(alone).flatten(2))
            size = float(moved.norm())
            if family == "granite":
                size *= run.model.bridge.original_model.config.residual_multiplier
            if family != "gemma2":  # which writes through a norm: its size is held against `along` above
                assert float(found.sel(head=head, pos=q, key_pos=k)) == pytest.approx(size, rel=1e-4)


def test_gradient_times_pattern_is_autograds(llama: Any) -> None:
    found = rw.attention(llama, 2, kind="gradient", metric=METRIC).values
    seen: dict[str, torch.Tensor] = {}

    def keep(value: torch.Tensor, hook: Any) -> torch.Tensor:
        seen["pattern"] = value.detach().clone().requires_grad_()
        return seen["pattern"]

    bridge = llama.model.bridge
    with torch.enable_grad():
        logits = bridge.run_with_hooks(torch.tensor([IDS]), fwd_hooks=[("blocks.2.attn.hook_pattern", keep)])
        (gradient,) = torch.autograd.grad(logits[0, -1, 11] - logits[0, -1, 40], seen["pattern"])
    np.testing.assert_allclose(found, (gradient * seen["pattern"]).detach()[0], atol=1e-6)
    assert float(np.abs(found).max()) > 1e-3


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_integrated_attributions_are_complete_and_a_path_integral(family: str) -> None:
    run = rw.run(load_model((build(family), None)), IDS)
    found = rw.attention(run, 2, kind="integrated", metric=METRIC, steps=24)
    pattern = run.activation("pattern", 2)
    bridge = run.model.bridge

    def at(scale: torch.Tensor) -> torch.Tensor:
        def put(value: torch.Tensor, hook: Any) -> torch.Tensor:
            return (scale * pattern)[None]

        logits = bridge.run_with_hooks(torch.tensor([IDS]), fwd_hooks=[("blocks.2.attn.hook_pattern", put)])
        return logits[0, -1, 11] - logits[0, -1, 40]

    with torch.no_grad():
        whole, without = float(at(torch.tensor(1.0))), float(at(torch.tensor(0.0)))
    assert float(found.values.sum()) == pytest.approx(whole - without, abs=1e-4)
    steps = 400
    total = torch.zeros_like(pattern, dtype=torch.float64)
    with torch.enable_grad():
        for n in range(steps):
            scale = torch.full_like(pattern, (n + 0.5) / steps).requires_grad_()
            (gradient,) = torch.autograd.grad(at(scale), scale)
            total += gradient.double() / steps
    np.testing.assert_allclose(found.values, total, atol=1e-4)


@pytest.mark.parametrize("family", ["gemma3_text", "gpt_oss"])
def test_where_the_path_is_not_smooth_the_gap_is_shown(family: str) -> None:
    """A norm behind attention blows up what is nearly nothing; a router changes its mind on the way."""
    run = rw.run(load_model((build(family), None)), IDS)
    found = rw.attention(run, 2, kind="integrated", metric=METRIC)
    (check,) = [check for check in found.checks if "add up" in check.text]
    assert check.level != "green"
    assert "steps" in check.text


@pytest.mark.parametrize("renormalise", [True, False])
def test_a_cut_is_that_of_a_plain_hook(llama: Any, renormalise: bool) -> None:
    """On Hugging Face's own Llama, whose z at one position is what is left of the pattern times the values."""
    plain = PlainLlama()
    layer, head, q = 2, 1, 9
    found = rw.attention(llama, layer, head, "knockout", METRIC, renormalise=renormalise, progress=False)
    base, seen = plain.run(IDS)
    pattern = llama.activation("pattern", layer)[head, q].double()
    for k in (4, 8, 9):
        left = pattern.clone()
        left[k] = 0
        left = left / left.sum() if renormalise else left
        z = left @ seen["v", layer][:, head // 2].double()

        def change(old: torch.Tensor, z: torch.Tensor = z) -> torch.Tensor:
            old[q, head] = z.to(old)
            return old

        logits, _ = plain.run(IDS, {("z", layer): change})
        after, before = (float(x[-1, 11] - x[-1, 40]) for x in (logits, base))
        assert float(found.values.sel(pos=q, key_pos=k)) == pytest.approx(after - before, abs=1e-5)
    assert float(np.nanmax(np.abs(found.values))) > 1e-3
    again = script_result(found.code(), llama.model.bridge)
    np.testing.assert_allclose(np.asarray(again), found.values, atol=1e-5, equal_nan=True)


def test_the_edge_that_carries_the_answer_is_the_one_that_matters(induction: Any) -> None:
    metric = rw.logit_diff(1, 3)
    cut = rw.attention(induction, 1, 1, "knockout", metric, renormalise=False, progress=False).values
    carried = rw.direct_logit_attribution(induction, metric, "source").values.sel(layer=1, head=1)
    assert float(cut.sel(pos=5, key_pos=2)) == pytest.approx(-float(carried.sel(pos=2)), rel=0.02)
    assert float(cut.sel(pos=5, key_pos=2)) == pytest.approx(-10, rel=0.02)
    others = cut.copy()
    others.loc[{"pos": 5, "key_pos": 2}] = 0
    assert float(np.nanmax(np.abs(others))) < 0.1


def test_only_the_tokens_asked_for_are_cut(llama: Any) -> None:
    some = rw.attention(llama, 1, 0, "knockout", METRIC, pos=[-1, 5], progress=False).values
    every = rw.attention(llama, 1, 0, "knockout", METRIC, progress=False).values
    np.testing.assert_allclose(some.sel(pos=[5, 11]), every.sel(pos=[5, 11]), atol=1e-6)
    assert np.isnan(some.sel(pos=[n for n in range(12) if n not in (5, 11)])).all()


def test_what_interventions_change(llama: Any) -> None:
    edited = rw.intervene(llama, rw.zero(rw.Site("z", 0, head=1)))
    found = rw.attention(edited, 3, kind="change").values
    expected = edited.activation("pattern", 3) - llama.activation("pattern", 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert float(np.abs(found).max()) > 1e-4
    assert float(np.abs(rw.attention(edited, 0, kind="change").values).max()) <= 1e-6  # nothing below changes


@pytest.mark.parametrize("kind", ["pattern", "value_weighted", "rollout", "gradient", "integrated"])
@pytest.mark.parametrize("family", ["gpt2", "gemma3_text", "granite"])
def test_the_script_gives_the_numbers(family: str, kind: str) -> None:
    model = load_model((build(family), None))
    metric = METRIC if kind in ("gradient", "integrated") else None
    found = rw.attention(rw.run(model, IDS), 2, kind=kind, metric=metric)
    again = script_result(found.code(), model.bridge)
    np.testing.assert_allclose(np.asarray(again), found.values, atol=1e-5)


def test_what_stands_between_values_and_heads_is_named() -> None:
    run = rw.run(load_model((build("bitnet"), None)), IDS)
    assert rw.attention(run, 1).values.shape == (4, 12, 12)
    with pytest.raises(rw.UnsupportedModelError, match="their output is not their pattern times their values"):
        rw.attention(run, 1, kind="value_weighted")
    normed = rw.run(load_model((build("deepseek_v3"), None)), IDS)
    with pytest.raises(rw.InputError, match=r"value|has any"):
        rw.attention(normed, 1, kind="value_weighted")


def test_one_head_is_one_picture(tiny: Any) -> None:
    run = rw.run(tiny, "The girl near the dogs")
    whole, one = rw.attention(run, -1), rw.attention(run, -1, -2)
    assert one.values.dims == ("pos", "key_pos")
    np.testing.assert_array_equal(one.values, whole.values.sel(head=2))
    assert one.heads == (2,)
    assert list(one.values.token.values) == list(one.tokens_visible) == list(one.values.key_token.values)
    table = one.to_dataframe()
    assert len(table) == run.n_pos**2
    assert {"pos", "key_pos", "token", "key_token"} <= set(table)
    assert "To be looked at is not to be used" in one.sentence
    assert "Attention of tiny" in str(one)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda run: rw.attention("run"), "a Run is needed"),
        (lambda run: rw.attention(run, kind="weights"), "kind='weights': there is no such kind. Use one of pattern"),
        (lambda run: rw.attention(run, 9), "layer=9"),
        (lambda run: rw.attention(run, 0, 4), r"head=4: layer 0 has heads 0 \.\. 3"),
        (lambda run: rw.attention(run, kind="gradient"), "kind='gradient' is towards a metric"),
        (lambda run: rw.attention(run, kind="gradient", metric=rw.rank(3)), "a rank moves in steps"),
        (lambda run: rw.attention(run, metric=METRIC), "kind='pattern' has none. Leave it out, or use kind='gradient'"),
        (lambda run: rw.attention(run, kind="integrated", metric=METRIC, steps=0), "steps=0"),
        (lambda run: rw.attention(run, kind="knockout", metric=METRIC, renormalise=1), "True or False is needed"),
        (lambda run: rw.attention(run, kind="knockout", metric=METRIC, pos=[]), "positions of tokens that look"),
        (lambda run: rw.attention(run, kind="knockout", metric=METRIC, pos=12), "pos=12"),
        (lambda run: rw.attention(run, 1, 2, "rollout"), "over the mean of the heads"),
        (lambda run: rw.attention(run, kind="change"), "no interventions, so that nothing has changed"),
        (lambda run: rw.attention(rw.run(run.model, [5])), "a single token can look at nothing but itself"),
        (
            lambda run: rw.attention(rw.intervene(run, rw.zero(rw.Site("z", 0))), kind="gradient", metric=METRIC),
            "of a run without interventions",
        ),
    ],
)
def test_bad_input_is_named(llama: Any, make: Any, text: str) -> None:
    with pytest.raises(rw.InputError, match=text):
        make(llama)
