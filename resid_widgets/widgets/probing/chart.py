"""Probe curves as a bqplot figure: interval bands, baselines by dash, points to click, and a legend that toggles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipywidgets
import numpy as np
from bqplot.axes import Axis
from bqplot.default_tooltip import Tooltip
from bqplot.figure import Figure
from bqplot.marks import Lines, Scatter
from bqplot.scales import LinearScale
from numpy.typing import NDArray

from resid_widgets.analysis.probing.score import METRICS
from resid_widgets.analysis.probing.series import BASELINES, Series, limits_of

GREY = "#8a929b"
TICKS = 16
SWATCHES = {"solid": "", "dashed": "6 3", "dotted": "1.5 3", "dash_dotted": "7 3 1.5 3"}
"""Dashes of the legend's samples, as SVG says them."""

SAME = 0.016
"""Share of the axis by which points may differ and still lie on each other: half a point's height."""


class ProbeChart(ipywidgets.VBox):
    """The curves of some series below their legend.

    Of points that lie on each other, a click takes the upper one, and each further click the next.

    Parameters
    ----------
    clicked
        Called with the name of a series and a layer.
    """

    _open = False

    def __init__(self, clicked: Callable[[str, int], None]) -> None:
        self._clicked = clicked
        self._x: Any = LinearScale()
        self._y: Any = LinearScale()
        self._across = Axis(
            scale=self._x, label="layer", label_offset="34px", tick_format="d", grid_lines="none", label_color=GREY
        )
        self._up = Axis(scale=self._y, side="left", tick_format=".2f", label_offset="44px", label_color=GREY)
        self._cursor = Lines(x=[], y=[], scales=self._scales, colors=[GREY], stroke_width=1.5, line_style="dotted")
        self._ring = Scatter(
            x=[], y=[], scales=self._scales, colors=[GREY], default_size=190, fill=False, stroke_width=2
        )
        self._growing = Lines(
            x=[], y=[], scales=self._scales, colors=[GREY], stroke_width=2, marker="circle", marker_size=30
        )
        self.figure = Figure(
            axes=[self._across, self._up],
            marks=[],
            fig_margin={"top": 12, "bottom": 50, "left": 62, "right": 16},
            min_aspect_ratio=0.1,
            max_aspect_ratio=20,
            layout=ipywidgets.Layout(width="100%", height="320px", min_width="0"),
        )
        self.legend = ipywidgets.HBox(layout=ipywidgets.Layout(flex_flow="row wrap", flex="0 0 auto", width="100%"))
        self._marks: list[tuple[str, str, Any]] = []
        self._hidden: set[str] = set()
        self._series: tuple[Series, ...] = ()
        self._points_of: list[tuple[Series, list[int], Any]] = []
        self._selected: tuple[str, int | None] = ("", None)
        self._made: list[Any] = []
        super().__init__(
            [self.legend, self.figure], layout=ipywidgets.Layout(flex="0 0 auto", min_width="0", width="100%")
        )
        self._open = True

    @property
    def _scales(self) -> dict[str, Any]:
        return {"x": self._x, "y": self._y}

    def draw(self, series: Sequence[Series]) -> None:
        """Show these curves in place of those before; what was toggled off stays off."""
        old, self._made, self._marks = self._made, [], []
        self._series, self._points_of = tuple(series), []
        several = len(series) > 1
        for each in series:
            self._band(each)
            for name, values in each.baselines.items():
                self._curve(each.name, name, each, values, each.colour if several else GREY)
        for each in series:
            self._curve(each.name, "accuracy", each, each.values, each.colour)
        for each in series:
            self._points(each)
        self._axes(sorted({layer for each in series for layer in each.layers}), limits_of(series))
        self._up.label = METRICS[series[0].result.metric]
        self.figure.marks = [self._cursor, self._ring, *(mark for _, _, mark in self._marks), self._growing]
        self.legend.children = tuple(self._items(series, several))
        self._show()
        for widget in old:
            widget.close()

    def expect(self, layers: Sequence[int]) -> None:
        """Show empty axes, for a first curve that will grow over so many layers."""
        self._axes(layers, (0.0, 1.0))
        self.figure.marks = [self._growing]

    def mark(self, name: str, layer: int | None) -> None:
        """Draw a line where a layer is selected, and a ring around the selected curve's point."""
        self._selected = name, layer
        with self._cursor.hold_sync():
            self._cursor.x = [] if layer is None else [layer, layer]
            self._cursor.y = [] if layer is None else [self._y.min, self._y.max]
        self._circle()

    def grow(self, layers: Sequence[int], values: NDArray[np.float64] | None) -> None:
        """Show a curve that is being computed, as far as it is known; None takes it away."""
        known = np.zeros(len(layers), dtype=bool) if values is None else np.isfinite(values)
        with self._growing.hold_sync():
            self._growing.x = np.asarray(layers)[known]
            self._growing.y = np.zeros(0) if values is None else values[known]

    def close(self) -> None:
        """Remove it, with all that it is made of."""
        if self._open:  # also called for one that was never made
            self._open = False
            parts = [self._cursor, self._ring, self._growing, self._across, self._up, self._x, self._y, self.legend]
            for widget in [*self._made, *parts, self.figure.scale_x, self.figure.scale_y, self.figure]:
                widget.close()
        super().close()

    def _axes(self, layers: Sequence[int], limits: tuple[float, float]) -> None:
        margin = 0.3 if len(layers) == 1 else 0.03 * (layers[-1] - layers[0])
        self._x.min, self._x.max = layers[0] - margin, layers[-1] + margin
        self._y.min, self._y.max = limits
        self._across.tick_values = np.asarray(layers[:: -(-len(layers) // TICKS)])
        self._up.tick_values = _ticks(*limits)

    def _band(self, series: Series) -> None:
        known = np.isfinite(series.low) & np.isfinite(series.high)
        if known.any():
            ends = np.stack([series.low[known], series.high[known]])
            band = Lines(
                x=np.asarray(series.layers)[known],
                y=ends,
                scales=self._scales,
                colors=[series.colour] * 2,
                opacities=[0.0, 0.0],
                fill="between",
                fill_colors=[series.colour],
                fill_opacities=[0.16],
            )
            self._add(series.name, "accuracy", band)

    def _curve(self, name: str, what: str, series: Series, values: NDArray[np.float64], colour: str) -> None:
        known = np.isfinite(values)
        style = "solid" if what == "accuracy" else BASELINES[what][1]
        line = Lines(
            x=np.asarray(series.layers)[known],
            y=values[known],
            scales=self._scales,
            colors=[colour],
            stroke_width=2.4 if what == "accuracy" else 1.5,
            line_style=style,
        )
        self._add(name, what, line)

    def _points(self, series: Series) -> None:
        known = np.isfinite(series.values)
        layers = [layer for layer, here in zip(series.layers, known, strict=True) if here]
        tooltip = Tooltip(
            fields=["x", "y", "name"], labels=["layer", "score", "curve"], formats=["d", ".3f", ""], show_labels=True
        )
        points = Scatter(
            x=np.asarray(layers),
            y=series.values[known],
            scales=self._scales,
            colors=[series.colour],
            default_size=52,
            names_unique=False,
            display_names=False,
            tooltip=tooltip,
        )
        points.on_element_click(lambda _, event: self._click(series, layers[int(event["data"]["index"])]))
        self._made.append(tooltip)
        self._points_of.append((series, layers, points))
        self._add(series.name, "accuracy", points)

    def _pile(self, series: Series, layer: int) -> list[str]:
        """Return the curves that have a point where this one has its point, the uppermost first."""
        room = SAME * (self._y.max - self._y.min)
        here = float(series.values[series.layers.index(layer)])
        return [
            each.name
            for each in reversed(self._series)
            if self._is_shown(each.name)
            and layer in each.layers
            and abs(float(each.values[each.layers.index(layer)]) - here) <= room
        ]

    def _told(self, series: Series, layer: int) -> str:
        """Name the curves at a point, the point's own first."""
        others = [name for name in self._pile(series, layer) if name != series.name]
        return f"{series.name}; also here: {', '.join(others)}" if others else series.name

    def _click(self, series: Series, layer: int) -> None:
        pile = self._pile(series, layer)
        name, selected = self._selected
        again = selected == layer and name in pile
        self._clicked(pile[(pile.index(name) + 1) % len(pile)] if again else series.name, layer)

    def _is_shown(self, name: str) -> bool:
        return "accuracy" not in self._hidden and f"series {name}" not in self._hidden

    def _circle(self) -> None:
        """Draw the ring, unless its curve is toggled off or has no point there."""
        name, layer = self._selected
        series = next((each for each in self._series if each.name == name and layer in each.layers), None)
        value = np.nan if series is None or layer is None else series.values[series.layers.index(layer)]
        known = bool(np.isfinite(value)) and self._is_shown(name)
        with self._ring.hold_sync():
            self._ring.x, self._ring.y = ([layer], [value]) if known else ([], [])
            self._ring.colors = [GREY if series is None else series.colour]

    def _add(self, name: str, what: str, mark: Any) -> None:
        self._marks.append((name, what, mark))
        self._made.append(mark)

    def _items(self, series: Sequence[Series], several: bool) -> Iterable[ipywidgets.Widget]:
        """Return the legend: the series where there are several, then what its dashes mean."""
        for each in series:
            told = each.name if several else METRICS[each.result.metric]
            yield self._item(f"series {each.name}" if several else "accuracy", told, each.colour, "solid")
        for name, (told, style) in BASELINES.items():
            if any(name in each.baselines for each in series):
                yield self._item(name, told, GREY, style)

    def _item(self, key: str, told: str, colour: str, style: str) -> ipywidgets.Widget:
        swatch = ipywidgets.HTML(
            f'<svg width="30" height="12" aria-hidden="true"><line x1="1" y1="6" x2="29" y2="6" stroke="{colour}" '
            f'stroke-width="2.4" stroke-dasharray="{SWATCHES[style]}"/></svg>'
        )
        box = ipywidgets.Checkbox(
            value=key not in self._hidden, description=told, indent=False, layout=ipywidgets.Layout(width="auto")
        )

        def toggled(change: Any) -> None:
            (self._hidden.discard if change["new"] else self._hidden.add)(key)
            self._show()

        box.observe(toggled, names="value")
        item = ipywidgets.HBox([swatch, box], layout=ipywidgets.Layout(margin="0 14px 0 0", align_items="center"))
        self._made += [swatch, box, item]
        return item

    def _show(self) -> None:
        """Show the marks that nothing has toggled off."""
        for name, what, mark in self._marks:
            mark.visible = what not in self._hidden and f"series {name}" not in self._hidden
        for series, layers, points in self._points_of:
            points.names = [self._told(series, layer) for layer in layers]
        self._circle()


def _ticks(low: float, high: float) -> NDArray[np.float64]:
    """Return round numbers from `low` to `high`, and none above 1: no score is."""
    rough = (high - low) / 6
    size = 10.0 ** np.floor(np.log10(rough))
    step = next(each * size for each in (1, 2, 5, 10) if each * size >= rough * (1 - 1e-9))
    return np.round(np.arange(np.ceil(low / step), np.floor(min(high, 1.0) / step + 1e-9) + 1) * step, 10)
