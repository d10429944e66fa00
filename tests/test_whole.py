"""Whole numbers as arguments: of Python, NumPy and PyTorch alike; no booleans, no floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import resid_widgets as rw
from resid_widgets.errors import InputError
from resid_widgets.whole import from_zero, several_whole, whole, whole_number

THREE = [
    3,
    np.int64(3),
    np.int32(3),
    np.uint8(3),
    np.array(3),
    np.array([3])[0],
    torch.tensor(3),
    torch.tensor(3, dtype=torch.uint8),
    pd.Series([3])[0],
]
NONE = [True, 3.0, np.float64(3.0), np.bool_(True), torch.tensor(True), torch.tensor(3.0), np.array([3]), "3", None]
NONE += [torch.tensor([3]), np.array(True), [3]]


@pytest.mark.parametrize("value", THREE, ids=repr)
def test_a_whole_number_of_any_library_is_pythons(value: Any) -> None:
    assert whole(value) == 3 and type(whole(value)) is int
    assert whole_number("n", value, 0, 5, "") == 3
    assert from_zero("n", value, 5, "there are") == 3


@pytest.mark.parametrize("value", NONE, ids=repr)
def test_what_is_none_is_refused(value: Any) -> None:
    assert whole(value) is None
    with pytest.raises(InputError, match="n="):
        whole_number("n", value, 0, 5, "")
    with pytest.raises(InputError, match="n="):
        from_zero("n", value, 5, "there are")


def test_small_types_do_not_overflow() -> None:
    assert from_zero("pos", np.int8(-1), 1000, "positions") == 999
    assert from_zero("pos", np.uint8(200), 1000, "positions") == 200


@pytest.mark.parametrize(
    "given",
    [
        [1, 2],
        (np.int64(1), 2),
        range(1, 3),
        np.array([1, 2], dtype=np.int16),
        torch.tensor([1, 2]),
        pd.Series([1, 2]),
        iter([1, 2]),
        [torch.tensor(1), np.uint8(2)],
    ],
    ids=lambda given: type(given).__name__,
)
def test_several(given: Any) -> None:
    assert several_whole(given) == (1, 2)


def test_several_of_one_of_none_and_of_something_else() -> None:
    assert several_whole(np.int64(4)) == (4,) and several_whole([]) == ()
    for bad in ("12", b"12", {1: 2}, [1, True], [1.0], np.array([[1]]), None, 1.5):
        assert several_whole(bad) is None


@pytest.mark.parametrize("three", THREE, ids=repr)
def test_sites_metrics_seeds_and_tasks_take_them(tiny: Any, three: Any) -> None:
    assert rw.Site("z", three, pos=three, head=three) == rw.Site("z", 3, 3, 3)
    assert type(rw.Site("mlp_post", three, neuron=three).neuron) is int
    assert rw.logit_diff(" a", " b", pos=three).pos == (3,)
    assert rw.prob(three).answers == (3,)
    assert rw.noise(rw.Site("resid_post", 0), seed=three) == rw.noise(rw.Site("resid_post", 0), seed=3)
    assert rw.tasks.load("ioi", tiny, n=three, seed=three) == rw.tasks.load("ioi", tiny, n=3, seed=3)


@pytest.mark.parametrize("bad", [True, 3.0, np.float32(3), torch.tensor(3.0), np.bool_(True)], ids=repr)
def test_floats_and_booleans_are_refused_everywhere(tiny: Any, bad: Any) -> None:
    site = rw.Site("resid_post", 0)
    for call in (
        lambda: rw.Site("z", bad),
        lambda: rw.Site("z", 0, pos=bad),
        lambda: rw.Site("z", 0, head=bad),
        lambda: rw.Site("mlp_post", 0, neuron=bad),
        lambda: rw.logit_diff(" a", " b", pos=bad),
        lambda: rw.logit_diff(" a", " b", pos=[-1, bad]),
        lambda: rw.prob(bad),
        lambda: rw.noise(site, seed=bad),
        lambda: rw.tasks.load("ioi", tiny, n=bad),
        lambda: rw.tasks.load("ioi", tiny, seed=bad),
    ):
        with pytest.raises(InputError):
            call()


def test_a_sweeps_strongest_cell_is_taken_as_numpy_gives_it(tiny: Any) -> None:
    run = rw.run(tiny, rw.tasks.load("ioi", tiny, n=1).prompts[0].text)
    metric = rw.kl_to_base()
    sweep = rw.ablation_sweep(run, metric, "z", how="zero", layers=np.array([1, 2]), progress=False)
    row, head = np.unravel_index(np.abs(sweep.values.values).argmax(), sweep.values.shape)
    layer = sweep.values.coords["layer"].values[row]
    site = rw.Site("z", layer, head=head)
    after = rw.ablation(run, [rw.zero(site)], metric, top_k=np.int64(2))
    assert after.after == pytest.approx(float(sweep.raw.values[row, head]), rel=1e-5)
    assert len(after.top) >= 1
    lens = rw.logit_lens(run, top_k=np.int32(2))
    assert lens.code() == rw.logit_lens(run, top_k=2).code()
    assert run.residual(layers=np.array([0, 1])).sizes["layer"] == 2
    found = rw.collect(tiny, [run.token_ids], positions=np.int64(-1), layers=np.int64(2), progress=False)
    assert np.allclose(found.matrix(np.int64(2)), run.tensor("resid_post", 2)[-1:].numpy(), atol=1e-5)
