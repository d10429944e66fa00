"""Folds hold out whole groups, in even class shares, whatever the groups are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from resid_widgets.analysis.probing.folds import make_folds, split_inner, stratified_groups
from resid_widgets.errors import InputError


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    n_groups=st.integers(12, 60),
    n_classes=st.integers(2, 4),
    n_folds=st.integers(2, 5),
    pure=st.booleans(),
)
def test_no_group_is_ever_cut(seed: int, n_groups: int, n_classes: int, n_folds: int, pure: bool) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, 400)
    codes = (rng.permutation(n_groups) % n_classes)[groups] if pure else rng.integers(0, n_classes, 400)
    try:
        folds = make_folds(codes, groups, n_folds, (0, 1), 3)
    except InputError:
        return  # a class in too few groups
    assert len(folds) == 2 * n_folds
    for seed_ in (0, 1):
        tests = np.concatenate([fold.test for fold in folds if fold.seed == seed_])
        assert sorted(tests) == list(range(400))
    for fold in folds:
        assert not np.intersect1d(groups[fold.train], groups[fold.test]).size
        assert sorted([*fold.train, *fold.test]) == list(range(400))
        assert set(codes[fold.train]) == set(codes)
        for train, test in fold.inner:
            assert not np.intersect1d(groups[fold.train][train], groups[fold.train][test]).size
            assert sorted([*train, *test]) == list(range(len(fold.train)))


def imbalance(fold: np.ndarray, codes: np.ndarray) -> float:
    counts = np.zeros((5, codes.max() + 1))
    np.add.at(counts, (fold, codes), 1)
    return float((counts / counts.sum(axis=0)).std(axis=0).mean())


@pytest.mark.parametrize("pure", [True, False])
def test_shares_are_as_even_as_scikit_learns(pure: bool) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for seed in range(5):
        groups = np.unique(rng.integers(0, 300, 900), return_inverse=True)[1]
        codes = rng.integers(0, 3, 300)[groups] if pure else rng.integers(0, 5, 900)
        ours.append(imbalance(stratified_groups(codes, groups, 5, seed), codes))
        fold = np.empty(900, dtype=int)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for number, (_, test) in enumerate(splitter.split(codes, codes, groups)):
            fold[test] = number
        theirs.append(imbalance(fold, codes))
    assert np.mean(ours) <= np.mean(theirs) * 1.05 + 1e-3


@pytest.mark.parametrize("rows", [1, 4])
def test_shares_are_exact_where_they_can_be(rows: int) -> None:
    codes = np.repeat([0] * 80 + [1] * 20, rows)
    groups = np.repeat(np.arange(100), rows)
    for fold in make_folds(codes, groups, 5, (0, 1, 2), 3):
        assert codes[fold.test].mean() == pytest.approx(0.2, abs=1e-12)


def test_a_seed_repeats_and_another_differs() -> None:
    codes, groups = np.arange(60) % 2, np.arange(60) // 3
    one, same, other = (make_folds(codes, groups, 5, (seed,), 3) for seed in (7, 7, 8))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(one, same, strict=True))
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(one, other, strict=True))


def test_numbers_are_split_by_groups_too() -> None:
    groups = np.arange(60) // 3
    for fold in make_folds(None, groups, 4, (0,), 3):
        assert not np.intersect1d(groups[fold.train], groups[fold.test]).size
        assert len(fold.inner) == 3


def test_inner_folds_fall_back_where_there_is_too_little() -> None:
    assert split_inner(np.array([0, 1, 1, 1]), np.arange(4), 3, 0) == ()
    assert len(split_inner(np.array([0, 0, 1, 1]), np.arange(4), 3, 0)) == 2


@pytest.mark.parametrize(
    ("codes", "groups", "says"),
    [
        ([0, 1] * 10, [0, 1, 2, 3] * 5, "only 4 groups"),
        ([0] * 17 + [1] * 3, list(range(20)), "rarest class has only 3"),
        ([0] * 14 + [1] * 6, [*range(14), *[99] * 6], "one group only"),
    ],
)
def test_what_cannot_be_divided_is_refused(codes: list[int], groups: list[int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_folds(np.array(codes), np.unique(groups, return_inverse=True)[1], 5, (0,), 3)
