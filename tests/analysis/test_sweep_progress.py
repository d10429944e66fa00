"""The bar of a sweep: only where there is something to wait for, and gone afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from resid_widgets.analysis import sweep


class Bar:
    def __init__(self, total: int, initial: int, **_: Any) -> None:
        self.total, self.n, self.closed = total, initial, False

    def update(self, more: int) -> None:
        self.n += more

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    made: list[Bar] = []

    def make(**options: Any) -> Bar:
        made.append(Bar(**options))
        return made[-1]

    monkeypatch.setattr(sweep, "tqdm", make)
    return made


def swept(llama_run: Any) -> Any:
    import resid_widgets as rw

    return rw.ablation_sweep(llama_run, rw.logit_diff(7, 8), budget=1)


def test_a_quick_sweep_makes_none(llama_run, bars):
    swept(llama_run)
    assert bars == []


def test_a_slow_one_has_a_bar_that_ends_full_and_closed(llama_run, bars, monkeypatch):
    monkeypatch.setattr(sweep, "BAR_AFTER", 0.0)
    swept(llama_run)
    (bar,) = bars
    assert bar.n == bar.total > 0
    assert bar.closed
