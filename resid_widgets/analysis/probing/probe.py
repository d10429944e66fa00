"""Probing: what can be read off the stream, layer by layer, beside what a probe reads off nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets.analysis.probing.build import probe_result
from resid_widgets.analysis.probing.data import ProbeData, from_activations, from_arrays
from resid_widgets.analysis.probing.fit import ALPHAS, CS, KINDS, Recipe
from resid_widgets.analysis.probing.fits import Fitting, Plan
from resid_widgets.analysis.probing.folds import make_folds
from resid_widgets.analysis.probing.memory import folds_at_once, memory_needed
from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.probing.score import METRICS
from resid_widgets.analysis.sweeps.sweep import sweeping
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state, same_random
from resid_widgets.models.memory import CPU, require_memory
from resid_widgets.models.progress import ending_bars
from resid_widgets.prompts import read
from resid_widgets.whole import several_whole, whole_number

TASKS = ("classify", "regress")


@ending_bars()
@plain_state()
def probe(
    data: Any,
    labels: Any = None,
    *,
    task: Any = "classify",
    groups: Any = None,
    control_units: Any = None,
    components: Any = None,
    layers: Any = None,
    positions: Any = None,
    folds: Any = 5,
    seeds: Any = (0, 1),
    metric: Any = None,
    kind: Any = "full",
    estimator: Any = None,
    k: Any = 16,
    penalties: Any = None,
    inner: Any = 3,
    mdl: bool = False,
    progress: Any = True,
    stop: Callable[[], bool] | None = None,
) -> Probe:
    """Train probes on the stream at each layer, beside majority, shuffled-label and control-task baselines.

    Folds hold out whole groups and keep the classes in equal shares. Rows are standardised by the training part alone;
    the penalty is chosen within it. A probe that scores high shows that a label can be read off the stream there; not
    that the model uses it: see `Probe.causal_test`.

    Parameters
    ----------
    data
        Arrays ``{layer: X}`` or ``{component: {layer: X}}`` with X ``[sample, d_model]``; activations from
        `resid_widgets.collect`; ``(model, prompts)``, which collects first; or a model, with prompts as `labels`.
    labels
        One a sample; for activations and prompts also one a prompt, or the name of a column of ``activations.samples``.
        By default the labels that the prompts have.
    task
        ``"classify"``: logistic regression. ``"regress"``: ridge.
    groups
        What must not be cut in two, one a sample (or a prompt, or a column's name). By default the prompts' own groups,
        else the prompts; for plain arrays each sample alone, with an amber check.
    control_units
        Unit of each sample, for the control task. By default the token id. Without units, or where most units of a test
        part are new, control and selectivity are NaN, with an amber check.
    components, layers
        Which of those that `data` has; for a model, which are collected (by default resid_post of all layers).
    positions
        For a model as in `resid_widgets.collect`, by default each prompt's own position, else the last. For activations
        ``"all"`` (the default), ``"last"``, ``"not_first"`` or a position.
    folds, seeds
        Folds of each division, and one division for each seed.
    metric
        ``"balanced_accuracy"`` (the default), ``"accuracy"``, ``"auroc"``; for numbers ``"r2"``.
    kind
        ``"full"``; ``"mean_difference"``, nearest class mean; ``"sparse"``, the `k` dimensions whose class means differ
        most; or several of them, which then are a dim.
    estimator
        A scikit-learn estimator in place of the full probe. It is given standardised rows and class numbers.
    k
        Dimensions of a sparse probe.
    penalties
        scikit-learn's C (classes) or alpha (numbers) to choose from.
    inner
        Folds within the training part by which the penalty is chosen.
    mdl
        Also the online code length, and the compression.
    progress, stop
        As in `resid_widgets.ablation_sweep`; counted in folds of a layer. A function is called with the accuracy so far
        ``[kind, component, layer, fold]`` as ``values``.

    Returns
    -------
    Probe
        ``.accuracy``, ``.majority``, ``.shuffled``, ``.control``, ``.selectivity`` ``[layer, fold]`` (with dims kind
        and component before, where there are several), ``.values`` their mean ``[layer]`` with ``.low`` and ``.high``.

    Raises
    ------
    InputError
        If there is one class only, there are fewer groups than folds, lengths do not fit, activations are not finite,
        a position rule finds nothing, another argument does not fit, or the memory is not there.

    Notes
    -----
    Alain & Bengio 2016 (probes by layer); Hewitt & Liang 2019 (control tasks); Voita & Titov 2020 (MDL); Belinkov 2022
    (what probes do not show). Fits are scikit-learn's to 1e-6.
    """
    with same_random():  # it brings rich, which numbers its styles from a random start
        importlib.import_module("sklearn.model_selection")
    if task not in TASKS:
        raise InputError.about("task", task, "must be 'classify' or 'regress'", "Numbers are for 'regress'.")
    classify = task == "classify"
    metric = metric or ("balanced_accuracy" if classify else "r2")
    if metric not in METRICS or (metric == "r2") == classify:
        fitting = [name for name in METRICS if (name == "r2") != classify]
        raise InputError.about("metric", metric, f"{task!r} can be measured by {fitting}", f"Use {fitting[0]!r}.")
    folds = whole_number("folds", folds, 2, 1000, "5 is the default.")
    inner = whole_number("inner", inner, 2, 1000, "3 is the default.")
    k = whole_number("k", k, 1, 10**6, "16 is the default.")
    if mdl and not classify:
        raise InputError.about(
            "mdl", mdl, "code lengths are for classes", "Leave it out, or cut the numbers in classes."
        )
    seeds = _seeds(seeds)
    kinds = _kinds(kind, estimator, classify, metric)
    grid = _penalties(penalties, classify)
    tracker = sweeping(progress, stop, "fold")
    given = _data(data, labels, groups, control_units, components, layers, positions, progress, classify)
    codes, classes = _codes(given.labels, classify)
    recipes = tuple(Recipe(each, len(classes), grid, k, estimator) for each in kinds)
    made = make_folds(codes if classify else None, given.groups, folds, seeds, inner)
    size = (len(codes), given.d_model, len(classes), len(grid))
    at_once = folds_at_once(*size, len(made))
    plan = Plan(given, codes, recipes, made, seeds, metric, inner, bool(mdl), at_once)
    peak = memory_needed(*size, int(np.prod(plan.shape)) * len(seeds), at_once)
    require_memory(peak, CPU, "memory of the probes", "Probe fewer samples: positions=, or fewer prompts.")
    fitting = Fitting(plan)
    fitting.run(tracker)
    return probe_result(fitting, classes, folds, tracker, peak)


def _data(
    data: Any,
    labels: Any,
    groups: Any,
    units: Any,
    components: Any,
    layers: Any,
    positions: Any,
    progress: Any,
    classify: bool,
) -> ProbeData:
    if isinstance(data, Mapping):
        if positions is not None:
            rule = "plain arrays have no positions"
            raise InputError.about("positions", positions, rule, "Choose the rows before, or pass activations.")
        if not data:
            raise InputError.about("data", data, "there is no layer in it", "Give {layer: X}.")
        return from_arrays(data, labels, groups, units, components, layers)
    if hasattr(data, "matrix") and hasattr(data, "samples"):
        return from_activations(data, labels, groups, units, components, layers, positions)
    if isinstance(data, tuple) and len(data) == 2:
        model, prompts = data
    else:
        model, prompts, labels = data, labels, None
    if prompts is None or not (hasattr(model, "bridge") or hasattr(model, "original_model")):
        example = "Give {layer: X}, activations from rw.collect, or (model, prompts)."
        raise InputError.about("data", data, "nothing that can be probed", example)
    from resid_widgets.models.collecting.collect import collect

    found = read("prompts", prompts)
    prompts = found.prompts if found.several or found.row else prompts
    if positions is None:
        positions = "given" if all(given.place is not None for given in found.prompts) else "last"
    if labels is None:  # what cannot be probed is found out before the model runs
        own = [given.label for given in found.prompts]
        if any(label is None for label in own):
            rule = f"{sum(label is None for label in own)} of the {len(own)} prompts have no label"
            raise InputError.about("labels", None, rule, "Give labels=, one for each prompt.")
        _codes(np.asarray(own), classify)
    elif isinstance(labels, Sized) and not isinstance(labels, str) and len(labels) == len(found.prompts):
        _codes(np.asarray(labels), classify)
    kept = "resid_post" if components is None else components
    activations = collect(model, prompts, kept, positions, layers=layers, progress=progress is True)
    return from_activations(activations, labels, groups, units, None, None, None)


def _codes(labels: NDArray[Any], classify: bool) -> tuple[NDArray[Any], tuple[Any, ...]]:
    """Return class numbers and classes, in sorted order; or the numbers themselves and no class."""
    if not classify:
        try:
            values = labels.astype(np.float64)
        except (TypeError, ValueError):
            values = None
        if values is None or not np.isfinite(values).all():
            raise InputError.about("labels", labels, "regression needs finite numbers", "Use task='classify'.")
        if values.std() == 0:
            raise InputError.about("labels", values[0], "all labels are the same", "There is nothing to tell apart.")
        return values, ()
    if labels.dtype.kind == "f" and (labels % 1 != 0).any():
        rule = "these are numbers with fractions, not classes"
        raise InputError.about("labels", labels[:3].tolist(), rule, "Use task='regress', or cut them in classes.")
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError:
        rule = "labels of different types cannot be sorted"
        raise InputError.about("labels", labels[:3].tolist(), rule, "Give all as strings.") from None
    if len(classes) < 2:
        raise InputError.about("labels", classes.tolist(), "there is one class only", "A probe needs two or more.")
    return codes.astype(np.int64), tuple(classes.tolist())


def _kinds(kind: Any, estimator: Any, classify: bool, metric: str) -> tuple[str, ...]:
    kinds = (kind,) if isinstance(kind, str) else tuple(kind) if isinstance(kind, Sequence) else ()
    if not kinds or any(each not in KINDS for each in kinds) or len(set(kinds)) < len(kinds):
        raise InputError.about("kind", kind, f"must be one or several of {', '.join(KINDS)}", "'full' is the default.")
    if "mean_difference" in kinds and not classify:
        raise InputError.about("kind", kind, "a difference of means needs classes", "Use 'full' or 'sparse'.")
    if estimator is not None:
        _require_estimator(estimator, classify, metric)
        if "full" not in kinds:
            raise InputError.about("kind", kind, "an estimator takes the place of 'full'", "Use kind='full'.")
        kinds = tuple("estimator" if each == "full" else each for each in kinds)
    return kinds


def _require_estimator(estimator: Any, classify: bool, metric: str) -> None:
    from sklearn.base import is_classifier, is_regressor

    wanted = "classifier" if classify else "regressor"
    if isinstance(estimator, type) or not all(hasattr(estimator, name) for name in ("fit", "predict", "get_params")):
        example = "For example sklearn.neighbors.KNeighborsClassifier(1)."
        raise InputError.about("estimator", estimator, f"a scikit-learn {wanted} is needed", example)
    if not (is_classifier(estimator) if classify else is_regressor(estimator)):
        raise InputError.about("estimator", estimator, f"a {wanted} is needed", "Change it, or task=.")
    if metric == "auroc" and not (hasattr(estimator, "predict_proba") or hasattr(estimator, "decision_function")):
        rule = "AUROC needs predict_proba or decision_function"
        raise InputError.about("estimator", estimator, rule, "Use another metric.")


def _seeds(seeds: Any) -> tuple[int, ...]:
    items = several_whole(seeds) or ()
    checked = tuple(whole_number("seeds", seed, 0, 2**32 - 1, "(0, 1) is the default.") for seed in items)
    if not checked or len(set(checked)) < len(checked):
        raise InputError.about("seeds", seeds, "different whole numbers are needed", "(0, 1) is the default.")
    return checked


def _penalties(penalties: Any, classify: bool) -> tuple[float, ...]:
    """Return the grid, strongest penalty first, so that ties go to it."""
    if penalties is None:
        return CS if classify else ALPHAS
    try:
        grid = sorted({float(value) for value in penalties}, reverse=not classify)
    except (TypeError, ValueError):
        grid = []
    if not grid or not all(0 < value < np.inf for value in grid):
        raise InputError.about("penalties", penalties, "positive numbers are needed", f"{list(CS)} is the default.")
    return tuple(grid)
