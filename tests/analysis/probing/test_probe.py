"""rw.probe: what the arrays mean, and truths that a probe must find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import resid_widgets as rw
from resid_widgets.analysis.intervals import mean_of
from resid_widgets.analysis.probing.score import interval_over_folds
from resid_widgets.errors import InputError
from resid_widgets.results import Check, Provenance


def planted(n: int = 400, d: int = 10, classes: int = 2, strength: float = 1.0, seed: int = 0) -> dict[str, Any]:
    """Rows in groups of two, a label that a group shares, units, and noise around class means."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // 2
    y = (np.arange(n) // 2) % classes
    means = rng.normal(size=(classes, d))
    return {
        "x": means[y] * strength + rng.normal(size=(n, d)),
        "labels": np.array(["a", "b", "c", "d"])[y],
        "groups": groups,
        "units": rng.integers(0, 20, n),
        "means": means,
    }


def run(x: Any, labels: Any = None, **options: Any) -> rw.Probe:
    options.setdefault("seeds", (0,))
    return rw.probe(x if isinstance(x, dict) else {0: x}, labels, progress=False, **options)


def test_shapes_names_and_what_is_derived() -> None:
    data = planted()
    tables = {2: data["x"], 0: np.zeros_like(data["x"]) + data["x"][::-1]}
    found = rw.probe(tables, labels=data["labels"], groups=data["groups"], control_units=data["units"], progress=False)
    for name in ("accuracy", "majority", "chance", "shuffled", "control", "selectivity", "penalty"):
        array = getattr(found, name)
        assert array.dims == ("layer", "fold") and array.shape == (2, 10)
        assert array.layer.values.tolist() == [0, 2]
        assert array.seed.values.tolist() == [0] * 5 + [1] * 5
    assert np.allclose(found.selectivity, found.accuracy - found.control)
    assert found.values.dims == ("layer",)
    assert np.allclose(found.values, found.accuracy.mean("fold"))
    assert found.classes == ("a", "b")
    assert found.scores.dims == ("layer", "sample") and found.scores.shape == (2, 400)
    assert found.values.attrs["long_name"] == "held-out balanced accuracy"
    assert float(found.values.sel(layer=2)) > 0.9
    low, high = interval_over_folds(found.accuracy.values, 5, bounds=(0.0, 1.0))
    assert np.allclose(found.low, low) and np.allclose(found.high, high)
    table = found.to_dataframe()
    assert isinstance(table, pd.DataFrame) and len(table) == 2
    assert {"layer", "accuracy", "low", "high", "control", "selectivity"} <= set(table)
    assert "plain arrays · 400 samples in 200 groups" in str(found)
    amber = {check.name for check in found.checks if check.level != "green"}
    assert amber == {"direction (readout)"}, found.checks  # few samples


def test_components_and_kinds_are_dims_where_there_are_several() -> None:
    data = planted(n=160)
    tables = {"resid_post": {1: data["x"]}, "mlp_out": {1: data["x"][:, ::-1]}}
    found = run(tables, data["labels"], groups=data["groups"], kind=["full", "mean_difference"])
    assert found.accuracy.dims == ("kind", "component", "layer", "fold")
    assert found.accuracy.shape == (2, 2, 1, 5)
    plain = run({1: data["x"][:, ::-1]}, data["labels"], groups=data["groups"])
    assert np.array_equal(found.accuracy.sel(kind="full", component="mlp_out"), plain.accuracy)
    back = found.direction(1, component="mlp_out")[::-1] @ found.direction(1, component="resid_post")
    assert back == pytest.approx(1, abs=1e-5)
    assert found.confusion(1, component="mlp_out", kind="mean_difference").to_numpy().sum() == pytest.approx(160)
    with pytest.raises(InputError, match="component"):
        found.direction(1)
    one = run({"resid_post": {1: data["x"]}}, data["labels"], groups=data["groups"])
    assert one.accuracy.dims == ("component", "layer", "fold")


def test_float32_and_torch_are_the_same_samples() -> None:
    data = planted(n=160)
    x = data["x"].astype(np.float32)
    one = run(x, data["labels"], groups=data["groups"])
    two = run({0: torch.tensor(x)}, data["labels"].tolist(), groups=torch.tensor(data["groups"]))
    assert np.array_equal(one.scores, two.scores)
    half = run({0: torch.tensor(x).bfloat16()}, data["labels"], groups=data["groups"])
    assert float(half.values[0]) > 0.9


# --- oracles ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_on_shuffled_labels_a_probe_is_at_chance_and_its_interval_says_so(share: float) -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(400) // 4
    by_group = np.zeros(100, dtype=int)
    by_group[: int(100 * share)] = 1
    x = rng.normal(size=(400, 10)) + rng.normal(size=(100, 10))[groups]  # samples of a group are alike
    means, covered, own, own_covered = [], 0, [], 0
    for seed in range(30):
        y = np.random.default_rng([seed, 99]).permutation(by_group)[groups]
        found = run(x, y, groups=groups, seeds=(seed,))
        means.append(float(found.values[0]))
        covered += bool(found.low[0] <= 0.5 <= found.high[0])
        own.append(float(found.shuffled.mean()))
        low, high = found.interval("shuffled")
        own_covered += bool(low[0] <= 0.5 <= high[0])
    assert abs(np.mean(means) - 0.5) < 0.025, np.mean(means)
    assert abs(np.mean(own) - 0.5) < 0.025, np.mean(own)
    assert covered >= 25 and own_covered >= 25, (covered, own_covered)


def test_a_planted_direction_is_found() -> None:
    rng = np.random.default_rng(0)
    d, n = 20, 4000
    u = rng.normal(size=d)
    u /= np.linalg.norm(u)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, d)) + np.outer(2 * y - 1, u) + 3.0
    found = run(x, y, groups=np.arange(n))
    assert found.direction(0) @ u > 0.99
    assert found.direction(0, label=1) @ u > 0.99 and found.direction(0, label=0) @ u < -0.99
    assert np.linalg.norm(found.direction(0)) == pytest.approx(1)
    # Where noise differs between directions, the classes' means still differ along u; the best readout is tilted.
    mix = (
        np.linalg.qr(rng.normal(size=(d, d)))[0]
        @ np.diag(np.geomspace(0.3, 3, d))
        @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    )
    x = rng.normal(size=(40_000, d)) @ mix + np.outer(2 * (y := rng.integers(0, 2, 40_000)) - 1, u) * 2
    found = run(x, y, groups=np.arange(len(y)), penalties=[1.0], folds=2, inner=2)
    assert found.direction(0, kind="mean_difference") @ u > 0.99
    best = np.linalg.solve(mix.T @ mix, u)
    best /= np.linalg.norm(best)
    assert found.direction(0) @ best > 0.99 > found.direction(0) @ u + 0.05


