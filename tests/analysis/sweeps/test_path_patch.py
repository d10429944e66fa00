"""Path patching: against freezing everything by plain hooks, against TransformerLens, and on a known circuit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformer_lens.patching import get_act_patch_direct_path

import resid_widgets as rw
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.reuse import engine as engine_module
from tests.analysis.handmade import induction_model
from tests.analysis.plain import PlainLlama, putting, script_result

CLEAN, CORRUPT = [1, 5, 9, 20, 33, 4, 60], [1, 5, 40, 20, 33, 8, 60]
METRIC = rw.logit_diff(7, 11)
N = 4  # layers, and heads


@pytest.fixture(scope="module")
def llama(make_model):
    return make_model("llama")


@pytest.fixture(scope="module")
def plain():
    return PlainLlama()


def paths(model, sender="z", receivers="logits", clean=CLEAN, corrupt=CORRUPT, metric=METRIC, **options):
    return rw.path_patch(model, clean, corrupt, metric, sender, receivers, progress=False, **options)


def diff(logits):
    return float(logits[-1, 7] - logits[-1, 11])


def frozen(plain, sender, receivers):
    """Path patching as Wang et al. describe it: freeze all, note what the receivers take, then let them have it."""
    _, base = plain.run(CORRUPT)
    _, source = plain.run(CLEAN)
    still = {(part, layer): putting(base[part, layer]) for part in ("attn_out", "mlp_out") for layer in range(N)}
    start = {(sender.component, sender.layer): putting(source[sender.component, sender.layer], sender.pos, sender.head)}
    if sender.component == "z":
        del still["attn_out", sender.layer]
    logits, seen = plain.run(CORRUPT, still | start)
    if receivers == "logits":
        return diff(logits)
    taken = {}
    for site in receivers:
        watched = dict(still | start)
        watched.pop((site.component, site.layer), None)  # what the receiver makes of it is not held still
        _, seen = plain.run(CORRUPT, watched)
        taken[site.component, site.layer] = putting(seen[site.component, site.layer], site.pos, site.head)
    return diff(plain.run(CORRUPT, taken)[0])


Q, V = rw.Site("q", 2, head=1), rw.Site("v", 3, head=0)
RECEIVERS = {
    "logits": "logits",
    "a query": [Q],
    "all keys of a layer": [rw.Site("k", 3)],
    "a value at one token": [rw.Site("v", 2, pos=5, head=1)],
    "an MLP": [rw.Site("mlp_out", 2)],
    "several in two layers": [Q, V, rw.Site("mlp_out", 3)],
}


@pytest.mark.parametrize("name", RECEIVERS)
def test_heads_send_what_freezing_everything_lets_through(llama, plain, name):
    receivers = RECEIVERS[name]
    result = paths(llama, "z", receivers)
    assert result.values.dims == ("layer", "head")
    moved = 0.0
    for layer in range(N):
        for head in range(N):
            expected = frozen(plain, rw.Site("z", layer, head=head), receivers)
            assert float(result.raw[layer, head]) == pytest.approx(expected, abs=1e-5)
            moved = max(moved, abs(expected - result.corrupt))
    assert moved > 1e-3
    np.testing.assert_allclose(
        result.values.values, (result.raw.values - result.corrupt) / (result.clean - result.corrupt), atol=1e-9
    )


@pytest.mark.parametrize("component", ["mlp_out", "attn_out", "resid_pre", "resid_mid"])
def test_other_senders_by_token(llama, plain, component):
    receivers = [Q, rw.Site("mlp_out", 2)]
    result = paths(llama, component, receivers)
    assert result.values.dims == ("layer", "pos")
    for layer, pos in ((0, 2), (1, 5), (1, 3), (2, 6), (2, 5), (3, 6)):
        if component.startswith("resid"):  # the stream behind a sender, with what comes later added as in the base run
            _, base = plain.run(CORRUPT)
            _, source = plain.run(CLEAN)
            change = torch.zeros_like(base[component, layer])
            change[pos] = (source[component, layer] - base[component, layer])[pos]
            taken = {}
            if layer <= 2 and not (component == "resid_mid" and layer == 2):
                _, seen = plain.run(CORRUPT, {("resid_pre", 2): putting(base["resid_pre", 2] + change)})
                taken["q", 2] = putting(seen["q", 2], None, 1)
            if layer <= 2:
                _, seen = plain.run(CORRUPT, {("resid_mid", 2): putting(base["resid_mid", 2] + change)})
                taken["mlp_out", 2] = putting(seen["mlp_out", 2])
            expected = diff(plain.run(CORRUPT, taken)[0])
        else:
            expected = frozen(plain, rw.Site(component, layer, pos=pos), receivers)
        assert float(result.raw[layer, pos]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("family", "component"), [("gpt2", "q"), ("gpt2", "k"), ("gpt2", "v"), ("llama", "q")])
def test_it_is_the_edge_that_transformer_lens_patches(make_model, family, component):
    model = make_model(family)
    caches = [model.bridge.run_with_cache(torch.tensor([ids]))[1] for ids in (CLEAN, CORRUPT)]
    sender = rw.Site("z", 1, head=2)
    theirs = get_act_patch_direct_path(
        model.bridge, torch.tensor([CORRUPT]), *caches, lambda logits: logits[0, -1, 7] - logits[0, -1, 11], 1, 2,
        component, verbose=False,
    )  # fmt: skip
    moved = 0.0
    for layer in (2, 3):
        for head in range(N):
            ours = paths(model, sender, rw.Site(component, layer, head=head))
            assert ours.raw.item() == pytest.approx(float(theirs[layer, head]), abs=1e-5)
            moved = max(moved, abs(ours.raw.item() - ours.corrupt))
    assert moved > 1e-4


# --- a circuit that is known -----------------------------------------------------------------------------------------

A, B, C, D, BOS = 0, 1, 2, 3, 7
MATCH = {"clean": [BOS, A, B, C, D, A], "corrupt": [BOS, C, B, A, D, A], "metric": rw.logit_diff(B, D)}
COPIED = {"clean": [BOS, A, B, C, D, A], "corrupt": [BOS, A, D, C, B, A], "metric": rw.logit_diff(B, D)}


@pytest.fixture(scope="module")
def induction():
    return load_model((induction_model(), None))


def test_the_graph_of_the_induction_circuit_is_recovered(induction):
    """Every edge into every receiver: one of them carries all, the others nothing."""
    edges = {}
    for component in ("q", "k", "v"):
        for head in (0, 1):
            edges[f"{component}{head}"] = paths(induction, "z", rw.Site(component, 1, head=head), **MATCH).values.values
    edges["logits"] = paths(induction, "z", "logits", **MATCH).values.values
    edges["mlp"] = paths(induction, "z", [rw.Site("mlp_out", 0), rw.Site("mlp_out", 1)], **MATCH).values.values
    previous_token, copying = (0, 1), (1, 1)
    for name, found in edges.items():
        expected = np.zeros((2, 2))
        if name == "k1":
            expected[previous_token] = 1
        if name == "logits":
            expected[copying] = 1
        np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=name)


def test_the_embedding_reaches_the_circuit_where_it_should(induction):
    first, second = rw.Site("v", 0, head=1), rw.Site("v", 1, head=1)
    matched = paths(induction, "resid_pre", first, layers=[0], **MATCH).values.values[0]
    np.testing.assert_allclose(matched, [0, 0.5, 0, 0.5, 0, 0], atol=1e-3)
    np.testing.assert_allclose(paths(induction, "resid_pre", second, layers=[0], **MATCH).values, 0, atol=1e-3)
    copied = paths(induction, "resid_pre", second, layers=[0], **COPIED).values.values[0]
    assert copied[2] == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(np.delete(copied, 2), 0, atol=1e-3)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_noise_is_the_other_direction(llama):
    forth = paths(llama, "z", [Q], direction="denoise", clean=CORRUPT, corrupt=CLEAN)
    back = paths(llama, "z", [Q], direction="noise")
    np.testing.assert_allclose(back.raw.values, forth.raw.values, atol=1e-5)
    np.testing.assert_allclose(back.values.values, 1 - forth.values.values, atol=1e-5)


def test_a_sender_behind_all_receivers_has_no_effect(llama):
    result = paths(llama, "z", [Q])
    assert not result.values.values[2:].any()
    assert result.values.values[:2].any()


def test_one_sender_is_one_cell(llama):
    swept = paths(llama, "z", [Q, V])
    one = paths(llama, rw.Site("z", 1, head=3), [Q, V])
    assert one.values.shape == (1, 1)
    assert one.values.item() == pytest.approx(float(swept.values[1, 3]), abs=1e-5)
    assert one.tokens_visible == ("z[layer 1, head 3]",)
    assert one.plot() is not None
    assert one.receivers == (Q, V)


def test_by_head_and_position_adds_up_to_where_it_acts(llama):
    """What a head writes at one token goes to that token's logits alone."""
    apart = paths(llama, "z", "logits", by="head_pos")
    assert apart.values.dims == ("layer", "pos", "head")
    np.testing.assert_allclose(apart.values.values[:, :-1], 0, atol=1e-5)
    np.testing.assert_allclose(apart.values.values[:, -1], paths(llama, "z", "logits").values.values, atol=1e-5)


