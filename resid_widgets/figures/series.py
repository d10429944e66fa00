"""Probes of several tasks in one panel, and curves that tell their numbers on hover."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resid_widgets.analysis.probing.score import METRICS
from resid_widgets.analysis.probing.series import BASELINES, Series, limits_of, sentence_of
from resid_widgets.figures.curves import AXIS_ROOM, HIGH, WIDE, Curve, draw_panel
from resid_widgets.figures.frame import LEAST_WIDTH, LEFT, SMALL, framed
from resid_widgets.figures.text import drawable, width

REACH = 7.0  # points around a curve's point within which it tells its number


def draw_series(series: Sequence[Series]) -> Figure:
    """Draw the curves of several results: one colour each, one dash a baseline."""
    curves = [
        Curve(values, "", each.colour, name, layers=each.layers)
        for each in series
        for name, values in each.baselines.items()
    ] + [Curve(each.values, each.name, each.colour, "accuracy", each.low, each.high, each.layers) for each in series]
    room = max(width(drawable(each.name), "sans", SMALL) for each in series) / 72 + 0.3
    total = max(LEAST_WIDTH, LEFT + 0.1 + WIDE + room)
    checks = list(dict.fromkeys(check for each in series for check in each.result.checks))
    first = series[0].result
    origins = ", ".join(dict.fromkeys(each.result.origin for each in series))
    frame = framed("Probes", sentence_of(series), checks, origins, total, HIGH + AXIS_ROOM)
    axes = frame.axes(LEFT + 0.1, 0.0, total - LEFT - 0.1 - room, HIGH)
    draw_panel(axes, curves, sorted({n for each in series for n in each.layers}), first.metric, limits_of(series))
    return frame.figure


def hovering(figure: Figure, series: Sequence[Series]) -> str:
    """Return a figure as SVG whose points tell their numbers on hover.

    Parameters
    ----------
    figure
        With one panel, or one for each kind of probe.
    """
    figure.set_dpi(72)  # SVG's points are then display units
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    svg = buffer.getvalue()
    height = figure.get_figheight() * 72
    points = []
    for each in series:
        panels = figure.axes
        axes = panels[each.result.kinds.index(each.kind) if len(panels) > 1 else 0]
        curves = {name: (told, each.baselines[name]) for name, (told, _) in BASELINES.items() if name in each.baselines}
        for told, values in (*curves.values(), (METRICS[each.result.metric], each.values)):
            for n, layer in enumerate(each.layers):
                if values[n] == values[n]:
                    said = f"{each.name} · layer {layer} · {told} {values[n]:.3f}"
                    if values is each.values and each.low[n] == each.low[n]:
                        said += f" (95 % interval {each.low[n]:.3f} to {each.high[n]:.3f})"
                    points.append(_point(axes, float(layer), float(values[n]), height, said))
    body = svg[svg.index("<svg") :]
    return body.replace("</svg>", f'<g class="points">{"".join(points)}</g></svg>')


def _point(axes: Axes, x: float, y: float, height: float, said: str) -> str:
    across, up = axes.transData.transform((x, y))
    place = f'cx="{across:.1f}" cy="{height - up:.1f}" r="{REACH}"'
    return f"<circle {place}><title>{html.escape(said)}</title></circle>"
