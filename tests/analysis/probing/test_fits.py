"""Folds that are fitted at the same time: the same numbers, stopped in the middle, and no limit left behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import resid_widgets as rw
from resid_widgets.analysis.probing.blas_threads import one_blas_thread
from resid_widgets.analysis.probing.logistic import fit_logistic
from tests.analysis.probing.test_probe import planted

DATA = planted(n=120, classes=3)
GIVEN = {"labels": DATA["labels"], "groups": DATA["groups"], "control_units": DATA["units"], "progress": False}


@pytest.fixture(params=[1, 3], ids=["one at a time", "three at once"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("resid_widgets.analysis.probing.probe.folds_at_once", lambda *_: request.param)
    return request.param


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def test_the_numbers_do_not_depend_on_how_many(at_once: int) -> None:
    before = blas_threads()
    found = rw.probe({0: DATA["x"]}, **GIVEN)
    assert blas_threads() == before
    with one_blas_thread():
        again = rw.probe({0: DATA["x"]}, **GIVEN)
    for name in ("accuracy", "shuffled", "control", "penalty", "scores"):
        assert np.allclose(getattr(found, name), getattr(again, name), atol=1e-9, equal_nan=True), name
    assert np.allclose(found.direction(0, "a"), again.direction(0, "a"), atol=1e-9)


def test_it_can_be_stopped_between_folds(at_once: int) -> None:
    given = GIVEN | {"progress": lambda told: told.done < 2}
    found = rw.probe({0: DATA["x"]}, **given)
    assert np.isfinite(found.accuracy[0]).sum() == 2
    assert "complete" in {check.name for check in found.checks}


def test_it_can_be_stopped_while_folds_are_fitted(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    def slow(*given: Any) -> Any:
        fitted.append(1)
        time.sleep(0.3)
        return fit_logistic(*given)

    monkeypatch.setattr("resid_widgets.analysis.probing.fit.fit_logistic", slow)
    found = rw.probe({0: DATA["x"]}, stop=lambda: bool(fitted), folds=9, **GIVEN)
    assert np.isnan(found.accuracy).any()
    assert len(fitted) < 9 * 4


def test_an_error_of_a_fit_arrives(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("in a fold")

    monkeypatch.setattr("resid_widgets.analysis.probing.fit.fit_logistic", fail)
    before = blas_threads()
    with pytest.raises(ZeroDivisionError, match="in a fold"):
        rw.probe({0: DATA["x"]}, **GIVEN)
    assert blas_threads() == before


def test_limits_of_two_threads_do_not_stay() -> None:
    before = blas_threads()
    assert before
    with ThreadPoolExecutor(1) as other, one_blas_thread() as mine:
        assert mine
        assert blas_threads() == [1] * len(before)

        def another() -> tuple[bool, list[int]]:
            with one_blas_thread() as granted:
                return granted, blas_threads()

        assert other.submit(another).result() == (False, [1] * len(before))
        assert blas_threads() == [1] * len(before)
    assert blas_threads() == before
    with ThreadPoolExecutor(1) as other:
        assert other.submit(another).result() == (True, [1] * len(before))
    assert blas_threads() == before
