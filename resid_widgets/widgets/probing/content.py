"""What stands behind one layer of a probe, as the panel shows it (``js/lib/parts/probe.ts``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from resid_widgets.analysis.probing.causal_result import INTERVENTIONS, CausalTest
from resid_widgets.analysis.probing.score import METRICS
from resid_widgets.analysis.probing.series import BASELINES, Series, checks_of, sentence_of
from resid_widgets.results import in_title
from resid_widgets.tokens import visible
from resid_widgets.widgets.shell.frame import Words, told
from resid_widgets.widgets.shell.panel import number_text

HARDEST = 8
AROUND = 6
"""Tokens shown to either side of a sample's own."""

EFFECTS = {"erase": "Taken out of the stream", "add": "Added to the stream", "subtract": "Subtracted from the stream"}


EMPTY = "Click a point of a curve, or choose a layer: what stands behind it is shown here."
AWAITED = "There is no curve yet: each of its layers is drawn when it is known."


class Behind(NamedTuple):
    """A layer of a curve, and what is known of it.

    Attributes
    ----------
    every
        All curves that are drawn: the checks are those of all.
    series, layer
        The curve, and which of its layers is selected; None where none is. No curve is known while the first is fitted.
    label
        Class whose direction the causal test takes, of more than two.
    why_not
        Why the causal test cannot be run; empty where it can.
    causal
        Its outcome, if it was run here.
    """

    every: Sequence[Series]
    series: Series | None
    layer: int | None = None
    label: Any = None
    why_not: str = ""
    causal: CausalTest | None = None


def words(shown: Behind) -> Words:
    """Return what stands around the panel."""
    if shown.series is None:
        return Words("Probe", "", "", [])
    names = [each.name for each in shown.every]
    heading = f"Probe · {in_title(names[0])}" if len(names) == 1 else f"Probes · {len(names)} curves"
    checks = [told(check, of) for of, check in checks_of(shown.every)]
    if shown.causal is not None:
        checks += [told(check, "causal test") for check in shown.causal.checks]
    return Words(heading, sentence_of(shown.every), _origins(shown.every), checks)


def content(shown: Behind) -> dict[str, Any]:
    """Return what the panel shows."""
    series, layer, causal = shown.series, shown.layer, shown.causal
    if series is None or layer is None:
        return {
            "empty": AWAITED if series is None else EMPTY,
            "heading": "",
            "rows": [],
            "confusion": None,
            "hardest": [],
            "hint": "",
            "causal": None,
        }
    result = series.result
    return {
        "empty": "",
        "heading": f"{series.name}, layer {layer}",
        "rows": [{"label": name, "value": value} for name, value in _numbers(series, series.layers.index(layer))],
        "confusion": _confusion(series, layer) if result.classes else None,
        "hardest": _hardest(series, layer),
        "hint": "" if causal else shown.why_not or MEANS,
        "causal": None if causal is None else _causal(causal),
    }


MEANS = "The causal test takes the direction out of the stream or adds it, and measures how far the output moves."


def _confusion(series: Series, layer: int) -> dict[str, Any]:
    counts = series.result.confusion(layer, component=series.component, kind=series.kind)
    shares = counts.div(counts.sum(axis=1).clip(lower=1e-12), axis=0)
    return {
        "classes": [_label(name) for name in series.result.classes],
        "counts": [[_count(value) for value in row] for row in counts.to_numpy()],
        "shares": shares.to_numpy().tolist(),
    }


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
    }
