"""Several probes as the curves of one picture: one series for each task, component and kind of probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.probing.score import METRICS, axis_limits
from resid_widgets.errors import InputError
from resid_widgets.results import Check

COLOURS = ("#2f7ed8", "#c8641b", "#2e9e4f", "#9a5fb8", "#d0393e", "#178f86")
"""Of series; of middle lightness, so that they are seen on white and on black."""

BASELINES = {
    "chance": ("commonest answer", "dash_dotted"),
    "shuffled": ("shuffled labels", "dotted"),
    "control": ("control task", "dashed"),
}
"""What a baseline is called, and its dash in bqplot's words."""


@dataclass(frozen=True, eq=False)
class Series:
    """The curves of one probe.

    Attributes
    ----------
    name
        What tells it from the others.
    key, task
        Key of the result that it is part of, and that in words.
    result, component, kind
        What to ask, and of which part.
    colour
        ``#rrggbb``.
    layers, values, low, high
        ``[layer]``.
    baselines
        Name in `BASELINES` to ``[layer]``; those that are known.
    """

    name: str
    key: Any
    task: str
    result: Probe
    component: str | None
    kind: str
    colour: str
    layers: tuple[int, ...]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    baselines: Mapping[str, NDArray[np.float64]]

    def table(self) -> pd.DataFrame:
        """Return one row a layer."""
        columns: dict[str, Any] = {"curve": self.name, "layer": self.layers, "score": self.values}
        columns |= {"low": self.low, "high": self.high, **self.baselines}
        return pd.DataFrame(columns)


def as_results(source: Any) -> dict[str, Probe]:
    """Return results by name: of one, of several, or as given by name.

    Raises
    ------
    InputError
        If something is no result of `resid_widgets.probe`, or the results measure different things.
    """
    found: dict[str, Any]
    if isinstance(source, Mapping):
        found = {str(name): result for name, result in source.items()}
    elif isinstance(source, Sequence) and not isinstance(source, str):
        found = {f"probe {n + 1}": result for n, result in enumerate(source)}
    else:
        found = {"probe": source}
    example = "Give what rw.probe returns, several of them by name, or a model."
    if not found:
        raise InputError.about("source", source, "there is no result in it", example)
    for result in found.values():
        if not isinstance(result, Probe):
            raise InputError.about("source", type(result).__name__, "results of rw.probe are needed", example)
    metrics = {result.metric for result in found.values()}
    if len(metrics) > 1:
        rule = f"they measure different things: {', '.join(METRICS[name] for name in sorted(metrics))}"
        raise InputError.about("source", list(found), rule, "Probe all with the same metric=.")
    return found


def series_of(results: Mapping[Any, Probe]) -> tuple[Series, ...]:
    """Return all curves, named by what differs between them. A key is a name, or begins with one."""
    parts = [
        (key, result, n_kind, kind, n_component, component)
        for key, result in results.items()
        for n_kind, kind in enumerate(result.kinds)
        for n_component, component in enumerate(result.components)
    ]
    words = [
        (key if isinstance(key, str) else key[0], component or "", kind.replace("_", " "))
        for key, _, _, kind, _, component in parts
    ]
    told = [place for place in range(3) if len({word[place] for word in words}) > 1] or [0]
    made = []
    for n, ((key, result, n_kind, kind, n_component, component), word) in enumerate(zip(parts, words, strict=True)):
        shape, at = result.fitting.plan.shape, (n_kind, n_component)
        baselines = {
            name: np.reshape(getattr(result, name).mean("fold").values, shape)[at]
            for name in BASELINES
            if np.isfinite(getattr(result, name).values).any()
        }
        made.append(
            Series(
                name=" · ".join(word[place] for place in told),
                key=key,
                task=word[0],
                result=result,
                component=component,
                kind=kind,
                colour=COLOURS[n % len(COLOURS)],
                layers=result.layers,
                values=np.reshape(result.values.values, shape)[at],
                low=np.reshape(result.low.values, shape)[at],
                high=np.reshape(result.high.values, shape)[at],
                baselines=baselines,
            )
        )
    return tuple(made)


def limits_of(series: Sequence[Series]) -> tuple[float, float]:
    """Return the ends of an axis that holds all curves, bands and baselines."""
    return axis_limits(part for each in series for part in (each.values, each.low, each.high, *each.baselines.values()))


def sentence_of(series: Sequence[Series]) -> str:
    """Say what the curves are, and what they do not prove; of the baselines, those that are drawn."""
    drawn = {name for each in series for name in each.baselines}
    told = [text for name, text in _DASHES.items() if name in drawn]
    return " ".join(
        [
            f"Held-out {METRICS[series[0].result.metric]} by layer, with the 95 % interval over folds and seeds.",
            *told,
            "What can be read off the stream need not be used by the model.",
        ]
    )


_DASHES = {
    "control": "Dashes: control task.",
    "shuffled": "Dots: shuffled labels.",
    "chance": "Dash and dot: the commonest answer.",
}


def checks_of(series: Sequence[Series]) -> list[tuple[str, Check]]:
    """Return each check once, with the curves that it is about; "" where there is one curve only."""
    curves: dict[Check, list[str]] = {}
    for each in series:
        for check in each.result.checks:
            curves.setdefault(check, []).append(each.name)
    if len(series) == 1:
        return [("", check) for check in curves]
    told = {check: "all curves" if len(names) == len(series) else ", ".join(names) for check, names in curves.items()}
    heads = ["all curves", *dict.fromkeys(told.values())]
    return sorted(((told[check], check) for check in curves), key=lambda found: heads.index(found[0]))
