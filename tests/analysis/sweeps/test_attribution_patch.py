"""Attribution patching: the estimate against finite differences and TransformerLens, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from transformer_lens.tools.analysis.attribution_patching import attribution_patch

import resid_widgets as rw
from resid_widgets.analysis.sweeps.attribution_patch import chosen_cells, compared
from resid_widgets.models.loading.load_model import load_model
from tests.analysis.handmade import linear_model
from tests.analysis.plain import PlainLlama, script_result

CLEAN, CORRUPT = [1, 5, 9, 20, 33, 4, 60], [1, 5, 40, 20, 33, 8, 60]
METRIC = rw.logit_diff(7, 11)
BY_POS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")


@pytest.fixture(scope="module")
def llama(make_model):
    return make_model("llama")


def sweep(model, clean=CLEAN, corrupt=CORRUPT, metric=METRIC, **options):
    return rw.patch_sweep(model, clean, corrupt, metric, progress=False, **({"method": "attribution"} | options))


def effect(metric_of, step=0.02):
    """The derivative along the whole way from base to source, at the base, by finite differences of fourth order.

    The step is not smaller, since a norm of the model computes in float32 whatever it is given.
    """
    near, far = (metric_of(n * step) - metric_of(-n * step) for n in (1, 2))
    return (8 * near - far) / (12 * step)


@pytest.mark.parametrize("component", [*BY_POS, "z", "q", "k", "v"])
def test_estimates_are_derivatives_along_the_patch(llama, component):
    result = sweep(llama, component=component, **({"by": "head_pos"} if component in "zqkv" else {}))
    plain = PlainLlama()
    plain.model.double()
    base_logits, base = plain.run(CORRUPT)
    source_logits, source = plain.run(CLEAN)
    measured = [float(logits[-1, 7] - logits[-1, 11]) for logits in (source_logits, base_logits)]
    scale = measured[0] - measured[1]
    expected = np.zeros(result.values.shape)
    for index in np.ndindex(expected.shape):
        layer, where = index[0], index[1:]
        change = torch.zeros_like(base[component, layer])
        change[where] = (source[component, layer] - base[component, layer])[where]

        def metric_of(step, layer=layer, change=change):
            logits, _ = plain.run(CORRUPT, {(component, layer): lambda old: old + step * change})
            return float(logits[-1, 7] - logits[-1, 11])

        expected[index] = effect(metric_of) / scale if change.any() else 0.0
    np.testing.assert_allclose(result.values.values, expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(result.raw.values, result.corrupt + expected * scale, atol=1e-3 * abs(scale))
    assert np.abs(expected).max() > 0.01


def test_it_writes_what_transformer_lens_writes(make_model):
    for family in ("gpt2", "llama"):
        model = make_model(family)
        theirs = attribution_patch(
            model.bridge,
            torch.tensor([CLEAN]),
            torch.tensor([CORRUPT]),
            lambda logits: logits[0, -1, 7] - logits[0, -1, 11],
        )
        ours = {
            "attn_head_out": sweep(model, component="z", by="head_pos"),
            "mlp_out": sweep(model, component="mlp_out"),
        }
        size = max(abs(score) for score in theirs.node_scores.values())
        compared_nodes = 0
        for node, score in theirs.node_scores.items():
            if node.kind in ours:
                found = ours[node.kind]
                place = [node.layer, node.position, *([] if node.head is None else [node.head])]
                mine = found.values.values[tuple(place)] * (found.clean - found.corrupt)
                assert mine == pytest.approx(score, abs=1e-4 * size)
                compared_nodes += 1
        assert compared_nodes == 4 * len(CLEAN) * (4 + 1)


def test_on_a_linear_model_the_estimate_is_exact():
    model = load_model((linear_model(), None))
    clean, corrupt = [3, 9, 4, 17, 22], [3, 12, 4, 8, 22]
    for component in ("resid_pre", "resid_post", "attn_out", "mlp_out", "z"):
        guess, exact = (
            sweep(model, clean, corrupt, rw.logit_diff(5, 20), component=component, method=method)
            for method in ("attribution", "exact")
        )
        np.testing.assert_allclose(guess.values.values, exact.values.values, atol=1e-3)
        assert np.abs(exact.values.values).max() > 0.05
        assert guess.attribution.rank_correlation > 0.95  # of few cells, and two without effect may change places


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_exact_values_stand_beside(llama, direction):
    result = sweep(llama, component="mlp_out", direction=direction, top=4, sample=6, seed=3)
    exact = sweep(llama, component="mlp_out", direction=direction, method="exact").values.values
    found, untouched = result.attribution, 0.0 if direction == "denoise" else 1.0
    assert (len(found.top), len(found.random)) == (4, 6)
    assert not set(found.top) & set(found.random)
    chosen = np.zeros(exact.shape, dtype=bool)
    chosen[tuple(zip(*found.top, *found.random, strict=True))] = True
    assert (np.isfinite(found.exact.values) == chosen).all()
    np.testing.assert_allclose(found.exact.values[chosen], exact[chosen], atol=1e-5)
    sizes = np.abs(result.values.values - untouched)
    assert sizes[tuple(zip(*found.top, strict=True))].min() >= np.sort(sizes.ravel())[-4] - 1e-12
    # Of its own values: in a smaller sweep sums are made in another order, and effects of 0 have other ranks.
    pairs = np.array([(result.values.values[i], found.exact.values[i]) for i in found.random])
    assert found.rank_correlation == pytest.approx(stats.spearmanr(*pairs.T).statistic)
    assert found.error == pytest.approx(np.median(np.abs(pairs[:, 0] - pairs[:, 1])), abs=1e-5)
    table = found.to_dataframe()
    assert list(table["why"]) == ["top"] * 4 + ["random"] * 6
    assert list(table.columns) == ["layer", "pos", "why", "estimate", "exact"]


def test_cells_where_nothing_changes_are_not_drawn(llama):
    found = sweep(llama, component="resid_pre", top=3, sample=100).attribution
    assert all(pos >= 2 for _, pos in (*found.top, *found.random))  # the prompts differ from position 2 on
    assert len(found.top) + len(found.random) == 2 + 3 * 5  # in layer 0 at two positions, above from the first on


def test_another_seed_draws_others(llama):
    draws = {sweep(llama, component="mlp_out", top=2, sample=4, seed=seed).attribution.random for seed in (0, 0, 1, 2)}
    assert len(draws) == 3


# --- what it says it missed ------------------------------------------------------------------------------------------


def audit(estimate, exact, top, sample, seed=0, live=None):
    import xarray as xr

    live = np.ones(estimate.shape, bool) if live is None else live
    first, drawn = chosen_cells(estimate, live, top, sample, seed)
    known = np.full(exact.shape, np.nan)
    for index in (*first, *drawn):
        known[index] = exact[index]
    array = xr.DataArray(estimate, dims=("layer", "pos"), coords={n: range(s) for n, s in
                         zip(("layer", "pos"), estimate.shape, strict=True)})  # fmt: skip
    return compared(array, known, 0.0, int(live.sum()), first, drawn)


def test_what_was_missed_is_exact_where_all_cells_are_drawn():
    generator = np.random.default_rng(0)
    exact, estimate = generator.normal(size=(5, 8)), generator.normal(size=(5, 8))
    missed = audit(estimate, exact, 10, 100).missed
    order = np.argsort(-np.abs(estimate.ravel()))
    inside, outside = np.abs(exact.ravel()[order[:10]]), np.abs(exact.ravel()[order[10:]])
    assert missed.share == pytest.approx(outside.sum() / (inside.sum() + outside.sum()))
    assert (missed.low, missed.high) == pytest.approx((missed.share, missed.share))
    assert missed.cells == missed.at_most == (outside >= np.median(inside)).sum()


def test_the_interval_covers_the_truth():
    generator = np.random.default_rng(1)
    covered = bounded = 0
    for seed in range(60):
        exact = generator.normal(size=(10, 20))
        estimate = exact + generator.normal(size=exact.shape)
        whole, part = audit(estimate, exact, 10, 1000).missed, audit(estimate, exact, 10, 30, seed).missed
        covered += part.low <= whole.share <= part.high
        bounded += whole.cells <= part.at_most
    assert covered >= 52  # 57 of 60 are expected
    assert bounded >= 52


def test_a_poor_estimate_is_red():
    generator = np.random.default_rng(2)
    exact = generator.normal(size=(6, 10))
    levels = {}
    for name, estimate in {"good": 2 * exact, "none": generator.normal(size=exact.shape), "inverse": -exact}.items():
        checks = {check.name: check.level for check in audit(estimate, exact, 5, 30).checks}
        assert checks["estimate"] == "amber"
        levels[name] = checks["rank correlation"]
    assert levels == {"good": "green", "none": "red", "inverse": "red"}


def test_too_few_cells_for_a_correlation_say_so():
    flat = audit(np.eye(4), np.eye(4), 4, 10)  # outside the top, all is 0
    assert np.isnan(flat.rank_correlation)
    assert next(check for check in flat.checks if check.name == "rank correlation").level == "amber"
    assert np.isfinite(audit(np.eye(4), np.eye(4), 4, 12).rank_correlation)  # over all cells
    none = audit(np.eye(4), np.eye(4), 4, 0)
    assert np.isnan(none.missed.share)
    assert (none.missed.low, none.missed.high) == (0.0, 1.0)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_a_batch_is_estimated_pair_by_pair(llama):
    others = [1, 50, 9, 2, 3, 14, 6], [1, 50, 4, 2, 3, 8, 6]
    clean, corrupt = [CLEAN, others[0]], [CORRUPT, others[1]]
    result = sweep(llama, clean, corrupt, component="mlp_out", top=3, sample=5)
    exact = sweep(llama, clean, corrupt, component="mlp_out", method="exact")
    singles = [sweep(llama, a, b, component="mlp_out") for a, b in zip(clean, corrupt, strict=True)]
    effects = [(one.raw - one.corrupt).values for one in singles]
    scale = result.clean - result.corrupt
    np.testing.assert_allclose(result.pairs.values, np.array(effects) / scale, atol=1e-6)
    known = np.isfinite(result.attribution.exact.values)
    assert known.sum() == 8
    np.testing.assert_allclose(result.attribution.exact.values[known], exact.values.values[known], atol=1e-5)


def test_frozen_weights_and_a_thread_without_gradients_make_no_difference(llama):
    expected = sweep(llama, component="z").values.values
    parameters = list(llama.bridge.original_model.parameters())
    wanted = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None  # what a script of another test has left
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        with torch.no_grad():
            found = sweep(llama, component="z").values.values
    finally:
        for parameter, want in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(want)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert all(parameter.grad is None for parameter in parameters)


@pytest.mark.parametrize("options", [{"component": "resid_mid"}, {"component": "z", "by": "head_pos"},
                                     {"component": "pattern"}, {"component": "v", "direction": "noise"},
                                     {"component": "mlp_post", "layers": [1], "neurons": [0, 3, 17]}])  # fmt: skip
def test_its_script_makes_the_same_numbers(llama, options):
    result = sweep(llama, **options)
    found = script_result(result.code(), llama.bridge).detach().numpy()
    np.testing.assert_allclose(found, result.values.values, atol=1e-5)


def test_it_says_that_it_is_an_estimate(llama):
    result = sweep(llama)
    assert "estimate" in result.title
    assert result.provenance.options["method"] == "attribution"
    assert sweep(llama, method="exact").attribution is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metric": rw.rank(7)}, "no gradient"),
        ({"metric": rw.kl_to_base()}, "flat"),
        ({"top": 0}, "top=0"),
        ({"sample": -1}, "sample=-1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_input_is_named(llama, change, words):
    with pytest.raises(rw.InputError, match=words):
        sweep(llama, **change)
