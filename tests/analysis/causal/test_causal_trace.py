"""Causal tracing: against a plain PyTorch loop, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis.causal.restoring import window_layers
from resid_widgets.models.reuse import engine as engine_module
from tests.analysis.plain import PlainLlama, putting, script_result

IDS = [1, 5, 9, 20, 33, 4, 60]
SUBJECT, ANSWER, SEEDS, SIGMA = (2, 4), 11, (3, 8), 2.0


@pytest.fixture(scope="module")
def llama(make_model):
    return make_model("llama")


@pytest.fixture(scope="module")
def plain():
    return PlainLlama()


def trace(llama, **options):
    given = {"subject": SUBJECT, "answer": ANSWER, "sigma": SIGMA, "seeds": SEEDS, "progress": False} | options
    return rw.causal_trace(llama, given.pop("prompt", IDS), given.pop("subject"), given.pop("answer"), **given)


def probability(logits):
    return float(logits[-1].double().softmax(-1)[ANSWER])


def noise(clean, seed, sigma=SIGMA):
    """What ROME does to the subject's embedding; the first position is marked, and left out of the spread."""
    embedded = clean["resid_pre", 0]
    spread = embedded[1:].double().std(correction=0)
    drawn = torch.randn(embedded.shape, generator=torch.Generator().manual_seed(seed))
    new = embedded.clone()
    new[slice(*SUBJECT)] += (sigma * spread * drawn[slice(*SUBJECT)]).to(new)
    return putting(new)


