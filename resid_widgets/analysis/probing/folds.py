"""Folds for probes: whole groups, the classes in equal shares, and folds within each training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from resid_widgets.errors import InputError


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of the samples.

    Attributes
    ----------
    seed, number
        Which of the seeds, and which fold of it, from 0.
    train, test
        Rows, ascending. No group has rows in both: a fold that breaks this cannot be made.
    inner
        Divisions of ``range(len(train))`` for the choice of the penalty, by whole groups too; may be empty.
    """

    seed: int
    number: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    inner: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]


def make_folds(
    codes: Int[NDArray, " sample"] | None,
    groups: Int[NDArray, " sample"],
    n_folds: int,
    seeds: Sequence[int],
    n_inner: int,
) -> tuple[Fold, ...]:
    """Return ``n_folds`` folds for each seed.

    Parameters
    ----------
    codes
        Class of each sample, from 0, to be stratified by; None for numbers (regression).
    groups
        Group of each sample: sentence, template, speaker. Never cut in two.
    n_inner
        Folds within each training part; fewer where it has fewer groups.

    Raises
    ------
    InputError
        If there are fewer groups than folds, a class has fewer samples than folds, or a class is in one group only.

    Notes
    -----
    `stratified_groups`; scikit-learn's StratifiedKFold where each group is one row, GroupKFold for numbers.
    """
    n_groups = len(np.unique(groups))
    if n_groups < n_folds:
        rule = f"there are only {n_groups} groups, and a fold needs one at least"
        raise InputError.about("folds", n_folds, rule, f"Use folds={n_groups} or fewer, or give finer groups.")
    if codes is not None:
        _require_spread(codes, groups, n_folds)
    made = []
    for seed in seeds:
        for number, (train, test) in enumerate(_split(codes, groups, n_folds, seed)):
            if np.intersect1d(groups[train], groups[test]).size:
                raise AssertionError("a group has rows on both sides of a fold")
            within = None if codes is None else codes[train]
            if codes is not None and len(np.unique(codes[train])) < len(np.unique(codes)):
                rule = f"a class has so few groups that fold {number} of seed {seed} has none of it to train on"
                raise InputError.about("folds", n_folds, rule, "Use fewer folds, or leave that class out.")
            inner = split_inner(within, groups[train], n_inner, seed)
            made.append(Fold(seed, number, train, test, inner))
    return tuple(made)


def split_inner(
    codes: Int[NDArray, " sample"] | None, groups: Int[NDArray, " sample"], n_inner: int, seed: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
    """Return up to `n_inner` divisions by whole groups; none where the samples do not allow two."""
    most = len(np.unique(groups))
    if codes is not None and codes.size:
        counts = np.bincount(codes)
        most = min(most, int(counts[counts > 0].min()))
    n_inner = min(n_inner, most)
    return tuple(_split(codes, groups, n_inner, seed)) if n_inner >= 2 else ()


def _split(
    codes: NDArray[np.int64] | None, groups: NDArray[np.int64], n_folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    rows = np.zeros(len(groups))
    if codes is None:
        parts = GroupKFold(n_folds, shuffle=True, random_state=seed).split(rows, groups=groups)
    elif len(np.unique(groups)) == len(groups):
        parts = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(rows, codes)
    else:
        fold = stratified_groups(codes, groups, n_folds, seed)
        parts = ((np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(n_folds))
    return [(np.sort(train), np.sort(test)) for train, test in parts]


def stratified_groups(
    codes: Int[NDArray, " sample"], groups: Int[NDArray, " sample"], n_folds: int, seed: int
) -> Int[NDArray, " sample"]:
    """Return the fold of each sample: groups are dealt out, the large ones first, so that class shares stay even.

    Each goes where the sum over folds and classes of squared shares of a class grows least, among equals to the
    smallest fold. scikit-learn's StratifiedGroupKFold has the same aim and takes twenty times as long, which for the
    inner folds of a small matrix was more than all fits.
    """
    names, place = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), int(codes.max()) + 1))
    np.add.at(counts, (place, codes), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1) ** 2
    order = np.random.default_rng([seed, 0]).permutation(len(names))
    order = order[np.argsort(-(counts * shares).sum(axis=1)[order], kind="stable")]
    held, sizes = np.zeros((n_folds, counts.shape[1])), np.zeros(n_folds)
    found = np.empty(len(names), dtype=np.int64)
    slack = 1e-3 / len(codes) ** 3  # sizes only break ties
    for group, share, count, size in zip(order, shares[order], counts[order], counts[order].sum(axis=1), strict=True):
        chosen = (held @ share + slack * sizes).argmin()
        found[group] = chosen
        held[chosen] += count
        sizes[chosen] += size
    return found[place]


def _require_spread(codes: NDArray[np.int64], groups: NDArray[np.int64], n_folds: int) -> None:
    counts = np.bincount(codes)
    if counts.min() < n_folds:
        rule = f"the rarest class has only {counts.min()} samples, and each fold needs one"
        raise InputError.about("folds", n_folds, rule, "Use fewer folds, or leave that class out.")
    for code in range(len(counts)):
        if len(np.unique(groups[codes == code])) < 2:
            rule = f"class number {code} is in one group only, and cannot be in training and test at once"
            raise InputError.about("groups", f"{len(np.unique(groups))} groups", rule, "Leave that class out.")
