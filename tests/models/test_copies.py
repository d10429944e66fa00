"""Copies of loaded models and runs are independent; what belongs to a process is not pickled, results are."""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import pickle  # noqa: TID251  # what users, joblib and multiprocessing do to what we return
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import resid_widgets as rw
from resid_widgets.errors import InputError
from resid_widgets.models.copies import deep_copy, reached, shared_with
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.worker import worker_of
from tests.architectures import build

IDS = [5, 9, 33, 2]
EDIT = rw.zero(rw.Site("mlp_out", 1, pos=2))
METRIC = rw.logit_diff(3, 4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2", "mixtral"])
def test_a_deep_copy_is_a_model_of_its_own(family: str, fresh: Callable[..., ResidualModel]) -> None:
    model = fresh(family)
    before, digest = rw.run(model, IDS).final_logits, model.weights_hash
    made = copy.deepcopy(model)
    assert made.name == model.name
    assert torch.equal(rw.run(made, IDS).final_logits, before)
    assert made.weights_hash == digest
    assert made.lock is not model.lock
    assert worker_of(made.bridge, made.lock) is not worker_of(model.bridge, model.lock)
    theirs = {id(m) for m in model.modules()} | {id(p) for p in model.bridge.original_model.parameters()}
    assert not [thing for thing in reached(made) if id(thing) in theirs]
    with torch.no_grad():
        next(made.bridge.original_model.parameters()).mul_(2)
    assert torch.equal(rw.run(model, IDS).final_logits, before)
    assert not torch.equal(rw.run(made, IDS).final_logits, before)
    assert (model.weights_hash, made.weights_hash != digest) == (digest, True)


def test_the_copy_s_hooks_are_its_own(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh("llama")
    made = copy.deepcopy(model)
    seen: list[str] = []
    for each, name in ((model, "original"), (made, "copy")):
        for point in each.hooks.values():
            point.add_hook(lambda value, hook, name=name: seen.append(name))
    rw.run(made, IDS, allow_hooks=True)
    assert set(seen) == {"copy"}
    seen.clear()
    rw.run(model, IDS, allow_hooks=True)
    assert set(seen) == {"original"}
    model.bridge.reset_hooks()
    made.bridge.reset_hooks()


def test_a_shallow_copy_is_another_handle(llama: ResidualModel) -> None:
    made = copy.copy(llama)
    assert made is not llama
    assert (made.bridge, made.lock) == (llama.bridge, llama.lock)


def test_what_a_copy_would_share_is_said(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh("llama")
    part = model.bridge.original_model.model.layers[1].mlp
    inner = part.forward
    part.forward = lambda *args: inner(*args)
    with pytest.raises(InputError, match=r"would share its .*forward with it\. Load it a second time"):
        copy.deepcopy(model)


@dataclasses.dataclass
class Study:
    """What a user keeps together."""

    run: Any
    model: Any


class TestRuns:
    def test_deep_copy(self, fresh: Callable[..., ResidualModel]) -> None:
        recorded = rw.run(fresh("llama"), IDS, reuse=True)
        rw.intervene(recorded, [EDIT])
        study = copy.deepcopy(Study(recorded, recorded.model))
        made = study.run
        assert made.model is study.model is not recorded.model
        before = rw.ablation(recorded, [EDIT], METRIC)
        with torch.no_grad():
            next(recorded.model.bridge.original_model.parameters()).zero_()
        after = rw.ablation(made, [EDIT], METRIC)
        assert (after.before, after.after) == pytest.approx((before.before, before.after), abs=1e-5)
        assert made.activation("z", 1).isfinite().all()
        recorded.tensor("mlp_out", 1).zero_()
        assert made.tensor("mlp_out", 1).abs().max() > 0

    def test_copy(self, llama: ResidualModel) -> None:
        recorded = rw.run(llama, IDS)
        made = copy.copy(recorded)
        assert made.model is llama
        assert made.tensor("mlp_out", 1) is recorded.tensor("mlp_out", 1)


class TestPickling:
    @pytest.mark.parametrize("protocol", [0, 2, 5])
    def test_models_and_runs_say_what_to_do(self, protocol: int, llama: ResidualModel) -> None:
        with pytest.raises(InputError, match=r"cannot be pickled\. Load it again in the other process: rw\.load_model"):
            pickle.dumps(llama, protocol)
        with pytest.raises(InputError, match=r"cannot be pickled\. Send what was read from it .*or run again there"):
            pickle.dumps({"runs": [rw.run(llama, IDS)]}, protocol)

    def test_another_process(self, llama: ResidualModel) -> None:
        child = multiprocessing.get_context("spawn").Process(target=print, args=(llama,))
        with pytest.raises(InputError, match=r"Load it again in the other process"):
            child.start()

    @pytest.mark.parametrize(
        "make",
        [
            rw.activation_map,
            rw.logit_lens,
            lambda run: rw.ablation(run, [EDIT], METRIC),
            lambda run: rw.ablation_sweep(run, METRIC),
            lambda run: rw.patch_sweep(run.model, IDS, [7, 9, 33, 2], METRIC),
        ],
    )
    def test_results_travel(self, make: Callable[[Any], Any], llama: ResidualModel) -> None:
        result = make(rw.run(llama, IDS))
        for made in (pickle.loads(pickle.dumps(result)), copy.copy(result), copy.deepcopy(result)):  # noqa: S301
            assert made.values.identical(result.values)
            assert (made.checks, made.provenance) == (result.checks, result.provenance)
            assert str(made) == str(result)


def test_graphs_are_left_behind() -> None:
    hf_model = build("llama")
    part = hf_model.model.layers[1]
    part.kept = [hf_model(torch.tensor([IDS])).logits]  # pyright: ignore[reportArgumentType]
    made = deep_copy(hf_model)
    kept: Any = made.model.layers[1].kept[0]
    assert kept.grad_fn is None
    assert torch.equal(kept, part.kept[0])  # pyright: ignore[reportIndexIssue]
    assert shared_with(made, hf_model) == []
    assert isinstance(made, nn.Module)
