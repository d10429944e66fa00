"""A layer-by-token heat map: layer 0 at the bottom, tokens below."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, radians, sin

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from resid_widgets.analysis.grid import GridResult
from resid_widgets.figures.frame import DIM, EMPTY_CELL, INK, LEAST_WIDTH, LEFT, LEVELS, LITERAL, RIGHT, SMALL, framed
from resid_widgets.figures.text import columns, drawable, font, shorten, wrap
from resid_widgets.results import Scale

MONO_COLUMN = 0.602 * SMALL / 72  # inches a monospaced column takes
GRID_WIDTH = (1.2, 11.0)
TEXT_GRID_WIDTH = (1.2, 13.0)  # where cells bear text
GRID_HEIGHT = (1.3, 8.0)
CELL_HEIGHT = 0.2
BAR_GAP, BAR_WIDTH, BAR_ROOM = 0.16, 0.11, 1.0
LABEL_COLUMNS = 16  # longer token labels are shortened


@dataclass(frozen=True)
class Layout:
    """Where things go, in inches."""

    cell: tuple[float, float]
    grid: tuple[float, float]
    step: int
    angle: float
    labels: tuple[str, ...]
    label_height: float
    total: float
    texts: NDArray[np.object_] | None

    @classmethod
    def of(cls, result: GridResult) -> Layout:
        """Fit cells, labels and margins to the number of layers and tokens."""
        n_layers, n_pos = result.values.shape
        texts = result.cell_text
        wish, limits = (0.42, GRID_WIDTH) if texts is None else (0.74, TEXT_GRID_WIDTH)
        wide = float(np.clip(n_pos * wish, *limits))
        high = float(np.clip(n_layers * CELL_HEIGHT, *GRID_HEIGHT))
        cell = wide / n_pos
        angle = 35.0 if cell >= 0.28 else 60.0
        step = max(1, ceil(0.17 / cell))
        tokens = [shorten(drawable(token, "mono"), LABEL_COLUMNS) for token in result.tokens_visible]
        tokens = [f"{token} ?" if pos in result.unknown else token for pos, token in enumerate(tokens)]
        # Where some are left out, the position says which ones are there.
        labels = tuple(token if step == 1 else f"{pos} {token}" for pos, token in enumerate(tokens))
        longest = max(columns(label) for label in labels[::step]) * MONO_COLUMN
        label_height = longest * sin(radians(angle)) + 0.2
        beyond = columns(labels[::step][-1]) * MONO_COLUMN * cos(radians(angle))
        right = max(BAR_GAP + BAR_WIDTH + BAR_ROOM, beyond)
        return cls(
            cell=(cell, high / n_layers),
            grid=(wide, high),
            step=step,
            angle=angle,
            labels=labels,
            label_height=label_height,
            total=max(LEAST_WIDTH, LEFT + wide + right + RIGHT),
            texts=texts,
        )


def draw_grid(result: GridResult) -> Figure:
    """Draw a layer-by-token heat map with its checks at the foot."""
    layout = Layout.of(result)
    wide, high = layout.grid
    origin = result.provenance.describe()
    said = f"{result.finding} {result.sentence}".strip()
    frame = framed(result.title, said, result.checks, origin, layout.total, high + layout.label_height + 0.14)
    axes = frame.axes(LEFT, 0.0, wide, high)
    draw_cells(axes, result, layout)
    draw_axes(axes, result, layout)
    draw_bar(frame.figure, frame.axes(LEFT + wide + BAR_GAP, 0.0, BAR_WIDTH, high), result.scale)
    return frame.figure


def colour_map(scale: Scale) -> Colormap:
    """Return viridis, or the blue-white-red map centred on zero, with colours of their own beyond both ends."""
    if scale.kind == "diverging":
        chosen = LinearSegmentedColormap.from_list("resid_widgets_diverging", ["#2166ac", "#f4f5f6", "#b2182b"])
        under, over = "#173863", "#660d1c"
    else:
        chosen, under, over = colormaps["viridis"], "#22002e", "#fff7ae"
    return chosen.with_extremes(bad=EMPTY_CELL, under=under, over=over)


def onto_limits(values: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """Put values that miss a limit by rounding alone (limits are interpolated) onto it: they are not beyond it."""
    slack = 1e-6 * max(abs(scale.low), abs(scale.high))
    near = (values >= scale.low - slack) & (values <= scale.high + slack)
    return np.where(near, np.clip(values, scale.low, scale.high), values)


def draw_cells(axes: Axes, result: GridResult, layout: Layout) -> None:
    """Draw the cells, hatch marked columns, cross cells without a number, write tokens where they fit."""
    values = np.asarray(result.values, dtype=np.float64)
    n_layers, n_pos = values.shape
    scale, colours = result.scale, colour_map(result.scale)
    shown = np.ma.masked_invalid(onto_limits(values, scale))
    norm = Normalize(scale.low, scale.high)
    axes.imshow(
        shown,
        cmap=colours,
        norm=norm,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, n_pos - 0.5, -0.5, n_layers - 0.5),
    )
    axes.grid(visible=False)
    if min(layout.cell) > 0.1:
        axes.set_xticks(np.arange(0.5, n_pos - 1), minor=True)
        axes.set_yticks(np.arange(0.5, n_layers - 1), minor=True)
        axes.grid(visible=True, which="minor", color="white", linewidth=0.7)
    hatch = 0.4 if layout.texts is None else 0.2  # lighter under text
    for pos in result.marked:
        axes.add_patch(
            Rectangle((pos - 0.5, -0.5), 1, n_layers, fill=False, hatch="///", edgecolor=(0, 0, 0, hatch), linewidth=0)
        )
    crossed = np.argwhere(~np.isfinite(values))
    lines = [
        ((pos - 0.35, layer - 0.3 * way), (pos + 0.35, layer + 0.3 * way)) for layer, pos in crossed for way in (1, -1)
    ]
    axes.add_collection(LineCollection(lines, colors="#8b949e", linewidths=0.8))
    _write_tokens(axes, layout, _luminance(colours(norm(shown))))


def _write_tokens(axes: Axes, layout: Layout, light: Float[NDArray, "layer pos"]) -> None:
    """Write each cell's short text, where five columns of it fit."""
    room = int((layout.cell[0] - 0.04) / MONO_COLUMN)
    if layout.texts is None or room < 5 or layout.cell[1] < 0.14:
        return
    for (layer, pos), text in np.ndenumerate(layout.texts):
        if text:
            short = shorten(drawable(text, "mono"), room)
            axes.text(
                pos,
                layer,
                short,
                fontproperties=font("mono", SMALL, short),
                color="white" if light[layer, pos] < 0.179 else "black",  # the better contrast, WCAG 2
                ha="center",
                va="center_baseline",
                clip_on=True,
                **LITERAL,
            )


