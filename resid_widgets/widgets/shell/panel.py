"""What surrounds a picture, as data that the front-end renders: controls in the header, the side panel's contents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets.widgets.shell.frame import floats, plain

PLANES_LIMIT = 2**20  # bytes of side panels in an exported page; above, it has the tooltip only


def select(name: str, label: str, value: str, options: Sequence[str | tuple[str, str]], **more: Any) -> dict[str, Any]:
    """Describe a choice among `options`: values, or pairs of value and label."""
    offered = [{"value": o, "label": o} if isinstance(o, str) else {"value": o[0], "label": o[1]} for o in options]
    return _control("select", name, label, value, options=offered, **more)


def check(name: str, label: str, value: bool, **more: Any) -> dict[str, Any]:
    """Describe a box to tick."""
    return _control("check", name, label, value, **more)


def number(name: str, label: str, value: int, low: int, high: int, **more: Any) -> dict[str, Any]:
    """Describe a whole number between two bounds."""
    return _control("number", name, label, value, min=low, max=high, **more)


def real(name: str, label: str, value: float | None, **more: Any) -> dict[str, Any]:
    """Describe any number; None is an empty field."""
    return _control("number", name, label, value, **more)


def choice(name: str, label: str, value: str, options: Sequence[tuple[str, str]], **more: Any) -> dict[str, Any]:
    """Describe a choice among a few `options`, all on show: pairs of value and label."""
    offered = [{"value": value, "label": label} for value, label in options]
    return _control("choice", name, label, value, options=offered, **more)


def action(name: str, label: str, enabled: bool, hint: str, *, copies: str | None = None) -> dict[str, Any]:
    """Describe a button in the header; `copies` is a text that it puts on the clipboard, without asking Python."""
    return plain({"name": name, "label": label, "enabled": enabled, "hint": hint, "copies": copies})


def text(name: str, label: str, value: str, **more: Any) -> dict[str, Any]:
    """Describe a line of text."""
    return _control("text", name, label, value, **more)


def _control(kind: str, name: str, label: str, value: Any, *, visible: bool = True, **more: Any) -> dict[str, Any]:
    return plain({"name": name, "label": label, "kind": kind, "value": value, "visible": visible, **more})


def details(
    rows: Iterable[tuple[str, float]],
    top: Iterable[tuple[str, float]] = (),
    top_label: str | None = None,
    missing: str = "not defined",
) -> dict[str, Any]:
    """Describe the side panel of what is selected: labelled numbers, then bars of token probabilities.

    `missing` is what stands for NaN.
    """
    return plain(
        {
            "rows": [
                {"label": label, "value": missing if math.isnan(value) else number_text(value)} for label, value in rows
            ],
            "top": [{"token": token, "prob": float(prob)} for token, prob in top],
            **({"top_label": top_label} if top_label else {}),
        }
    )


def section(
    heading: str, note: str, bars: Iterable[tuple[str, float]], *, rounding: float = 0.0, none: str = "no effect"
) -> dict[str, Any]:
    """Describe signed bars of the side panel, each with its number.

    Parameters
    ----------
    heading, note
        What they are, and more of it in a lighter ink.
    bars
        Name and value of each. A bar is as long as its value is to the largest.
    rounding
        Where no value is larger than this there are no bars, but `none`: what is only the order of a sum must not
        fill a picture.
    """
    bars = [(name, float(value)) for name, value in bars]
    most = max((abs(value) for _, value in bars if math.isfinite(value)), default=0.0)
    shown = bars if most > rounding else []
    return plain(
        {
            "heading": heading,
            "note": note,
            "none": "" if shown else none,
            "bars": [{"name": name, "share": value / most, "text": signed_text(value)} for name, value in shown],
        }
    )


def signed_text(value: float) -> str:
    """Return a number with its sign and three digits."""
    return ("+" if value > 0 else "") + _short(value)


def _short(value: float) -> str:
    """Return a number with three digits."""
    return number_text(float(f"{value:.3g}"))


def number_text(value: float) -> str:
    """Return a number as a person reads it."""
    if math.isnan(value):
        return "not defined"
    return f"{value:{_form(abs(value))}}".replace("inf", "∞").replace("-", "−")


def _form(largest: float) -> str:
    """Return the format of numbers up to `largest`: four digits, or whole thousands for what is long."""
    return ",.0f" if 1e4 <= largest < 1e9 else ".4g"


def fits(cells: int, numbers: int) -> bool:
    """Tell whether an exported page takes so many numbers for each of its cells."""
    return 4 * cells * numbers <= PLANES_LIMIT


def planes(columns: Sequence[tuple[str, NDArray[Any]]]) -> dict[str, Any] | None:
    """Describe the side panels of all cells: labelled ``[layer, pos]`` arrays; None where that is too much."""
    stacked = np.stack([values for _, values in columns], axis=-1)
    if not fits(stacked[..., 0].size, len(columns)):
        return None
    return {
        "labels": plain([label for label, _ in columns]),
        "shape": list(stacked.shape),
        "data": floats(stacked),
        "formats": [
            _form(float(np.nanmax(np.abs(values), initial=0.0, where=np.isfinite(values)))) for _, values in columns
        ],
    }


def summary(
    measured: tuple[str, float, float],
    compared: Iterable[tuple[str, float, float]],
    chips: Sequence[Mapping[str, str]],
    note: str,
) -> dict[str, Any]:
    """Describe what the side panel says whatever is selected.

    Parameters
    ----------
    measured
        Name of a metric, its value before and now.
    compared
        Next tokens with their probabilities before and now.
    chips
        What is active: id, label, token and place each.
    note
        How much was computed.
    """
    name, before, now = measured
    change = now - before
    return plain(
        {
            "name": name,
            "now": _short(now),
            "before": _short(before),
            "change": "" if not chips else ("+" if change > 0 else "") + _short(change),
            "direction": 0 if not chips or change == 0 else 1 if change > 0 else -1,
            "compared": [{"token": token, "before": a, "after": b} for token, a, b in compared],
            "chips": chips,
            "note": note,
        }
    )
