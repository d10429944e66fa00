"""Running statistics against numpy and scipy on everything at once, however it was cut into chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from resid_widgets.analysis.neurons.running_statistics import Correlations, Extremes, Histograms, Moments


def numbers(rows: int, pos: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    x = np.random.default_rng(seed).standard_t(3, (rows, pos)) * scale + shift
    return torch.tensor(x, dtype=torch.float32)


def chunks(x: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    cut, start = [], 0
    for size in sizes:
        cut.append(x[:, start : start + size])
        start += size
    return [part for part in [*cut, x[:, start:]] if part.shape[1]]


sizes = st.lists(st.integers(1, 20), max_size=5)


@settings(deadline=None, max_examples=30)
@given(sizes, st.integers(0, 10**6), st.sampled_from([1e-3, 1.0, 300.0]), st.sampled_from([0.0, 50.0]))
def test_moments_are_those_of_scipy(cut: list[int], seed: int, scale: float, shift: float) -> None:
    x = numbers(5, 60, seed, scale, shift)
    moments = Moments(5, threshold=shift)
    for part in chunks(x, cut):
        moments.update(part)
    wide = x.double().numpy()
    np.testing.assert_allclose(moments.mean, wide.mean(1), rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(moments.std(), wide.std(1), rtol=1e-9)
    np.testing.assert_allclose(moments.kurtosis(), stats.kurtosis(wide, axis=1, fisher=False), rtol=1e-8)
    np.testing.assert_array_equal(moments.high, x.numpy().max(1))
    np.testing.assert_array_equal(moments.low, x.numpy().min(1))
    np.testing.assert_array_equal(moments.active, (x.numpy() > 0).sum(1))
    np.testing.assert_array_equal(moments.above, (x.numpy() > shift).sum(1))
    assert moments.n == 60


def test_a_row_without_spread_has_no_kurtosis() -> None:
    moments = Moments(3, 0.0)
    for _ in range(3):
        moments.update(torch.tensor([[0.0, 0.0], [0.1, 0.1], [1.0, 2.0]]))
    assert moments.kurtosis().isnan().tolist() == [True, True, False]


def edges_of(histograms: Histograms, row: int) -> np.ndarray[Any, Any]:
    width = 2.0 ** int(histograms.exponent[row])
    return (int(histograms.first[row]) + np.arange(histograms.bins + 1)) * width


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(0, 10**6), st.sampled_from([1e-4, 1.0, 1e5]), st.sampled_from([0.0, 3.0, -1e4]))
def test_a_histogram_is_exact_and_knows_no_order(cut: list[int], seed: int, scale: float, shift: float) -> None:
    x = numbers(4, 80, seed, scale, shift)
    x[3] = x[3].clamp(min=0)  # many zeros, as after ReLU
    made = []
    for order in (torch.arange(80), torch.randperm(80, generator=torch.Generator().manual_seed(seed))):
        running, moments = Histograms(4, 16), Moments(4, 0.0)
        for part in chunks(x[:, order], cut):
            moments.update(part)
            running.update(part, moments.low, moments.high)
        made.append(running)
    for name in ("counts", "exponent", "first"):
        np.testing.assert_array_equal(getattr(made[0], name), getattr(made[1], name))
    for row in range(4):
        edges = edges_of(made[0], row)
        values = x[row].double().numpy()
        assert edges[0] <= values.min()
        assert values.max() < edges[-1]
        np.testing.assert_array_equal(made[0].counts[row], np.histogram(values, edges)[0])
        # The width is the smallest power of two that does: half of it would need more bins, or be below the least one.
        half = (edges[1] - edges[0]) / 2
        needed = np.floor(values.max() / half) - np.floor(values.min() / half) + 1
        assert needed > 16 or half < 2.0**-20 * max(1, np.abs(values).max())


def test_a_histogram_of_equal_numbers_has_one_bin() -> None:
    running = Histograms(2, 8)
    x = torch.tensor([[0.0, 0.0, 0.0], [7.5, 7.5, 7.5]])
    running.update(x, x.amin(1), x.amax(1))
    assert (running.counts > 0).sum(1).tolist() == [1, 1]
    for row, value in ((0, 0.0), (1, 7.5)):
        at = int(running.counts[row].argmax())
        edges = edges_of(running, row)
        assert edges[at] <= value < edges[at + 1]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 10**6), st.booleans())
def test_extremes_are_the_sorted_ones_with_what_is_around_them(lengths: list[int], seed: int, largest: bool) -> None:
    k, context, rows = 3, 2, 4
    generator = torch.Generator().manual_seed(seed)
    prompts = [torch.randn(rows, 2, n, generator=generator) for n in lengths]  # two prompts of each length
    extremes, start = Extremes(rows, k, context, largest), 0
    places: dict[int, tuple[int, int, int]] = {}
    for number, x in enumerate(prompts):
        counted = torch.ones(2, x.shape[2], dtype=torch.bool)
        counted[:, 0] = False
        starts = torch.tensor([start, start + x.shape[2]])
        for n in range(2):
            places |= {start + n * x.shape[2] + p: (number, n, p) for p in range(1, x.shape[2])}
        if counted.any():
            extremes.update(x, counted, starts)
        start += 2 * x.shape[2]
    for row in range(rows):
        values = sorted((float(prompts[i][row, n, p]) for i, n, p in places.values()), reverse=largest)[:k]
        found = extremes.values[row][: len(values)].tolist()
        assert found == values
        assert (extremes.places[row][len(values) :] == -1).all()
        for slot, value in enumerate(values):
            i, n, p = places[int(extremes.places[row, slot])]
            whole = np.pad(prompts[i][row, n].numpy(), context, constant_values=np.nan)
            assert float(prompts[i][row, n, p]) == value
            np.testing.assert_array_equal(extremes.windows[row, slot], whole[p : p + 2 * context + 1])


def test_correlations_are_those_of_scipy() -> None:
    x = numbers(6, 50, 1, 30.0, 1e4)
    x[5] = 2.0
    classes = np.random.default_rng(0).integers(0, 3, 50)
    targets = np.stack([*(classes == c for c in range(3)), np.random.default_rng(1).normal(size=50)]).astype(float)
    running = Correlations(6, 4)
    for n in range(50):
        running.update(x[:, n], torch.tensor(targets[:, n]))
    found = running.pearson().numpy()
    for label in range(4):
        for row in range(5):
            expected = stats.pearsonr(targets[label], x[row].double().numpy()).statistic
            assert found[label, row] == pytest.approx(expected, abs=1e-9)
        if label < 3:
            point = stats.pointbiserialr(targets[label] > 0, x[0].double().numpy()).statistic
            assert found[label, 0] == pytest.approx(point, abs=1e-9)
    assert np.isnan(found[:, 5]).all()