def test_rounding_is_not_drawn_as_an_effect(induction):
    """Where nothing passes, all cells are some 1e-7: they have the colour of zero."""
    silent = paths(induction, "z", rw.Site("q", 1, head=0), by="head_pos", **MATCH)
    assert np.abs(silent.values.values).max() < 1e-5
    assert silent.scale.high == pytest.approx(1e-4)
    assert silent.plot() is not None  # of three dims


def test_a_batch_is_the_mean_of_its_pairs(llama):
    others = [1, 50, 9, 2, 3, 14, 6], [1, 50, 4, 2, 3, 8, 6]
    both = paths(llama, "z", [Q], clean=[CLEAN, others[0]], corrupt=[CORRUPT, others[1]])
    singles = [paths(llama, "z", [Q]), paths(llama, "z", [Q], clean=others[0], corrupt=others[1])]
    np.testing.assert_allclose(both.raw.values, np.mean([one.raw.values for one in singles], axis=0), atol=1e-5)
    assert both.pairs.shape == (2, N, N)


OTHERS = [
    "gpt_neox",
    "gemma2",
    pytest.param("olmo2", marks=pytest.mark.slow),
    pytest.param("gptj", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("family", OTHERS)
def test_quick_and_full_runs_agree_on_other_kinds_of_blocks(make_model, monkeypatch, family):
    """Parallel attention, and norms behind attention and MLP."""
    model = make_model(family)
    receivers = [rw.Site("q", 2, head=1), rw.Site("mlp_out", 3), "logits"]
    quick = paths(model, "z", receivers)
    monkeypatch.setattr(
        engine_module, "proof_of", lambda *_: type("Failed", (), {"failed": "of this test", "gap": np.nan})()
    )
    slow = paths(model, "z", receivers)
    assert "full runs" in slow.checks[0].text
    assert (quick.checks[0].name, quick.checks[0].level) == ("exact reuse", "green")
    np.testing.assert_allclose(quick.values.values, slow.values.values, atol=1e-4)
    np.testing.assert_allclose(script_result(quick.code(), model.bridge).numpy(), quick.values.values, atol=1e-4)


@pytest.mark.parametrize(
    "sender", ["z", "mlp_out", "resid_mid", rw.Site("z", 1, pos=3, head=2), rw.Site("attn_out", 0)]
)
def test_its_script_makes_the_same_numbers(llama, sender):
    result = paths(llama, sender, [Q, rw.Site("mlp_out", 2), "logits"])
    np.testing.assert_allclose(script_result(result.code(), llama.bridge).numpy(), result.values.values, atol=1e-5)


def test_progress_ends_and_a_stop_leaves_what_is_known(llama):
    seen = []
    rw.path_patch(llama, CLEAN, CORRUPT, METRIC, "z", [V], progress=seen.append)
    assert seen[-1].done == seen[-1].total
    assert np.isfinite(seen[-1].values).all()
    partial = rw.path_patch(llama, CLEAN, CORRUPT, METRIC, "z", [V], progress=lambda progress: False)
    assert np.isfinite(partial.values.values[0]).all()
    assert np.isnan(partial.values.values[2]).all()


def test_a_stop_keeps_the_pairs_that_are_done(llama):
    cleans, corrupts = [CLEAN] * 3, [CORRUPT] * 3
    whole = rw.path_patch(llama, CLEAN, CORRUPT, METRIC, "z", [V], progress=False)
    asked = []
    rw.path_patch(llama, CLEAN, CORRUPT, METRIC, "z", [V], progress=False, stop=lambda: asked.append(None))
    answers = iter([False] * (len(asked) + 1) + [True] * 999)
    found = rw.path_patch(llama, cleans, corrupts, METRIC, "z", [V], progress=False, stop=lambda: next(answers))
    np.testing.assert_array_equal(found.values.values, whole.values.values)
    assert "stopped: 1 of 3 pairs" in next(check.text for check in found.checks if check.name == "complete")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sender": "pattern"}, "component='pattern'"),
        ({"sender": rw.Site("q", 1)}, "component='q'"),
        ({"sender": rw.Site("z", 9, head=0)}, "9"),
        ({"sender": rw.Site("z", 1, head=9)}, "head=9"),
        ({"sender": rw.Site("z", 1, head=1), "layers": [1]}, "one sender"),
        ({"sender": rw.Site("z", 3, head=1)}, "none comes after"),
        ({"receivers": "logit"}, "receivers='logit'"),
        ({"receivers": rw.Site("z", 3, head=1)}, "q, k, v, mlp_out or mlp_post"),
        ({"receivers": []}, "receivers="),
        ({"receivers": [Q, Q]}, "twice"),
        ({"receivers": rw.Site("q", 2, head=7)}, "head=7"),
        ({"corrupt": CORRUPT[:-1]}, "equal lengths"),
    ],
)
def test_wrong_input_is_named(llama, change, words):
    given = {"sender": "z", "receivers": [Q]} | change
    with pytest.raises(rw.InputError, match=words):
        paths(llama, **given)
