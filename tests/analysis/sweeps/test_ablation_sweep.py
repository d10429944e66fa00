"""Sweeps of ablations against a plain loop over Hugging Face's own modules, and what the result says and gives."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.layers.writes import writable_layers
from resid_widgets.models.runs.run import Run
from tests.analysis.plain import script_result
from tests.architectures import PARALLEL, REFUSED_WRITES
from tests.csv_tables import table
from tests.models.plain_interventions import Plain, Where, plain_edit

IDS = [1, 5, 9, 20, 33, 4, 60]
OTHER, SHORTER = (1, 40, 3, 77, 12, 60, 8), (4, 50, 6, 20)
METRIC = rw.logit_diff(7, 11)
BY_POS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
HEADS = ("z", "q", "k", "v", "pattern")
HOWS: dict[str, dict[str, Any]] = {
    "zero": {},
    "mean": {},
    "mean over others": {"over": [OTHER, SHORTER]},
    "resample": {"source": [OTHER], "seed": 3},
    "resample, other length": {"source": [SHORTER], "seed": 1},
    "noise": {"sigma": 0.7, "seed": 2},
}


def sweep(run: Run, component: str = "resid_post", how: Any = "zero", metric: Any = METRIC, **options: Any) -> Any:
    return rw.ablation_sweep(run, metric, component, how, progress=False, **options)


def options_of(component: str) -> dict[str, Any]:
    return {"layers": [0, 2], "neurons": [1, 17, 40]} if component == "mlp_post" else {}


def plain_loop(plain: Plain, result: Any, op: str, options: dict[str, Any]) -> np.ndarray:
    """The metric of each cell, one whole pass each."""
    expected = np.full(result.cells.shape, np.nan)
    for index, site in result.cells:
        where = Where(site.component, site.layer, site.pos, site.head, site.neuron)
        logits, _ = plain.run(IDS, [plain_edit(plain, IDS, op, where, options)])
        expected[index] = float(logits[-1, 7] - logits[-1, 11])
    return expected


@pytest.fixture(scope="module")
def plain_llama() -> Plain:
    return Plain("llama")


@pytest.mark.parametrize("component", [*BY_POS, *HEADS, "mlp_post"])
@pytest.mark.parametrize("how", HOWS)
def test_equals_a_plain_loop(llama_run: Run, plain_llama: Plain, component: str, how: str) -> None:
    op, options = how.split(",")[0].split()[0], HOWS[how]
    if component == "pattern" and how not in ("zero", "resample"):
        with pytest.raises(InputError, match="pattern"):
            sweep(llama_run, component, op, **options)
        return
    result = sweep(llama_run, component, op, **options, **options_of(component))
    expected = plain_loop(plain_llama, result, op, {"over": None, **options})
    size = np.abs(plain_llama.run(IDS)[0].numpy()).max()
    np.testing.assert_allclose(result.raw.values, expected, atol=1e-4 * size)
    np.testing.assert_allclose(result.values.values, expected - result.base, atol=1e-4 * size)
    assert result.base == pytest.approx(METRIC.bound(llama_run).of_base())
    assert np.abs(result.values.values).max() > 1e-3


@pytest.mark.parametrize("component", HEADS)
def test_heads_by_position(llama_run: Run, plain_llama: Plain, component: str) -> None:
    result = sweep(llama_run, component, by="head_pos", layers=[1, 2])
    assert result.values.dims == ("layer", "pos", "kv_head" if component in "kv" else "head")
    expected = plain_loop(plain_llama, result, "zero", {})
    np.testing.assert_allclose(result.raw.values, expected, atol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "falcon", "mixtral"])
def test_other_architectures(make_model: Any, family: str) -> None:
    run, plain = rw.run(make_model(family), IDS), Plain(family)
    refused = REFUSED_WRITES.get(family, set()) | ({"resid_mid"} if family in PARALLEL else set())
    size = np.abs(plain.run(IDS)[0].numpy()).max()
    for component in ("resid_pre", "resid_mid", "attn_out", "mlp_out", "z", "v", "pattern", "mlp_post"):
        if component in refused:
            with pytest.raises((UnsupportedModelError, InputError), match=component):
                sweep(run, component, **options_of(component))
            continue
        result = sweep(run, component, **({"layers": [0, 3]} | options_of(component)))
        np.testing.assert_allclose(result.raw.values, plain_loop(plain, result, "zero", {}), atol=1e-4 * size)
        assert result.checks[0].level == "green"


def test_any_intervention_of_a_site(llama_run: Run, plain_llama: Plain) -> None:
    result = sweep(llama_run, "resid_mid", lambda site: rw.clamp(site, -0.1, 0.3))
    expected = plain_loop(plain_llama, result, "clamp", {"low": -0.1, "high": 0.3})
    np.testing.assert_allclose(result.raw.values, expected, atol=1e-4)
    patched = sweep(llama_run, "z", lambda site: rw.patch(site, OTHER))
    expected = plain_loop(plain_llama, patched, "patch", {"source": OTHER})
    np.testing.assert_allclose(patched.raw.values, expected, atol=1e-4)


@pytest.mark.parametrize(
    "metric",
    [rw.log_prob(3, pos=[2, -1]), rw.prob(3), rw.rank(40), rw.kl_to_base(pos=[0, -1])],
    ids=lambda metric: metric.kind,
)
def test_every_metric(llama_run: Run, metric: Any) -> None:
    result = sweep(llama_run, "attn_out", metric=metric, layers=[2])
    for pos in (0, 4, 6):
        new = rw.intervene(llama_run, rw.zero(rw.Site("attn_out", 2, pos)))
        reading = metric.bound(llama_run)
        final = new.tensor("resid_post", 3)[list(reading.positions)]
        assert float(result.raw[0, pos]) == pytest.approx(float(reading.of_stream(final[None])[0]), abs=1e-5)


@pytest.mark.parametrize("component", ["resid_post", "mlp_out", "z", "pattern"])
def test_on_top_of_other_interventions(llama_run: Run, plain_llama: Plain, component: str) -> None:
    """The base is then the edited run; means and the like are still those of the run without any."""
    edited = rw.intervene(llama_run, [rw.zero(rw.Site("resid_post", 0, 2)), rw.zero(rw.Site("z", 2, head=1))])
    background = [
        plain_edit(plain_llama, IDS, "zero", Where("resid_post", 0, 2), {}),
        plain_edit(plain_llama, IDS, "zero", Where("z", 2, None, 1), {}),
    ]
    result = sweep(edited, component)
    logits, _ = plain_llama.run(IDS, background)
    assert result.base == pytest.approx(float(logits[-1, 7] - logits[-1, 11]), abs=1e-4)
    for index, site in result.cells:
        where = Where(site.component, site.layer, site.pos, site.head)
        edits = [*background, plain_edit(plain_llama, IDS, "zero", where, {})]
        logits, _ = plain_llama.run(IDS, edits)
        assert float(result.raw.values[index]) == pytest.approx(float(logits[-1, 7] - logits[-1, 11]), abs=1e-4)


def test_full_passes_give_the_same(llama_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from resid_widgets.models.reuse import engine

    for component in ("resid_pre", "mlp_out", "z"):
        quick = sweep(llama_run, component)
        with monkeypatch.context() as patch:
            patch.setattr(engine, "proof_of", lambda *_: type("Failed", (), {"failed": "of this test", "gap": 0.0})())
            slow = sweep(llama_run, component)
        assert (quick.checks[0].level, slow.checks[0].level) == ("green", "amber")
        np.testing.assert_allclose(quick.raw.values, slow.raw.values, atol=1e-5)


def test_cells_that_change_nothing_are_counted(llama_run: Run) -> None:
    result = sweep(llama_run, "z", lambda site: rw.clamp(site, -1e6, 1e6))
    assert (result.values == 0).all()
    assert result.provenance.options["idle_cells"] == 16
    assert sweep(llama_run, "z").provenance.options["idle_cells"] == 0


# --- the result ------------------------------------------------------------------------------------------------------


def test_it_is_labelled(llama_run: Run) -> None:
    result = sweep(llama_run, "mlp_out", "mean")
    assert result.values.dims == result.raw.dims == ("layer", "pos")
    assert list(result.values.coords) == ["layer", "pos", "token"]
    assert list(result.values.indexes) == ["layer", "pos"]
    assert result.values.attrs == {"long_name": "change of logit difference [7] − [11]", "units": "logits"}
    assert result.raw.attrs["long_name"] == result.metric == "logit difference [7] − [11]"
    assert (result.component, result.title) == ("mlp_out", "Ablation · mean · mlp_out")
    assert "replaced by its mean" in result.sentence
    assert "later layers repaired it" in result.sentence
    assert result.scale.kind == "diverging"
    assert result.scale.low == -result.scale.high
    options = result.provenance.options
    assert (options["sweep"], options["how"], options["component"]) == ("ablation", "mean", "mlp_out")
    heads = sweep(llama_run, "k")
    assert list(heads.values.coords) == ["layer", "kv_head"]
    assert heads.tokens_visible == ("key-value head 0", "key-value head 1")
    neurons = sweep(llama_run, "mlp_post", layers=[2], neurons=[5, 40])
    assert neurons.values.sel(layer=2, neuron=40).item() == neurons.values.values[0, 1]


@pytest.mark.parametrize(
    ("component", "options", "columns"),
    [
        ("resid_post", {}, ["layer", "pos", "token", "effect"]),
        ("z", {}, ["layer", "head", "effect"]),
        ("z", {"by": "head_pos"}, ["layer", "pos", "head", "token", "effect"]),
        ("v", {"by": "head_pos"}, ["layer", "pos", "kv_head", "token", "effect"]),
        ("mlp_post", {"layers": [0, 2], "neurons": [1, 17]}, ["layer", "neuron", "effect"]),
    ],
)
def test_it_leaves_as_table_picture_and_text(
    llama_run: Run, tmp_path: Any, component: str, options: Any, columns: Any
) -> None:
    result = sweep(llama_run, component, **options)
    frame = result.to_dataframe()
    assert sorted(frame.columns) == sorted(columns)
    assert len(frame) == result.values.size
    assert len(table(result.to_csv(tmp_path / "a.csv"))) == result.values.size
    assert result.to_png(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "equals full runs" in str(result)
    texts = [text.get_text() for text in result.plot().findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any(f"Ablation · zero · {component}" in text for text in texts)


@pytest.mark.parametrize("how", ["zero", "mean"])
@pytest.mark.parametrize("component", [*BY_POS, *HEADS, "mlp_post"])
def test_its_script_makes_the_same_numbers(llama_run: Run, component: str, how: str) -> None:
    if (component, how) == ("pattern", "mean"):
        return
    for by in (None, "head_pos") if component in HEADS else (None,):
        result = sweep(llama_run, component, how, by=by, **({"layers": [1]} | options_of(component)))
        assert "resid_widgets" not in result.code().replace("resid-widgets", "")
        found = script_result(result.code(), llama_run.model.bridge)
        np.testing.assert_allclose(found.numpy(), result.values.values, atol=1e-5)


@pytest.mark.parametrize("metric", [rw.log_prob(3, [2, -1]), rw.prob(3), rw.rank(40), rw.kl_to_base([0, -1])], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gemma2", "qwen2"])
def test_scripts_of_every_metric_and_other_models(make_model: Any, family: str, metric: Any) -> None:
    run = rw.run(make_model(family), IDS)
    for component in ("mlp_out", "z"):
        result = sweep(run, component, "mean", metric, layers=[2])
        found = script_result(result.code(), run.model.bridge)
        np.testing.assert_allclose(found.numpy(), result.values.values, atol=1e-5)


def test_what_has_no_script_says_so(llama_run: Run) -> None:
    for result in (
        sweep(llama_run, how="noise"),
        sweep(llama_run, how="mean", over=[OTHER]),
        sweep(llama_run, how=lambda site: rw.clamp(site, 0.0)),
        sweep(rw.intervene(llama_run, rw.zero(rw.Site("z", 1)))),
    ):
        assert result.code().startswith("# how=")
        assert "AblationExplorer" in result.code()


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"how": "nullify"}, "how='nullify': there is no such ablation. Use one of zero, mean, resample, noise, or a"),
        ({"how": "zero", "over": [OTHER]}, "over=.*: zero has no options. Leave it out"),
        ({"how": "mean", "seed": 3}, "seed=3: mean has only over"),
        ({"how": "resample"}, r"source=None: resampling needs a source.*source=\.\.\."),
        ({"how": "resample", "source": "text"}, "text"),
        ({"how": rw.zero, "seed": 1}, "seed=1: a function has its options already"),
        ({"how": "noise", "sigma": -1.0}, "sigma=-1.0: a standard deviation is 0 or more"),
        (
            {"how": lambda site: "zero"},
            r"how='zero': a function of a site makes one intervention of that site, here resid_",
        ),
        ({"how": lambda site: rw.zero(rw.Site("z", 1))}, "how=.*one intervention of that site"),
        ({"component": "resid_past"}, "component='resid_past'"),
        ({"component": "mlp_post"}, "layers=None: a sweep over neurons needs its layers"),
        ({"component": "z", "layers": [9]}, "layers=9: a whole number from 0 to 3"),
        ({"component": "mlp_post", "layers": [0], "neurons": [48]}, "neurons=48: a whole number from 0 to 47"),
        ({"metric": rw.logit_diff(7, 7)}, "foil=7: answer and foil are the same token"),
        ({"metric": rw.log_prob(7, pos=7)}, r"pos=7: the prompt has positions 0 \.\. 6"),
        ({"metric": "logit_diff"}, "metric='logit_diff': a metric is needed"),
        ({"how": lambda site: rw.project_out(site, [1.0, 2.0])}, r"direction=\[2\]: .* has 32 numbers"),
        ({"how": lambda site: rw.patch(site, [3, 4])}, "source='2 tokens': the run has 7"),
    ],
)
def test_bad_input_names_value_rule_and_remedy(llama_run: Run, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        sweep(llama_run, **arguments)


def test_what_is_no_run(llama_run: Run) -> None:
    with pytest.raises(InputError, match=r"a Run is needed\. Make one first: run = rw\.run\(model, prompt\)"):
        inspect.unwrap(rw.ablation_sweep)(llama_run.model, METRIC)


def test_a_patch_from_another_model(llama_run: Run, make_model: Any) -> None:
    other = rw.run(make_model("qwen2"), IDS)
    with pytest.raises(InputError, match="the source run is of another model, or of other weights"):
        sweep(llama_run, how=lambda site: rw.patch(site, other))


def test_an_answer_of_several_tokens(worded_run: Run) -> None:
    with pytest.raises(InputError, match="' Mary gave'"):
        sweep(worded_run, metric=rw.logit_diff(" Mary gave", " gave"))


def test_sites_that_can_be_written_are_found_by_the_self_test(llama_run: Run) -> None:
    for component in (*BY_POS, *HEADS, "mlp_post"):
        assert writable_layers(llama_run.model, component) == (0, 1, 2, 3)
    assert torch.isfinite(llama_run.final_logits).all()
