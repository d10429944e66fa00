"""Neurons as they travel: the picture with a text for each row of the table, and all that is known of one neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resid_widgets.analysis.neurons.contexts import Context, top_words
from resid_widgets.analysis.neurons.dataset import STATS
from resid_widgets.analysis.neurons.map import NeuronMap
from resid_widgets.analysis.neurons.result import NeuronPatterns
from resid_widgets.models.runs.run import Run
from resid_widgets.tokens import visible
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.frame import plain
from resid_widgets.widgets.shell.heatmap import heatmap, indexed

COLUMNS = ("max", "mean", "active", "kurtosis")
"""Statistics that the table has beside the picture's own number."""

KNOWN = 60
"""Neurons of which an exported page tells everything, those of the largest numbers first."""

EFFECTS = 6


def map_part(result: NeuronMap) -> dict[str, Any]:
    """Return the picture as it travels, with further columns for the table."""
    patterns = result.patterns
    also = [(name, patterns.stats[name].values) for name in COLUMNS if name != result.order]
    return heatmap(result, also=also, columns=patterns.neurons)


def table_part(result: NeuronMap) -> dict[str, Any]:
    """Return what the table has beside the picture's numbers: the top tokens of each neuron."""
    patterns = result.patterns
    words = np.array(top_words(patterns.kept, patterns.model), dtype=object)
    column = result.order if result.order in STATS else result.scale.label
    return {"column": column, **indexed(words)}


def neuron_details(result: NeuronMap, layer: int, pos: int, own: Run | None, *, sample: bool = True) -> dict[str, Any]:
    """Return what is known of one neuron.

    Parameters
    ----------
    pos
        Its column.
    own
        A run of the user's own text.
    sample
        Whether the prompts that were drawn at random come along.
    """
    patterns = result.patterns
    neuron, row = patterns.neurons[pos], patterns.layers.index(layer)
    rows = [(STATS[name].label, float(patterns.stats[name].values[row, pos])) for name in _listed(patterns)]
    if result.order not in STATS:
        rows.insert(0, (result.scale.label, float(result.values.values[row, pos])))
    made = panel.details(rows)
    counts, edges = patterns.histogram(layer, neuron)
    texts: list[dict[str, Any]] = []
    contexts = []
    for which in ("top", "bottom", *(("sample",) if sample else ())):
        contexts += _contexts(
            patterns, patterns.contexts(layer, neuron, which=which), patterns.row(layer, neuron), texts
        )
    effects = patterns.logit_effect(layer, neuron, EFFECTS).to_dict("records")
    made["heading"] = patterns.name(layer, neuron)
    made["neuron"] = plain(
        {
            "counts": counts.tolist(),
            "edges": edges.tolist(),
            "texts": texts,
            "contexts": contexts,
            "around": patterns.kept.plan.context,
            "own": None if own is None else _own(patterns, own, layer, neuron),
            "effects": [
                {"token": visible(e["token"]), "value": _short(e["effect"]), "side": e["side"]} for e in effects
            ],
            "sampled": len(patterns.kept.sampled),
            "prompts": len(patterns.prompts.tokens),
        }
    )
    return made


def _listed(patterns: NeuronPatterns) -> list[str]:
    """Return the statistics that the side panel lists: a threshold of 0 says nothing new."""
    return [name for name in STATS if name != "above" or patterns.kept.plan.threshold != 0]


def _contexts(
    patterns: NeuronPatterns, contexts: Sequence[Context], row: int, texts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return contexts that name their text by its place in `texts`; those of whole prompts share one."""
    whole: dict[int, int] = {}
    found = []
    for context in contexts:
        if context.kind == "sample":
            if context.prompt not in whole:
                whole[context.prompt] = len(texts)
                texts.append(_text(patterns, context.prompt, 0, patterns.kept.sampled[context.prompt][row].numpy()))
            place = whole[context.prompt]
        else:
            place = len(texts)
            texts.append(_text(patterns, context.prompt, context.start, context.activations))
        found.append(
            {"kind": context.kind, "text": place, "pos": context.pos, "activation": float(f"{context.activation:.8g}")}
        )
    return found


def _text(patterns: NeuronPatterns, prompt: int, start: int, activations: Any) -> dict[str, Any]:
    ids = patterns.prompts.tokens[prompt].ids[start : start + len(activations)]
    marked = patterns.kept.marked[prompt]
    return {
        "prompt": prompt,
        "start": start,
        "more": start + len(ids) < len(patterns.prompts.tokens[prompt].ids),
        "tokens": [visible(text) for text in patterns.model.token_strings(ids)],
        "activations": [_short(x) for x in activations.tolist()],
        "marked": [pos - start for pos in marked if start <= pos < start + len(ids)],
    }


def _own(patterns: NeuronPatterns, own: Run, layer: int, neuron: int) -> dict[str, Any]:
    x = own.tensor(patterns.component, layer)[:, neuron].float().cpu().numpy()
    return {
        "prompt": None,
        "start": 0,
        "tokens": [visible(text) for text in own.tokens],
        "activations": [_short(value) for value in x.tolist()],
        "marked": list(own.marked),
    }


def _short(value: float) -> float:
    """Return four digits: more would only be bytes."""
    return float(f"{value:.4g}")


def known_planes(result: NeuronMap) -> dict[str, Any] | None:
    """Return the numbers of all neurons and the details of some, for a page without Python."""
    patterns = result.patterns
    columns = [(STATS[name].label, patterns.stats[name].values) for name in _listed(patterns)]
    if result.order not in STATS:
        columns.insert(0, (result.scale.label, result.values.values))
    none = {"labels": [], "shape": [*result.values.shape, 0], "data": b"", "formats": []}
    made = panel.planes(columns) or none
    x = np.where(np.isfinite(result.values.values), result.values.values, -np.inf).ravel()
    first = np.argsort(-x, kind="stable")[:KNOWN]
    places = zip(*np.unravel_index(first, result.values.shape), strict=True)
    known = [
        {
            **neuron_details(result, patterns.layers[row], int(pos), None, sample=False),
            "at": {"layer": patterns.layers[row], "neuron": patterns.neurons[pos]},
        }
        for row, pos in places
    ]
    return {**made, "known": known}
