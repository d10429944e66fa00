"""What heads add to the stream, against plain sums over their weights; and direct beside causal effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis.contributions.heads_result import told
from resid_widgets.models.loading.load_model import load_model
from tests.analysis.handmade import induction_model
from tests.analysis.plain import script_result
from tests.architectures import build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than each window
PROMPT = "When Mary and John went to the store, John gave a drink to"
METRIC = rw.logit_diff(" Mary", " John")


@pytest.fixture(scope="module")
def ioi(tiny: Any) -> Any:
    return rw.run(tiny, PROMPT)


@pytest.fixture(scope="module")
def found(ioi: Any) -> Any:
    return rw.head_contributions(ioi, METRIC, progress=False)


def test_norm_share_and_cosine_are_their_definitions(tiny: Any, ioi: Any, found: Any) -> None:
    for layer in (0, 3):
        rows = tiny.bridge.blocks[layer].attn.W_O.detach().double()  # [head, d_head, d_model]
        parts = torch.einsum("qhd,hdm->hqm", ioi.activation("z", layer).double(), rows)
        before = ioi.tensor("resid_pre", layer).double()
        after = before + ioi.tensor("attn_out", layer).double()
        here = found.heads.sel(layer=layer)
        np.testing.assert_allclose(here["norm"], parts.norm(dim=-1), rtol=1e-4)
        cosine = torch.nn.functional.cosine_similarity(parts, before[None], dim=-1)
        np.testing.assert_allclose(here["cosine"], cosine, atol=1e-5)
        np.testing.assert_allclose(here["share"], (parts * after).sum(-1) / after.square().sum(-1), atol=1e-5)
        stream = (before * after).sum(-1) / after.square().sum(-1)  # no output bias here: these are all that wrote
        np.testing.assert_allclose(here["share"].sum("head") + stream.numpy(), 1, atol=1e-5)


def test_the_source_is_the_token_that_most_was_read_from(tiny: Any, ioi: Any, found: Any) -> None:
    layer = 2
    rows = tiny.bridge.blocks[layer].attn.W_O.detach().double()
    pattern, v = ioi.activation("pattern", layer).double(), ioi.activation("v", layer).double()
    v = v.repeat_interleave(len(pattern) // v.shape[1], dim=1)
    weighted = pattern * torch.einsum("khd,hdm->hkm", v, rows).norm(dim=-1)[:, None]
    here = found.heads.sel(layer=layer)
    share = weighted / weighted.sum(-1, keepdim=True)
    np.testing.assert_allclose(here["source_share"], share.max(-1).values, rtol=1e-4)
    chosen = torch.gather(share, -1, torch.from_numpy(here["source"].values)[..., None])[..., 0]
    np.testing.assert_allclose(chosen, share.max(-1).values, rtol=1e-4)  # equal ones may trade places


def test_effects_are_those_of_the_two_methods(ioi: Any, found: Any) -> None:
    direct = rw.direct_logit_attribution(ioi, METRIC, "head").values
    sweep = rw.ablation_sweep(ioi, METRIC, "z", "zero", progress=False)
    np.testing.assert_allclose(found.heads["direct"], direct, atol=1e-6)
    np.testing.assert_allclose(found.heads["causal"], -sweep.values, atol=1e-6)
    np.testing.assert_allclose(found.heads["indirect"], -sweep.values - direct, atol=1e-6)
    assert found.base == pytest.approx(sweep.base)


def test_a_mean_counts_from_the_mean(ioi: Any) -> None:
    """The direct effect of replacing one head by its mean is what the answer loses if later layers stay as they are."""
    found = rw.head_contributions(ioi, METRIC, "mean", progress=False)
    sweep = rw.ablation_sweep(ioi, METRIC, "z", "mean", progress=False)
    np.testing.assert_allclose(found.heads["causal"], -sweep.values, atol=1e-6)
    z = ioi.activation("z", 3).double()
    mean = z[[pos for pos in range(ioi.n_pos) if pos not in ioi.marked]].mean(0)
    edited = rw.intervene(ioi, rw.set_to(rw.Site("z", 3, pos=-1), mean.float()))
    whole = rw.direct_logit_attribution(ioi, METRIC)
    direct = float(found.heads["direct"].sel(layer=3).sum())
    change = (edited.tensor("attn_out", 3)[-1] - ioi.tensor("attn_out", 3)[-1]).double()
    read = rw.along(ioi, " Mary"), rw.along(ioi, " John")
    assert whole.total == pytest.approx(read[0].total - read[1].total, abs=1e-4)
    norm = ioi.model.bridge.ln_final.original_component
    final = ioi.tensor("resid_post", 3)[-1].double()
    columns = ioi.model.bridge.W_U.detach().double()
    answer = columns[:, ioi.model.token_id(" Mary")] - columns[:, ioi.model.token_id(" John")]
    scaled = change * norm.weight.detach().double() / (final.square().mean() + norm.variance_epsilon).sqrt()
    assert direct == pytest.approx(-float(scaled @ answer), abs=1e-3)


def test_the_induction_circuit_is_told() -> None:
    run = rw.run(load_model((induction_model(), None)), [7, 0, 1, 2, 3, 0])
    found = rw.head_contributions(run, rw.logit_diff(1, 3), progress=False)
    table = found.to_dataframe().set_index(["layer", "head"])
    assert table.loc[(1, 1), "reading"] == "direct"
    assert table.loc[(1, 1), "direct"] == pytest.approx(10, abs=0.05)
    assert table.loc[(0, 1), "reading"] == "indirect"  # it acts through the other's keys alone
    assert abs(table.loc[(0, 1), "direct"]) < 0.05
    assert abs(table.loc[(0, 1), "causal"]) > 1
    writes = found.writes().set_index(["layer", "head", "pos"])
    assert writes.loc[(1, 1, 5), "source"] == 2
    assert list(found.to_dataframe()[["layer", "head"]].iloc[0]) == [1, 1]


def test_words_for_two_effects() -> None:
    direct = np.array([[1.0, 1.0, 1.0, 1.0, 0.0, np.nan]])
    causal = np.array([[1.05, 0.5, -0.5, 2.0, 0.0, np.nan]])
    assert told(direct, causal).tolist() == [["direct", "self-repair", "self-repair", "indirect", "direct", ""]]


@pytest.mark.parametrize("family", ["gpt2", "olmo2", "gemma3_text", "granite", "gpt_oss", "mistral"])
def test_families_and_their_scripts(family: str) -> None:
    model = load_model((build(family), None))
    run = rw.run(model, IDS)
    found = rw.head_contributions(run)
    assert found.label == ""
    assert "causal" not in found.heads
    assert all(check.level == "green" for check in found.checks)
    np.testing.assert_allclose(script_result(found.code(), model.bridge), found.values, rtol=1e-4, atol=1e-6)
    layer = run.layers[-1]
    parts = found.heads.sel(layer=layer)["norm"].values
    whole = run.tensor("attn_out", layer).double().norm(dim=-1).numpy()
    assert (parts.sum(0) >= 0.1 * whole).all()  # of the size of what attention adds, multiplier and norm included
    assert np.isfinite(found.heads["source_share"]).all()


def test_where_a_norm_stands_between_sources_are_not_told() -> None:
    run = rw.run(load_model((build("bitnet"), None)), IDS)
    found = rw.head_contributions(run)
    assert [check.level for check in found.checks if check.name == "sources"] == ["amber"]
    assert (found.heads["source"] == -1).all()
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda run: rw.head_contributions("x"), "a Run is needed"),
        (lambda run: rw.head_contributions(run, rw.rank(" Mary")), "not linear in the logits"),
        (lambda run: rw.head_contributions(run, METRIC, "noise"), "how='noise': there is no such ablation here"),
        (lambda run: rw.head_contributions(run, "logit_diff"), "a metric is needed"),
    ],
)
def test_bad_input_is_named(ioi: Any, make: Any, text: str) -> None:
    with pytest.raises(rw.InputError, match=text):
        make(ioi)
