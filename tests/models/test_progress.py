"""The bar: only where there is something to wait for, and gone afterwards."""

from __future__ import annotations

import inspect
import re
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


def over_pairs(run: Any) -> Any:
    """The second pair differs at fewer positions, and costs less than the first says."""
    clean, corrupt = [[1, 5, 10, 20], [1, 5, 10, 20]], [[1, 6, 11, 21], [1, 5, 10, 21]]
    return rw.patch_sweep(run.model, clean, corrupt, rw.logit_diff(7, 8), budget=1)


CALLS = {
    "ablation_sweep": (("sweep", "token"), lambda run: rw.ablation_sweep(run, rw.logit_diff(7, 8), budget=1)),
    "patch_sweep over pairs": (("sweep", "token"), over_pairs),
    "collect": (("collect", "sample"), lambda run: rw.collect(run.model, [[5, 9], [3, 4, 5], [1, 2, 3, 4]])),
    "neuron_patterns": (
        ("neurons", "prompt"),
        lambda run: rw.neuron_patterns(run.model, [[5, 9], [3, 4, 5], [1, 2, 3]], progress=True),
    ),
}


@pytest.fixture
def run(llama: Any) -> Any:
    return rw.run(llama, [1, 5, 10, 20, 33, 7, 60])


@pytest.mark.parametrize("name", CALLS)
def test_what_is_quick_makes_none(run: Any, bars: list[Bar], name: str) -> None:
    CALLS[name][1](run)
    assert bars == []


@pytest.mark.parametrize("name", CALLS)
def test_what_is_slow_has_one_that_ends_full_and_closed(
    run: Any, bars: list[Bar], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(progress, "BAR_AFTER", 0.0)
    words, call = CALLS[name]
    call(run)
    (bar,) = bars
    assert bar.words == words
    assert bar.n == bar.total > 0
    assert bar.closed and bar.options["leave"] is False


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_takes_it_away(run: Any, bars: list[Bar], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def interrupt(bar: Bar, more: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "BAR_AFTER", 0.0)
    monkeypatch.setattr(Bar, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        CALLS[name][1](run)
    (bar,) = bars
    assert bar.closed


def test_whoever_makes_a_bar_ends_it() -> None:
    """Each public function that takes ``progress=`` and makes no other do the work is decorated."""
    functions = [each for each in map(rw.__getattr__, rw.__all__) if inspect.isfunction(each)]
    makers = [each for each in functions if re.search(r"\b(reporter|sweeping)\(progress", inspect.getsource(each))]
    assert len(makers) >= 8
    for maker in makers:
        assert inspect.getsource(maker).startswith("@ending_bars()"), maker


def test_none_is_made_where_none_is_wanted(run: Any, bars: list[Bar], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BAR_AFTER", 0.0)
    rw.ablation_sweep(run, rw.logit_diff(7, 8), budget=1, progress=False)
    rw.collect(run.model, [[5, 9], [3, 4, 5]], progress=False)
    rw.neuron_patterns(run.model, [[5, 9], [3, 4, 5]])
    assert bars == []
