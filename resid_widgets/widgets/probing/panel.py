"""The panel of a probe's layer: what it says, as data, and the widget that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from resid_widgets.analysis.probing.causal_result import INTERVENTIONS, CausalTest
from resid_widgets.analysis.probing.score import METRICS
from resid_widgets.analysis.probing.series import BASELINES, Series, checks_of, sentence_of
from resid_widgets.results import Check
from resid_widgets.tokens import visible
from resid_widgets.widgets.shell.frame import plain
from resid_widgets.widgets.shell.front_end import FrontEndWidget
from resid_widgets.widgets.shell.panel import number_text
from resid_widgets.widgets.shell.traits import write

READY = {"state": "ready", "text": ""}
HARDEST = 8
AROUND = 6
"""Tokens shown to either side of a sample's own."""

EFFECTS = {"erase": "Taken out of the stream", "add": "Added to the stream", "subtract": "Subtracted from the stream"}


class ProbePanel(FrontEndWidget):
    """Shows what Python writes into `content`; asks by message for the causal test.

    Parameters
    ----------
    ask
        Called with a message of the front-end: its number, and what it says.
    """

    FRONT_END: ClassVar[str] = "probe_panel"

    content: Any = t.Instance(dict, allow_none=True, read_only=True).tag(sync=True)
    status = t.Dict(READY, read_only=True).tag(sync=True)

    def __init__(self, ask: Callable[[Any, dict[str, Any]], None], **more: Any) -> None:
        super().__init__(**more)
        self._asked = ask
        self.on_msg(self._receive)

    def show(self, content: dict[str, Any]) -> None:
        """Put something else on show."""
        write(self, "content", plain(content))

    def say(self, state: str, text: str = "", detail: str = "") -> None:
        """Say how things stand."""
        write(self, "status", {"state": state, "text": text, **({"detail": detail} if detail else {})})

    def done(self, number: Any) -> None:
        """Answer a message."""
        self.send({"kind": "done", "id": number})

    def failed(self, number: Any, text: str) -> None:
        """Answer a message with an error."""
        self.send({"kind": "error", "id": number, "text": text})

    def _receive(self, _: Any, content: Any, buffers: Any) -> None:
        if isinstance(content, dict):
            self._asked(content.get("id"), content)


def nothing_selected(series: Sequence[Series]) -> dict[str, Any]:
    """Return the panel before a layer is chosen."""
    empty = "Click a point of a curve, or choose a layer: what stands behind it is shown here."
    return _content(series, "", empty)


def content_of(
    every: Sequence[Series], series: Series, layer: int, label: Any, can_erase: str, causal: CausalTest | None
) -> dict[str, Any]:
    """Return the panel of one layer.

    Parameters
    ----------
    every
        All that is drawn: the checks are those of all.
    label
        Class whose direction the causal test takes, of more than two.
    can_erase
        Why the causal test cannot be run; empty where it can.
    causal
        Its outcome, if it was run here.
    """
    result, at = series.result, series.layers.index(layer)
    content = _content(every, f"{series.name}, layer {layer}", "")
    content["rows"] = [{"label": name, "value": value} for name, value in _numbers(series, at)]
    if result.classes:
        counts = result.confusion(layer, component=series.component, kind=series.kind)
        shares = counts.div(counts.sum(axis=1).clip(lower=1e-12), axis=0)
        content["confusion"] = {
            "classes": [_label(name) for name in result.classes],
            "counts": [[_count(value) for value in row] for row in counts.to_numpy()],
            "shares": shares.to_numpy().tolist(),
        }
    content["hardest"] = _hardest(series, layer)
    if len(result.classes) > 2:
        content["labels"] = [str(name) for name in result.classes]
        content["label"] = str(label if label is not None else result.classes[-1])
    hint = can_erase or "Takes the direction out of the stream or adds it, and measures how far the output moves."
    content["erase"] = {"enabled": not can_erase, "hint": hint}
    if causal is not None:
        content["causal"] = _causal(causal)
    return content


def _count(value: float) -> str:
    """Return a mean of whole numbers, with a digit after the point where it has a part."""
    return f"{value:.0f}" if value % 1 == 0 else f"{value:.1f}"


