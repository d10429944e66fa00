"""What is worth knowing about a probe before its numbers are believed."""

from __future__ import annotations

from typing import Any

import numpy as np

from resid_widgets.analysis.probing.controls import LEAST_SEEN
from resid_widgets.analysis.probing.directions import direction_check
from resid_widgets.analysis.probing.fits import Fitting
from resid_widgets.analysis.probing.logistic import TOLERANCE
from resid_widgets.analysis.probing.score import interval_over_folds
from resid_widgets.results import Check

FEW = 20
"""Samples of the rarest class under which intervals are wide and folds uneven."""


def probe_checks(fitting: Fitting, n_folds: int, classes: tuple[Any, ...]) -> list[Check]:
    """Return the checks of a probe analysis."""
    plan = fitting.plan
    shared = max(len(np.intersect1d(plan.data.groups[fold.train], plan.data.groups[fold.test])) for fold in plan.folds)
    n_groups = int(plan.data.groups.max()) + 1
    text = f"no group is both in training and test ({n_groups} groups)"
    found = [Check("folds", "green" if shared == 0 else "red", float(shared), 0.0, text)]
    if classes:
        counts = np.bincount(plan.codes, minlength=len(classes))
        rarest = int(counts.argmin())
        if counts[rarest] < FEW:
            text = f"class {classes[rarest]!r} has only {counts[rarest]} samples"
            found.append(Check("class size", "amber", float(counts[rarest]), float(FEW), text))
    found += _shuffled(fitting, n_folds)
    found += _control(fitting)
    found += _solver(fitting)
    for kind in fitting.readouts:
        told = "readout" if kind in ("full", "estimator") else kind
        agreement = {what: found[kind] for what, found in fitting.agreement.items() if kind in found}
        found += direction_check(told, agreement, plan.data.components, plan.data.layers, classes)
    return found


def _shuffled(fitting: Fitting, n_folds: int) -> list[Check]:
    """Hold the probe on shuffled labels against chance: where it does better, so does the design of the data."""
    shuffled, chance = fitting.scored["shuffled"], fitting.scored["chance"]
    if not np.isfinite(shuffled).all():
        return []
    low, _ = interval_over_folds(shuffled - chance, n_folds)
    over = int((low > 0).sum())
    # One interval in forty lies above by luck alone.
    level = "amber" if over > max(1, low.size // 4) else "green"
    text = "shuffled labels score no better than the commonest answer"
    if level == "amber":
        text = f"shuffled labels score better than the commonest answer in {over} of {low.size} curves' layers"
    return [Check("shuffled labels", level, float(over), float(max(1, low.size // 4)), text)]


def _control(fitting: Fitting) -> list[Check]:
    """Say whether there is a control task, and where there is none, why and what to do."""
    units = fitting.plan.data.units

    def missing(text: str, value: float | None = None, limit: float | None = None) -> list[Check]:
        return [Check("control task", "amber", value, limit, f"no control task {text}")]

    if units is None:
        return missing("was given: give control_units= (the word or token of each sample) to get selectivity")
    count, total = len(np.unique(units)), len(fitting.plan.folds)
    if count == 1:
        return missing(
            "is possible with one control unit: all samples have the same one (by default their token), so all get the "
            "same random label; probe tokens that differ, or give control_units= that do",
            1.0,
            2.0,
        )
    shares = np.array([seen.mean() for seen in fitting.seen if seen is not None])
    least = float(shares.min())
    if count == len(units):
        return missing(
            "is possible: each sample is a control unit of its own, so none recurs in another fold; give "
            "control_units= that several samples share, such as their word or token",
            least,
            LEAST_SEEN,
        )
    if least < LEAST_SEEN:
        return missing(
            f"in {int((shares < LEAST_SEEN).sum())} of {total} folds: too few of their units ({least:.0%}) are in "
            "training; take more samples, or give control_units= that recur more often",
            least,
            LEAST_SEEN,
        )
    lost = sum(_lacks(fitting, n) for n in range(total))
    if lost:
        what = "take every class" if fitting.plan.n_classes else "differ"
        return missing(
            f"in {lost} of {total} folds: {count} control units are too few for their random labels to {what}, in "
            "training and test; probe samples of more units, or give control_units= of more kinds",
            float(lost),
            0.0,
        )
    text = f"at least {least:.0%} of each fold's samples have a control unit that was in training"
    return [Check("control task", "green", least, LEAST_SEEN, text)]


def _lacks(fitting: Fitting, n: int) -> bool:
    """Return whether a fold's control labels lack a class (numbers: are all the same), or could not be scored."""
    fold = fitting.plan.folds[n]
    labels = fitting.control[fold.seed][fold.train]
    scored, known = (np.isfinite(fitting.scored[name][..., n]) for name in ("control", "accuracy"))
    return len(np.unique(labels)) < max(2, fitting.plan.n_classes) or bool(known.any() and not scored[known].any())


def _solver(fitting: Fitting) -> list[Check]:
    if not any(recipe.penalised for recipe in fitting.plan.recipes) or not fitting.plan.n_classes:
        return []
    if fitting.inexact:
        text = f"{fitting.inexact} fits were handed to scikit-learn's own solver"
        return [Check("solver", "amber", float(fitting.inexact), 0.0, text)]
    return [Check("solver", "green", 0.0, 0.0, f"all fits are at their minimum (gradient below {TOLERANCE:.0e})")]
