"""Direct logit attribution: parts add up to the metric, and equal a closed form, TransformerLens and the script."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis import direct_logit_attribution

import resid_widgets as rw
from resid_widgets.models.loading.load_model import TINY, load_model
from tests.analysis.handmade import induction_model, linear_model
from tests.analysis.plain import script_result
from tests.architectures import build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than each window
BY = ("component", "layer", "head", "neuron", "source")
PROMPTS = [
    "When Mary and John went to the store, John gave a drink to",
    "When Anna and John went to the store, John gave a drink to",
    "When Mary and Anna went to the park, Anna gave a book to",
]
METRIC = rw.logit_diff(" Mary", " John")


def summed(result: Any) -> float:
    return float(result.values.sum() + result.rest.sum()) + result.bias


@pytest.fixture(scope="module")
def ioi(tiny: Any) -> Any:
    return rw.run(tiny, PROMPTS[0])


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3_text", "olmo2", "granite", "gptj", "gpt_oss", "mixtral"])
@pytest.mark.parametrize("by", BY)
def test_parts_add_up_and_the_script_gives_them(family: str, by: str) -> None:
    model = load_model((build(family), None))
    run = rw.run(model, IDS)
    metric = rw.logit_diff(11, 40, pos=[6, -1])
    if family in ("mixtral", "gpt_oss") and by == "neuron":
        with pytest.raises(rw.InputError, match="mlp_post"):
            rw.direct_logit_attribution(run, metric, by)
        return
    result = rw.direct_logit_attribution(run, metric, by)
    assert result.total == pytest.approx(metric.bound(run).of_base(), abs=1e-4)
    size = max(float(np.nanmax(np.abs(result.values))), 0.1)
    assert summed(result) == pytest.approx(result.total, abs=1e-4 * size)
    assert all(check.level == "green" for check in result.checks), result.checks
    assert result.values.dims == {"component": ("component",), "layer": ("layer",), "head": ("layer", "head")}.get(
        by, ("layer", "neuron") if by == "neuron" else ("layer", "head", "pos")
    )
    again = script_result(result.code(), model.bridge).numpy()
    np.testing.assert_allclose(again, result.values.values, atol=2e-5 * size, equal_nan=True)


def test_a_hand_wired_model_has_the_closed_form() -> None:
    """Where norms only take off the mean, a head's part is its output times its rows of W_O times the two columns."""
    plain = linear_model(activation="gelu", attention=True)
    run = rw.run(load_model((plain, None)), IDS := [3, 7, 1, 9, 4, 12])
    result = rw.direct_logit_attribution(run, rw.logit_diff(5, 8), "head")
    columns = (plain.lm_head.weight[5] - plain.lm_head.weight[8]).detach().double()
    last = len(IDS) - 1
    for layer, block in enumerate(plain.transformer.h):
        rows = block.attn.c_proj.weight.detach().double().reshape(2, 16, 32)  # of each head
        z = run.activation("z", layer)[last].double()
        written = torch.einsum("hd,hdm->hm", z, rows)
        expected = (written - written.mean(-1, keepdim=True)) @ columns
        np.testing.assert_allclose(result.values.sel(layer=layer), expected, rtol=1e-3, atol=1e-4)
    assert np.abs(result.values).max() > 0.1


def test_the_source_is_the_token_that_an_induction_head_takes() -> None:
    """The circuit's last head reads, at the second a, the b behind the first: all of the answer comes from there."""
    run = rw.run(load_model((induction_model(), None)), [7, 0, 1, 2, 3, 0])
    result = rw.direct_logit_attribution(run, rw.logit_diff(1, 3), "source")
    assert float(result.values.sel(layer=1, head=1, pos=2)) == pytest.approx(10, abs=0.02)
    others = result.values.copy()
    others.loc[{"layer": 1, "head": 1, "pos": 2}] = 0
    assert float(np.abs(others).max()) < 0.02
    assert result.total == pytest.approx(10, abs=0.02)


