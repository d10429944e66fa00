"""Patching sweeps against TransformerLens, against a plain loop over Hugging Face's modules, and by hand."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformer_lens import patching

import resid_widgets as rw
from resid_widgets.errors import InputError, UnsupportedModelError
from tests.analysis.plain import script_result
from tests.csv_tables import table
from tests.models.plain_interventions import Plain, Where, plain_edit

CLEAN, CORRUPT = [1, 5, 9, 20, 33, 4, 60], [1, 5, 40, 20, 33, 8, 60]
METRIC = rw.logit_diff(7, 11)
RANKED = 7
BY_POS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
HEADS = ("z", "q", "k", "v", "pattern")
TINY_PAIR = (
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
)
# Where TransformerLens writes the same thing. Its resid_mid is only what the MLP reads.
THEIRS = {
    "resid_pre": patching.get_act_patch_resid_pre,
    "attn_out": patching.get_act_patch_attn_out,
    "mlp_out": patching.get_act_patch_mlp_out,
    "z": patching.get_act_patch_attn_head_out_all_pos,
    "q": patching.get_act_patch_attn_head_q_all_pos,
    "k": patching.get_act_patch_attn_head_k_all_pos,
    "v": patching.get_act_patch_attn_head_v_all_pos,
    "pattern": patching.get_act_patch_attn_head_pattern_all_pos,
}
THEIRS_BY_POS = {
    "z": patching.get_act_patch_attn_head_out_by_pos,
    "q": patching.get_act_patch_attn_head_q_by_pos,
    "k": patching.get_act_patch_attn_head_k_by_pos,
    "v": patching.get_act_patch_attn_head_v_by_pos,
    "pattern": patching.get_act_patch_attn_head_pattern_by_pos,
}


@pytest.fixture(scope="module")
def llama(make_model: Any) -> Any:
    return make_model("llama")


def sweep(
    model: Any,
    component: str = "resid_pre",
    clean: Any = CLEAN,
    corrupt: Any = CORRUPT,
    metric: Any = METRIC,
    **options: Any,
) -> Any:
    return rw.patch_sweep(model, clean, corrupt, metric, component=component, progress=False, **options)


def options_of(component: str) -> dict[str, Any]:
    return {"layers": [0, 2], "neurons": [1, 17, 40]} if component == "mlp_post" else {}


# --- the same numbers as TransformerLens -----------------------------------------------------------------------------


def theirs(model: Any, function: Any, base: Any, source: Any, answer: int, foil: int) -> np.ndarray:
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(torch.tensor([list(source)]))
        grid = function(
            model.bridge, torch.tensor([list(base)]), cache, lambda logits: logits[0, -1, answer] - logits[0, -1, foil]
        )
    return grid.numpy()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("family", "component"),
    # On Llama TransformerLens counts query heads for k and v, of which there are more than key-value heads.
    [("gpt2", c) for c in THEIRS] + [("llama", c) for c in THEIRS if c not in ("k", "v")],
)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_equals_transformer_lens(make_model: Any, family: str, component: str, direction: str) -> None:
    model = make_model(family)
    found = sweep(model, component, direction=direction)
    base, source = (CORRUPT, CLEAN) if direction == "denoise" else (CLEAN, CORRUPT)
    expected = theirs(model, THEIRS[component], base, source, 7, 11)
    assert expected.shape == found.values.shape
    np.testing.assert_allclose(found.raw.values, expected, atol=1e-4)
    assert np.ptp(expected) > 1e-2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("component", THEIRS_BY_POS)
def test_equals_transformer_lens_by_position(make_model: Any, component: str) -> None:
    model = make_model("gpt2")
    found = sweep(model, component, by="head_pos", direction="noise")
    expected = theirs(model, THEIRS_BY_POS[component], CLEAN, CORRUPT, 7, 11)
    places = ("layer", "head", "dest_pos") if component == "pattern" else ("layer", "pos", "head")
    if places[1] == "head" and expected.shape == (4, 4, 7):
        expected = expected.transpose(0, 2, 1)
    assert found.values.dims == ("layer", "pos", "kv_head" if component in "kv" else "head")
    np.testing.assert_allclose(found.raw.values, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("component", ["resid_pre", "attn_out", "mlp_out", "z", "v", "pattern"])
def test_equals_transformer_lens_on_the_tiny_model(tiny: Any, component: str) -> None:
    clean, corrupt = TINY_PAIR
    found = sweep(tiny, component, clean, corrupt, rw.logit_diff(" Mary", " John"))
    ids = [rw.run(tiny, prompt, keep="resid_post").token_ids for prompt in TINY_PAIR]
    expected = theirs(tiny, THEIRS[component], ids[1], ids[0], tiny.token_id(" Mary"), tiny.token_id(" John"))
    np.testing.assert_allclose(found.raw.values, expected, atol=1e-4)
    scale = found.clean - found.corrupt
    np.testing.assert_allclose(found.values.values, (expected - found.corrupt) / scale, atol=1e-4)


# --- the same numbers as a plain loop --------------------------------------------------------------------------------


def plain_loop(plain: Plain, result: Any, base: Any, source: Any) -> np.ndarray:
    expected = np.full(result.cells.shape, np.nan)
    for index, site in result.cells:
        where = Where(site.component, site.layer, site.pos, site.head, site.neuron)
        logits, _ = plain.run(base, [plain_edit(plain, base, "patch", where, {"source": tuple(source)})])
        expected[index] = float(logits[-1, 7] - logits[-1, 11])
    return expected


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "mixtral", "gpt_bigcode"])
def test_equals_a_plain_loop(make_model: Any, family: str) -> None:
    model, plain = make_model(family), Plain(family)
    size = np.abs(plain.run(CLEAN)[0].numpy()).max()
    for component in (*BY_POS, *HEADS, "mlp_post"):
        options = {"layers": [0, 3]} | options_of(component)
        try:
            found = sweep(model, component, **options)
        except (UnsupportedModelError, InputError) as error:
            refused = {"gpt_neox": {"resid_mid"}, "mixtral": {"mlp_post"}}
            assert component in refused.get(family, set()), error  # noqa: PT017
            continue
        np.testing.assert_allclose(found.raw.values, plain_loop(plain, found, CORRUPT, CLEAN), atol=1e-4 * size)
        assert found.checks[0].level == "green"


@pytest.mark.parametrize("component", HEADS)
def test_heads_by_position_equal_a_plain_loop(llama: Any, component: str) -> None:
    found = sweep(llama, component, by="head_pos", direction="noise", layers=[1, 2])
    expected = plain_loop(Plain("llama"), found, CLEAN, CORRUPT)
    np.testing.assert_allclose(found.raw.values, expected, atol=1e-4)


def test_a_pair_that_differs_everywhere(llama: Any) -> None:
    other = [2, 6, 10, 21, 34, 5, 61]
    found = sweep(llama, "resid_pre", CLEAN, other)
    np.testing.assert_allclose(found.raw.values, plain_loop(Plain("llama"), found, other, CLEAN), atol=1e-4)


@pytest.mark.parametrize(
    "metric",
    [rw.log_prob(7, pos=[2, -1]), rw.prob(7), rw.rank(RANKED), rw.kl_to_base(pos=[3, -1])],
    ids=lambda metric: metric.kind,
)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_every_metric(llama: Any, metric: Any, direction: str) -> None:
    found = sweep(llama, "attn_out", metric=metric, direction=direction, layers=[2])
    ids = (CORRUPT, CLEAN) if direction == "denoise" else (CLEAN, CORRUPT)
    base, source = (rw.run(llama, each) for each in ids)
    reading = metric.bound(base)
    for pos in (0, 2, 4, 6):
        new = rw.intervene(base, rw.patch(rw.Site("attn_out", 2, pos), source))
        final = new.tensor("resid_post", 3)[list(reading.positions)]
        assert float(found.raw[0, pos]) == pytest.approx(float(reading.of_stream(final[None])[0]), abs=1e-5)
    unpatched = [found.corrupt, found.clean] if direction == "denoise" else [found.clean, found.corrupt]
    assert unpatched[0] == pytest.approx(reading.of_base(), abs=1e-6)


# --- one scale for both directions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_normalised_from_corrupt_to_clean(llama: Any, direction: str) -> None:
    found = sweep(llama, "resid_post", direction=direction)
    ends = [METRIC.bound(rw.run(llama, ids)).of_base() for ids in (CLEAN, CORRUPT)]
    assert (found.clean, found.corrupt) == pytest.approx(tuple(ends), abs=1e-6)
    expected = (found.raw.values - ends[1]) / (ends[0] - ends[1])
    np.testing.assert_allclose(found.values.values, expected, rtol=1e-9, atol=1e-5)
    assert found.direction == direction
    # The last position of the last layer is all that is read.
    assert float(found.values[3, 6]) == pytest.approx(1 if direction == "denoise" else 0, abs=1e-5)
    # Before the first difference nothing changes.
    assert (found.values.values[:, :2] == (0 if direction == "denoise" else 1)).all()
    assert direction in found.title
    assert {"denoise": "Clean values put into", "noise": "Corrupt values put into"}[direction] in found.sentence


def test_never_clipped(llama: Any) -> None:
    values = np.concatenate([sweep(llama, c).values.values.ravel() for c in ("attn_out", "mlp_out", "z")])
    assert (values < 0).any() or (values > 1).any()


def test_exchanging_the_prompts_turns_the_scale_round(llama: Any) -> None:
    one = sweep(llama, "z")
    other = sweep(llama, "z", CORRUPT, CLEAN, direction="noise")
    np.testing.assert_allclose(one.raw.values, other.raw.values, atol=1e-6)
    np.testing.assert_allclose(one.values.values, 1 - other.values.values, atol=1e-5)


def test_a_single_difference_decides_everything_at_layer_0(llama: Any) -> None:
    """DESIGN's oracle: where one token differs, resid_pre of layer 0 at it is all of the prompt."""
    corrupt = [*CLEAN]
    corrupt[2] = 40
    for direction, full in (("denoise", 1), ("noise", 0)):
        values = sweep(llama, "resid_pre", CLEAN, corrupt, direction=direction).values
        assert float(values[0, 2]) == pytest.approx(full, abs=1e-5)
        assert (values.values[0, [0, 1, 3, 4, 5, 6]] == 1 - full).all()


