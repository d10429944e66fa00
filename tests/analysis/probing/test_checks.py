"""What the checks of a probe say about its control task, in words that tell what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.results import Check


def control_check(found: rw.Probe) -> Check:
    (check,) = [check for check in found.checks if check.name == "control task"]
    return check


def probed(units: Any, labels: Any = None, **options: Any) -> rw.Probe:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4))
    labels = np.arange(120) % 2 if labels is None else labels
    options = {"groups": np.arange(120), "seeds": (0,), "folds": 4, "progress": False, **options}
    return rw.probe({0: x}, labels, control_units=units, **options)


@pytest.mark.parametrize(
    ("units", "says"),
    [
        (None, ["was given", "give control_units="]),
        (np.zeros(120, dtype=int), ["one control unit", "probe tokens that differ", "give control_units="]),
        (np.arange(120), ["each sample is a control unit of its own", "control_units= that several samples share"]),
        (np.arange(120) // 1.05, ["too few of their units", "take more samples"]),
    ],
)
def test_no_control_task_is_said_with_its_reason_and_a_way_out(units: Any, says: list[str]) -> None:
    found = probed(units)
    check = control_check(found)
    assert check.level == "amber" and check.text.startswith("no control task")
    assert all(part in check.text for part in says), check.text
    assert np.isnan(found.control).all() and np.isnan(found.selectivity).all()


def test_units_too_few_to_have_every_class_are_said() -> None:
    """Nine in ten are of one class, so that two units hardly ever draw the other one."""
    found = probed(np.arange(120) % 2, (np.arange(120) % 10 == 0).astype(int))
    check = control_check(found)
    assert np.isnan(found.control).all()
    assert check.level == "amber" and "2 control units are too few" in check.text and "more kinds" in check.text


def test_numbers_need_two_units_as_well() -> None:
    labels = np.random.default_rng(1).normal(size=120)
    found = probed(np.zeros(120, dtype=int), labels, task="regress")
    assert control_check(found).level == "amber"
    assert control_check(probed(np.arange(120) % 9, labels, task="regress")).level == "green"


def test_a_control_task_that_is_scored_is_green() -> None:
    found = probed(np.arange(120) % 7)
    assert control_check(found).level == "green"
    assert np.isfinite(found.control).all()


def test_one_and_the_same_token_of_each_prompt_is_said() -> None:
    """The default unit of a text's sample is its token: where all end in a full stop, there is one only."""
    found = probed(["."] * 120)
    assert "one control unit" in control_check(found).text and "one control unit" in str(found)
