"""Side-by-side timing on a noisy machine: contenders take turns, and only ratios within one round are compared."""

from __future__ import annotations

import gc
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import resid_widgets as rw
from resid_widgets.models.loading.packaged import packaged_file


def stopwatch(call: Callable[[], Any]) -> float:
    """Return how many seconds a call takes. What it returns is freed afterwards; the garbage collector waits too."""
    gc.disable()
    start = time.perf_counter()
    result = call()
    taken = time.perf_counter() - start
    gc.enable()
    del result
    return taken


def interleaved(
    contenders: Mapping[str, Callable[[], Any]],
    *,
    seconds: float,
    at_least: int = 5,
    at_most: int = 200,
    clock: Callable[[Callable[[], Any]], float] = stopwatch,
) -> dict[str, list[float]]:
    """Time each contender once a round, in a new random order, for about `seconds`; seconds by contender and round.

    `clock` calls a contender and tells how long it took, for one that is timed elsewhere.
    """
    order = list(contenders)
    shuffle = random.Random(0).shuffle
    for name in order:
        clock(contenders[name])  # warm
    times: dict[str, list[float]] = {name: [] for name in order}
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < at_least or (rounds < at_most and time.perf_counter() < end):
        shuffle(order)
        for name in order:
            times[name].append(clock(contenders[name]))
        gc.collect()
        rounds += 1
    return times


def ratios(times: Mapping[str, Sequence[float]], of: str, to: str) -> list[float]:
    """Ratio of two contenders, round by round."""
    return [a / b for a, b in zip(times[of], times[to], strict=True)]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median, and the middle half of the values."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, interpolated."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def machine(*packages: str) -> str:
    """Cores, load and versions, one line each."""
    load = ", ".join(f"{n:.1f}" for n in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    found = [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in packages)]
    return f"{os.cpu_count()} cores, load over 1, 5, 15 minutes {load}\n{', '.join(found)}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def packaged_model(name: str) -> rw.ResidualModel | None:
    """Return a model whose weights an installed package has; None, with a word of why, where there is none."""
    try:
        packaged_file(name)
    except rw.InputError as error:
        print(f"Nothing measured: {error}")
        return None
    print(machine("torch", "transformers", "transformer-lens", "resid-widgets"))
    return rw.load_model(name, device="cpu", progress=False)
