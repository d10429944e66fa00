"""How well a direction is known: cosines as scikit-learn's own fits give them, and what is said of them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

import resid_widgets as rw
from resid_widgets.analysis.probing.directions import least_cosine, neighbours
from resid_widgets.results import Check


def planted(n: int, d: int, gap: float, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return samples of two classes that lie `gap` apart on each side along a unit vector, their classes, and it."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=d)
    direction /= np.linalg.norm(direction)
    labels = np.arange(n) % 2
    return rng.normal(size=(n, d)) + gap * np.outer(2 * labels - 1, direction), labels, direction


def probed(x: Any, labels: Any, **options: Any) -> rw.Probe:
    return rw.probe(
        x if isinstance(x, dict) else {0: x},
        labels,
        **{"groups": np.arange(len(labels)), "seeds": (0,), "progress": False, **options},
    )


def of(found: rw.Probe, kind: str = "readout") -> Check:
    (check,) = [check for check in found.checks if check.name == f"direction ({kind})"]
    return check


def by_sklearn(x: NDArray[Any], y: NDArray[Any], penalty: float, task: str) -> NDArray[Any]:
    """Return unit directions ``[column, d_model]`` of scikit-learn's own fit on standardised rows."""
    scaler = StandardScaler().fit(x)
    if task == "classify":
        fitted: Any = LogisticRegression(C=penalty, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    else:
        fitted = Ridge(penalty)
    weights = np.atleast_2d(fitted.fit(scaler.transform(x), y).coef_) / scaler.scale_
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def by_means(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    means = np.stack([x[y == label].mean(axis=0) for label in np.unique(y)])
    weights = means[1:] - means[:1] if len(means) == 2 else means - means.mean(axis=0)
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


@pytest.mark.parametrize("task", ["two classes", "three classes", "numbers"])
def test_cosines_are_those_of_scikit_learns_fits(task: str) -> None:
    x, labels, direction = planted(120, 6, 0.8)
    labels = {"two classes": labels, "three classes": np.digitize(x @ direction + labels, [0, 1])}.get(
        task, x @ direction + np.random.default_rng(3).normal(size=120)
    )
    kind = "regress" if task == "numbers" else "classify"
    grid = (0.01, 0.1, 1.0, 10.0)
    found = probed(x, labels, task=kind, penalties=grid)
    folds = found.fitting.plan.folds
    fits = [
        by_sklearn(x[fold.train], labels[fold.train], float(penalty), kind)
        for fold, penalty in zip(folds, found.penalty.values.ravel(), strict=True)
    ]
    between = [(a * b).sum(axis=1) for a, b in combinations(fits, 2)]
    assert found.agreement(0)["folds"] == pytest.approx(np.min(between), abs=1e-5)
    whole = {c: by_sklearn(x, labels, c, kind) for c in grid}
    (chosen,) = [
        n
        for n, c in enumerate(grid)
        if np.allclose(found.fitting.readouts["full"][0, 0], _long(found, whole[c]), atol=1e-5)
    ]
    beside = [grid[n] for n in (chosen - 1, chosen + 1) if 0 <= n < len(grid)]
    wanted = min((whole[grid[chosen]] * whole[c]).sum(axis=1).min() for c in beside)
    assert found.agreement(0)["penalties"] == pytest.approx(wanted, abs=1e-5)
    worst = min(np.min(between), wanted)
    assert of(found).value == pytest.approx(worst, abs=1e-5)
    assert of(found).level == ("amber" if worst < 0.95 else "green")
    if kind == "classify":
        means = [by_means(x[fold.train], labels[fold.train]) for fold in folds]
        least = np.min([(a * b).sum(axis=1) for a, b in combinations(means, 2)])
        assert found.agreement(0, kind="mean_difference")["folds"] == pytest.approx(least)
        assert of(found, "mean_difference").value == pytest.approx(least)


def _long(found: rw.Probe, units: NDArray[Any]) -> NDArray[Any]:
    """Return unit directions at the lengths of those that were found."""
    return units * np.linalg.norm(found.fitting.readouts["full"][0, 0], axis=1, keepdims=True)


def test_noise_labels_have_no_direction_that_is_known() -> None:
    rng = np.random.default_rng(0)
    found = probed(rng.normal(size=(200, 8)), rng.integers(0, 2, 200))
    for kind in ("readout", "mean_difference"):
        assert of(found, kind).level == "amber"
        assert of(found, kind).value < 0.9
        assert "take more samples" in of(found, kind).text
    assert "for steering take kind='mean_difference'" in of(found).text
    assert of(found).text in str(found)
    numbers = probed(rng.normal(size=(200, 8)), rng.normal(size=200), task="regress")
    assert of(numbers).level == "amber" and "mean_difference" not in of(numbers).text


def test_a_direction_that_many_samples_decide_is_known() -> None:
    x, labels, direction = planted(2000, 6, 1.0)
    found = probed(x, labels)
    assert {of(found, kind).level for kind in ("readout", "mean_difference")} == {"green"}
    assert found.direction(0) @ direction > 0.99


def test_where_classes_are_told_apart_without_error_the_mean_difference_is_the_one_to_steer_by() -> None:
    """Folds and neighbouring penalties agree there on a readout that is not the planted direction."""
    x, labels, direction = planted(6000, 48, 6.0)
    found = probed(x, labels, folds=3, penalties=(1.0, 10.0, 100.0))
    means = found.direction(0, kind="mean_difference")
    assert found.direction(0) @ direction < 0.96
    assert means @ direction > 0.999
    told = found.agreement(0)
    assert min(told["folds"], told["penalties"]) > 0.95
    assert told["means"] == pytest.approx(found.direction(0) @ means)
    assert of(found).level == "amber" and of(found).value == pytest.approx(told["means"])
    assert of(found, "mean_difference").level == "green"


def test_the_worst_layer_component_and_class_are_named() -> None:
    x, labels, _ = planted(600, 6, 2.0)
    three = np.where(np.random.default_rng(1).random(600) < 0.1, 2, labels)  # of the third class nothing is known
    noise = np.random.default_rng(2).normal(size=x.shape)
    found = probed({"resid_post": {0: x, 3: noise}, "resid_mid": {0: x, 3: x}}, np.array(["a", "b", "c"])[three])
    text = of(found).text
    assert "layer 3" in text and "resid_post" in text and "class '" in text and "in " in text
    known = [found.agreement(0, label, component="resid_post")["folds"] for label in "abc"]
    assert min(known) == found.agreement(0, component="resid_post")["folds"]
    assert max(known) > min(known)
    with pytest.raises(rw.InputError, match="classes are"):
        found.agreement(0, "d", component="resid_post")
    with pytest.raises(rw.InputError, match="layers are"):
        found.agreement(7, component="resid_post")


@pytest.mark.parametrize("kind", ["sparse", "mean_difference"])
def test_other_kinds_of_probe_have_a_check_of_their_own(kind: str) -> None:
    x, labels, _ = planted(300, 6, 1.0)
    found = probed(x, labels, kind=kind, k=3)
    assert of(found, kind).value == pytest.approx(
        np.nanmin([found.agreement(0, kind=kind)[name] for name in ("folds", "penalties")])
    )
    assert np.isnan(found.agreement(0, kind=kind)["penalties"]) == (kind == "mean_difference")


def test_an_estimator_is_compared_between_folds_if_it_has_directions() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    x, labels, _ = planted(200, 6, 1.0)
    found = probed(x, labels, estimator=LogisticRegression(C=0.3))
    assert 0 < found.agreement(0)["folds"] < 1 and np.isnan(found.agreement(0)["penalties"])
    names = [check.name for check in probed(x, labels, estimator=KNeighborsClassifier(3)).checks]
    assert "direction (readout)" not in names and "direction (mean_difference)" in names


def test_a_stopped_analysis_says_what_it_knows() -> None:
    x, labels, _ = planted(200, 4, 1.0)
    found = probed({0: x, 1: x}, labels, progress=lambda told: 2 * told.done < told.total)
    assert "complete" in {check.name for check in found.checks}
    for check in found.checks:
        if check.name.startswith("direction"):
            assert check.value is not None and np.isfinite(check.value)


def test_neighbours_of_a_penalty() -> None:
    assert neighbours((0.1, 1.0, 10.0), 1.0) == [0.1, 10.0]
    assert neighbours((10.0, 1.0, 0.1), 10.0) == [1.0]
    assert neighbours((2.0,), 2.0) == [0.2, 20.0]
    assert neighbours((0.1, 10.0), 1.0) == [0.1, 10.0]


def test_a_direction_of_length_zero_agrees_with_none() -> None:
    one, none = np.array([[1.0], [0.0]]), np.zeros((2, 1))
    assert least_cosine([one, none, one]) == 0
    assert least_cosine([one, -2 * one], one) == -1