@pytest.mark.parametrize(
    ("component", "window"), [("resid_post", 1), ("resid_mid", 1), ("mlp_out", 3), ("attn_out", 2)]
)
def test_each_cell_equals_a_plain_loop(llama, plain, component, window):
    result = trace(llama, component=component, window=window)
    _, clean = plain.run(IDS)
    assert result.clean == pytest.approx(probability(plain.run(IDS)[0]), abs=1e-6)
    for n, seed in enumerate(SEEDS):
        first = {("resid_pre", 0): noise(clean, seed)}
        corrupt = probability(plain.run(IDS, first)[0])
        assert result.corrupt_seeds[n] == pytest.approx(corrupt, rel=1e-4)
        assert abs(corrupt - result.clean) > 1e-4
        for layer in range(4):
            for pos in range(len(IDS)):
                near = range(max(0, layer - window // 2), min(4, layer - (-window // 2)))  # as ROME's code has it
                restored = {(component, other): putting(clean[component, other], pos) for other in near}
                expected = probability(plain.run(IDS, first | restored)[0]) - corrupt
                assert float(result.seeds[n, layer, pos]) == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(result.values.values, result.seeds.values.mean(axis=0))
    np.testing.assert_allclose(result.spread.values, result.seeds.values.std(axis=0, ddof=1))
    np.testing.assert_allclose(result.raw.values - result.corrupt, result.values.values, atol=1e-12)
    assert result.window == window


def test_windows_are_cut_off_at_the_ends():
    assert [list(window_layers(middle, 3, 5)) for middle in (0, 2, 4)] == [[0, 1], [1, 2, 3], [3, 4]]
    assert [list(window_layers(middle, 2, 5)) for middle in (0, 2)] == [[0], [1, 2]]
    assert list(window_layers(2, 1, 5)) == [2]


def test_what_attention_or_an_mlp_writes_is_restored_over_a_fifth_of_the_layers(llama, tiny):
    assert trace(llama).window == 1
    assert trace(llama, component="mlp_out").window == round(4 * 10 / 48)


def test_no_noise_has_no_effect(llama):
    result = trace(llama, sigma=0.0)
    assert result.total_effect == 0
    assert not result.values.values.any()
    assert next(check for check in result.checks if check.name == "total effect").level == "amber"


def test_more_noise_takes_more_away(tiny):
    pair = rw.tasks.load("facts", tiny, n=1).pairs[0]
    country = pair.clean.split()[-2]
    found = [
        rw.causal_trace(tiny, pair.clean, country, pair.answer, sigma=sigma, seeds=4, progress=False)
        for sigma in (0.01, 0.5, 3.0)
    ]
    effects = [each.total_effect for each in found]
    assert effects == sorted(effects)
    assert abs(effects[0]) < 0.01
    assert effects[2] > 0.9  # the tiny model knows its capitals
    assert next(check for check in found[2].checks if check.name == "total effect").level == "green"


def test_the_last_token_behind_the_last_block_brings_all_back(tiny):
    pair = rw.tasks.load("facts", tiny, n=1).pairs[0]
    country = pair.clean.split()[-2]
    result = rw.causal_trace(tiny, pair.clean, country, pair.answer, foil=pair.foil, seeds=3, progress=False)
    assert float(result.values[-1, -1]) == pytest.approx(result.total_effect, rel=1e-5)
    np.testing.assert_allclose(result.seeds.values[:, -1, -1], result.clean - result.corrupt_seeds, rtol=1e-5)
    lo, hi = result.subject
    assert (lo, hi) == (result.values.sizes["pos"] - 2, result.values.sizes["pos"] - 1)
    # All of the subject restored before the first block is the clean run.
    whole = rw.causal_trace(
        tiny, pair.clean, country, pair.answer, foil=pair.foil, seeds=3, component="resid_pre", progress=False
    )
    assert float(whole.values[0, lo]) == pytest.approx(result.total_effect, rel=1e-4)
    assert not whole.values.values[:, :lo].any()  # nothing before the subject has changed


def test_it_is_the_same_by_full_runs(llama, monkeypatch):
    quick = trace(llama)
    monkeypatch.setattr(
        engine_module, "proof_of", lambda *_: type("Failed", (), {"failed": "of this test", "gap": np.nan})()
    )
    slow = trace(llama)
    assert "full runs" in slow.checks[0].text
    np.testing.assert_allclose(quick.values.values, slow.values.values, atol=1e-7)


def test_a_stop_keeps_the_seeds_that_are_done(llama):
    seen = []
    stopped = trace(llama, seeds=(3, 8, 9), progress=lambda p: seen.append(p) or p.done < p.total / 2)
    done = [3] if len(stopped.seeds) == 1 else [3, 8]
    whole = trace(llama, seeds=done)
    np.testing.assert_array_equal(stopped.values.values, whole.values.values)
    assert list(stopped.seeds.seed.values) == done
    check = next(check for check in stopped.checks if check.name == "complete")
    assert check.text == f"stopped: {len(done)} of 3 seeds are complete, the others are left out"


def test_the_subject_can_be_named(worded):
    result = rw.causal_trace(worded, " Mary gave w20 w21", "gave w20", 40, seeds=1, progress=False)
    tokens = list(result.values.token.values)
    lo, hi = result.subject
    assert [token.replace("·", " ").strip() for token in tokens[lo:hi]] == ["gave", "w20"]
    part = rw.causal_trace(worded, " Mary gave w20 w21", "ave", 40, seeds=1, progress=False)
    assert part.subject == (lo, lo + 1)  # every token that it touches
    assert next(check for check in part.checks if check.name == "total effect").level == "amber"  # one seed


def test_its_script_makes_the_same_numbers(llama):
    for options in ({}, {"component": "resid_mid", "layers": [1, 2]}, {"component": "mlp_out", "window": 2, "foil": 3}):
        result = trace(llama, **options)
        np.testing.assert_allclose(script_result(result.code(), llama.bridge).numpy(), result.values.values, atol=1e-6)


def test_it_is_drawn_and_told(llama):
    seen = []
    result = trace(llama, progress=seen.append)
    assert seen[-1].done == seen[-1].total
    assert "positions 2 to 3" in result.sentence
    assert result.plot() is not None
    stopped = trace(llama, stop=lambda: True)
    assert np.isnan(stopped.values.values[0, 2])
    assert any(check.name == "complete" for check in stopped.checks)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"subject": (4, 2)}, "subject=.*positions 0 .. 6"),
        ({"subject": (2, 9)}, "positions 0 .. 6"),
        ({"subject": (2, 3, 4)}, "two positions"),
        ({"subject": "Paris"}, "not in the prompt"),
        ({"sigma": -1.0}, "sigma=-1.0"),
        ({"sigma": float("nan")}, "sigma=nan"),
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": [1, 1]}, "twice"),
        ({"window": 9}, "window=9"),
        ({"component": "z"}, "component='z'"),
        ({"answer": 999}, "999"),
        ({"foil": ANSWER}, "same token"),
        ({"layers": [7]}, "layers=7"),
    ],
)
def test_wrong_input_is_named(llama, change, words):
    with pytest.raises(rw.InputError, match=words):
        trace(llama, **change)


def test_a_subject_that_stands_twice_is_not_guessed(worded):
    with pytest.raises(rw.InputError, match="2 times"):
        rw.causal_trace(worded, " Mary gave w20 w20", "w20", 40, progress=False)
