"""Labels that mean nothing: what they keep of the true ones, and what a code of them costs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

import resid_widgets as rw
from resid_widgets.analysis.probing.controls import control_labels, seen_units, shuffled_by_group
from resid_widgets.analysis.probing.fit import CS, Recipe
from resid_widgets.analysis.probing.mdl import FRACTIONS, online_code


def test_a_group_of_one_label_stays_one() -> None:
    groups = np.repeat(np.arange(60), np.arange(60) % 4 + 1)
    labels = (np.arange(60) % 3)[groups]
    shuffled = shuffled_by_group(labels, groups, 0)
    by_group = [np.unique(shuffled[groups == group]) for group in range(60)]
    assert all(len(found) == 1 for found in by_group)
    assert sorted(np.concatenate(by_group)) == sorted(np.arange(60) % 3)  # group labels are permuted
    assert np.array_equal(shuffled, shuffled_by_group(labels, groups, 0))
    assert not np.array_equal(shuffled, shuffled_by_group(labels, groups, 1))


def test_groups_of_one_row_are_permuted() -> None:
    labels = np.arange(50)
    shuffled = shuffled_by_group(labels, np.random.default_rng(0).permutation(50), 0)
    assert sorted(shuffled) == list(range(50)) and not np.array_equal(shuffled, labels)


def test_what_ties_a_label_to_a_position_is_gone() -> None:
    """Every group has the labels 0 1 2 3 in this order: a shuffle of whole groups would change nothing."""
    groups, labels = np.arange(400) // 4, np.arange(400) % 4
    shuffled = shuffled_by_group(labels, groups, 0)
    for group in range(100):
        assert sorted(shuffled[groups == group]) == [0, 1, 2, 3]
    assert abs(np.mean(shuffled == labels) - 0.25) < 0.08


def test_shuffled_numbers_are_the_same_numbers() -> None:
    labels = np.random.default_rng(0).normal(size=40)
    shuffled = shuffled_by_group(labels, np.arange(40) // 2, 0)
    assert np.array_equal(np.sort(shuffled), np.sort(labels))


@pytest.mark.parametrize(("n_units", "share"), [(10, 0.2), (200, 0.5), (200, 0.1), (2, 0.5)])
def test_a_unit_has_one_label_and_units_have_the_classes_shares(n_units: int, share: float) -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(1000) < 1000 * share).astype(int)
    units = rng.integers(0, n_units, 1000)
    drawn = control_labels(labels, units, 0)
    of_unit = [np.unique(drawn[units == unit]) for unit in np.unique(units)]
    assert all(len(found) == 1 for found in of_unit)
    assert np.mean(np.concatenate(of_unit)) == pytest.approx(share, abs=1 / n_units)
    others = {control_labels(labels, units, seed).tobytes() for seed in range(6)}
    assert len(others) > 1


def test_control_labels_do_not_know_the_task() -> None:
    units = np.arange(4000) % 400
    labels = (units % 2).astype(int)  # a function of the unit
    agree = [np.mean(control_labels(labels, units, seed) == labels) for seed in range(40)]
    assert abs(np.mean(agree) - 0.5) < 0.03


def test_control_is_scored_where_the_unit_is_known() -> None:
    units = np.array([0, 0, 1, 1, 2])
    assert seen_units(units, np.array([0, 2]), np.array([1, 3, 4])).tolist() == [True, True, False]


def test_units_that_never_recur_give_no_control_and_say_so() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 4)), np.arange(100) % 2
    for units, level in ((np.arange(100), "amber"), (None, "amber"), (np.arange(100) % 7, "green")):
        found = rw.probe({0: x}, y, groups=np.arange(100), control_units=units, seeds=(0,), progress=False)
        check = next(c for c in found.checks if c.name == "control task")
        assert check.level == level
        assert np.isnan(found.control).all() == np.isnan(found.selectivity).all() == (level == "amber")


# --- minimum description length -----------------------------------------------------------------------------------


def test_balanced_random_labels_cannot_be_compressed() -> None:
    rng = np.random.default_rng(0)
    found = []
    for seed in range(3):
        x, y = rng.normal(size=(1500, 16)), rng.permutation(np.arange(1500) % 2)
        probed = rw.probe({0: x}, y, groups=np.arange(1500), seeds=(seed,), mdl=True, progress=False)
        assert probed.uniform_length == 1500
        assert probed.code_length.dims == ("layer", "seed") and probed.code_length.attrs["units"] == "bits"
        found += probed.compression.values.ravel().tolist()
    assert all(0.95 <= value <= 1.02 for value in found), found


@pytest.mark.parametrize("k", [2, 4])
def test_the_code_is_the_sum_of_scikit_learns_log_losses(k: int) -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(300) // 3
    y = (np.arange(300) // 3) % k
    x = rng.normal(size=(300, 6)) + rng.normal(size=(k, 6))[y]
    c = 0.1
    bits = online_code(Recipe("full", k, (c,)), x, y, groups, 5, 3)
    order = np.random.default_rng([5, 3]).permutation(100)
    rows = np.concatenate([np.flatnonzero(order[groups] == n) for n in range(100)])
    cuts = sorted({int(np.ceil(share * 300 / 3) * 3) for share in FRACTIONS})
    expected = cuts[0] * np.log2(k)
    for a, b in pairwise(cuts):
        seen, block = rows[:a], rows[a:b]
        if len(set(y[seen])) < k:
            expected += (b - a) * np.log2(k)
            continue
        scaler = StandardScaler().fit(x[seen])
        fitted = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10).fit(scaler.transform(x[seen]), y[seen])
        proba = fitted.predict_proba(scaler.transform(x[block]))
        expected += log_loss(y[block], proba, normalize=False, labels=range(k)) / np.log(2)
    assert bits == pytest.approx(expected, rel=1e-6)


def test_what_can_be_read_is_compressed_and_more_of_it_more() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(600) % 2
    noise = rng.normal(size=(600, 6))
    layers = {n: noise + strength * (2 * y - 1)[:, None] for n, strength in enumerate((0.0, 0.3, 3.0))}
    found = rw.probe(layers, y, groups=np.arange(600), seeds=(0,), mdl=True, progress=False)
    compression = found.compression.values[:, 0]
    assert compression[0] < 1.03 < compression[1] < compression[2] and compression[2] > 8
    assert "compression" in found.to_dataframe()
    assert rw.probe({0: noise}, y, groups=np.arange(600), seeds=(0,), progress=False).compression is None


def test_a_probe_without_probabilities_has_no_code() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 4)), np.arange(100) % 2
    kinds = ("full", "mean_difference")
    found = rw.probe({0: x}, y, groups=np.arange(100), kind=kinds, mdl=True, seeds=(0,), progress=False)
    assert np.isfinite(found.code_length.sel(kind="full")).all()
    assert np.isnan(found.code_length.sel(kind="mean_difference")).all()


def test_codes_of_a_recipe_need_no_inner_folds_at_the_start() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)), np.arange(24) % 2
    assert np.isfinite(online_code(Recipe("full", 2, CS), x, y, np.arange(24), 0, 3))
