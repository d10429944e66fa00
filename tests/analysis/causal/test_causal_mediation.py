"""Mediation: the four effects against a plain PyTorch loop, and on a model whose parts add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import resid_widgets as rw
from resid_widgets.analysis.causal.mediation_effects import effects_of, mediation_checks
from resid_widgets.models.loading.load_model import load_model
from tests.analysis.handmade import linear_model
from tests.analysis.plain import PlainLlama, putting, script_result
from tests.csv_tables import table as read

CLEAN, CORRUPT = [1, 5, 9, 20, 33, 4, 60], [1, 5, 40, 20, 33, 8, 60]
OTHER_CLEAN, OTHER_CORRUPT = [1, 50, 9, 2, 3, 14, 6], [1, 50, 4, 2, 3, 8, 6]
METRIC = rw.logit_diff(7, 11)
MEDIATORS = {
    "a head": [rw.Site("z", 1, head=2)],
    "the stream at one token": [rw.Site("resid_mid", 2, pos=2)],
    "several, one above the other": [rw.Site("z", 1, head=0), rw.Site("mlp_out", 2, pos=-1), rw.Site("q", 3, head=1)],
    "all of the stream": [rw.Site("resid_post", 1)],
}


@pytest.fixture(scope="module")
def llama(make_model):
    return make_model("llama")


@pytest.fixture(scope="module")
def plain():
    return PlainLlama()


def outcome(plain, ids, sites, source):
    edits = {}
    for site in sites:
        pos = None if site.pos is None else site.pos % len(ids)
        edits[site.component, site.layer] = putting(source[site.component, site.layer], pos, site.head)
    logits, _ = plain.run(ids, edits)
    return float(logits[-1, 7] - logits[-1, 11])


@pytest.mark.parametrize("name", MEDIATORS)
def test_effects_equal_a_plain_loop_over_four_runs(llama, plain, name):
    sites = MEDIATORS[name]
    result = rw.causal_mediation(llama, CLEAN, CORRUPT, METRIC, sites, progress=False)
    clean, corrupt = (plain.run(ids)[1] for ids in (CLEAN, CORRUPT))
    y = {
        (x, m): outcome(plain, ids, sites, source)
        for x, ids in ((1, CLEAN), (0, CORRUPT))
        for m, source in ((1, clean), (0, corrupt))
    }
    expected = [y[1, 1] - y[0, 0], y[1, 0] - y[0, 0], y[0, 1] - y[0, 0], y[1, 1] - y[1, 0]]
    size = max(map(abs, y.values()))
    assert size > 0.1
    np.testing.assert_allclose(result.values.values[:4], expected, atol=1e-4 * size)
    np.testing.assert_allclose(result.values.values[4], expected[0] - expected[1] - expected[2], atol=2e-4 * size)
    np.testing.assert_allclose(result.outcomes.values[0], [y[1, 1], y[1, 0], y[0, 1], y[0, 0]], atol=1e-4 * size)
    assert all(check.level == "green" for check in result.checks if check.name in ("TE = NDE + TIE", "exact reuse"))


def test_a_single_site_agrees_with_patching_both_ways(llama):
    site = rw.Site("mlp_out", 1, pos=5)
    result = rw.causal_mediation(llama, CLEAN, CORRUPT, METRIC, site, progress=False)
    total = float(result.values.sel(effect="TE"))
    denoise, noise = (
        rw.patch_sweep(llama, CLEAN, CORRUPT, METRIC, component="mlp_out", direction=way, progress=False)
        for way in ("denoise", "noise")
    )
    assert float(result.values.sel(effect="NIE")) / total == pytest.approx(float(denoise.values[1, 5]), abs=1e-5)
    assert float(result.values.sel(effect="TIE")) / total == pytest.approx(1 - float(noise.values[1, 5]), abs=1e-5)
    assert result.mediated == pytest.approx(float(denoise.values[1, 5]), abs=1e-5)


def test_many_pairs_give_means_with_intervals(llama):
    clean, corrupt = [CLEAN, OTHER_CLEAN, CLEAN[::-1]], [CORRUPT, OTHER_CORRUPT, CORRUPT[::-1]]
    site = rw.Site("resid_pre", 2, pos=-1)
    result = rw.causal_mediation(llama, clean, corrupt, METRIC, site, progress=False)
    singles = [
        rw.causal_mediation(llama, a, b, METRIC, site, progress=False).values.values
        for a, b in zip(clean, corrupt, strict=True)
    ]
    np.testing.assert_allclose(result.pairs.values, singles, atol=1e-6)
    np.testing.assert_allclose(result.values.values, np.mean(singles, axis=0), atol=1e-6)
    for n, effect in enumerate(result.values.effect.values):
        numbers = [single[n] for single in singles]
        low, high = stats.t.interval(0.95, 2, loc=np.mean(numbers), scale=stats.sem(numbers))
        assert float(result.low.sel(effect=effect)) == pytest.approx(low, abs=1e-6)
        assert float(result.high.sel(effect=effect)) == pytest.approx(high, abs=1e-6)


def test_a_stop_keeps_the_pairs_that_are_done(llama):
    cleans, corrupts = [CLEAN, OTHER_CLEAN, CLEAN], [CORRUPT, OTHER_CORRUPT, OTHER_CORRUPT]
    site, seen = MEDIATORS["a head"], []
    found = rw.causal_mediation(
        llama, cleans, corrupts, METRIC, site, progress=lambda p: seen.append(p) or len(seen) < 2
    )
    two = rw.causal_mediation(llama, cleans[:2], corrupts[:2], METRIC, site, progress=False)
    np.testing.assert_array_equal(found.pairs.values, two.pairs.values)
    check = next(check for check in found.checks if check.name == "complete")
    assert check.text == "stopped: 2 of 3 pairs are complete, the others are left out"


def test_pairs_with_tokens_of_their_own_are_not_named_after_the_first(llama):
    given = [CLEAN, OTHER_CLEAN], [CORRUPT, OTHER_CORRUPT]
    own, common = rw.logit_diff([7, 8], [11, 12]), rw.logit_diff(7, 11)
    site = rw.Site("z", 1, head=2)
    told = [rw.causal_mediation(llama, *given, each, site, progress=False) for each in (own, common)]
    assert told[0].metric == "logit difference answer − foil"
    assert "answer − foil" in told[0].sentence
    assert told[1].metric == "logit difference [7] − [11]"
    assert rw.patch_sweep(llama, *given, own, component="z", progress=False).metric == told[0].metric


def test_effects_are_drawn_with_each_pair(llama):
    given = [CLEAN, OTHER_CLEAN], [CORRUPT, OTHER_CORRUPT]
    result = rw.causal_mediation(llama, *given, METRIC, rw.Site("z", 1, head=2), progress=False)
    axes = result.plot().axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(list(result.values.values))
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.stack(dots, axis=1), result.pairs.values)
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["TE (total)", "NDE (direct)"]


# --- the oracle: constant attention, linear MLP, a norm whose scale is fixed -----------------------------------------


def shares_of_interaction(hf_model):
    model = load_model((hf_model, None))
    sites = [rw.Site("mlp_out", 0), rw.Site("z", 0, head=1), rw.Site("resid_post", 0, pos=3), rw.Site("attn_out", 1)]
    shares = []
    for site in sites:
        result = rw.causal_mediation(
            model, [3, 9, 4, 17, 22], [3, 12, 4, 8, 22], rw.logit_diff(5, 20), site, progress=False
        )
        total, _, indirect, _, both = result.values.values
        assert abs(indirect) > 0.01 * abs(total)  # the mediator does mediate something
        shares.append(abs(both / total))
    return shares


def test_a_linear_model_has_no_interaction():
    assert max(shares_of_interaction(linear_model())) < 1e-3


def test_a_nonlinear_model_has_one():
    assert max(shares_of_interaction(linear_model(activation="gelu_new", attention=True))) > 1e-2


def test_a_sum_that_does_not_hold_is_red(llama):
    plain, outcomes = np.array([[3.0, 1.0]]), np.array([[3.0, 2.5, 2.0, 1.0]])

    def level(outcomes):
        checks = mediation_checks(llama.gap_limit, plain, outcomes, effects_of(plain, outcomes))
        found = {check.name: check.level for check in checks}
        return found["TE = NDE + TIE"], found["mediator of its own run"]

    assert level(outcomes) == ("green", "green")
    assert level(outcomes + np.array([0.1, 0, 0, 0])) == ("red", "red")


# --- a map over sites ------------------------------------------------------------------------------------------------


def test_the_map_has_the_effects_of_each_site(llama):
    clean, corrupt = [CLEAN, OTHER_CLEAN], [CORRUPT, OTHER_CORRUPT]
    found = rw.mediation_map(llama, clean, corrupt, METRIC, component="attn_out", progress=False)
    assert found.values.dims == ("layer", "pos")
    for layer, pos in ((0, 2), (1, 5), (3, 6), (2, 0)):
        one = rw.causal_mediation(llama, clean, corrupt, METRIC, rw.Site("attn_out", layer, pos=pos), progress=False)
        for name, array in (("NIE", found.values), ("NDE", found.nde), ("TIE", found.tie)):
            assert float(array[layer, pos]) == pytest.approx(float(one.values.sel(effect=name)), abs=1e-5)
        assert float(found.interaction[layer, pos]) == pytest.approx(
            float(one.values.sel(effect="interaction")), abs=1e-5
        )
        np.testing.assert_allclose(found.pairs[:, layer, pos], one.pairs.sel(effect="NIE"), atol=1e-5)
        assert float(found.low[layer, pos]) == pytest.approx(float(one.low.sel(effect="NIE")), abs=1e-5)
    assert found.total == pytest.approx(float(one.values.sel(effect="TE")), abs=1e-5)
    assert found.plot() is not None


def test_the_script_of_a_map_over_many_pairs_is_of_the_first(llama):
    clean, corrupt = [CLEAN, OTHER_CLEAN], [CORRUPT, OTHER_CORRUPT]
    found = rw.mediation_map(llama, clean, corrupt, METRIC, component="attn_out", progress=False)
    again = script_result(found.code() + "values = nie\n", llama.bridge)
    np.testing.assert_allclose(again, found.pairs[0], atol=1e-4)


class Halt:
    """Reports that stop the second of two sweeps once a share of it is done."""

    def __init__(self, sweep: int, share: float) -> None:
        self.sweep, self.share, self.seen, self.last = sweep, share, 1, 0

    def __call__(self, progress: Any) -> bool:
        self.seen += progress.done < self.last
        self.last = progress.done
        return not (self.seen == self.sweep and progress.done > self.share * progress.total)


@pytest.mark.parametrize(("share", "left"), [(0.4, 1), (0.7, 2)])
def test_a_map_that_is_stopped_in_its_second_sweep_has_the_pairs_of_both(llama, monkeypatch, share, left):
    monkeypatch.setattr("resid_widgets.models.reuse.engine.WAVE_TOKENS", {"cpu": 14})
    clean, corrupt = [CLEAN, OTHER_CLEAN, [*CLEAN[:-1], 9]], [CORRUPT, OTHER_CORRUPT, [*CORRUPT[:-1], 9]]
    found = rw.mediation_map(llama, clean, corrupt, METRIC, component="attn_out", progress=Halt(2, share))
    whole = rw.mediation_map(llama, clean[:left], corrupt[:left], METRIC, component="attn_out", progress=False)
    assert found.pairs.sizes["pair"] == left
    for name in ("values", "raw", "nde", "tie", "interaction", "total"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), atol=1e-5)
    (check,) = [check for check in found.checks if check.name == "complete"]
    assert check.text == f"stopped: {left} of 3 pairs are complete, the others are left out"


def test_a_map_that_is_stopped_in_its_first_sweep_begins_no_second(llama, monkeypatch):
    monkeypatch.setattr("resid_widgets.models.reuse.engine.WAVE_TOKENS", {"cpu": 14})
    halt = Halt(1, 0.4)
    found = rw.mediation_map(llama, CLEAN, CORRUPT, METRIC, component="attn_out", progress=halt)
    assert halt.seen == 1
    assert np.isfinite(found.values).any() and not np.isfinite(found.values).all()
    assert not np.isfinite(found.nde).any()
    assert {c.name: c.level for c in found.checks if c.name in ("complete", "interaction")} == {
        "complete": "amber",
        "interaction": "amber",
    }


# --- what it prints, and what it refuses -----------------------------------------------------------------------------


def test_its_script_makes_the_same_numbers(llama):
    for sites in MEDIATORS.values():
        result = rw.causal_mediation(llama, CLEAN, CORRUPT, METRIC, sites, progress=False)
        again = script_result(result.code(), llama.bridge)
        for effect, value in again.items():
            assert value == pytest.approx(float(result.values.sel(effect=effect)), abs=1e-5)


def test_it_prints_and_leaves_as_a_table(llama, tmp_path):
    result = rw.causal_mediation(llama, CLEAN, CORRUPT, METRIC, rw.Site("z", 1, head=2), progress=False)
    table = result.to_dataframe()
    assert list(table["effect"]) == ["TE", "NDE", "NIE", "TIE", "interaction"]
    assert np.isnan(table["low"].to_numpy()).all()  # one pair
    assert "one pair" in str(result)
    assert list(read(result.to_csv(tmp_path / "effects.csv"))) == list(table)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mediator": "z"}, "mediator='z': a Site or several are needed"),
        ({"mediator": []}, "a Site or several"),
        ({"mediator": rw.Site("z", 1, head=9)}, "head=9"),
        ({"mediator": rw.Site("z", 9)}, "layer=9"),
        ({"metric": rw.kl_to_base()}, "kl_to_base"),
        ({"metric": rw.logit_diff(7, 7)}, "same token"),
        ({"corrupt": CLEAN}, "same tokens"),
        ({"corrupt": CORRUPT[:-1]}, "equal lengths"),
        ({"corrupt": [CORRUPT, CORRUPT]}, "Give one each"),
    ],
)
def test_wrong_input_is_named(llama, change, words):
    given = {"clean": CLEAN, "corrupt": CORRUPT, "metric": METRIC, "mediator": rw.Site("z", 1, head=2)} | change
    with pytest.raises(rw.InputError, match=words):
        rw.causal_mediation(llama, **given, progress=False)