def _luminance(colours: Float[NDArray, "layer pos 4"]) -> Float[NDArray, "layer pos"]:
    """Return the relative luminance (WCAG 2) of RGBA colours, 0 black to 1 white."""
    rgb = colours[..., :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def draw_axes(axes: Axes, result: GridResult, layout: Layout) -> None:
    """Label layers and tokens."""
    n_layers, n_pos = result.values.shape
    shown = range(0, n_pos, layout.step)
    axes.set_xticks(
        list(shown),
        labels=[layout.labels[pos] for pos in shown],
        rotation=-layout.angle,
        ha="left",
        va="center",
        rotation_mode="anchor",
        **LITERAL,
    )
    for pos, label in zip(shown, axes.get_xticklabels(), strict=True):
        colour = LEVELS["amber"][1] if pos in result.unknown else DIM if pos in result.marked else INK
        label.set(color=colour, fontproperties=font("mono", SMALL, layout.labels[pos]))
    skip = max(1, ceil(0.3 / layout.cell[1]))
    layers = result.values.coords["layer"].values
    sans = font("sans", SMALL)
    axes.set_yticks(
        range(0, n_layers, skip), labels=[str(layer) for layer in layers[::skip]], fontproperties=sans, **LITERAL
    )
    axes.set_ylabel("layer", fontproperties=sans, color=DIM, **LITERAL)
    axes.tick_params(axis="both", which="both", length=0, pad=5)
    axes.tick_params(axis="y", labelcolor=DIM)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_bar(figure: Figure, axes: Axes, scale: Scale, colours: Colormap | None = None) -> None:
    """Draw the colour bar, with arrows where cells lie outside the limits."""
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[int(scale.under), int(scale.over)]
    mappable = ScalarMappable(Normalize(scale.low, scale.high), colour_map(scale) if colours is None else colours)
    high = axes.get_position().height * figure.get_figheight()
    bar = figure.colorbar(mappable, cax=axes, extend=extend, extendfrac=0.12 / high)
    ticks = [scale.low, (scale.low + scale.high) / 2, scale.high]
    labels = [_number(tick) for tick in ticks]
    labels[0] = f"≤ {labels[0]}" if scale.under else labels[0]
    labels[2] = f"≥ {labels[2]}" if scale.over else labels[2]
    bar.set_ticks(ticks, labels=labels, fontproperties=font("sans", SMALL, "".join(labels)), color=DIM, **LITERAL)
    bar.ax.tick_params(length=0, pad=4)
    bar.outline.set_visible(False)
    bar.ax.grid(visible=False)
    label = drawable(f"{scale.label} ({scale.units})" if scale.units else scale.label)
    lines = "\n".join(wrap(label, "sans", SMALL, high * 72))
    bar.ax.set_ylabel(lines, fontproperties=font("sans", SMALL, label), color=DIM, labelpad=6, **LITERAL)


def _number(value: float) -> str:
    """Return three significant digits, all of a long whole number's, with a true minus sign."""
    return f"{value:{'.0f' if 1e3 <= abs(value) < 1e6 else '.3g'}}".replace("-", "−")