# --- batches ---------------------------------------------------------------------------------------------------------

PAIRS = [
    (CLEAN, CORRUPT),
    ([1, 50, 9, 2, 3, 14, 6], [1, 50, 4, 2, 3, 8, 6]),
    ([1, 22, 19, 72, 13, 4, 36], [1, 22, 15, 72, 13, 4, 36]),
]


@pytest.mark.parametrize("component", ["resid_pre", "z"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_batch_by_hand(llama: Any, component: str, direction: str) -> None:
    cleans, corrupts = (list(each) for each in zip(*PAIRS, strict=True))
    answers, foils = [7, 3, 60], [11, 12, 5]
    found = sweep(llama, component, cleans, corrupts, rw.logit_diff(answers, foils), direction=direction)
    singles = [
        sweep(llama, component, clean, corrupt, rw.logit_diff(a, b), direction=direction)
        for (clean, corrupt), a, b in zip(PAIRS, answers, foils, strict=True)
    ]
    raw = np.stack([one.raw.values for one in singles])
    clean, corrupt = (np.array([getattr(one, name) for one in singles]) for name in ("clean", "corrupt"))
    np.testing.assert_allclose(found.clean_pairs, clean)
    np.testing.assert_allclose(found.corrupt_pairs, corrupt)
    assert (found.clean, found.corrupt) == pytest.approx((clean.mean(), corrupt.mean()))
    np.testing.assert_allclose(found.raw.values, raw.mean(0), atol=1e-6)
    # Normalised by the mean denominator, so that a pair with a tiny one does not own the mean.
    per_pair = (raw - corrupt[:, None, None]) / (clean.mean() - corrupt.mean())
    np.testing.assert_allclose(found.pairs.values, per_pair, atol=1e-6)
    assert found.pairs.dims == ("pair", *found.values.dims)
    np.testing.assert_allclose(found.values.values, per_pair.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.spread.values, per_pair.std(0, ddof=1), atol=1e-6)
    differ = per_pair.std(0) > 0  # for the others scipy divides by zero
    part = per_pair[:, differ]
    low, high = stats.t.interval(0.95, 2, loc=part.mean(0), scale=stats.sem(part, axis=0))
    np.testing.assert_allclose(found.low.values[differ], low, atol=1e-6)
    np.testing.assert_allclose(found.high.values[differ], high, atol=1e-6)
    assert found.provenance.options["pairs"] == 3
    assert "answer − foil" in found.metric


def test_one_token_for_all_pairs_and_tensors_of_prompts(llama: Any) -> None:
    cleans, corrupts = (list(each) for each in zip(*PAIRS, strict=True))
    found = sweep(llama, "z", cleans, corrupts)
    tensors = sweep(llama, "z", torch.tensor(cleans), torch.tensor(corrupts))
    np.testing.assert_array_equal(found.values.values, tensors.values.values)


def test_a_batch_of_one_and_a_single_pair(llama: Any) -> None:
    single, batch = sweep(llama, "z"), sweep(llama, "z", [CLEAN], [CORRUPT])
    np.testing.assert_array_equal(single.values.values, batch.values.values)
    assert single.pairs is single.spread is single.low is single.high is None
    assert batch.pairs.shape == (1, 4, 4)
    assert batch.spread is None


def test_pairs_of_different_lengths_by_head(llama: Any) -> None:
    short = ([1, 5, 9, 20], [1, 5, 40, 20])
    found = sweep(llama, "z", [CLEAN, short[0]], [CORRUPT, short[1]])
    alone = sweep(llama, "z", *short)
    np.testing.assert_allclose(
        found.pairs.values[1] * (found.clean - found.corrupt), alone.raw.values - alone.corrupt, atol=1e-5
    )
    with pytest.raises(InputError, match=r"\[4, 7\] tokens': a map over positions needs pairs of one length. Choose"):
        sweep(llama, "resid_pre", [CLEAN, short[0]], [CORRUPT, short[1]])


# --- while it runs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resid_widgets.models.reuse.engine.WAVE_TOKENS", {"cpu": 14})


def test_partial_results(llama: Any, small_waves: None) -> None:
    seen: list[Any] = []
    whole = sweep(llama, partial=lambda result, progress: seen.append((result, progress)))
    assert len(seen) > 3
    assert seen[-1][1].done == seen[-1][1].total
    known = [int(np.isfinite(result.values.values).sum()) for result, _ in seen]
    assert known == sorted(known)
    assert known[0] < known[-1] == 28
    for result, progress in seen:
        assert (result.clean, result.corrupt) == (whole.clean, whole.corrupt)
        there = np.isfinite(result.values.values)
        np.testing.assert_allclose(result.values.values[there], whole.values.values[there], atol=1e-6)
        assert (np.isfinite(progress.values) == there).all()
        assert result.plot() is not None


def test_stopped(llama: Any, small_waves: None) -> None:
    whole = sweep(llama)
    for options in ({"progress": lambda p: p.done < p.total / 3}, {"stop": iter([False] * 9 + [True] * 99).__next__}):
        found = rw.patch_sweep(llama, CLEAN, CORRUPT, METRIC, **({"progress": False} | options))
        there = np.isfinite(found.values.values)
        assert 0 < there.sum() < 28
        np.testing.assert_allclose(found.values.values[there], whole.values.values[there], atol=1e-6)
        assert next(c for c in found.checks if c.name == "complete").level == "amber"


def test_progress_over_a_batch(llama: Any) -> None:
    seen: list[Any] = []
    cleans, corrupts = (list(each) for each in zip(*PAIRS, strict=True))
    rw.patch_sweep(llama, cleans, corrupts, METRIC, component="z", progress=seen.append)
    assert len(seen) >= 3
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == seen[-1].total
    assert all(p.done <= p.total for p in seen)


def test_a_batch_that_is_stopped_says_so(llama: Any) -> None:
    seen: list[Any] = []
    cleans, corrupts = (list(each) for each in zip(*PAIRS, strict=True))
    found = rw.patch_sweep(
        llama, cleans, corrupts, METRIC, component="z", progress=lambda p: seen.append(p) or len(seen) < 2
    )
    assert len(seen) == 2  # nothing is begun after it
    check = next(c for c in found.checks if c.name == "complete")
    assert (check.level, check.value, check.limit) == ("amber", 2.0, 3.0)
    assert check.text == "stopped: 2 of 3 pairs are complete, the others are left out"
    of_two = sweep(llama, "z", cleans[:2], corrupts[:2])
    np.testing.assert_array_equal(found.values.values, of_two.values.values)
    assert found.provenance.options["pairs"] == 2


def test_a_batch_that_is_stopped_inside_a_pair_keeps_what_is_whole(llama: Any, small_waves: None) -> None:
    cleans, corrupts = (list(each) for each in zip(*PAIRS, strict=True))
    whole: list[Any] = []
    sweep(llama, clean=cleans, corrupt=corrupts, stop=lambda: whole.append(None))
    seen = iter([False] * (len(whole) // 2) + [True] * len(whole))
    found = sweep(llama, clean=cleans, corrupt=corrupts, stop=lambda: next(seen))
    np.testing.assert_array_equal(found.values.values, sweep(llama, clean=[CLEAN], corrupt=[CORRUPT]).values.values)
    assert found.pairs.shape[0] == 1
    nothing = sweep(llama, clean=cleans, corrupt=corrupts, stop=lambda: True)
    assert set(nothing.values.values[np.isfinite(nothing.values.values)]) == {0}  # where nothing differs
    assert "of 28 cells are known" in next(c for c in nothing.checks if c.name == "complete").text


def test_partial_results_and_progress_at_once(llama: Any, small_waves: None) -> None:
    seen: list[Any] = []
    found = rw.patch_sweep(
        llama, CLEAN, CORRUPT, METRIC, partial=lambda *given: seen.append(given), progress=lambda p: len(seen) < 2
    )
    assert len(seen) == 2
    assert np.isnan(found.values.values).any()


def test_the_memory_of_a_batch_does_not_grow_with_its_pairs(llama: Any) -> None:
    import gc
    import weakref

    from resid_widgets.models.runs.run import Run

    alive: list[int] = []
    runs: weakref.WeakSet[Run] = weakref.WeakSet()
    made = Run.__init__

    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        runs.add(self)

    def count(progress: Any) -> None:
        gc.collect()
        alive.append(len(runs))

    cleans, corrupts = (list(each) * 2 for each in zip(*PAIRS, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "__init__", noting)
        rw.patch_sweep(llama, cleans, corrupts, METRIC, component="z", progress=count)
    assert len(alive) == 6
    assert max(alive) <= 6  # of the first pair, of the one before and of the present one


def test_a_pair_whose_metrics_are_alike_does_not_spoil_a_batch(llama: Any) -> None:
    """What counts is the mean denominator: at position 0 of the second pair, nothing differs."""
    other = [9, *CLEAN[1:]]
    metric = rw.logit_diff(7, 11, pos=0)
    found = sweep(llama, "z", [CLEAN, CLEAN], [other, CORRUPT], metric)
    scale = abs(found.clean_pairs[0] - found.corrupt_pairs[0])
    # Alike but for rounding: the runs that are compared sum in another order.
    assert abs(found.clean_pairs[1] - found.corrupt_pairs[1]) < 1e-5 * scale
    assert next(c for c in found.checks if c.name == "denominator").level == "green"
    np.testing.assert_allclose(found.pairs.values[1], 0, atol=1e-5)
    alone = sweep(llama, "z", CLEAN, other, metric)
    np.testing.assert_allclose(found.values.values, alone.values.values, atol=1e-5)


def test_only_what_differs_is_computed(llama: Any) -> None:
    corrupt = [*CLEAN[:-1], 61]
    seen: list[Any] = []
    rw.patch_sweep(llama, CLEAN, corrupt, METRIC, progress=seen.append)
    assert seen[-1].total == 4 + 3 + 2 + 1  # one position, from each layer up


# --- the result ------------------------------------------------------------------------------------------------------


def test_it_is_labelled(worded: Any) -> None:
    found = sweep(worded, "attn_out", " Mary gave Mary", "Mary gave Mary", rw.logit_diff(" Mary", " gave"))
    assert found.values.dims == ("layer", "pos")
    assert list(found.values.coords) == ["layer", "pos", "token", "token_clean", "token_corrupt"]
    clean, corrupt = (list(found.values[name].values) for name in ("token_clean", "token_corrupt"))
    assert clean[-3:] == ["·Mary", "·gave", "·Mary"]
    assert corrupt[-3:] == ["Mary", "·gave", "·Mary"]
    assert list(found.values["token"].values) == corrupt  # those of the run that is patched into
    assert found.tokens_visible[-3:] == ("·Mary/Mary", "·gave", "·Mary")
    assert found.values.attrs["units"] == "1 = clean, 0 = corrupt"
    assert found.raw.attrs == {"long_name": found.metric, "units": "logits"}
    assert found.metric == "logit difference ·Mary − ·gave"
    options = found.provenance.options
    assert (options["sweep"], options["direction"], options["component"]) == ("patching", "denoise", "attn_out")
    assert len(options["source_token_ids"]) == len(clean)
    assert options["source_token_ids"] != found.provenance.token_ids


@pytest.mark.parametrize(
    ("component", "options", "columns"),
    [
        ("resid_pre", {}, ["layer", "pos", "token", "token_clean", "token_corrupt", "effect"]),
        ("q", {}, ["layer", "head", "effect"]),
        ("k", {"by": "head_pos"}, ["layer", "pos", "kv_head", "token", "token_clean", "token_corrupt", "effect"]),
        ("mlp_post", {"layers": [0, 2], "neurons": [1, 17]}, ["layer", "neuron", "effect"]),
    ],
)
def test_it_leaves_as_table_picture_and_text(
    llama: Any, tmp_path: Any, component: str, options: Any, columns: Any
) -> None:
    found = sweep(llama, component, **options)
    assert sorted(found.to_dataframe().columns) == sorted(columns)
    assert len(table(found.to_csv(tmp_path / "a.csv"))) == found.values.size
    assert found.to_png(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert found.to_svg(tmp_path / "a.svg").exists()
    assert "clean" in str(found)
    assert "equals full runs" in str(found)


@pytest.mark.parametrize("component", [*BY_POS, *HEADS, "mlp_post"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_its_script_makes_the_same_numbers(llama: Any, component: str, direction: str) -> None:
    for by in (None, "head_pos") if component in HEADS else (None,):
        found = sweep(llama, component, direction=direction, by=by, **({"layers": [1]} | options_of(component)))
        assert "resid_widgets" not in found.code().replace("resid-widgets", "")
        np.testing.assert_allclose(script_result(found.code(), llama.bridge).numpy(), found.values.values, atol=1e-5)


@pytest.mark.parametrize(
    "metric", [rw.log_prob(3, [2, -1]), rw.prob(3), rw.rank(RANKED, range(2, 7)), rw.kl_to_base([3, -1])], ids=str
)
@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gemma2"])
def test_scripts_of_every_metric_and_other_models(make_model: Any, family: str, metric: Any) -> None:
    model = make_model(family)
    found = sweep(model, "mlp_out", metric=metric, layers=[2])
    np.testing.assert_allclose(script_result(found.code(), model.bridge).numpy(), found.values.values, atol=1e-5)


def test_by_default_the_whole_stream_is_patched(llama: Any) -> None:
    found = rw.patch_sweep(llama.bridge, CLEAN, CORRUPT, METRIC, progress=False)  # a bare bridge will do
    assert (found.component, found.direction, found.attribution) == ("resid_pre", "denoise", None)


# --- denominators and bad input --------------------------------------------------------------------------------------


def test_a_large_denominator_is_green_and_shown(llama: Any) -> None:
    check = next(c for c in sweep(llama).checks if c.name == "denominator")
    assert check.level == "green"
    assert re.match(r"clean −?[\d.]+, corrupt −?[\d.]+$", check.text)


def test_a_tiny_denominator_is_red_and_the_values_are_shown(llama: Any) -> None:
    """Two tokens are chosen whose difference hardly differs between the prompts."""
    logits = [rw.run(llama, ids).final_logits.double() for ids in (CLEAN, CORRUPT)]
    change = logits[0] - logits[1]
    distance = (change[:, None] - change[None]).abs() / (logits[0][:, None] - logits[0][None]).abs().clamp(min=1e-9)
    distance.fill_diagonal_(torch.inf)
    answer, foil = divmod(int(distance.argmin()), 97)
    found = sweep(llama, "attn_out", metric=rw.logit_diff(answer, foil))
    check = next(c for c in found.checks if c.name == "denominator")
    assert check.level == "red"
    assert check.value < check.limit == 1e-3
    assert "they hardly differ, and the scale divides by that difference" in check.text
    assert np.isfinite(found.values.values).all()


def test_a_batch_whose_mean_denominator_vanishes_is_red(llama: Any) -> None:
    found = sweep(llama, "z", [CLEAN, CORRUPT], [CORRUPT, CLEAN])
    check = next(c for c in found.checks if c.name == "denominator")
    assert check.level == "red"
    assert "(means over 2 pairs)" in check.text


def test_prompts_of_different_lengths_are_shown_aligned(worded: Any) -> None:
    with pytest.raises(InputError) as caught:
        sweep(worded, clean=" Mary gave", corrupt=" Mary gave Mary")
    first, clean, corrupt, marks, remedy = str(caught.value).split("\n")
    assert re.match(r"The prompts have (\d) and (\d) tokens, and patching needs equal lengths:", first)
    assert clean.startswith("clean ")
    assert corrupt.startswith("corrupt ")
    assert "·Mary ·gave ∅" in clean
    assert "·Mary ·gave ·Mary" in corrupt
    assert marks.index("^") == corrupt.rindex("·Mary")
    assert remedy == "Change one of them so that each token has its counterpart."


def test_the_pair_of_a_batch_is_named(worded: Any) -> None:
    with pytest.raises(InputError, match="The prompts of pair 1 have"):
        sweep(worded, clean=[" Mary", " Mary gave"], corrupt=["Mary", "Mary"])
    with pytest.raises(InputError, match=r"corrupt of pair 1=.*the same tokens"):
        sweep(worded, clean=[" Mary", " gave"], corrupt=["Mary", " gave"])


def test_metrics_that_do_not_differ_show_the_prompts(llama: Any) -> None:
    with pytest.raises(InputError) as caught:
        sweep(llama, metric=rw.logit_diff(7, 11, pos=0))  # before the first difference
    assert "on both prompts, so that there is no scale from corrupt to clean" in str(caught.value)
    assert "Choose a pair that gives different answers." in str(caught.value)
    assert "^" in str(caught.value)


BAD = {
    "same prompts": ({"corrupt": CLEAN}, "corrupt=.*the same tokens, so that there is nothing to patch. Change a word"),
    "answer and foil": ({"metric": rw.logit_diff(7, 7)}, "foil=7: answer and foil are the same token"),
    "metric": ({"metric": "logit_diff"}, "metric='logit_diff': a metric is needed"),
    "position": ({"metric": rw.log_prob(7, pos=9)}, "pos=9: the prompt has positions"),
    "token": ({"metric": rw.log_prob(97)}, "97"),
    "direction": ({"direction": "both"}, "direction='both': must be 'denoise' or 'noise'. They are different"),
    "method": ({"method": "fast"}, "method='fast': must be 'exact' or 'attribution'"),
    "component": ({"component": "resid_past"}, "component='resid_past': must be one of"),
    "by": ({"component": "mlp_out", "by": "head"}, "by='head'"),
    "layers": ({"layers": [4]}, "layers=4: a whole number from 0 to 3"),
    "neurons": ({"component": "mlp_post", "layers": [0], "neurons": [48]}, "neurons=48: a whole number from 0 to 47"),
    "no layers": ({"component": "mlp_post"}, "layers=None: a sweep over neurons needs its layers"),
    "one and many": ({"corrupt": [CORRUPT]}, r"clean, corrupt=\[1, 1\]"),
    "two and three": ({"clean": [CLEAN] * 2, "corrupt": [CORRUPT] * 3}, "there are 2 clean and 3 corrupt prompts"),
    "answers": ({"metric": rw.log_prob([7, 8])}, "answer='2 tokens': there are 1 prompts. Give one token"),
    "no tokens": ({"clean": []}, "clean prompt"),
    "wrong ids": ({"corrupt": [1, 5, 97, 20, 33, 8, 60]}, "corrupt prompt: .*97"),
    "progress": ({"progress": 3}, "progress=3: True, False or a function"),
}


@pytest.mark.parametrize(("arguments", "text"), BAD.values(), ids=BAD.keys())
def test_bad_input_names_value_rule_and_remedy(llama: Any, arguments: dict[str, Any], text: str) -> None:
    given = {"clean": CLEAN, "corrupt": CORRUPT, "metric": METRIC, "progress": False} | arguments
    with pytest.raises(InputError, match=text):
        inspect.unwrap(rw.patch_sweep)(llama, **given)


def test_an_answer_of_several_tokens(worded: Any) -> None:
    with pytest.raises(InputError, match=r"' Mary gave'.*token"):
        sweep(worded, clean=" Mary", corrupt="Mary", metric=rw.logit_diff(" Mary gave", " gave"))


def test_a_component_that_the_model_has_not(make_model: Any) -> None:
    with pytest.raises(InputError, match=r"component='resid_mid': .*parallel"):
        sweep(make_model("gpt_neox"), "resid_mid")
    with pytest.raises(UnsupportedModelError, match="pattern cannot be written"):
        sweep(make_model("opt"), "pattern")


def test_a_patch_that_changes_nothing_is_no_work(llama: Any) -> None:
    """The prompts are the same up to the last token, so that what stands before it is the same in both runs."""
    seen: list[Any] = []
    corrupt = [*CLEAN[:-1], 61]
    found = rw.patch_sweep(llama, CLEAN, corrupt, METRIC, component="mlp_out", progress=seen.append)
    assert (found.values.values[:, :-1] == 0).all()
    assert seen[-1].total < 28
