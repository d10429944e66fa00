"""A probe analysis as a script: the same scores from scikit-learn alone, on what TransformerLens reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from resid_widgets.analysis.code import bridge_code
from resid_widgets.analysis.probing.data import ProbeData
from resid_widgets.analysis.probing.fit import Recipe

_SCORES = {
    "balanced_accuracy": "balanced_accuracy_score(truth, guess)",
    "accuracy": "accuracy_score(truth, guess)",
    "r2": "r2_score(truth, guess)",
    "auroc": "np.mean([roc_auc_score(truth == c, known[:, c]) for c in {classes} if 0 < sum(truth == c) < len(truth)])",
}
_IMPORTS = {
    "clone": "sklearn.base",
    "SelectKBest": "sklearn.feature_selection",
    "f_classif": "sklearn.feature_selection",
    "f_regression": "sklearn.feature_selection",
    "LogisticRegression": "sklearn.linear_model",
    "Ridge": "sklearn.linear_model",
    "accuracy_score": "sklearn.metrics",
    "balanced_accuracy_score": "sklearn.metrics",
    "r2_score": "sklearn.metrics",
    "roc_auc_score": "sklearn.metrics",
    "make_pipeline": "sklearn.pipeline",
    "StandardScaler": "sklearn.preprocessing",
}


def probe_code(probe: Any, kind: int, component: int) -> str:
    """Return a script that makes `Probe.accuracy` of one kind and component again, as ``accuracy[layer][fold]``."""
    plan = probe.fitting.plan
    data: ProbeData = plan.data
    recipe: Recipe = plan.recipes[kind]
    fold_of = {seed: np.zeros(len(data.labels), dtype=np.int64) for seed in plan.seeds}
    for fold in plan.folds:
        fold_of[fold.seed][fold.test] = fold.number
    labels = plan.codes.tolist()
    lines = [
        *_samples(data, component),
        f"y = np.array({labels})" + (f"  # of {list(probe.classes)}" if probe.classes else ""),
        f"fold_of = {{{', '.join(f'{seed}: {list(map(int, of))}' for seed, of in fold_of.items())}}}",
        *_fitted(recipe, probe, kind, component),
        "accuracy = {layer: [] for layer in x}",
        "for layer, rows in x.items():",
        "    for seed, numbers in fold_of.items():",
        "        for number in sorted(set(numbers)):",
        "            test = np.array(numbers) == number",
        *_scored(recipe, plan.metric),
        "            accuracy[layer].append(float(score))",
        "print({layer: round(float(np.mean(scores)), 4) for layer, scores in accuracy.items()})",
        "",
    ]
    body = "\n".join(lines)
    wanted: dict[str, list[str]] = {}
    for name, module in _IMPORTS.items():
        if f"{name}(" in body or f"({name}," in body:
            wanted.setdefault(module, []).append(name)
    imports = ["import numpy as np", *(f"from {module} import {', '.join(of)}" for module, of in wanted.items())]
    return "\n".join([*imports, body])


def _samples(data: ProbeData, component: int) -> list[str]:
    """Return the lines that make ``x``."""
    name = data.components[component]
    if data.model is None or data.token_ids is None or name is None:
        return [f"x: dict  # {{layer: array [sample, {data.d_model}]}}, layers {list(data.layers)}: define it above"]
    prompts = data.samples["prompt"].to_numpy()
    used = np.unique(prompts)  # ascending, as the samples are
    at = [data.samples["pos"].to_numpy()[prompts == prompt].tolist() for prompt in used]
    return [
        bridge_code(data.model, data.provenance),
        f"prompts = {[list(data.token_ids(int(prompt))) for prompt in used]}",
        f"positions = {at}",
        f"names = { ({layer: data.model.hook_name(name, layer) for layer in data.layers}) }",
        "x = {layer: [] for layer in names}",
        "for ids, pos in zip(prompts, positions):",
        f"    tokens = torch.tensor([ids], device={data.provenance.device!r})",
        "    with torch.no_grad():",
        "        _, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name in names.values())",
        "    for layer, name in names.items():",
        "        x[layer] += cache[name][0, pos].flatten(1).double().cpu().numpy().tolist()",
        "x = {layer: np.array(rows) for layer, rows in x.items()}",
    ]


def _fitted(recipe: Recipe, probe: Any, kind: int, component: int) -> list[str]:
    """Return the lines with what the fits need beside samples, labels and folds."""
    if recipe.kind == "estimator":
        return [f"estimator: object  # {' '.join(str(recipe.estimator).split())}: define it above"]
    if recipe.kind == "mean_difference":
        return []
    found = probe.fitting.penalty[kind, component]
    table = {layer: [float(value) for value in row] for layer, row in zip(probe.layers, found, strict=True)}
    return [f"penalty = {table}  # chosen by inner folds"]


def _scored(recipe: Recipe, metric: str) -> list[str]:
    """Return the lines that fit one fold and score it."""
    lines = ["held, truth = rows[test], y[test]"]
    if recipe.kind == "mean_difference":
        lines += [
            f"means = np.stack([rows[~test][y[~test] == c].mean(0) for c in range({recipe.n_classes})])",
            "means, centre = means - means.mean(0), means.mean(0)",
            "known = (held - centre) @ means.T - (means**2).sum(1) / 2",
            "guess = known.argmax(1)",
        ]
        if recipe.n_classes == 2:
            lines.append("known = known - known[:, ::-1]")
    else:
        lines += [f"probe = make_pipeline({', '.join(_steps(recipe))}).fit(rows[~test], y[~test])"]
        lines += ["guess = probe.predict(held)"]
        if metric == "auroc":
            lines += _known(recipe)
    classes = "[1]" if recipe.n_classes == 2 else f"range({recipe.n_classes})"
    lines.append("score = " + _SCORES[metric].format(classes=classes))
    return ["            " + line for line in lines]


def _steps(recipe: Recipe) -> list[str]:
    """Return the steps of a scikit-learn pipeline."""
    if recipe.kind == "estimator":
        return ["StandardScaler()", "clone(estimator)"]
    penalty = "penalty[layer][len(accuracy[layer])]"
    model = f"LogisticRegression(C={penalty}, tol=1e-8, max_iter=100_000)" if recipe.n_classes else f"Ridge({penalty})"
    select = f"SelectKBest({'f_classif' if recipe.n_classes else 'f_regression'}, k={recipe.k})"
    return ["StandardScaler()", *([select] if recipe.kind == "sparse" else []), model]


def _known(recipe: Recipe) -> list[str]:
    if recipe.kind != "estimator":
        return ["known = probe.predict_log_proba(held)"]
    if hasattr(recipe.estimator, "predict_proba"):
        return ["known = probe.predict_proba(held)"]
    return [
        "known = probe.decision_function(held)",
        "known = known[:, None] * [-1, 1] if known.ndim == 1 else known",
    ]
