"""Each fit against scikit-learn's own, on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, log_loss, r2_score, roc_auc_score
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from resid_widgets.analysis.probing.fit import ALPHAS, CS, Recipe, inner_losses, principal_axes
from resid_widgets.analysis.probing.folds import make_folds
from resid_widgets.analysis.probing.logistic import fit_logistic
from resid_widgets.analysis.probing.probe import probe
from resid_widgets.analysis.probing.score import score_fold


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Correlated columns of very different sizes, as a stream has; some constant ones."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * np.exp(rng.normal(size=d) * 1.5) + rng.normal(size=d) * 5
    x[:, 3] = 2.5
    return x.astype(np.float32).astype(np.float64)


def classes_of(x: np.ndarray, k: int, noise: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = (x - x.mean(0)) / (x.std(0) + 1e-9)
    score = z @ rng.normal(size=(x.shape[1], k)) / x.shape[1] ** 0.5 + noise * rng.normal(size=(len(x), k))
    return score.argmax(axis=1)


def by_hand(x: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(x, y)


@pytest.mark.parametrize(
    ("k", "n", "d", "noise"),
    [(2, 300, 20, 1.0), (2, 60, 90, 0.5), (2, 400, 30, 0.0), (3, 60, 70, 0.5), (3, 400, 20, 0.0), (5, 300, 20, 1.0)],
)
def test_all_fits_at_once_are_scikit_learns(k: int, n: int, d: int, noise: float) -> None:
    x = StandardScaler().fit_transform(rows(n, d))
    axes = principal_axes(x)
    y, other = classes_of(x, k, noise), classes_of(x, k, 3.0, seed=5)
    targets, cs = np.repeat([y, other], len(CS), axis=0), np.tile(CS, 2)
    fits = fit_logistic(x @ axes, targets, cs, k)
    assert fits.done.all()
    proba = np.exp(fits.log_proba(x @ axes, k))
    for n_problem, (target, c) in enumerate(zip(targets, cs, strict=True)):
        expected = by_hand(x, target, c)
        weights = (axes @ fits.weights[n_problem]).T
        size = np.abs(expected.coef_).max()
        assert np.abs(weights - expected.coef_).max() < 1e-5 * max(1.0, size)
        assert np.abs(proba[n_problem] - expected.predict_proba(x)).max() < 1e-6


def test_axes_need_not_be_principal() -> None:
    x = StandardScaler().fit_transform(rows(200, 12))[:, :3]
    y = classes_of(x, 2, 1.0)
    fits = fit_logistic(x, y[None], np.array([1.0]), 2)
    assert fits.done.all()
    assert np.abs(fits.weights[0].T - by_hand(x, y, 1.0).coef_).max() < 1e-6


def test_what_does_not_converge_is_said_and_fitted_by_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rows(200, 10)
    y, groups = classes_of(x, 2, 1.0), np.arange(200)
    good = probe({0: x}, y, groups=groups, seeds=(0,), progress=False)
    monkeypatch.setattr("resid_widgets.analysis.probing.logistic.NEWTON_STEPS", 1)
    found = probe({0: x}, y, groups=groups, seeds=(0,), progress=False)
    check = next(c for c in found.checks if c.name == "solver")
    assert check.level == "amber" and "scikit-learn" in check.text
    assert np.allclose(found.scores, good.scores, atol=1e-6)
    assert next(c for c in good.checks if c.name == "solver").level == "green"


@pytest.mark.parametrize(("k", "n", "d"), [(2, 240, 12), (3, 240, 12), (2, 90, 100)])
def test_a_probe_is_what_scikit_learn_gives_by_hand(k: int, n: int, d: int) -> None:
    x = rows(n, d)
    y, groups = classes_of(x, k, 1.0), np.arange(n) // 2
    found = probe({5: x}, y, groups=groups, seeds=(3, 4), folds=4, progress=False)
    total = np.zeros(n)
    for number, fold in enumerate(make_folds(y, groups, 4, (3, 4), 3)):
        scaler = StandardScaler().fit(x[fold.train])
        z, held, target = scaler.transform(x[fold.train]), scaler.transform(x[fold.test]), y[fold.train]
        losses = [
            np.mean([log_loss(target[b], by_hand(z[a], target[a], c).predict_proba(z[b])) for a, b in fold.inner])
            for c in CS
        ]
        c = CS[int(np.argmin(losses))]
        fitted = by_hand(z, target, c)
        assert float(found.penalty.sel(layer=5)[number]) == c
        expected = balanced_accuracy_score(y[fold.test], fitted.predict(held))
        assert float(found.accuracy.sel(layer=5)[number]) == pytest.approx(expected, abs=1e-6)
        proba = fitted.predict_proba(held)
        total[fold.test] += proba[:, 1] if k == 2 else proba[np.arange(len(held)), y[fold.test]]
    assert np.abs(found.scores.sel(layer=5).values - total / 2).max() < 1e-6


@pytest.mark.parametrize(("n", "d"), [(200, 12), (60, 80)])
def test_regression_is_scikit_learns_ridge(n: int, d: int) -> None:
    x = rows(n, d)
    rng = np.random.default_rng(0)
    y, groups = StandardScaler().fit_transform(x)[:, :5].sum(1) + rng.normal(size=n), np.arange(n) // 2
    found = probe({0: x}, y, groups=groups, task="regress", seeds=(0,), folds=4, progress=False)
    assert found.metric == "r2" and found.classes == ()
    for number, fold in enumerate(make_folds(None, groups, 4, (0,), 3)):
        scaler = StandardScaler().fit(x[fold.train])
        z, target = scaler.transform(x[fold.train]), y[fold.train]
        losses = [
            np.mean([((Ridge(a).fit(z[i], target[i]).predict(z[j]) - target[j]) ** 2).mean() for i, j in fold.inner])
            for a in ALPHAS
        ]
        alpha = ALPHAS[int(np.argmin(losses))]
        assert float(found.penalty[0, number]) == alpha
        said = Ridge(alpha).fit(z, target).predict(scaler.transform(x[fold.test]))
        assert float(found.accuracy[0, number]) == pytest.approx(r2_score(y[fold.test], said), abs=1e-6)
        assert np.abs(found.scores.values[0, fold.test] - said).max() < 1e-6 * np.abs(said).max()
        mean = r2_score(y[fold.test], np.full(len(fold.test), target.mean()))
        assert float(found.chance[0, number]) == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("k", [2, 4])
def test_the_mean_difference_probe_is_the_nearest_centroid(k: int) -> None:
    x = np.delete(rows(200, 8), 3, axis=1)
    y, groups = classes_of(x, k, 1.0), np.arange(200)
    found = probe({0: x}, y, groups=groups, kind="mean_difference", metric="accuracy", seeds=(0,), progress=False)
    for number, fold in enumerate(make_folds(y, groups, 5, (0,), 3)):
        plain = NearestCentroid().fit(x[fold.train], y[fold.train])
        expected = (plain.predict(x[fold.test]) == y[fold.test]).mean()
        assert float(found.accuracy[0, number]) == pytest.approx(expected)
    for label in range(k):
        mean, others = x[y == label].mean(0), [x[y == c].mean(0) for c in range(k) if c != label]
        expected = mean - np.mean(others, axis=0)
        direction = found.direction(0, label, kind="mean_difference")
        assert direction @ expected / np.linalg.norm(expected) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("k", [2, 3])
def test_the_sparse_probe_is_scikit_learns_selection(k: int) -> None:
    x = rows(240, 30)
    y, groups = classes_of(x, k, 1.0), np.arange(240)
    found = probe({0: x}, y, groups=groups, kind="sparse", k=4, penalties=[0.3], seeds=(0,), progress=False)
    for number, fold in enumerate(make_folds(y, groups, 5, (0,), 3)):
        moving = x[fold.train].std(0) > 0
        scaler = StandardScaler().fit(x[fold.train][:, moving])
        chosen = SelectKBest(f_classif, k=4).fit(scaler.transform(x[fold.train][:, moving]), y[fold.train])
        z, held = (chosen.transform(scaler.transform(x[part][:, moving])) for part in (fold.train, fold.test))
        expected = balanced_accuracy_score(y[fold.test], by_hand(z, y[fold.train], 0.3).predict(held))
        assert float(found.accuracy[0, number]) == pytest.approx(expected, abs=1e-6)
    assert (found.direction(0, 1, kind="sparse") != 0).sum() == 4


def test_standardisation_never_sees_test_rows() -> None:
    x = rows(200, 10)
    y, groups = classes_of(x, 2, 1.0), np.arange(200)
    (fold, *_) = make_folds(y, groups, 5, (0,), 3)
    spoiled = x.copy()
    spoiled[fold.test] = x[fold.test] * 1e6 - 12345.0  # any look at these rows would move the scaler
    recipe = Recipe("full", 2, CS)
    fits = [recipe.fit(each[fold.train], [y[fold.train]], fold.inner)[0] for each in (x, spoiled)]
    assert np.array_equal(fits[0].readout(), fits[1].readout())
    # And the whole analysis agrees: a probe that is refitted by hand on these train rows scores the test rows alike.
    before = probe({0: x}, y, groups=groups, seeds=(0,), progress=False)
    after = probe({0: spoiled}, y, groups=groups, seeds=(0,), progress=False)
    expected = fits[0].outcome(spoiled[fold.test]).predicted
    assert float(after.accuracy[0, 0]) == balanced_accuracy_score(y[fold.test], expected)
    assert float(before.penalty[0, 0]) == float(after.penalty[0, 0])


@pytest.mark.parametrize("k", [2, 4])
def test_metrics_are_scikit_learns(k: int) -> None:
    rng = np.random.default_rng(0)
    truth, score = rng.integers(0, k, 200), rng.dirichlet(np.ones(k), 200)
    said = score.argmax(1)
    assert score_fold("balanced_accuracy", truth, said, score, k) == pytest.approx(balanced_accuracy_score(truth, said))
    assert score_fold("accuracy", truth, said, score, k) == pytest.approx((truth == said).mean())
    area = roc_auc_score(truth, score[:, 1] if k == 2 else score, multi_class="ovr")
    assert score_fold("auroc", truth, said, score, k) == pytest.approx(area)
    assert np.isnan(score_fold("auroc", np.zeros(3, dtype=int), said[:3], score[:3], k))
    numbers = rng.normal(size=(2, 50))
    assert score_fold("r2", numbers[0], numbers[1], None, 0) == pytest.approx(r2_score(*numbers))


@pytest.mark.parametrize("apart", [0.0, 0.5, 3.0], ids=["noise", "overlap", "separable"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("wide", [False, True])
def test_the_choice_of_a_penalty_is_that_of_exact_fits(apart: float, classes: int, wide: bool) -> None:
    rng = np.random.default_rng([classes, wide, int(10 * apart)])
    n, d = (90, 120) if wide else (240, 20)
    y = rng.permutation(np.arange(n) % classes)
    targets = np.stack([y, rng.permutation(y), y])
    x = rng.normal(size=(n, d)) * np.linspace(0.3, 3, d) + apart * rng.normal(size=(classes, d))[y]
    inner = [(np.flatnonzero(np.arange(n) % 3 != k), np.flatnonzero(np.arange(n) % 3 == k)) for k in range(3)]
    grid = np.array(CS)
    found = inner_losses(x, targets, inner, grid, classes)
    exact = np.zeros_like(found)
    for train, test in inner:
        for t, target in enumerate(targets):
            fits = fit_logistic(x[train], np.repeat(target[None, train], len(grid), axis=0), grid, classes)
            scores = fits.log_proba(x[test], classes)
            exact[t] -= scores[:, np.arange(len(test)), target[test]].mean(axis=1) / len(inner)
    assert np.array_equal(found.argmin(axis=1), exact.argmin(axis=1))
    rows = np.arange(len(targets))
    best = found.argmin(axis=1)
    assert np.allclose(found[rows, best], exact[rows, best], atol=1e-6)
    assert np.allclose(found, exact, rtol=0.1, atol=0.02)


def test_inner_folds_that_lack_a_class_do_not_count() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), np.arange(30) % 2
    lacking = np.flatnonzero(y == 0)
    rest = np.arange(15), np.arange(15, 30)
    some = inner_losses(x, y[None], [(lacking, rest[1]), rest], np.array(CS), 2)
    assert np.allclose(some, inner_losses(x, y[None], [rest], np.array(CS), 2))
    for none in ([], [(lacking, rest[1])]):
        assert np.isnan(inner_losses(x, y[None], none, np.array(CS), 2)).all()
