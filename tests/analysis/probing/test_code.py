"""The script of a probe analysis, run by itself, gives the same scores."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.svm import SVC

import resid_widgets as rw
from tests.analysis.probing.test_probe import planted

DATA = planted(n=160, classes=3, strength=0.6)
TWO = planted(n=160, classes=2, strength=0.6)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (DATA, {"kind": ("full", "mean_difference", "sparse"), "k": 3}),
        (TWO, {"kind": ("full", "mean_difference", "sparse"), "k": 3, "metric": "auroc"}),
        (DATA, {"kind": ("mean_difference", "full"), "metric": "auroc"}),
        (DATA, {"metric": "accuracy"}),
        (DATA, {"task": "regress"}),
        (DATA, {"task": "regress", "estimator": Ridge(3.0)}),
        (TWO, {"estimator": SVC(), "metric": "auroc"}),
        (DATA, {"estimator": SVC(), "metric": "auroc"}),
        (DATA, {"estimator": SVC(probability=True, random_state=0), "metric": "auroc"}),
    ],
    ids=[
        "kinds",
        "kinds, auroc of two",
        "kinds, auroc of three",
        "accuracy",
        "numbers",
        "numbers, estimator",
        "margins of two",
        "margins of three",
        "probabilities",
    ],
)
@pytest.mark.filterwarnings("ignore:.*probability.*:FutureWarning")
def test_of_arrays(data: dict[str, Any], options: dict[str, Any]) -> None:
    x = {2: data["x"], 5: data["x"][:, ::-1] * 2 + 1}
    labels = data["x"] @ np.arange(10) if options.get("task") == "regress" else data["labels"]
    found = rw.probe(x, labels, groups=data["groups"], seeds=(0, 1), folds=3, progress=False, **options)
    for kind in found.kinds:
        given = {"x": x, "estimator": options.get("estimator")}
        exec(compile(found.code(kind=kind), "probe.py", "exec"), given)  # noqa: S102  # our own script
        wanted = found.accuracy.sel(kind=kind) if len(found.kinds) > 1 else found.accuracy
        assert list(given["accuracy"]) == [2, 5]
        assert np.allclose(list(given["accuracy"].values()), wanted, atol=1e-6), kind


@pytest.mark.slow
def test_of_a_model_it_runs_alone(tiny: rw.ResidualModel) -> None:
    task = rw.tasks.load("agreement", tiny, n=60)
    found = rw.probe(
        (tiny, task.prompts), positions=-2, components=["resid_mid", "attn_out"], seeds=(3,), progress=False
    )
    code = found.code(component="attn_out")
    code += "\nimport json; print(json.dumps(list(accuracy.values())))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600).stdout
    assert np.allclose(json.loads(out.splitlines()[-1]), found.accuracy.sel(component="attn_out"), atol=1e-6)


def test_it_asks_for_one_of_several() -> None:
    table = {"resid_pre": {0: DATA["x"]}, "resid_post": {0: DATA["x"]}}
    found = rw.probe(table, DATA["labels"], groups=DATA["groups"], seeds=(0,), progress=False)
    with pytest.raises(rw.InputError, match="component"):
        found.code()
    assert "define it above" in found.code(component="resid_pre")