def test_a_linear_probe_cannot_read_xor_and_a_network_can() -> None:
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(2000, 2))
    x = np.concatenate([signs + 0.5 * rng.normal(size=(2000, 2)), rng.normal(size=(2000, 3))], axis=1)
    y = (signs.prod(axis=1) > 0).astype(int)
    linear = run(x, y, groups=np.arange(2000))
    assert abs(float(linear.values[0]) - 0.5) < 0.05
    network = MLPClassifier((32,), max_iter=400, early_stopping=True, random_state=0)
    found = run(x, y, groups=np.arange(2000), estimator=network, folds=3)
    assert float(found.values[0]) > 0.9
    assert found.kinds == ("estimator",)
    with pytest.raises(InputError, match="coef_"):
        found.direction(0)
    assert found.direction(0, kind="mean_difference").shape == (5,)


def test_a_probe_that_only_remembers_has_no_selectivity() -> None:
    rng = np.random.default_rng(0)
    units, sentences = rng.integers(0, 40, 1200), np.arange(1200) // 6
    embedding = rng.normal(size=(40, 16))
    x = embedding[units] + 0.05 * rng.normal(size=(1200, 16))
    y = (np.arange(40) % 2)[units]  # the task is a function of the unit
    found = run(x, y, groups=sentences, control_units=units, estimator=KNeighborsClassifier(1))
    assert float(found.values[0]) > 0.95
    assert abs(float(found.selectivity.mean())) < 0.05


