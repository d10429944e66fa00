"""Curves by layer: what a probe scores, with its interval, beside what it scores on labels that mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.probing.score import METRICS, axis_limits
from resid_widgets.figures.frame import DIM, INK, LEAST_WIDTH, LEFT, LINE, LITERAL, SMALL, framed
from resid_widgets.figures.text import drawable, font, width

COLOURS = ("#2166ac", "#b35806", "#1b7837", "#762a83", "#b2182b", "#01665e")
STYLES = {"accuracy": "-", "control": (0, (5, 2)), "shuffled": (0, (1, 1.6)), "chance": (0, (6, 2, 1, 2))}
HIGH, HEAD, AXIS_ROOM, GAP = 2.9, 0.2, 0.5, 0.12  # inches: a panel, its head, what the layer axis takes, between panels
LABEL_GAP = 0.16  # inches between direct labels
WIDE = 4.6


@dataclass(frozen=True)
class Curve:
    """One line of a panel, with what is written at its end."""

    values: Float[NDArray, " layer"]
    label: str
    colour: str
    style: str
    low: Float[NDArray, " layer"] | None = None
    high: Float[NDArray, " layer"] | None = None
    layers: Sequence[int] | None = None
    """Those of the panel, unless said here."""


def draw_curves(result: Probe) -> Figure:
    """Draw a probe's curves: one panel a kind of probe, one colour a component, one dash a baseline."""
    panels = {kind: panel_curves(result, n) for n, kind in enumerate(result.kinds)}
    labels = [curve.label for curves in panels.values() for curve in curves if curve.label]
    room = max(width(drawable(label), "sans", SMALL) for label in labels) / 72 + 0.3
    heads = HEAD if len(panels) > 1 else 0.0
    total = max(LEAST_WIDTH, LEFT + 0.1 + WIDE + room)
    body = len(panels) * (heads + HIGH + AXIS_ROOM) + (len(panels) - 1) * GAP
    sentence = f"{result.sentence} {_legend(result)}"
    frame = framed(result.title, sentence, result.checks, result.origin, total, body)
    parts = ((curve.values, curve.low, curve.high) for curves in panels.values() for curve in curves)
    limits = axis_limits(part for of in parts for part in of if part is not None)
    y = 0.0
    for kind, curves in panels.items():
        if heads:
            frame.place(LEFT + 0.1, frame.above + y, kind.replace("_", " "), SMALL, INK)
        axes = frame.axes(LEFT + 0.1, y + heads, total - LEFT - 0.1 - room, HIGH)
        draw_panel(axes, curves, result.layers, result.metric, limits)
        y += heads + HIGH + AXIS_ROOM + GAP
    return frame.figure


def panel_curves(result: Probe, kind: int) -> list[Curve]:
    """Return the lines of one panel. Of several components, a baseline's meaning is told by its dash alone."""
    shape = result.fitting.plan.shape
    low, high = (np.reshape(end.values, shape)[kind] for end in result.interval())
    by_layer = {
        name: np.reshape(getattr(result, name).mean("fold").values, shape)[kind]
        for name in STYLES
        if name != "accuracy"
    }
    values = np.reshape(result.values.values, shape)[kind]
    several = len(result.components) > 1
    curves: list[Curve] = []
    for n, component in enumerate(result.components):
        colour = COLOURS[n % len(COLOURS)]
        for name in ("shuffled", "control"):
            label = "" if several else {"shuffled": "shuffled labels", "control": "control task"}[name]
            if np.isfinite(by_layer[name][n]).any():
                curves.append(Curve(by_layer[name][n], label, colour if several else DIM, name))
        told = str(component) if several else METRICS[result.metric]
        curves.append(Curve(values[n], told, colour, "accuracy", low[n], high[n]))
    guess = "mean" if not result.classes else "majority class" if result.metric == "accuracy" else "chance"
    return [Curve(by_layer["chance"][0], guess, DIM, "chance"), *curves]


def _legend(result: Probe) -> str:
    """Say what lines mean that bear no label."""
    told = "Band: 95 % interval over folds and seeds."
    if len(result.components) > 1:
        told += " Dashes: control task. Dots: shuffled labels."
    return told


def draw_panel(
    axes: Axes, curves: Sequence[Curve], layers: Sequence[int], metric: str, limits: tuple[float, float]
) -> None:
    """Draw lines and bands over `layers`, in units of a metric, and write their names at their ends."""
    for curve in curves:
        here = np.asarray(layers if curve.layers is None else curve.layers)
        main = curve.style == "accuracy"
        if curve.low is not None and curve.high is not None:
            axes.fill_between(here, curve.low, curve.high, color=curve.colour, alpha=0.16, linewidth=0)
        axes.plot(
            here,
            curve.values,
            linestyle=STYLES[curve.style],
            color=curve.colour,
            linewidth=1.8 if main else 1.2,
            marker="o" if main or len(layers) == 1 else "",
            markersize=3.5,
            clip_on=False,
            label=curve.style,
        )
    axes.set_ylim(*limits)
    margin = 0.3 if len(layers) == 1 else 0.02 * (layers[-1] - layers[0])
    axes.set_xlim(layers[0] - margin, layers[-1] + margin)
    _write_labels(axes, curves, limits)
    sans = font("sans", SMALL)
    shown = layers[:: max(1, ceil(len(layers) / 16))]
    axes.set_xticks(list(shown), labels=[str(layer) for layer in shown], fontproperties=sans, color=DIM, **LITERAL)
    axes.set_yticks([tick for tick in axes.get_yticks() if limits[0] <= tick <= limits[1]])
    for label in axes.get_yticklabels():
        label.set(fontproperties=sans, color=DIM)
    axes.set_xlabel("layer", fontproperties=sans, color=DIM, **LITERAL)
    axes.set_ylabel(METRICS[metric], fontproperties=font("sans", SMALL, "R²"), color=DIM, **LITERAL)
    axes.tick_params(axis="both", length=0, pad=5)
    axes.grid(visible=True, axis="y", color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_labels(axes: Axes, curves: Sequence[Curve], limits: tuple[float, float]) -> None:
    """Write each line's name beside its last point, moved apart where they would touch."""
    named = [curve for curve in curves if curve.label and np.isfinite(curve.values).any()]
    ends = [float(curve.values[np.isfinite(curve.values)][-1]) for curve in named]
    places = apart(ends, LABEL_GAP / HIGH * (limits[1] - limits[0]), limits)
    for curve, place in zip(named, places, strict=True):
        text = drawable(curve.label)
        axes.annotate(
            text,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontproperties=font("sans", SMALL, text),
            color=curve.colour,
            annotation_clip=False,
            **LITERAL,
        )


def apart(places: Sequence[float], gap: float, limits: tuple[float, float]) -> list[float]:
    """Return the places moved apart to at least `gap`, in their order, as little as a pass upwards and down does."""
    order = np.argsort(places, kind="stable")
    found = np.asarray(places, dtype=np.float64)[order]
    for n in range(1, len(found)):
        found[n] = max(found[n], found[n - 1] + gap)
    top = limits[1]
    for n in range(len(found) - 1, -1, -1):
        found[n] = min(found[n], top)
        top = found[n] - gap
    back = np.empty_like(found)
    back[order] = found
    return back.tolist()