def _origins(every: Sequence[Series]) -> str:
    """Say where the curves come from; of which curve that is, where they come from different places."""
    curves: dict[str, list[str]] = {}
    for each in every:
        curves.setdefault(each.result.origin, []).append(each.name)
    if len(curves) == 1:
        return next(iter(curves))
    return "; ".join(f"{', '.join(names)}: {origin}" for origin, names in curves.items())


def _check(check: Check) -> dict[str, Any]:
    return {name: getattr(check, name) for name in ("name", "level", "value", "limit", "text")}


def _content(every: Sequence[Series], heading: str, empty: str) -> dict[str, Any]:
    return {
        "sentence": sentence_of(every),
        "checks": [{"of": of, **_check(check)} for of, check in checks_of(every)],
        "footer": _origins(every),
        "heading": heading,
        "empty": empty,
        "rows": [],
        "confusion": None,
        "hardest": [],
        "labels": [],
        "label": "",
        "erase": {"enabled": False, "hint": ""},
        "causal": None,
    }


def _numbers(series: Series, at: int) -> list[tuple[str, str]]:
    result = series.result
    shape = result.fitting.plan.shape
    place = (result.kinds.index(series.kind), result.components.index(series.component), at)

    def mean(name: str, over: str = "fold") -> float:
        return float(np.reshape(getattr(result, name).mean(over).values, shape)[place])

    found = [
        (METRICS[result.metric], number_text(series.values[at])),
        ("95 % interval", f"{number_text(series.low[at])} to {number_text(series.high[at])}"),
    ]
    found += [(told, number_text(mean(name))) for name, (told, _) in BASELINES.items() if name in series.baselines]
    if np.isfinite(mean("selectivity")):
        found.append(("selectivity", number_text(mean("selectivity"))))
    if result.compression is not None:
        found.append(("compression (MDL)", number_text(mean("compression", "seed"))))
    return [(name, value.replace("nan", "not defined")) for name, value in found]


def _hardest(series: Series, layer: int) -> list[dict[str, Any]]:
    result = series.result
    found = result.hardest(layer, HARDEST, component=series.component, kind=series.kind)
    tokens_of = result.fitting.plan.data.tokens
    samples = []
    for row in found.to_dict("records"):
        cut = (False, False)
        tokens, centre = [visible(str(row["token"]))] if "token" in row else [f"sample {row['sample']}"], 0
        where = f"sample {row['sample']}"
        if tokens_of is not None and "prompt" in row:
            whole = tokens_of(int(row["prompt"]))
            start = max(0, int(row["pos"]) - AROUND)
            tokens = [visible(token) for token in whole[start : int(row["pos"]) + AROUND + 1]]
            centre = int(row["pos"]) - start
            cut = (start > 0, int(row["pos"]) + AROUND + 1 < len(whole))
            where = f"prompt {row['prompt']}, position {row['pos']}"
        truth = float(row["truth"])
        margin = result.fitting.score_units == "margin"
        share = None if not result.classes or not np.isfinite(truth) else np.tanh(truth) if margin else 2 * truth - 1
        samples.append(
            {
                "label": _label(row["label"]),
                "predicted": _label(_said(row["predicted"])),
                "score": number_text(float(f"{truth if result.classes else row['score']:.2g}")),
                "share": share,
                "tokens": tokens,
                "center": centre,
                "cut": list(cut),
                "title": where,
            }
        )
    return samples


def _label(name: Any) -> str:
    """Return a class as text. Spaces between words stay as they are; a space at an end is shown, as in a token."""
    text = str(name)
    return visible(text) if text != text.strip() else " ".join(visible(word) for word in text.split(" "))


def _said(predicted: Any) -> str:
    return f"{predicted:.3g}" if isinstance(predicted, float) else str(predicted)


def _causal(test: CausalTest) -> dict[str, Any]:
    effects = []
    for name in INTERVENTIONS:
        sizes = {side: float(test.size.sel(intervention=name, direction=side)) for side in ("probe", "random")}
        effects.append(
            {
                "name": EFFECTS[name],
                **sizes,
                "random_high": float(test.random_high.sel(intervention=name)),
                "told": [number_text(float(f"{size:.3g}")) for size in sizes.values()],
            }
        )
    units = test.values.attrs.get("units", "")
    return {
        "verdict": test.verdict,
        "unit": f"{test.metric} ({units})" if units else test.metric,
        "effects": effects,
        "checks": [_check(check) for check in test.checks],
    }
