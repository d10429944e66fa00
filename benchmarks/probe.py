"""Probing all layers of the tiny model: `rw.probe` against a plain loop over scikit-learn.

The plain loop is what users write: for each layer and fold a StandardScaler and LogisticRegression (lbfgs, float64),
with the penalty chosen by the same inner folds from the same grid. It is timed twice: for the labels alone, and for
all that `rw.probe` fits (labels, shuffled labels, control task). Contenders take turns; ratios are within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from _timing import interleaved, machine, ratios, spread
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.preprocessing import StandardScaler

import resid_widgets as rw
from resid_widgets.analysis.probing.controls import control_labels, shuffled_by_group
from resid_widgets.analysis.probing.data import numbered
from resid_widgets.analysis.probing.fit import CS
from resid_widgets.analysis.probing.folds import make_folds

FOLDS, INNER, SEED = 5, 3, 0
SECONDS = 60.0


def plain(layers: dict[int, np.ndarray], targets: list[np.ndarray], folds: Any, tol: float) -> np.ndarray:
    """Balanced accuracy ``[target, layer, fold]``."""
    scores = np.zeros((len(targets), len(layers), len(folds)))
    for n, y in enumerate(targets):
        for number, x in enumerate(layers.values()):
            for f, fold in enumerate(folds):
                scaler = StandardScaler().fit(x[fold.train].astype(np.float64))
                z, held, target = scaler.transform(x[fold.train]), scaler.transform(x[fold.test]), y[fold.train]
                losses = [
                    np.mean(
                        [log_loss(target[b], fit(z[a], target[a], c, tol).predict_proba(z[b])) for a, b in fold.inner]
                    )
                    for c in CS
                ]
                found = fit(z, target, CS[int(np.argmin(losses))], tol)
                scores[n, number, f] = balanced_accuracy_score(y[fold.test], found.predict(held))
    return scores


def fit(x: Any, y: np.ndarray, c: float, tol: float) -> LogisticRegression:
    return LogisticRegression(C=c, solver="lbfgs", tol=tol, max_iter=100_000).fit(x, y)


def compare(name: str, layers: dict[int, np.ndarray], labels: Any, groups: Any, units: Any) -> None:
    codes = np.unique(labels, return_inverse=True)[1]
    group, unit = numbered(np.asarray(groups)), numbered(np.asarray(units))  # as rw.probe numbers them: the same folds
    folds = make_folds(codes, group, FOLDS, (SEED,), INNER)
    everything = [codes, shuffled_by_group(codes, group, SEED), control_labels(codes, unit, SEED)]
    found: dict[str, Any] = {}

    def keep(key: str, call: Callable[[], Any]) -> Callable[[], Any]:
        def timed() -> Any:
            found[key] = call()
            return found[key]

        return timed

    ours = lambda: rw.probe(  # noqa: E731
        layers, labels, groups=groups, control_units=units, folds=FOLDS, seeds=(SEED,), inner=INNER, progress=False
    )
    contenders = {
        "rw.probe (labels, shuffled, control)": keep("ours", ours),
        "plain loop, labels only": keep("labels", lambda: plain(layers, [codes], folds, 1e-4)),
        "plain loop, labels, shuffled, control": keep("all", lambda: plain(layers, everything, folds, 1e-4)),
    }
    times = interleaved(contenders, seconds=SECONDS, at_least=3)
    n, d = next(iter(layers.values())).shape
    print(f"\n{name}: {len(layers)} layers, {n} samples, d_model {d}, {len(set(codes.tolist()))} classes")
    for key, seconds in times.items():
        print(f"  {key:42}{statistics.median(seconds):8.2f} s")
    for key in list(contenders)[1:]:
        print(f"  {key} / rw.probe: {spread(ratios(times, key, next(iter(contenders))))}")
    gap = np.abs(found["ours"].accuracy.values - found["labels"][0]).max()
    print(f"  largest difference of a fold's accuracy: {gap:.2g} (lbfgs stops at a gradient of 1e-4, rw.probe at 1e-8)")


def main() -> None:
    print(machine("numpy", "scikit-learn", "torch", "resid-widgets"))
    model = rw.load_model(progress=False)
    task = rw.tasks.load("agreement", model, n=1000)
    found = rw.collect(model, task.prompts, "resid_post", "given", progress=False)
    samples = found.samples
    layers = {layer: found.matrix(layer) for layer in found.layers}
    compare("number agreement", layers, samples["label"].to_numpy(), samples["group"].to_numpy(), samples["token_id"])
    every = rw.collect(model, task.prompts, "resid_post", "not_first", progress=False)
    kept = np.arange(800)  # with all of them the plain loop takes minutes a layer
    position = np.minimum(every.samples["pos"].to_numpy(), 4)[kept]  # a task of four classes, at many positions
    layers = {layer: every.matrix(layer)[kept] for layer in (every.layers[0], every.layers[-1])}
    unit = every.samples["token_id"].to_numpy()[kept]
    compare("position in the prompt", layers, position, every.samples["prompt"].to_numpy()[kept], unit)


if __name__ == "__main__":
    main()
