"""The bar: only where there is something to wait for, and gone afterwards."""

from __future__ import annotations

from typing import Any

import pytest

import resid_widgets as rw
from resid_widgets.models import progress


class Bar:
    def __init__(self, total: int, initial: int, desc: str, unit: str, **options: Any) -> None:
        self.total, self.n, self.words, self.options, self.closed = total, initial, (desc, unit), options, False

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

    monkeypatch.setattr(progress, "tqdm", make)
    return made


CALLS = {
    ("sweep", "token"): lambda run: rw.ablation_sweep(run, rw.logit_diff(7, 8), budget=1),
    ("collect", "sample"): lambda run: rw.collect(run.model, [[5, 9], [3, 4, 5], [1, 2, 3, 4]]),
    ("neurons", "prompt"): lambda run: rw.neuron_patterns(run.model, [[5, 9], [3, 4, 5], [1, 2, 3]], progress=True),
}


@pytest.fixture
def run(llama: Any) -> Any:
    return rw.run(llama, [1, 5, 10, 20, 33, 7, 60])


@pytest.mark.parametrize("words", CALLS)
def test_what_is_quick_makes_none(run: Any, bars: list[Bar], words: tuple[str, str]) -> None:
    CALLS[words](run)
    assert bars == []


@pytest.mark.parametrize("words", CALLS)
def test_what_is_slow_has_one_that_ends_full_and_closed(
    run: Any, bars: list[Bar], monkeypatch: pytest.MonkeyPatch, words: tuple[str, str]
) -> None:
    monkeypatch.setattr(progress, "BAR_AFTER", 0.0)
    CALLS[words](run)
    (bar,) = bars
    assert bar.words == words
    assert bar.n == bar.total > 0
    assert bar.closed and bar.options["leave"] is False


def test_none_is_made_where_none_is_wanted(run: Any, bars: list[Bar], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BAR_AFTER", 0.0)
    rw.ablation_sweep(run, rw.logit_diff(7, 8), budget=1, progress=False)
    rw.collect(run.model, [[5, 9], [3, 4, 5]], progress=False)
    rw.neuron_patterns(run.model, [[5, 9], [3, 4, 5]])
    assert bars == []
