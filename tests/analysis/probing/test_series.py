"""Several probes in one picture: whose checks are whose, and what the sentence names."""

from __future__ import annotations

from typing import Any

import numpy as np

import resid_widgets as rw
from resid_widgets.analysis.probing.series import checks_of, sentence_of, series_of


def probed(n: int, units: Any = None, kind: Any = "full") -> rw.Probe:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 4)), np.arange(n) % 2
    options = {"groups": np.arange(n), "seeds": (0,), "folds": 3, "progress": False}
    return rw.probe({0: x}, y, control_units=units, kind=kind, **options)


def test_each_check_says_which_curves_it_is_about() -> None:
    found = {"one": probed(60), "two": probed(60, np.arange(60) % 7), "three": probed(90)}
    series = series_of(found)
    told = checks_of(series)
    names = [check.name for _, check in told]
    assert set(names) == {check.name for each in found.values() for check in each.checks}
    by = {of: [check for other, check in told if other == of] for of, _ in told}
    assert next(iter(by)) == "all curves"
    for of, checks in by.items():
        about = [each for each in series if of == "all curves" or each.name in of.split(", ")]
        for check in checks:
            assert [each for each in series if check in each.result.checks] == about
    assert any(check.name == "control task" and check.level == "green" for check in by["two"])
    assert any(check.name == "folds" for check in by["one, two"]) and any(
        check.name == "folds" for check in by["three"]
    )


def test_one_curve_needs_no_name_and_the_curves_of_one_result_share_their_checks() -> None:
    assert {of for of, _ in checks_of(series_of({"probe": probed(60)}))} == {""}
    both = probed(60, kind=("full", "mean_difference"))
    assert {of for of, _ in checks_of(series_of({"probe": both}))} == {"all curves"}


def test_the_sentence_names_the_baselines_that_are_drawn() -> None:
    without, with_it = (
        sentence_of(series_of({"probe": probed(60)})),
        sentence_of(series_of({"probe": probed(60, np.arange(60) % 7)})),
    )
    assert "control task" not in without and "Dots: shuffled labels" in without
    assert "Dashes: control task. Dots" in with_it
    assert all("need not be used by the model" in sentence for sentence in (without, with_it))