def test_majority_is_the_class_share_and_chance_is_of_the_metric() -> None:
    data = planted(n=400)
    y = (np.arange(400) // 2 % 5 == 0).astype(int)
    found = run(data["x"], y, groups=data["groups"])
    assert np.allclose(found.majority, 0.8)
    assert np.allclose(found.chance, 0.5)
    plain = run(data["x"], y, groups=data["groups"], metric="accuracy")
    assert np.allclose(plain.majority, 0.8) and np.allclose(plain.chance, 0.8)
    assert np.allclose(run(data["x"], y, groups=data["groups"], metric="auroc").chance, 0.5)


def test_a_leak_would_show() -> None:
    """Each group has a label of its own that cannot be known from other groups: any leak makes a 1-NN probe perfect."""
    rng = np.random.default_rng(0)
    groups = np.arange(600) // 6
    x = rng.normal(size=(100, 8))[groups] + 0.01 * rng.normal(size=(600, 8))
    y = rng.permutation(np.arange(100) % 2)[groups]
    found = run(x, y, groups=groups, estimator=KNeighborsClassifier(1), seeds=(0, 1))
    assert abs(float(found.values[0]) - 0.5) < 0.12
    leaking = run(x, y, estimator=KNeighborsClassifier(1))
    assert float(leaking.values[0]) == 1.0
    assert any(c.name == "groups" and c.level == "amber" for c in leaking.checks)


def test_the_interval_is_the_corrected_resampled_t() -> None:
    scores = np.random.default_rng(0).normal(0.7, 0.05, size=(3, 10))
    low, high = interval_over_folds(scores, 5)
    plain = mean_of(scores.T)
    # 1/J + n_test/n_train = 1/10 + 1/4, against 1/10.
    assert np.allclose(high - low, (plain.high - plain.low) * np.sqrt(0.35 / 0.1))
    assert np.allclose((high + low) / 2, scores.mean(axis=1))
    holes = scores.copy()
    holes[0, 2:] = np.nan
    holes[1] = np.nan
    low, _ = interval_over_folds(holes, 5)
    assert np.isfinite(low[[0, 2]]).all() and np.isnan(low[1])
    assert np.isnan(interval_over_folds(scores[:, :1], 5)[0]).all()


# --- the samples behind the curves --------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_confusion_and_hardest(classes: int) -> None:
    data = planted(n=360, classes=classes, strength=0.5)
    found = run(data["x"], data["labels"], groups=data["groups"])
    table = found.confusion(0)
    names = list("abc"[:classes])
    assert list(table.index) == names and list(table.columns) == names
    predicted = np.array(names)[found.fitting.predicted[0, 0, 0, 0].astype(int)]
    assert np.array_equal(table, confusion_matrix(data["labels"], predicted, labels=names))
    shares = found.confusion(0, normalise=True)
    assert np.allclose(shares.sum(axis=1), 1)
    assert np.diag(shares).mean() == pytest.approx(float(found.values[0]), abs=0.02)
    hard = found.hardest(0, 5)
    assert len(hard) == 5 and np.all(np.diff(hard["truth"]) >= 0)
    assert np.all(hard["label"].to_numpy() != hard["predicted"].to_numpy())
    assert np.array_equal(hard["label"], data["labels"][hard["sample"]])
    assert set(hard.columns) >= {"sample", "label", "predicted", "score", "truth", "group"}


def test_hardest_of_margins_and_of_numbers() -> None:
    data = planted(n=200, strength=0.5)
    margins = run(data["x"], data["labels"], groups=data["groups"], estimator=SVC(kernel="linear"))
    assert margins.scores.attrs["units"] == "margin"
    hard = margins.hardest(0, 1)
    assert hard["truth"].tolist()[0] < 0 and hard["label"].tolist() != hard["predicted"].tolist()
    # A linear SVC has coef_, so it has a direction.
    assert margins.direction(0) @ (data["means"][1] - data["means"][0]) > 0
    numbers = run(data["x"], data["x"][:, 0] * 2 + 1, groups=data["groups"], task="regress")
    assert float(numbers.values[0]) > 0.99
    assert abs(numbers.direction(0)[0]) > 0.99
    errors = -numbers.hardest(0, 200)["truth"]
    assert np.all(np.diff(errors) <= 0)
    with pytest.raises(InputError, match="classes"):
        numbers.confusion(0)


def test_more_classes_have_a_direction_each() -> None:
    data = planted(classes=3)
    found = run(data["x"], data["labels"], groups=data["groups"])
    with pytest.raises(InputError, match="3 classes"):
        found.direction(0)
    centre = data["means"][:3].mean(axis=0)
    for n, label in enumerate("abc"):
        for kind in ("readout", "mean_difference"):
            assert found.direction(0, label, kind=kind) @ (data["means"][n] - centre) > 0
    with pytest.raises(InputError, match="label"):
        found.direction(0, "z")


def test_progress_can_stop_it_and_what_is_missing_is_said() -> None:
    data = planted(n=100)
    seen = []

    def until(progress: Any) -> bool:
        seen.append((progress.done, progress.total))
        return progress.done < 7

    found = rw.probe({0: data["x"], 1: data["x"]}, data["labels"], groups=data["groups"], seeds=(0,), progress=until)
    assert seen == [(n, 10) for n in range(1, 8)]
    assert np.isfinite(found.values[0]) and np.isnan(found.values[1])
    assert any(check.name == "complete" and check.level == "amber" for check in found.checks)
    assert found.plot() is not None
    with pytest.raises(InputError, match="not fitted"):
        found.direction(1)


def test_the_same_seeds_give_the_same_numbers() -> None:
    data = planted(n=120)
    one, two = (run(data["x"], data["labels"], groups=data["groups"], control_units=data["units"]) for _ in range(2))
    for name in ("accuracy", "shuffled", "control", "scores"):
        assert np.array_equal(getattr(one, name), getattr(two, name))


# --- activations --------------------------------------------------------------------------------------------------


class Fake:
    """What `rw.collect` gives, by its interface alone."""

    components = ("resid_post",)
    layers = (0, 1)
    d_model = 6
    model = None
    provenance = Provenance("fake", "0", (), "BOS added", "float32", "cpu", {})
    checks = (Check("store", "green", 0.0, 0.0, "whole"),)

    def __init__(self, labelled: bool = True) -> None:
        rng = np.random.default_rng(0)
        prompt, pos = np.repeat(np.arange(40), 3), np.tile([0, 1, 2], 40)
        self.samples = pd.DataFrame({"prompt": prompt, "pos": pos, "token_id": rng.integers(0, 9, 120), "token": " x"})
        if labelled:
            self.samples["label"] = np.where(prompt % 2, "odd", "even")
            self.samples["group"] = prompt // 2
        self.rows = rng.normal(size=(2, 120, 6)).astype(np.float32)
        self.rows[1, pos == 2, 0] += np.where(prompt % 2, 6.0, -6.0)[pos == 2]

    def matrix(self, layer: int, component: str | None = None) -> np.ndarray:
        assert component in (None, "resid_post")
        return self.rows[layer]


def test_activations_bring_labels_groups_and_units() -> None:
    found = run_fake(Fake())
    assert found.components == ("resid_post",) and found.layers == (0, 1)
    assert found.accuracy.dims == ("layer", "fold") and str(found.accuracy.component.values) == "resid_post"
    assert len(set(found.samples["group"])) == 20
    assert found.checks[0].name == "store"
    assert np.isfinite(found.control).all()
    last = run_fake(Fake(), positions="last")
    assert len(last.samples) == 40 and float(last.values[1]) > 0.95
    assert len(run_fake(Fake(), positions="not_first").samples) == 80
    assert np.array_equal(run_fake(Fake(), positions=2).scores, last.scores)
    assert np.array_equal(run_fake(Fake(), positions=-1).scores, last.scores)
    assert run_fake(Fake(), layers=[1]).layers == (1,)


def run_fake(fake: Fake, labels: Any = None, **options: Any) -> rw.Probe:
    return rw.probe(fake, labels, seeds=(0,), progress=False, **options)


def test_labels_by_sample_by_prompt_and_by_column() -> None:
    fake, bare = Fake(), Fake(labelled=False)
    by_prompt = np.where(np.arange(40) % 2, "odd", "even")
    found = [
        run_fake(bare, by_prompt, groups=np.arange(40) // 2),
        run_fake(bare, fake.samples["label"], groups=np.repeat(np.arange(40) // 2, 3)),
        run_fake(fake, "label", groups="group"),
    ]
    assert all(np.array_equal(each.scores, found[0].scores) for each in found)
    assert (
        run_fake(bare, by_prompt).samples["group"].tolist() == np.repeat(np.arange(40), 3).tolist()
    )  # prompts are groups
    for labels, says in ((None, "no labels"), ("nothing", "no such column"), (by_prompt[:7], "7 values")):
        with pytest.raises(InputError, match=says):
            run_fake(bare, labels)
    with pytest.raises(InputError, match="no sample is at such a position"):
        run_fake(fake, positions=17)
    with pytest.raises(InputError, match="no such rule"):
        run_fake(fake, positions="middle")


def test_a_model_and_prompts_are_collected(tiny: rw.ResidualModel) -> None:
    task = rw.tasks.load("agreement", tiny, n=120)
    found = rw.probe(tiny, task.prompts, layers=[0, 3], seeds=(0,), progress=False)
    assert found.layers == (0, 3) and found.classes == ("plural", "singular")
    first = task.prompts[0]
    row = rw.run(tiny, first.text).tensor("resid_post", 3)[first.position].numpy()
    again = rw.probe((tiny, task), layers=[0, 3], seeds=(0,), progress=False)
    assert np.allclose(again.fitting.plan.data.matrix("resid_post", 3)[0], row, atol=1e-5)
    assert np.array_equal(found.scores, again.scores)
    assert float(found.values.sel(layer=3)) > 0.95 > float(found.values.sel(layer=0))
    texts, labels = [p.text for p in task.prompts], [p.label for p in task.prompts]
    plain = rw.probe(
        (tiny, texts), labels, groups=[p.group for p in task.prompts], layers=3, seeds=(0,), progress=False
    )
    assert np.allclose(plain.scores.values[0], found.scores.values[1], atol=1e-6)
    assert "token" in found.hardest(3, 2)


# --- bad input ----------------------------------------------------------------------------------------------------

X, Y, G = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2, np.arange(40) // 2
NAN = X.copy()
NAN[7, 2] = np.nan


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ({0: X}, {"labels": np.zeros(40)}, "one class only"),
        ({0: X}, {"labels": Y[:30]}, "there are 40 samples"),
        ({0: X}, {"groups": G[:30]}, "there are 40 samples"),
        ({0: X}, {"control_units": G[:30]}, "there are 40 samples"),
        ({0: X}, {"labels": None}, "need one for each sample"),
        ({0: X}, {"labels": [None, *Y[1:].tolist()]}, "missing"),
        ({0: X}, {"groups": np.arange(40) % 3}, "only 3 groups"),
        ({3: NAN}, {}, "1 samples have NaN or infinite activations, the first is number 7"),
        ({0: X, 1: X[:, :2]}, {}, "one shape"),
        ({0: X[0]}, {}, "sample, d_model"),
        ({"a": X}, {}, "layer number"),
        ({}, {}, "no layer"),
        ({"a": {0: X}, "b": {1: X}}, {}, "different layers"),
        (X, {}, "nothing that can be probed"),
        ({0: X}, {"layers": [5]}, "there are only"),
        ({0: X}, {"labels": X[:, 0]}, "not classes"),
        ({0: X}, {"labels": ["a"] * 40, "task": "regress"}, "finite numbers"),
        ({0: X}, {"labels": np.ones(40), "task": "regress"}, "all labels are the same"),
        ({0: X}, {"task": "cluster"}, "task"),
        ({0: X}, {"metric": "r2"}, "metric"),
        ({0: X}, {"folds": 1}, "folds"),
        ({0: X}, {"seeds": ()}, "seeds"),
        ({0: X}, {"seeds": (1, 1)}, "seeds"),
        ({0: X}, {"kind": "deep"}, "kind"),
        ({0: X}, {"kind": "mean_difference", "task": "regress", "labels": X[:, 0]}, "needs classes"),
        ({0: X}, {"penalties": [0.0]}, "positive"),
        ({0: X}, {"estimator": KNeighborsClassifier}, "classifier is needed"),
        ({0: X}, {"estimator": KNeighborsClassifier(), "task": "regress", "labels": X[:, 0]}, "regressor"),
        ({0: X}, {"positions": "last"}, "no positions"),
        ({0: X}, {"mdl": True, "task": "regress", "labels": X[:, 0]}, "mdl"),
        ({0: X}, {"progress": 3}, "progress"),
    ],
)
def test_bad_input_is_explained(data: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        rw.probe(data, **{"labels": Y, "groups": G, "progress": False, **options})


def test_bad_questions_to_a_result_are_explained() -> None:
    found = run(X, Y, groups=G)
    for call in (
        lambda: found.direction(9),
        lambda: found.direction(True),
        lambda: found.direction(0, label=5),
        lambda: found.direction(0, kind="sparse"),
        lambda: found.direction(0, component="mlp_out"),
        lambda: found.interval("speed"),
        lambda: found.confusion(0, kind="sparse"),
        lambda: found.hardest(0, "3"),
        lambda: found.hardest(0, -2),
    ):
        with pytest.raises(InputError):
            call()


def test_labels_that_cannot_be_probed_are_refused_before_the_model_runs(tiny, monkeypatch):
    import resid_widgets as rw
    from resid_widgets.models.collecting import collect

    def run(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was run")

    monkeypatch.setattr(collect, "collect", run)
    texts = ["Mary went to the store", "John went to the park"]
    for labels, message in (
        (None, "labels=None: 2 of the 2 prompts have no label"),
        (["same", "same"], "there is one class only"),
    ):
        with pytest.raises(rw.InputError, match=message):
            rw.probe((tiny, texts), labels)
