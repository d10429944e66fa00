"""Interventions are plain data: frozen, comparable by content, and refused with a reason where they make no sense."""

from __future__ import annotations

import dataclasses
import inspect
import pickle  # noqa: TID251 - to see that they can be copied to another process, never to load a file
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import resid_widgets as rw
from resid_widgets.errors import InputError
from resid_widgets.held import Held
from resid_widgets.interventions import OPS, Intervention, as_interventions

SITE = rw.Site("resid_post", 1, 3)
PATTERN = rw.Site("pattern", 1)
VECTOR = np.linspace(-1, 2, 8)


def unchecked(function: Any) -> Any:
    """Return a function without beartype, as users call it."""
    return inspect.unwrap(function)


EVERY = {
    "zero": lambda: rw.zero(SITE),
    "mean": lambda: rw.mean(SITE, over=["a prompt", [3, 4, 5]]),
    "resample": lambda: rw.resample(SITE, "a prompt", seed=3),
    "noise": lambda: rw.noise(SITE, 0.5, seed=2),
    "clamp": lambda: rw.clamp(SITE, low=-1.0, high=2.0),
    "set_to": lambda: rw.set_to(SITE, VECTOR),
    "project_out": lambda: rw.project_out(SITE, VECTOR),
    "add": lambda: rw.add(SITE, VECTOR, alpha=-2.0),
    "patch": lambda: rw.patch(SITE, [1, 2, 3]),
}


def test_there_is_one_constructor_for_each_operation() -> None:
    assert set(EVERY) == set(OPS)
    assert [make().op for make in EVERY.values()] == list(EVERY)


