"""The fingerprint changes when a weight does, and not otherwise."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from resid_widgets.models.fingerprint import fingerprint as weights
from resid_widgets.models.fingerprint.fingerprint import fingerprint
from tests.architectures import build


def net(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(300, 40), nn.LayerNorm(40), nn.Linear(40, 3)).to(dtype)


def test_equal_weights_have_equal_fingerprints() -> None:
    assert fingerprint(net(), {}) == fingerprint(net(), {})
    assert fingerprint(net(), {}) != fingerprint(net(seed=1), {})
    assert len(fingerprint(net(), {})) == 16


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_dtype_counts(dtype: torch.dtype) -> None:
    assert fingerprint(net(dtype=dtype), {}) == fingerprint(net(dtype=dtype), {})
    assert fingerprint(net(dtype=dtype), {}) != fingerprint(net(), {})


def test_it_does_not_depend_on_threads() -> None:
    model, before = build("llama"), torch.get_num_threads()
    try:
        found = set()
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(fingerprint(model, {}))
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def first(model: Any) -> torch.Tensor:
    return model[0].weight


@torch.no_grad()
def one_number(model: Any) -> None:
    first(model)[7, 123] += 1e-6


@torch.no_grad()
def sign(model: Any) -> None:
    first(model)[7, 123] *= -1


@torch.no_grad()
def swap_two_rows(model: Any) -> None:
    first(model)[[3, 4]] = first(model)[[4, 3]]


@torch.no_grad()
def one_bias(model: Any) -> None:
    model[2].bias[2] = 5.0


def replace_parameter(model: Any) -> None:
    model[0].weight = nn.Parameter(first(model).detach() * 1.001)


def replace_module(model: Any) -> None:
    model[0] = nn.Linear(300, 40)


def through_data(model: Any) -> None:
    first(model).data.mul_(1.001)


def new_data(model: Any) -> None:
    first(model).data = first(model).detach() * 1.001


def not_a_number(model: Any) -> None:
    nn.init.constant_(first(model), float("nan"))


EDITS = [
    one_number,
    sign,
    swap_two_rows,
    one_bias,
    replace_parameter,
    replace_module,
    through_data,
    new_data,
    not_a_number,
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_any_edit_changes_it(edit: Callable[[Any], None]) -> None:
    model: Any = net()
    cache: dict[str, Any] = {}
    before = fingerprint(model, cache)
    edit(model)
    after = fingerprint(model, cache)
    assert after != before
    assert after == fingerprint(model, {}), "what is kept is what would be found anew"
    assert after == fingerprint(copy.deepcopy(model), {})


def test_undone_is_as_before() -> None:
    model: Any = net()
    cache: dict[str, Any] = {}
    before = fingerprint(model, cache)
    for factor, same in ((2.0, False), (0.5, True)):
        with torch.no_grad():
            first(model).mul_(factor)
        assert (fingerprint(model, cache) == before) == same


def test_kept_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = net()
    cache: dict[str, Any] = {}
    not_a_number(model)  # NaN is not equal to itself, and must not look like an edit
    before = fingerprint(model, cache)
    monkeypatch.setattr(weights, "_whole_numbers", lambda parameter: pytest.fail("read the weights again"))
    assert fingerprint(model, cache) == before
    model(torch.ones(1, 300)).sum().backward()  # neither a pass nor gradients are edits
    assert fingerprint(model, cache) == before


def test_shared_and_frozen_weights() -> None:
    model: Any = net()
    model[2].weight = nn.Parameter(torch.ones(3, 40), requires_grad=False)
    tied = nn.ModuleDict({"a": model, "b": model[0]})
    assert fingerprint(tied, {}) == fingerprint(copy.deepcopy(tied), {})
    with torch.inference_mode():
        born_without_version = net()
    assert fingerprint(born_without_version, {}) == fingerprint(net(), {})


def test_it_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at an unchanged model must cost far less than a sum over its weights."""
    model = nn.Sequential(*(nn.Linear(1000, 1000) for _ in range(20)))
    cache: dict[str, Any] = {}

    def seconds(kept: dict[str, Any] | None) -> float:
        start = time.perf_counter()
        fingerprint(model, {} if kept is None else kept)
        return time.perf_counter() - start

    fingerprint(model, cache)
    assert min(seconds(cache) for _ in range(9)) < min(seconds(None) for _ in range(3)) / 3
