"""Every statistic against its closed form in numpy, and what the map says about itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resid_widgets.analysis.maps import activation_map as module
from resid_widgets.analysis.maps.activation_map import ActivationMap, activation_map
from resid_widgets.analysis.maps.statistics import STATS
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run, run

DIRECTION = np.linspace(-3, 5, 32)
COMPONENTS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
quick = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def options(stat: str) -> dict[str, Any]:
    return {"dimension": {"dim": 3}, "projection": {"direction": DIRECTION}, "top_share": {"top": 4}}.get(stat, {})


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def oracle(recorded: Run, component: str, stat: str) -> np.ndarray:
    """Each definition of DESIGN written out in float64 numpy, over whole arrays."""
    h = recorded.residual(component).values.astype(np.float64)
    final = recorded.residual("resid_post").values[-1].astype(np.float64)
    first = np.full_like(h[:1], np.nan)
    if component == "resid_post":
        first = recorded.residual("resid_pre").values[:1].astype(np.float64)
    previous = np.concatenate([first, h[:-1]])
    centred = h - h.mean(-1, keepdims=True)
    return {
        "norm": np.sqrt((h**2).sum(-1)),
        "update_norm": np.sqrt(((h - previous) ** 2).sum(-1)),
        "cosine_final": (unit(h) * unit(final)).sum(-1),
        "cosine_previous": (unit(h) * unit(previous)).sum(-1),
        "dimension": h[..., 3],
        "projection": h @ unit(DIRECTION),
        "kurtosis": (centred**4).mean(-1) / (centred**2).mean(-1) ** 2,
        "top_share": np.sort(h**2, axis=-1)[..., -4:].sum(-1) / (h**2).sum(-1),
    }[stat]


@pytest.mark.parametrize("stat", STATS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_equals_its_closed_form(llama_run: Run, component: str, stat: str) -> None:
    found = activation_map(llama_run, component, stat, **options(stat))
    np.testing.assert_allclose(found.values, oracle(llama_run, component, stat), rtol=2e-5, atol=2e-6)
    assert found.values.dtype == np.float32
    assert np.isnan(found.values[0]).all() == ("previous" in STATS[stat].needs and component != "resid_post")


@pytest.mark.parametrize("stat", STATS)
def test_chunks_change_nothing(llama_run: Run, stat: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = activation_map(llama_run, "resid_post", stat, **options(stat))
    rows: list[int] = []
    compute = STATS[stat].compute
    spy = lambda given: rows.append(len(given.h)) or compute(given)  # noqa: E731
    monkeypatch.setattr(module, "CHUNK_BYTES", 3 * 6 * 4 * 32)
    monkeypatch.setitem(STATS, stat, module.Stat(**{**vars(STATS[stat]), "compute": spy}))
    cut = activation_map(llama_run, "resid_post", stat, **options(stat))
    assert set(rows) == {3, 1}
    np.testing.assert_allclose(whole.values, cut.values, rtol=1e-6)


def test_known_vectors(llama_run: Run, edited: Callable[..., Run]) -> None:
    spike = torch.zeros(7, 32)
    spike[:, 5] = -2.0
    known = edited(llama_run, "resid_post", 1, lambda h: spike)
    at = {stat: float(activation_map(known, stat=stat, **options(stat)).values[1, 2]) for stat in STATS}
    assert at["norm"] == 2
    assert at["top_share"] == 1
    assert at["dimension"] == 0
    assert at["kurtosis"] == pytest.approx(32 - 2 + 1 / 31, rel=1e-5)  # one spike among n: n - 2 + 1/(n-1)
    assert at["projection"] == pytest.approx(-2 * unit(DIRECTION)[5], rel=1e-6)


def test_kurtosis_of_gaussian_numbers_is_three(llama_run: Run, edited: Callable[..., Run]) -> None:
    wide = edited(llama_run, "resid_post", 0, lambda h: torch.randn(7, 200_000))
    found = module.STATS["kurtosis"].compute(module.Rows(wide.tensor("resid_post", 0)))
    np.testing.assert_allclose(found, 3, atol=0.1)


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("stat", STATS)
def test_extreme_sizes_neither_overflow_nor_vanish(
    llama_run: Run, edited: Callable[..., Run], stat: str, size: float
) -> None:
    usual = activation_map(llama_run, stat=stat, **options(stat)).values[2, 3]
    scaled = llama_run
    for component in ("resid_pre", "resid_post"):
        for layer in llama_run.layers:
            scaled = edited(scaled, component, layer, lambda h: h * size)
    found = activation_map(scaled, stat=stat, **options(stat)).values[2, 3]
    factor = size if STATS[stat].units == "activation units" else 1.0
    assert float(found) == pytest.approx(float(usual) * factor, rel=1e-4)


def test_labels_survive_arithmetic(llama_run: Run) -> None:
    found = activation_map(llama_run)
    assert found.values.dims == ("layer", "pos")
    assert list(found.values.indexes) == ["layer", "pos"]
    assert found.values.coords["token"].dims == ("pos",)
    assert found.values.attrs == {"long_name": "norm", "units": "activation units"}
    other = found.values.copy()
    other.coords["token"] = ("pos", [f"other {n}" for n in range(7)])
    assert (found.values - other).shape == (4, 7)  # aligned by position, not by string


@pytest.mark.parametrize("spelling", ["update norm", "update-norm", "Update_Norm", " update  norm "])
def test_spellings(llama_run: Run, spelling: str) -> None:
    assert activation_map(llama_run, stat=spelling).stat == "update_norm"


@pytest.mark.parametrize(
    "direction",
    [
        DIRECTION * 7,
        DIRECTION.tolist(),
        torch.tensor(DIRECTION, requires_grad=True),
        xr.DataArray(DIRECTION, dims="d_model"),
        DIRECTION * 1e-200,
        DIRECTION.astype(np.float16),
    ],
    ids=["long", "list", "tensor", "xarray", "short", "half"],
)
def test_only_the_direction_of_a_direction_counts(llama_run: Run, direction: Any) -> None:
    found = activation_map(llama_run, stat="projection", direction=direction)
    expected = oracle(llama_run, "resid_post", "projection")
    np.testing.assert_allclose(found.values, expected, rtol=2e-3, atol=1e-3)
    assert np.linalg.norm(found.options["direction"]) == pytest.approx(1, abs=1e-6)
    assert "unit length" in found.sentence


def test_a_bfloat16_model_is_read_in_float32(make_model: Callable[..., ResidualModel]) -> None:
    recorded = run(make_model("llama", dtype="bfloat16"), [1, 5, 9, 20])
    assert recorded.tensor("resid_post", 0).dtype == torch.bfloat16
    for stat in STATS:
        found = activation_map(recorded, stat=stat, **options(stat))
        np.testing.assert_allclose(found.values, oracle(recorded, "resid_post", stat), rtol=2e-5, atol=2e-6)


class TestPerLayer:
    def test_each_layer_is_standardised_over_unmarked_positions(self, llama_run: Run) -> None:
        found = activation_map(llama_run, per_layer=True)
        kept = found.values.values[:, 1:].astype(np.float64)
        np.testing.assert_allclose(kept.mean(1), 0, atol=1e-6)
        np.testing.assert_allclose(kept.std(1), 1, atol=1e-6)
        raw = activation_map(llama_run).values
        np.testing.assert_array_equal(found.raw, raw)
        expected = (raw[1, 0] - raw[1, 1:].mean()) / raw[1, 1:].std()
        assert float(found.values[1, 0]) == pytest.approx(float(expected), rel=1e-5)
        assert found.scale.kind == "diverging"
        assert "standard deviations" in found.scale.units
        assert "within rows" in found.sentence

    def test_a_layer_without_spread_is_undefined(self, llama_run: Run, edited: Callable[..., Run]) -> None:
        flat = edited(llama_run, "resid_post", 2, lambda h: torch.ones_like(h) * 0.1)
        found = activation_map(flat, per_layer=True)
        assert np.isnan(found.values[2]).all()
        assert np.isfinite(found.values[[0, 1, 3]]).all()
        assert level(found, "undefined cells") == ("amber", 7)

    def test_one_position_is_refused(self, make_model: Callable[..., ResidualModel]) -> None:
        with pytest.raises(InputError, match="per_layer=True: a spread needs at least two unmarked positions"):
            activation_map(run(make_model("llama"), [1, 2]), per_layer=True)


def level(found: ActivationMap, name: str) -> tuple[str, float | None] | None:
    return next(((check.level, check.value) for check in found.checks if check.name == name), None)


class TestWhatItSaysAboutItself:
    def test_position_0_is_named_and_left_out(self, llama_run: Run, edited: Callable[..., Run]) -> None:
        def grow(h: torch.Tensor) -> torch.Tensor:
            h[0] *= 50
            return h

        sink = edited(llama_run, "resid_post", 2, grow)
        found = activation_map(sink)
        norm = float(found.values[2, 0])
        check = next(check for check in found.checks if check.name == "marked positions")
        assert check.level == "amber"
        assert check.text == f"position 0 left out of the scale (norm {norm:.3g})"
        assert found.marked == (0,)
        assert found.scale.high < norm / 5
        assert not found.scale.over or float(found.values[:, 1:].max()) > found.scale.high

    def test_every_massive_position_is_left_out(self, llama_run: Run, edited: Callable[..., Run]) -> None:
        def grow(h: torch.Tensor) -> torch.Tensor:
            h[4] *= 50
            return h

        found = activation_map(edited(llama_run, "resid_post", 1, grow), "attn_out", "norm")
        assert found.marked == (0, 4)
        text = next(check.text for check in found.checks if check.name == "marked positions")
        assert text.startswith("positions 0, 4 left out of the scale (norms ")

    def test_one_token(self, make_model: Callable[..., ResidualModel]) -> None:
        found = activation_map(run(make_model("llama"), [3]))
        text = next(check.text for check in found.checks if check.name == "marked positions")
        assert text.startswith("position 0 marked, and sets the scale alone")
        assert found.values.min() < found.scale.high <= float(found.values.max()) * 1.05

    def test_run_checks_and_unknown_words_are_carried(self, worded: ResidualModel) -> None:
        found = activation_map(run(worded, "<bos> Mary blorf gave"))
        assert level(found, "residual identity") is not None
        assert level(found, "last lens = logits") is not None
        assert found.unknown == (2,)
        check = next(check for check in found.checks if check.name == "unknown words")
        assert check.level == "amber"
        assert "blorf" in check.text
        assert found.tokens_visible == ("<bos>", "·Mary", "<unk>", "·gave")

    @pytest.mark.parametrize("stat", STATS)
    def test_sentence_label_and_provenance(self, llama_run: Run, stat: str) -> None:
        found = activation_map(llama_run, "mlp_out", stat, **options(stat))
        assert found.sentence.count(".") >= 2
        assert "MLP" in found.sentence
        assert "{" not in found.sentence + found.title + found.scale.label
        assert found.scale.label in found.title
        assert found.scale.units
        assert found.scale.kind == ("diverging" if STATS[stat].signed else "sequential")
        assert found.provenance.options["stat"] == stat
        assert found.provenance.options["component"] == "mlp_out"
        assert found.provenance.token_ids == llama_run.token_ids
        assert ("crossed out" in found.sentence) == ("previous" in STATS[stat].needs)
        assert repr(found).startswith("ActivationMap of LlamaForCausalLM")

    def test_dataframe(self, llama_run: Run) -> None:
        frame = activation_map(llama_run).to_dataframe()
        assert list(frame.columns) == ["layer", "pos", "token", "norm"]
        assert len(frame) == 28


class TestNotFinite:
    @pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize("stat", STATS)
    def test_shown_counted_and_red(self, llama_run: Run, edited: Callable[..., Run], stat: str, bad: float) -> None:
        def spoil(h: torch.Tensor) -> torch.Tensor:
            h[5, 3] = bad
            return h

        found = activation_map(edited(llama_run, "resid_post", 1, spoil), stat=stat, **options(stat))
        spoilt = np.zeros((4, 7), dtype=bool)
        spoilt[1, 5] = True
        if "previous" in STATS[stat].needs:
            spoilt[2, 5] = True
        np.testing.assert_array_equal(~np.isfinite(found.values), spoilt)
        clean = activation_map(llama_run, stat=stat, **options(stat)).values
        np.testing.assert_array_equal(found.values.values[~spoilt], clean.values[~spoilt])
        assert level(found, "finite") == ("red", spoilt.sum())
        assert "layer 1, position 5" in next(check.text for check in found.checks if check.name == "finite")
        assert np.isfinite([found.scale.low, found.scale.high]).all()

    def test_zero_vectors_have_no_angle(self, llama_run: Run, edited: Callable[..., Run]) -> None:
        zero = edited(llama_run, "attn_out", 2, torch.zeros_like)
        for stat, undefined in {
            "norm": 0,
            "cosine_final": 7,
            "cosine_previous": 14,
            "kurtosis": 7,
            "top_share": 7,
        }.items():
            found = activation_map(zero, "attn_out", stat)
            assert level(found, "undefined cells") == (("amber", undefined) if undefined else None)
            assert level(found, "finite") is None

    def test_equal_numbers_have_no_kurtosis(self, llama_run: Run, edited: Callable[..., Run]) -> None:
        flat = edited(llama_run, "resid_post", 2, lambda h: torch.full_like(h, 0.1))
        assert np.isnan(activation_map(flat, stat="kurtosis").values[2]).all()


class TestWhatWasKept:
    def test_without_resid_pre_layer_0_has_nothing_before_it(self, make_model: Callable[..., ResidualModel]) -> None:
        found = activation_map(run(make_model("llama"), [1, 5, 9], keep=["resid_post"]), stat="update_norm")
        assert np.isnan(found.values[0]).all()
        assert np.isfinite(found.values[1:]).all()
        assert "kept no resid_pre" in found.sentence

    def test_final_needs_resid_post(self, make_model: Callable[..., ResidualModel]) -> None:
        with pytest.raises(InputError, match="resid_post"):
            activation_map(run(make_model("llama"), [1, 5, 9], keep=["attn_out"]), "attn_out", "cosine_final")

    def test_parallel_blocks_have_no_resid_mid(self, make_model: Callable[..., ResidualModel]) -> None:
        with pytest.raises(InputError, match="parallel"):
            activation_map(run(make_model("gpt_neox"), [1, 5, 9]), "resid_mid")


BAD = {
    "component": ({"component": "resid_past"}, "component='resid_past': there is no such component. Use one of"),
    "inner site": ({"component": "pattern"}, "component='pattern'"),
    "stat": ({"stat": "length"}, "stat='length': there is no such statistic. Use one of norm"),
    "no dim": ({"stat": "dimension"}, "dim=None: stat='dimension' needs it"),
    "dim too large": ({"stat": "dimension", "dim": 32}, "dim=32: a whole number from 0 to 31 is needed"),
    "dim negative": ({"stat": "dimension", "dim": -1}, "dim=-1: a whole number"),
    "dim boolean": ({"stat": "dimension", "dim": True}, "dim=True: a whole number"),
    "dim in vain": ({"dim": 3}, "dim=3: stat='norm' does not use it. Leave it out, or use stat='dimension'"),
    "no direction": ({"stat": "projection"}, "direction=None: stat='projection' needs it"),
    "direction in vain": ({"direction": DIRECTION}, "stat='norm' does not use it"),
    "direction short": ({"stat": "projection", "direction": DIRECTION[:5]}, r"shape \(5,\) is not \(32,\)"),
    "direction 2-d": ({"stat": "projection", "direction": DIRECTION[None]}, r"shape \(1, 32\) is not"),
    "direction NaN": ({"stat": "projection", "direction": DIRECTION * np.nan}, "32 of its numbers are not finite"),
    "direction zero": ({"stat": "projection", "direction": DIRECTION * 0}, "cannot be the zero vector"),
    "direction text": ({"stat": "projection", "direction": "up"}, "an array of numbers is needed"),
    "top 0": ({"stat": "top_share", "top": 0}, "top=0: a whole number from 1 to 32 is needed"),
    "top too large": ({"stat": "top_share", "top": 33}, "top=33"),
}


@pytest.mark.parametrize(("arguments", "text"), BAD.values(), ids=BAD.keys())
def test_bad_arguments(llama_run: Run, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        activation_map(llama_run, **arguments)


# Without beartype, as users call it: the types themselves may be wrong.
unchecked = inspect.unwrap(activation_map)


def test_a_model_is_not_a_run(make_model: Callable[..., ResidualModel]) -> None:
    with pytest.raises((InputError, TypeError), match="run"):
        inspect.unwrap(module.check_component)(make_model("llama"), "resid_post")


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-40, 40), st.floats(), st.text(max_size=12), st.lists(st.floats(), max_size=3)
)


@quick
@given(
    component=st.sampled_from([*COMPONENTS, "z"]) | anything,
    stat=st.sampled_from(list(STATS)) | anything,
    dim=st.none() | anything,
    direction=st.none() | anything,
    top=st.integers(-2, 40) | anything,
)
def test_any_arguments_give_a_map_or_an_input_error(llama_run: Run, **arguments: Any) -> None:
    try:
        found = unchecked(llama_run, **arguments)
    except InputError as error:
        name, shown = str(error).split("=", 1)
        assert name in arguments  # names the argument, the rule and the remedy
        assert shown.count(". ") >= 1
    else:
        assert found.values.shape == (4, 7)


@pytest.mark.parametrize("stat", STATS)
@pytest.mark.parametrize("component", ["resid_post", "attn_out"])
@pytest.mark.parametrize("per_layer", [False, True])
def test_code_makes_the_same_numbers(llama_run: Run, component: str, stat: str, per_layer: bool) -> None:
    found = activation_map(llama_run, component, stat, per_layer=per_layer, **options(stat))
    names: dict[str, Any] = {"bridge": llama_run.model.bridge}
    exec(found.code(), names)  # noqa: S102
    assert "resid_widgets" not in found.code().replace("resid-widgets", "")
    np.testing.assert_allclose(names["values"], found.values, rtol=1e-4, atol=1e-5)