@pytest.mark.parametrize("op", OPS)
def test_equal_by_content_frozen_and_hashable(op: str) -> None:
    first, second = EVERY[op](), EVERY[op]()
    assert first == second and hash(first) == hash(second) and len({first, second}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.op = "other"
    assert isinstance(first.options, tuple)
    assert str(first).startswith(f"{op} resid_post[layer 1, pos 3]")
    assert first.site == SITE


def test_different_parameters_are_different() -> None:
    all_of_them = [make() for make in EVERY.values()]
    others = [
        rw.zero(rw.Site("resid_post", 1, 2)),
        rw.mean(SITE),
        rw.resample(SITE, "a prompt", seed=4),
        rw.noise(SITE, 0.25, seed=2),
        rw.clamp(SITE, low=-1.0),
        rw.set_to(SITE, VECTOR + 1e-3),
        rw.project_out(SITE, -VECTOR),
        rw.add(SITE, VECTOR),
        rw.patch(SITE, [1, 2, 4]),
    ]
    assert len({*all_of_them, *others}) == 18


def test_options_can_be_read() -> None:
    item = rw.clamp(SITE, high=2.0)
    assert (item.option("high"), item.option("low"), item.option("low", -9)) == (2.0, None, -9)
    assert item.options == (("high", 2.0),)
    assert rw.mean(SITE).options == ()
    assert str(rw.noise(SITE, 0.5, seed=2)) == "noise resid_post[layer 1, pos 3], seed=2, sigma=0.5"


@pytest.mark.parametrize(
    "given_as",
    ["a text", [3, 4], (3, 4), np.array([3, 4]), torch.tensor([3, 4]), torch.tensor([[3, 4]]), ["a", "b"], [[3], "b"]],
    ids=str,
)
def test_prompts_become_plain_data(given_as: Any) -> None:
    item = unchecked(rw.mean)(SITE, given_as)
    hash(item)
    for prompt in item.option("over"):
        assert isinstance(prompt, str) or (isinstance(prompt, tuple) and {type(i) for i in prompt} == {int})


def test_arrays_of_ids_are_the_same_prompt_as_lists() -> None:
    expected = rw.patch(SITE, [3, 4])
    assert rw.patch(SITE, torch.tensor([3, 4])) == rw.patch(SITE, np.array([[3, 4]])) == expected


# --- arrays in frozen objects ----------------------------------------------------------------------------------------


class TestHeld:
    def test_compared_by_shape_and_content(self) -> None:
        assert Held([1, 2]) == Held((1, 2)) == Held(np.array([1, 2])) == Held(torch.tensor([1.0, 2.0]))
        assert Held([1.5, 2]) == Held(np.array([1.5, 2.0])) != Held(torch.tensor([1.5, 2.0]))  # float64 and float32
        assert hash(Held([1, 2])) == hash(Held(np.array([1, 2], dtype=np.int8)))
        assert Held([1, 2]) != Held([2, 1])
        assert Held([1, 2]) != Held([[1, 2]])
        assert Held([1.0, 2.0]) != [1.0, 2.0]
        assert len({Held([1, 2]), Held([1, 2]), Held([1, 3])}) == 2

    def test_a_copy_that_cannot_be_changed(self) -> None:
        given_array = np.ones(3, dtype=np.float32)
        held = Held(given_array)
        given_array[0] = 9
        assert held == Held(np.ones(3, dtype=np.float32))
        with pytest.raises(ValueError, match="read-only"):
            held.array[0] = 9

    def test_order_in_memory_does_not_count(self) -> None:
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        assert Held(array) == Held(np.asfortranarray(array)) == Held(array.T.copy().T)

    @pytest.mark.parametrize(
        ("dtype", "kept"),
        [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")],
    )
    def test_tensors_of_any_precision(self, dtype: str, kept: str) -> None:
        held = Held(torch.tensor([0.5, -2.0], dtype=getattr(torch, dtype)).requires_grad_())
        assert held.array.dtype == kept
        assert held.array.tolist() == [0.5, -2.0]

    def test_it_shows_its_shape_not_its_numbers(self) -> None:
        assert repr(Held(np.zeros((3, 4)))).startswith("array[3, 4] ")

    @pytest.mark.parametrize("bad", ["text", None, {"a": 1}, [[1], [1, 2]], [1, "x"], 1j], ids=repr)
    def test_what_is_no_array_of_numbers(self, bad: Any) -> None:
        with pytest.raises(InputError, match=r"direction=.*an array of numbers is needed"):
            Held(bad, "direction")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, [1, -np.inf]], ids=repr)
    def test_what_is_not_finite(self, bad: Any) -> None:
        with pytest.raises(InputError, match="every number must be finite"):
            Held(bad)

    @given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5), st.data())
    @settings(max_examples=30, deadline=None)
    def test_equal_exactly_where_the_numbers_are(self, numbers: list[float], data: st.DataObject) -> None:
        n = data.draw(st.integers(0, len(numbers) - 1))
        other = list(numbers)
        other[n] = data.draw(st.floats(-1e6, 1e6, width=32))
        same = np.array(numbers, np.float32).tobytes() == np.array(other, np.float32).tobytes()
        assert (Held(numbers) == Held(other)) == same


def test_an_intervention_goes_to_another_process_and_back() -> None:
    item = rw.zero(SITE)
    assert pickle.loads(pickle.dumps(item)) == item  # noqa: S301


# --- what is refused, and how it is said -----------------------------------------------------------------------------

