"""Collected numbers are those of runs one by one, and of TransformerLens; prompts, labels and memory are as stated."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.errors import InputError
from resid_widgets.models.collecting import batches, collect_memory
from resid_widgets.models.collecting.batch_plan import Plan
from resid_widgets.models.collecting.collect import COLLECTED
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.sites import RESIDUAL
from tests.architectures import build

# Of three lengths, in no order, so that batches mix the prompts up.
IDS = [[5, 9, 33, 2], [8, 60, 7], [7, 41, 12, 3], [3, 3, 3], [90, 1, 2, 3, 4, 5], [11, 12, 13, 14], [9, 8, 7, 6]]


def collect(model: Any, prompts: Any, *args: Any, **options: Any) -> rw.Activations:
    return rw.collect(model, prompts, *args, progress=False, **options)


# Bare and through the bridge; sequential, parallel, post-norm, flattened inside (OPT), sliding window, mixture.
@pytest.mark.parametrize(
    "family", ["gpt2", "llama", "gpt_neox", "olmo2", "gemma2", "opt", "falcon", "granite", "mixtral", "bloom"]
)
def test_gives_the_numbers_of_single_runs(family: str) -> None:
    model = load_model((build(family), None), copy=False)
    runs = [rw.run(model, ids, keep=None) for ids in IDS]
    activations = collect(model, IDS, runs[0].components, "all")
    assert all(check.level == "green" for check in activations.checks)
    assert {check.name for check in activations.checks} >= {"residual identity", "batch = alone"}
    for component in runs[0].components:
        for layer in range(model.n_layers):
            expected = np.concatenate([run.tensor(component, layer).numpy() for run in runs])
            found = activations.matrix(layer, component)
            assert found.dtype == np.float32 and found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
            assert np.ptp(found, axis=0).max() > 0.1


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "gpt_neox", "bloom"])
def test_neurons_are_those_of_single_runs(family: str) -> None:
    model = load_model((build(family), None), copy=False)
    activations = collect(model, IDS, ["mlp_post", "resid_post"], "all", layers=[1, -1])
    assert activations.layers == (1, 3)
    width = rw.run(model, IDS[0], keep="mlp_post").tensor("mlp_post", 0).shape[-1]
    assert activations.widths == {"mlp_post": width, "resid_post": model.d_model} and width != model.d_model
    for layer in activations.layers:
        runs = [rw.run(model, ids, keep="mlp_post").tensor("mlp_post", layer).numpy() for ids in IDS]
        found = activations.matrix(layer, "mlp_post")
        np.testing.assert_allclose(found, np.concatenate(runs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_gives_the_numbers_of_transformer_lens(family: str) -> None:
    """Independent of our hooks: TransformerLens' own cache, of one prompt at a time."""
    model = load_model((build(family), None), copy=False)
    components = [c for c in COLLECTED if model.has(c)]
    activations = collect(model, IDS, components, "last")
    for row, ids in enumerate(IDS):
        with torch.no_grad():
            _, cache = model.bridge.run_with_cache(torch.tensor([ids]))
        for component in components:
            for layer in range(model.n_layers):
                expected = cache[model.hook_name(component, layer)][0, -1].numpy()
                np.testing.assert_allclose(activations.matrix(layer, component)[row], expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_that_is_alone_has_the_bits_of_its_run(llama: Any) -> None:
    run = rw.run(llama, IDS[4])
    activations = collect(llama, IDS, RESIDUAL, [[0, 5] if len(ids) == 6 else 0 for ids in IDS])
    rows = activations.samples["prompt"] == 4
    for component in RESIDUAL:
        assert np.array_equal(activations.matrix(2, component)[rows], run.tensor(component, 2)[[0, 5]].numpy())


def test_samples_say_where_each_row_is_from(tiny: Any) -> None:
    task = rw.tasks.load("ioi", tiny, 6)
    activations = collect(tiny, [*task.prompts, "The cat"], positions="not_first")
    runs = [rw.run(tiny, prompt.text) for prompt in task.prompts] + [rw.run(tiny, "The cat")]
    expected = [(n, pos) for n, run in enumerate(runs) for pos in range(1, run.n_pos)]
    samples = activations.samples
    assert list(zip(samples["prompt"], samples["pos"], strict=True)) == expected
    assert samples["token"].tolist() == [runs[n].tokens[pos] for n, pos in expected]
    assert samples["token_id"].tolist() == [runs[n].token_ids[pos] for n, pos in expected]
    assert samples["label"].tolist()[:-2] == [task.prompts[n].label for n, _ in expected[:-2]]
    assert samples["group"].tolist()[0] == task.prompts[0].group and samples["label"].isna().tolist()[-2:] == [
        True,
        True,
    ]
    for row in (0, 17, len(expected) - 1):
        n, pos = expected[row]
        np.testing.assert_allclose(
            activations.matrix(3)[row], runs[n].tensor("resid_post", 3)[pos].numpy(), rtol=1e-4, atol=1e-5
        )
    assert activations.provenance.token_ids == tuple(i for run in runs for i in run.token_ids)
    assert activations.provenance.bos == "BOS added"
    assert "label" not in collect(tiny, ["The cat"]).samples


def test_values_are_one_labelled_array(llama: Any) -> None:
    activations = collect(llama, IDS, ["resid_pre", "attn_out"], "all")
    values = activations.values
    assert values.dims == ("component", "layer", "sample", "d_model") and values.dtype == np.float32
    assert values.shape == (2, 4, activations.n_samples, llama.d_model)
    assert np.array_equal(values.sel(component="attn_out", layer=2).to_numpy(), activations.matrix(2, "attn_out"))
    whole = np.stack([[activations.matrix(layer, c) for layer in range(4)] for c in ("resid_pre", "attn_out")])
    assert np.array_equal(values.to_numpy(), whole)
    values = activations.values
    assert np.array_equal(values[1, ::2, [3, 0, 3], -1].to_numpy(), whole[1, ::2][:, [3, 0, 3], -1])
    assert np.array_equal(values.isel(layer=-1, sample=slice(2, 5)).to_numpy(), whole[:, -1, 2:5])
    assert values["prompt"].to_numpy().tolist() == activations.samples["prompt"].tolist()
    assert activations.array("resid_pre").dims == ("layer", "sample", "d_model")


def test_components_of_other_width_are_no_one_array(llama: Any) -> None:
    activations = collect(llama, IDS, ["mlp_post", "resid_post"])
    with pytest.raises(InputError, match=r"differ in width.*activations.array\(component\)"):
        activations.values  # noqa: B018
    array = activations.array("mlp_post")
    assert array.dims == ("layer", "sample", "neuron")
    assert np.array_equal(array[1].to_numpy(), activations.matrix(1, "mlp_post"))


def test_a_matrix_is_the_caller_s_own(llama: Any) -> None:
    activations = collect(llama, IDS)
    before = activations.matrix(1).copy()
    activations.matrix(1)[:] = 0
    assert np.array_equal(activations.matrix(1), before)


def test_half_precision_is_kept_as_it_is() -> None:
    model = load_model((build("llama").bfloat16(), None), copy=False)
    activations = collect(model, IDS, positions="all")
    expected = np.concatenate([rw.run(model, ids).tensor("resid_post", 3).float().numpy() for ids in IDS])
    np.testing.assert_allclose(activations.matrix(3), expected, atol=0.05 * np.abs(expected).max())
    assert activations.memory == activations.n_samples * 4 * model.d_model * 2


# --- batches ------------------------------------------------------------------------------------------------------


def batch_sizes(plan: Plan) -> list[tuple[int, int]]:
    return [(len(numbers), len(plan.ids[numbers[0]])) for numbers in plan.batches]


def plan_of(model: Any, lengths: list[int], batch_tokens: int) -> Plan:
    from resid_widgets.models.prompt_list import read_prompts

    entries = read_prompts(model, [[5] * n for n in lengths], None)
    return Plan.of(model, entries, [(0,)] * len(lengths), batch_tokens)


def test_batches_hold_prompts_of_equal_length(llama: Any) -> None:
    plan = plan_of(llama, [3, 5, 3, 4, 3, 5, 3, 20], 9)
    assert plan.batches == ((0, 2, 4), (6,), (3,), (1,), (5,), (7,))
    assert batch_sizes(plan) == [(3, 3), (1, 3), (1, 4), (1, 5), (1, 5), (1, 20)]
    assert sorted(n for batch in range(6) for n in plan.samples(batch)) == list(range(8))


def test_the_size_of_batches_changes_no_number(llama: Any) -> None:
    one, all_ = (collect(llama, IDS, positions="all", batch_tokens=n) for n in (1, 10_000))
    np.testing.assert_allclose(one.matrix(3), all_.matrix(3), rtol=1e-5, atol=1e-5)


def test_prompts_go_through_together(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    collect(llama, IDS)  # proofs are made
    seen: list[int] = []
    once = batches._pass
    monkeypatch.setattr(batches, "_pass", lambda *args: seen.append(len(args[1])) or once(*args))
    collect(llama, IDS, positions="all")
    assert seen == [2, 4, 1]


def mixing(hf_model: Any) -> Any:
    """Spoil a model: each row of a batch sees the mean of all rows."""
    mlp = hf_model.model.layers[1].mlp
    plain = mlp.forward
    mlp.forward = lambda hidden: plain(hidden) + (hidden - hidden.mean(dim=0, keepdim=True))
    return hf_model


def test_a_model_that_mixes_rows_up_runs_them_one_by_one() -> None:
    model = load_model((mixing(build("llama")), None), copy=False)
    activations = collect(model, IDS, positions="all")
    expected = np.concatenate([rw.run(model, ids).tensor("resid_post", 3).numpy() for ids in IDS])
    np.testing.assert_allclose(activations.matrix(3), expected, rtol=1e-5, atol=1e-5)
    assert all(check.level == "green" for check in activations.checks)


def test_a_batch_that_differs_from_its_prompt_alone_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model((mixing(build("llama")), None), copy=False)
    monkeypatch.setattr(batches, "_rows_stay_apart", lambda *args: True)
    check = next(c for c in collect(model, IDS, positions="all").checks if c.name == "batch = alone")
    assert check.level == "red" and check.value > 1e-3


def test_numbers_that_are_not_finite_are_red() -> None:
    model = load_model((build("llama"), None), copy=False)
    with torch.no_grad():
        model.bridge.original_model.get_input_embeddings().weight[60] = torch.nan
    activations = collect(model, IDS)
    check = next(c for c in activations.checks if c.name == "finite")
    lost = sum(np.isnan(activations.matrix(layer)).sum() for layer in range(4))
    assert check.level == "red" and check.value == lost > 0


# --- progress, memory and refusals --------------------------------------------------------------------------------


def test_progress_is_told_and_can_stop(llama: Any) -> None:
    seen: list[tuple[int, int]] = []
    rw.collect(llama, IDS, positions="all", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(6, 28), (22, 28), (28, 28)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rw.collect(llama, IDS, progress=stop)
    assert rw.collect(llama, IDS, progress=True).n_samples == 7


def peak_of_tensors(call: Any) -> int:
    """Bytes alive in PyTorch's allocator at the peak, above what there was."""
    gc.collect()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def test_the_stated_peak_is_kept(tiny: Any, tmp_path: Any) -> None:
    prompts = [p.text for p in rw.tasks.load("ioi", tiny, 300).prompts]
    collect(tiny, prompts[:2])
    made: list[rw.Activations] = []
    found = peak_of_tensors(lambda: made.append(collect(tiny, prompts, RESIDUAL, "all")))
    held = made[0].n_samples * 5 * 4 * tiny.d_model * 4
    assert made[0].memory == held and held < found <= made[0].peak < 3 * found
    in_store = peak_of_tensors(lambda: made.append(collect(tiny, prompts, RESIDUAL, "all", store=tmp_path / "s")))
    assert in_store <= made[1].peak and made[1].memory == 0
    assert made[1].peak == made[0].peak - held


def test_more_than_the_budget_is_refused_before_it_is_taken(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [p.text for p in rw.tasks.load("ioi", tiny, 300).prompts]
    with pytest.raises(InputError, match=r"more than 70 MB, the budget. Pass store=path"):
        collect(tiny, prompts, RESIDUAL, "all", budget=70_000_000)
    with pytest.raises(InputError, match=r"more than 10 kB, the budget. Pass a smaller batch_tokens"):
        collect(tiny, prompts, budget=10_000)
    monkeypatch.setattr(collect_memory, "free_bytes", lambda device: 4_000_000)
    with pytest.raises(InputError, match=r"more than 1.0 MB, a quarter of the 4.0 MB that are free"):
        collect(tiny, prompts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": "resid"}, "component='resid': must be one of"),
        ({"components": ["resid_post", "pattern"]}, "component='pattern': must be one of"),
        ({"components": []}, "it names nothing"),
        ({"components": 3}, "components=3"),
        ({"layers": 4}, "layers=4: the model has layers 0 .. 3"),
        ({"layers": []}, "the model has layers"),
        ({"layers": [True]}, "the model has layers"),
        ({"layers": "all"}, "the model has layers"),
        ({"batch_tokens": 0}, "batch_tokens=0: a whole number of at least 1"),
        ({"budget": -1}, "budget=-1"),
        ({"engine": "dask"}, "engine='dask': must be 'local' or 'ray'"),
        ({"workers": 2}, "only Ray has workers"),
        ({"append": True}, "there is no store to add to"),
        ({"progress": "yes"}, "progress='yes'"),
        ({"store": 5}, "store=5: the name of a folder is needed"),
        ({"bos": True}, r"prompts\[0\]: .*used exactly as given"),
        ({"positions": 5}, r"prompts\[0\]"),
    ],
)
def test_bad_options(llama: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rw.collect(llama, IDS, **{"progress": False, **options})


def test_what_was_not_collected(llama: Any) -> None:
    activations = collect(llama, IDS, ["resid_post", "attn_out"], layers=[0, 2])
    for call, message in (
        (lambda: activations.tokens("x"), "prompt='x': there are 7 prompts"),
        (lambda: activations.tokens(0.7), "there are 7 prompts"),
        (lambda: activations.tokens(-1), "there are 7 prompts"),
        (lambda: activations.matrix(0), "resid_post, attn_out were collected"),
        (lambda: activations.matrix(0, "mlp_out"), "component='mlp_out'"),
        (lambda: activations.matrix(1, "attn_out"), "layers 0, 2 were collected"),
        (lambda: activations.array("z"), "component='z'"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_a_model_in_train_mode_or_with_hooks_is_refused(fresh: Any) -> None:
    model = fresh("llama")
    handle = model.hooks["blocks.1.hook_resid_post"].register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="bears hooks that are not ours"):
        collect(model, IDS)
    handle.remove()
    model.bridge.train()
    with pytest.raises(InputError, match="train mode"):
        collect(model, IDS)


def test_weights_that_change_meanwhile_are_noticed(fresh: Any) -> None:
    model = fresh("llama")

    def spoil(done: int, total: int) -> None:
        with torch.no_grad():
            model.bridge.original_model.get_input_embeddings().weight.mul_(2)

    with pytest.raises(InputError, match="has changed while activations were collected"):
        rw.collect(model, IDS, progress=spoil)


def test_a_parallel_block_has_no_middle() -> None:
    model = load_model((build("gpt_neox"), None), copy=False)
    with pytest.raises(InputError, match="in parallel"):
        collect(model, IDS, "resid_mid")


def test_unknown_words_are_said(tiny: Any) -> None:
    activations = collect(tiny, ["The cat", "The zyzzyva"])
    check = next(c for c in activations.checks if c.name == "unknown words")
    assert check.level == "amber" and "'zyzzyva' (prompt 1)" in check.text
    assert "Activations of tiny: 2 samples of 2 prompts" in repr(activations)


@pytest.mark.slow
def test_a_fortieth_of_the_scale_benchmark_keeps_its_peak(tmp_path: Any) -> None:
    """2,500 positions x all layers collected, then probed, each in a process of its own: memory stays as was said."""
    script = Path(__file__).parents[3] / "benchmarks" / "scale.py"
    store = str(tmp_path / "store")
    steps = {"collect": (["2500", store], 30e6), "probe": ([store], 200e6)}
    for step, (arguments, most) in steps.items():
        command = [sys.executable, str(script), step, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout.splitlines()[-1])
        if step == "collect":
            assert found["samples"] >= 2_500 and set(found["levels"]) == {"green"}
        assert found["rise"] is None or found["rise"] <= found["stated"] < most
