"""Scripts are executed as they are copied, with nothing of this package, and print the number that was shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import resid_widgets as rw
from resid_widgets.analysis.sweeps.intervention_code import ARRAYS, arrays_of

SAME_LENGTH = (2, 6, 10, 21, 34, 5, 61)
SHORTER = (2, 6, 10, 21)
RNG = np.random.default_rng(0)
D_MODEL, D_HEAD, D_MLP, POSITIONS, LAYERS, HEADS, KV_HEADS = 32, 8, 48, 7, 4, 4, 2
WIDTHS = dict.fromkeys(("q", "k", "v", "z"), D_HEAD) | {"mlp_post": D_MLP}
METRICS = (rw.logit_diff(7, 8), rw.log_prob(3, [2, -1]), rw.prob(3, [5]), rw.rank(40), rw.kl_to_base([0, -1]))


def executed(found: rw.Ablation, folder: Path, monkeypatch: pytest.MonkeyPatch, bridge: Any) -> float:
    """Return the number that the copied script gives, run in a folder with what `save_code` wrote."""
    path = found.save_code(folder / "script.py")
    assert path.read_text(encoding="utf-8") == found.code()
    assert "resid_widgets" not in found.code().replace("resid-widgets", "")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"bridge": bridge}
    exec(compile(found.code(), str(path), "exec"), names)  # noqa: S102
    return names["number"]


@pytest.fixture
def check(llama_run, tmp_path, monkeypatch):
    """Return a function that holds the script of some interventions against the number shown."""

    def compare(items: Any, metric: Any = METRICS[0], run: Any = llama_run) -> rw.Ablation:
        found = rw.ablation(run, items, metric)
        number = executed(found, tmp_path, monkeypatch, run.model.bridge)
        assert number == pytest.approx(found.after, abs=1e-5)
        return found

    return compare


@st.composite
def described(draw: st.DrawFn) -> tuple[Any, ...]:
    """An intervention in plain data: what beartype looks at inside a strategy, hypothesis takes for chance."""
    op = draw(st.sampled_from(["zero", "mean", "noise", "clamp", "resample", "patch", "project_out", "add", "set_to"]))
    every = ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "mlp_post", "q", "k", "v", "z"]
    component = draw(st.sampled_from([*every, *(["pattern"] if op in ("zero", "clamp", "set_to", "patch") else [])]))
    head = draw(st.none() | st.integers(0, HEADS - 1)) if component in ("q", "z", "pattern") else None
    if component in ("k", "v"):
        head = draw(st.none() | st.integers(0, KV_HEADS - 1))
    neurons = component == "mlp_post" and op not in ("project_out", "add")
    neuron = draw(st.none() | st.integers(0, D_MLP - 1)) if neurons else None
    pos = draw(st.none() | st.integers(-POSITIONS, POSITIONS - 1))
    layer, seed = draw(st.integers(0, LAYERS - 1)), draw(st.integers(0, 5))
    sources = draw(st.lists(st.sampled_from([SAME_LENGTH, SHORTER]), min_size=1, max_size=2))
    return op, (component, layer, pos, head, neuron), seed, sources, draw(st.sampled_from([0.0, 0.5, 2.0]))


def made(op: str, place: tuple[Any, ...], seed: int, sources: list[Any], strength: float) -> rw.Intervention:
    site = rw.Site(*place)
    vector = np.random.default_rng(seed).normal(size=WIDTHS.get(site.component, D_MODEL))
    return {
        "zero": lambda: rw.zero(site),
        "mean": lambda: rw.mean(site, sources if seed % 2 else None),
        "noise": lambda: rw.noise(site, strength, seed),
        "clamp": lambda: rw.clamp(site, None if seed % 2 else -0.1, 0.2),
        "resample": lambda: rw.resample(site, sources, seed),
        "patch": lambda: rw.patch(site, SAME_LENGTH),
        "project_out": lambda: rw.project_out(site, vector),
        "add": lambda: rw.add(site, vector, strength),
        "set_to": lambda: rw.set_to(site, strength),
    }[op]()


quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(st.lists(described(), max_size=4), st.integers(0, len(METRICS) - 1))
def test_any_interventions(check, descriptions, metric):
    check([made(*each) for each in descriptions], METRICS[metric])


@pytest.mark.parametrize("component", ["resid_pre", "resid_mid", "attn_out", "mlp_out", "resid_post", "z", "pattern"])
def test_a_whole_layer_is_zeroed(check, component):
    check(rw.zero(rw.Site(component, 1)))


def test_several_edits_of_one_hook_point_are_made_in_the_order_listed(check):
    site = rw.Site("resid_post", 1, 3)
    one = check([rw.set_to(site, 0.5), rw.clamp(site, high=0.1)])
    other = check([rw.clamp(site, high=0.1), rw.set_to(site, 0.5)])
    assert one.after != pytest.approx(other.after, abs=1e-4)


def test_the_middle_of_a_block_is_changed_after_what_enters_it(check):
    check([rw.zero(rw.Site("resid_pre", 1, 3)), rw.mean(rw.Site("resid_mid", 1)), rw.zero(rw.Site("attn_out", 1, 4))])


def test_short_values_stand_in_the_script_and_long_ones_beside_it(check, tmp_path):
    check(rw.set_to(rw.Site("z", 1, 3, 2), np.arange(8.0) / 10))
    assert not (tmp_path / ARRAYS).exists()
    direction = RNG.normal(size=D_MODEL)
    found = check([rw.project_out(rw.Site("resid_post", 1), direction), rw.set_to(rw.Site("mlp_out", 2, 1), direction)])
    assert (tmp_path / ARRAYS).exists()
    assert re.search(r"load_file\('arrays.safetensors'\)  # .*save_code\(path\)", found.code())
    assert len(arrays_of(found.interventions)) == 1  # the same array, once


def test_a_source_without_interventions_is_run_again_and_one_with_them_is_stored(check, llama_run, tmp_path):
    source = rw.run(llama_run.model, list(SAME_LENGTH))
    check(rw.patch(rw.Site("resid_post", 1, 3), source))
    assert not (tmp_path / ARRAYS).exists()
    edited = rw.intervene(source, rw.zero(rw.Site("resid_post", 0, 2)))
    for site in (rw.Site("resid_post", 1, 3), rw.Site("z", 2, None, 1), rw.Site("pattern", 2, 6), rw.Site("v", 1)):
        check(rw.patch(site, edited))
    assert (tmp_path / ARRAYS).exists()


def test_scripts_of_one_folder_share_their_arrays(llama_run, tmp_path, monkeypatch):
    bridge = llama_run.model.bridge
    first, second = (
        rw.ablation(llama_run, rw.add(rw.Site("resid_post", 1), RNG.normal(size=D_MODEL))) for _ in range(2)
    )
    first.save_code(tmp_path / "first.py")
    second.save_code(tmp_path / "second.py")
    monkeypatch.chdir(tmp_path)
    for found, name in ((first, "first.py"), (second, "second.py")):
        names: dict[str, Any] = {"bridge": bridge}
        exec((tmp_path / name).read_text(), names)  # noqa: S102
        assert names["number"] == pytest.approx(found.after, abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [ARRAYS, "first.py", "second.py"]


def test_noise_is_the_same_under_another_default_dtype(llama_run):
    found = rw.ablation(llama_run, rw.noise(rw.Site("resid_post", 1, 3), 0.5))
    names: dict[str, Any] = {"bridge": llama_run.model.bridge}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        exec(found.code(), names)  # noqa: S102
    finally:
        torch.set_default_dtype(before)
    assert names["number"] == pytest.approx(found.after, abs=1e-5)


def test_where_a_script_cannot_be_written_is_said(llama_run, tmp_path):
    found = rw.ablation(llama_run, [])
    with pytest.raises(rw.InputError, match="does not exist"):
        found.save_code(tmp_path / "nowhere" / "script.py")
    with pytest.raises(rw.InputError, match="the script's arrays have that name"):
        found.save_code(tmp_path / ARRAYS)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "qwen2", "opt", "bloom", "gemma2", "phi"])
def test_other_architectures(check, make_model, family):
    from resid_widgets.models.layers.writes import write_test

    model = make_model(family)
    run = rw.run(model, [1, 5, 9, 20, 33, 4, 60])
    items = [rw.mean(rw.Site("resid_post", 1, 3)), rw.noise(rw.Site("mlp_out", 0, 5), 0.5), rw.zero(rw.Site("z", 2))]
    items = [item for item in items if write_test(model, item.site.component, item.site.layer).works]
    check(items, run=run)


@pytest.mark.slow
def test_a_script_runs_alone(tiny, tmp_path):
    """The bundled model is loaded by its folder, in a process that never sees the package."""
    run = rw.run(tiny, "When Mary and John went to the store, John gave a drink to")
    found = rw.ablation(run, rw.mean(rw.Site("resid_post", 1, -1)), rw.logit_diff(" Mary", " John"))
    path = found.save_code(tmp_path / "script.py")
    assert "define it above" not in found.code()
    out = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(out.stdout.split()[-1]) == pytest.approx(found.after, abs=1e-5)
    assert torch.isfinite(torch.tensor(found.after))