@pytest.mark.parametrize("by", ["component", "head"])
def test_parts_are_transformer_lens_own(ioi: Any, by: str) -> None:
    """Theirs needs weights into which the norms are folded. That changes no part, where norms take off no mean."""
    bridge = TransformerBridge.boot_transformers(str(TINY), device="cpu", dtype=torch.float32)
    bridge.enable_compatibility_mode()
    theirs = direct_logit_attribution(
        bridge, torch.tensor([ioi.token_ids]), answer_tokens=" Mary", incorrect_tokens=" John", unit=by
    )
    ours = rw.direct_logit_attribution(ioi, METRIC, by).values.values.flatten()
    np.testing.assert_allclose(theirs.attribution[: len(ours), 0].detach(), ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by", ["component", "head", "neuron", "source"])
def test_many_prompts_are_the_mean_of_each(tiny: Any, by: str) -> None:
    metric = rw.logit_diff([" Mary", " Anna", " Mary"], [" John", " John", " Anna"])
    runs = [rw.run(tiny, prompt) for prompt in PROMPTS]
    each = [rw.direct_logit_attribution(run, metric.for_prompt(n, 3), by) for n, run in enumerate(runs)]
    for many in (
        rw.direct_logit_attribution(tiny, metric, by, prompts=PROMPTS),
        rw.direct_logit_attribution(runs, metric, by),
    ):
        np.testing.assert_allclose(many.prompts, np.stack([one.values for one in each]), atol=1e-4)
        np.testing.assert_allclose(many.values, many.prompts.mean("prompt"), atol=1e-9)
        np.testing.assert_allclose(many.totals, [one.total for one in each], rtol=1e-4)
        np.testing.assert_allclose(many.spread, many.prompts.std("prompt", ddof=1), atol=1e-9)
        half = 4.302652729749464 * many.spread / 3**0.5  # Student's t of 2 degrees of freedom, 97.5 %
        np.testing.assert_allclose(many.high - many.values, half, atol=1e-9)
        assert many.low.dims == many.values.dims
        assert summed(many) == pytest.approx(many.total, abs=1e-3)
        assert {"spread", "low", "high"} <= set(many.to_dataframe())
        assert "answer − foil" in many.label
        assert len(many.provenance.token_ids) == sum(len(run.token_ids) for run in runs)


def test_positions_of_prompts_of_other_lengths_mean_nothing(tiny: Any) -> None:
    with pytest.raises(rw.InputError, match="no position means the same"):
        rw.direct_logit_attribution(tiny, METRIC, "source", prompts=[PROMPTS[0], "John gave a drink to"])
    mixed = rw.direct_logit_attribution(tiny, METRIC, "head", prompts=[PROMPTS[0], "John gave a drink to"])
    assert mixed.prompts.sizes["prompt"] == 2


def test_what_an_intervention_puts_into_the_stream_has_its_own_part(ioi: Any) -> None:
    vector = np.linspace(-1, 1, 128)
    edits = [
        rw.zero(rw.Site("z", 2, head=1)),
        rw.add(rw.Site("resid_mid", 1), vector, alpha=2.0),
        rw.add(rw.Site("resid_pre", 2), -vector),
    ]
    edited = rw.intervene(ioi, edits)
    result = rw.direct_logit_attribution(edited, METRIC)
    assert [name for name in result.values.component.values if "edit" in name] == ["1.edit", "2.edit_before"]
    assert summed(result) == pytest.approx(METRIC.bound(edited).of_base(), abs=1e-4)
    put = result.values.sel(component="1.edit") / 2 + result.values.sel(component="2.edit_before")
    assert float(put) == pytest.approx(0, abs=1e-4)
    assert abs(float(result.values.sel(component="1.edit"))) > 0.01
    heads = rw.direct_logit_attribution(edited, METRIC, "head")
    assert float(heads.values.sel(layer=2, head=1)) == 0
    assert "intervened run" in result.code()


def test_some_layers_are_opened_and_the_others_are_the_rest(ioi: Any) -> None:
    whole = rw.direct_logit_attribution(ioi, METRIC, "head")
    some = rw.direct_logit_attribution(ioi, METRIC, "head", layers=[3, 1])
    assert list(some.values.layer) == [3, 1]
    np.testing.assert_allclose(some.values, whole.values.sel(layer=[3, 1]))
    assert {"embed", "0.attn_out", "2.attn_out", "0.mlp_out"} <= set(some.rest.component.values)
    assert "3.attn_out" not in some.rest.component.values
    assert summed(some) == pytest.approx(some.total, abs=1e-4)


def test_an_output_bias_belongs_to_no_head() -> None:
    plain = build("gpt2")
    run = rw.run(load_model((plain, None)), IDS)
    result = rw.direct_logit_attribution(run, rw.logit(11), "head")
    with torch.no_grad():
        for block in plain.transformer.h:
            block.attn.c_proj.bias.zero_()
    without = rw.direct_logit_attribution(rw.run(load_model((plain, None)), IDS), rw.logit(11), "head", layers=[0])
    assert abs(float(result.rest.sel(component="0.attn_bias"))) > 1e-3
    assert "0.attn_bias" not in without.rest.component.values


def test_its_table_adds_up_and_its_top_is_in_order(ioi: Any) -> None:
    result = rw.direct_logit_attribution(ioi, METRIC, "source")
    table = result.to_dataframe()
    assert float(table["value"].to_numpy().sum()) == pytest.approx(result.total, abs=1e-4)
    assert set(table["part"]) == {"source", "rest"}  # a norm without bias, an unembedding without
    top = result.top(5)
    assert len(top) == 5
    assert (np.diff(top["value"].abs()) <= 0).all()
    assert top["value"].abs().iloc[0] == pytest.approx(table["value"].abs().max())
    assert result.values.token.values[4] == "·John"
    assert "Direct effect only" in result.sentence
    assert "8.25" in result.sentence
    with pytest.raises(rw.InputError, match="n=0"):
        result.top(0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda run, dla: dla(run, rw.log_prob(" Mary")), "log_prob.*not linear in the logits.*rw.logit_diff"),
        (lambda run, dla: dla(run, "logit_diff"), "a metric is needed"),
        (lambda run, dla: dla(run, METRIC, "heads"), "by='heads': there is no such split. Use one of component, layer"),
        (lambda run, dla: dla(run, METRIC, None), "by=None: there is no such split"),
        (lambda run, dla: dla(run, METRIC, layers=[1]), "by='component' shows all"),
        (lambda run, dla: dla(run, METRIC, "head", layers=[9]), "layers=9"),
        (lambda run, dla: dla(run, METRIC, "head", layers=[]), "layers=None"),
        (lambda run, dla: dla(run, METRIC, "head", layers="all"), "layers="),
        (lambda run, dla: dla(run, METRIC, pos=99), "pos=99"),
        (lambda run, dla: dla(run, METRIC, pos="last"), "pos='last'"),
        (lambda run, dla: dla("When Mary", METRIC), "a Run, a list of Runs, or a model with prompts"),
        (lambda run, dla: dla([], METRIC), "a Run, a list of Runs"),
        (lambda run, dla: dla(run, METRIC, prompts=PROMPTS), "a ResidualModel or a TransformerBridge is needed"),
        (lambda run, dla: dla(run.model, METRIC, prompts="one"), "several prompts are needed"),
        (lambda run, dla: dla(run.model, METRIC), "a Run, a list of Runs, or a model with prompts"),
        (lambda run, dla: dla([run, run], rw.logit_diff([" Mary"] * 3, " John")), "there are 2 prompts"),
    ],
)
def test_bad_input_is_named(ioi: Any, make: Any, text: str) -> None:
    with pytest.raises(rw.InputError, match=text):
        make(ioi, rw.direct_logit_attribution)


def test_runs_of_two_models_are_refused(ioi: Any) -> None:
    other = rw.run(load_model((build("llama"), None)), IDS)
    with pytest.raises(rw.InputError, match="different models or weights"):
        rw.direct_logit_attribution([ioi, other], rw.logit_diff(3, 5))
