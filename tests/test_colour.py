"""Colour limits: a few extreme cells do not own them, and they always make a scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from resid_widgets.colour import robust_scale
from resid_widgets.results import Scale

ANY_GRID = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)


def scale(values: Any, marked: tuple[int, ...] = (), **options: Any) -> Scale:
    options = {"signed": False, "label": "norm", "units": "u", **options}
    return robust_scale(np.asarray(values, dtype=np.float32), marked, **options)


def test_limits_are_percentiles_of_the_unmarked_cells() -> None:
    values = np.arange(202, dtype=np.float32).reshape(2, 101)
    values[:, 7] = 1e6
    found = scale(values, marked=(7,))
    assert np.percentile(np.delete(values, 7, axis=1), (2, 98)) == pytest.approx((3.98, 197.02))
    assert (found.low, found.high) == (0.0, 200.0)  # the next round numbers
    assert (found.kind, found.label, found.units) == ("sequential", "norm", "u")
    assert found.over and not found.under


@pytest.mark.parametrize(
    ("values", "signed", "limits"),
    [
        ([[0.0133, 1.3731]], False, (0.0, 1.35)),
        ([[180.31, 187.74]], False, (180.4, 187.6)),
        ([[-0.21, 0.0371]], True, (-0.21, 0.21)),
        ([[0.3, 1.3731]], True, (0.0, 1.4)),
        ([[-0.3, -1.3731]], True, (-1.4, 0.0)),
        ([[2e-7, 9.13e-7]], False, (2e-7, 9.2e-7)),
    ],
)
def test_limits_are_round_and_are_used(values: list[list[float]], signed: bool, limits: tuple[float, float]) -> None:
    found = scale(values, signed=signed)
    assert (found.low, found.high) == pytest.approx(limits, rel=0.06)
    for end in (found.low, found.high):
        assert len(f"{abs(end):.12g}".replace(".", "").strip("0").split("e")[0]) <= 4
    assert found.kind == ("diverging" if signed and found.low < 0 < found.high else "sequential")


def test_values_of_one_sign_have_no_other_side() -> None:
    assert scale([[0.5, 2.0]], signed=True).low == 0.0
    assert scale([[-0.5, -2.0]], signed=True).high == 0.0
    assert scale([[0.0, 2.0]], signed=True).kind == "sequential"
    assert scale([[-0.01, 2.0]], signed=True).kind == "diverging"


def test_a_sink_does_not_set_over_if_it_is_marked() -> None:
    values = np.ones((3, 4), dtype=np.float32)
    values[1] = 2
    values[:, 0] = 410
    found = scale(values, marked=(0,))
    assert (found.low, found.high, found.over, found.under) == (1.0, 2.0, False, False)
    assert scale(values).high > 100


def test_signed_limits_are_symmetric() -> None:
    values = np.linspace(-1, 3, 100, dtype=np.float32).reshape(10, 10)
    found = scale(values, signed=True)
    assert found.kind == "diverging"
    assert found.low == -found.high
    assert found.high == 3.0  # the percentile is 2.92
    assert not found.over
    values[0, 0] = 9
    assert scale(values, signed=True).over
    assert not found.under  # the least value, -1, is well inside


@pytest.mark.parametrize(
    ("values", "signed", "bounds", "limits"),
    [
        ([[3.0, 3.0]], False, (None, None), (2.85, 3.15)),
        ([[0.0, 0.0]], False, (None, None), (0.0, 1.0)),
        ([[0.0, 0.0]], True, (None, None), (-1.0, 1.0)),
        ([[1.0, 1.0]], False, (0.0, 1.0), (0.95, 1.0)),
        ([[1.0, 1.0]], False, (1.0, None), (1.0, 1.05)),
        ([[np.nan, np.inf]], False, (None, None), (0.0, 1.0)),
        ([[np.nan, -np.inf]], True, (None, None), (-1.0, 1.0)),
    ],
)
def test_grids_without_spread(
    values: list[list[float]], signed: bool, bounds: tuple[float | None, float | None], limits: tuple[float, float]
) -> None:
    found = scale(values, signed=signed, bounds=bounds)
    assert (found.low, found.high) == pytest.approx(limits)
    assert not found.under
    assert not found.over


def test_with_every_position_marked_they_set_the_limits() -> None:
    found = scale([[10.0], [20.0]], marked=(0,))
    assert 9.5 <= found.low < found.high <= 20.5


def test_cells_that_are_not_finite_are_left_out() -> None:
    clean = scale([[1.0, 2.0, 3.0]])
    assert scale([[1.0, np.nan, 2.0, np.inf, 3.0, -np.inf]]) == clean


@given(ANY_GRID, st.booleans(), st.data())
def test_any_grid_gets_a_scale(values: np.ndarray, signed: bool, data: st.DataObject) -> None:
    marked = data.draw(st.sets(st.integers(0, values.shape[1] - 1)))
    found = scale(values, tuple(marked), signed=signed)
    assert np.isfinite([found.low, found.high]).all()
    assert found.low < found.high
    unmarked = np.delete(values.astype(np.float64), list(marked), axis=1)
    unmarked = unmarked[np.isfinite(unmarked)]
    if found.kind == "diverging":
        assert signed and found.low == -found.high
    elif signed:
        assert 0.0 in (found.low, found.high)
    if unmarked.size and found.over:
        assert unmarked.max() > found.high
    if unmarked.size and found.under:
        assert unmarked.min() < found.low
    if unmarked.size and not found.over:
        assert unmarked.max() <= found.high + 2e-6 * max(abs(found.low), abs(found.high))