BAD = {
    "zero, no site": (lambda: rw.zero("resid_post"), "site='resid_post': a Site is needed. For example rw.Site"),
    "mean of a pattern": (lambda: rw.mean(PATTERN), "mean has no meaning on a pattern.*Use zero, set_to"),
    "mean over nothing": (lambda: rw.mean(SITE, []), r"over=\[\]: a prompt or several are needed"),
    "mean over a number": (lambda: rw.mean(SITE, 3), "over=3: a prompt or several are needed"),
    "mean over truths": (
        lambda: rw.mean(SITE, [True, False]),
        r"over\[0\]=True: each prompt must be",
    ),
    "resample without source": (lambda: rw.resample(SITE, None), "source=None: resampling needs a source"),
    "resample seed": (lambda: rw.resample(SITE, "a", seed=-1), "seed=-1: a whole number from 0 is needed"),
    "resample seed text": (lambda: rw.resample(SITE, "a", seed="1"), "seed='1': a whole number"),
    "resample seed large": (lambda: rw.resample(SITE, "a", seed=2**63), "a whole number from 0"),
    "noise of a pattern": (lambda: rw.noise(PATTERN), "noise has no meaning on a pattern"),
    "noise negative": (lambda: rw.noise(SITE, -1), "sigma=-1: a standard deviation is 0 or more. Use 1.0"),
    "noise NaN": (lambda: rw.noise(SITE, float("nan")), "sigma=nan: a finite number is needed"),
    "noise text": (lambda: rw.noise(SITE, "much"), "sigma='much': a number is needed. For example sigma=1.0"),
    "noise truth": (lambda: rw.noise(SITE, True), "sigma=True: a number is needed"),
    "noise seed": (lambda: rw.noise(SITE, seed=1.5), "seed=1.5: a whole number"),
    "clamp without bounds": (lambda: rw.clamp(SITE), r"low, high=\(None, None\): at least one bound is needed"),
    "clamp crossed": (lambda: rw.clamp(SITE, 2, 1), r"low, high=\(2, 1\): low must not be above high. Exchange them"),
    "clamp infinite": (lambda: rw.clamp(SITE, low=-np.inf), "low=-inf: a finite number is needed"),
    "set_to text": (lambda: rw.set_to(SITE, "zero"), "value='zero': an array of numbers is needed"),
    "set_to NaN": (lambda: rw.set_to(SITE, [1, np.nan]), "value=.*every number must be finite"),
    "project_out zero": (lambda: rw.project_out(SITE, np.zeros(4)), "direction=.*all zeros, and points nowhere"),
    "project_out matrix": (lambda: rw.project_out(SITE, np.ones((2, 2))), "direction=.*one vector is needed"),
    "project_out nothing": (lambda: rw.project_out(SITE, []), "direction=.*one vector is needed"),
    "project_out pattern": (lambda: rw.project_out(PATTERN, VECTOR), "project_out has no meaning on a pattern"),
    "add number": (lambda: rw.add(SITE, 3.0), "direction=.*one vector is needed"),
    "add alpha": (lambda: rw.add(SITE, VECTOR, np.inf), "alpha=inf: a finite number"),
    "add pattern": (lambda: rw.add(PATTERN, VECTOR), "add has no meaning on a pattern"),
    "patch nothing": (lambda: rw.patch(SITE, None), "source=None: one run or one prompt is needed"),
    "patch two": (lambda: rw.patch(SITE, ["a", "b"]), "source=.*one run or one prompt is needed"),
    "patch no site": (lambda: rw.patch("resid_pre", "a"), "site='resid_pre': a Site is needed"),
}


@pytest.mark.parametrize(("make", "text"), BAD.values(), ids=BAD.keys())
def test_bad_input_names_value_rule_and_remedy(make: Any, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPS:
        monkeypatch.setitem(rw.__dict__, name, unchecked(getattr(rw, name)))
    with pytest.raises(InputError, match=text):
        make()


def test_lists_of_interventions() -> None:
    one = rw.zero(SITE)
    assert as_interventions(one) == as_interventions([one]) == as_interventions(iter([one])) == (one,)
    assert as_interventions([]) == ()
    for bad in ("zero", [one, SITE], 3, None):
        with pytest.raises(InputError, match=r"interventions are needed.*rw\.zero"):
            as_interventions(bad)


numbers = st.booleans() | st.integers(-3, 3) | st.floats() | st.lists(st.floats(), max_size=3)
anything = st.none() | numbers | st.text(max_size=3) | st.just(SITE)
places = st.sampled_from([SITE, PATTERN]) | anything


@settings(max_examples=150, deadline=None)
@given(op=st.sampled_from(OPS), site=places, arguments=st.lists(anything, max_size=2))
def test_any_arguments_give_an_intervention_or_an_input_error(op: str, site: Any, arguments: list[Any]) -> None:
    try:
        item = unchecked(getattr(rw, op))(site, *arguments)
    except (InputError, TypeError) as error:
        # Too many arguments, or one that is needed is missing; else a value, the rule and the remedy.
        said = str(error)
        assert ("argument" in said) if isinstance(error, TypeError) else ("=" in said and ": " in said)  # noqa: PT017
    else:
        assert isinstance(item, Intervention)
        assert item == unchecked(getattr(rw, op))(site, *arguments)
        hash(item)
        str(item)
