"""What the bars of a chart are computed from: the whole sum, and for each bar that is opened what is inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from resid_widgets.analysis.contributions.branches import VIEWS
from resid_widgets.analysis.contributions.direct_logit_attribution import direct_logit_attribution
from resid_widgets.analysis.contributions.opened import VIEWS_OF
from resid_widgets.analysis.contributions.parts import BY
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.contributions.split import layers_inside
from resid_widgets.analysis.metrics import Metric
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.model import ResidualModel

_INSIDE = re.compile(r"(\d+)\.(attn_out|mlp_out|head\.\d+)")


_KEY = re.compile(r"(?:layer\.(\d+)|(\d+)\.(?:attn_out|mlp_out|head\.\d+)|others)(?:\.others)*")


def keys_of(opened: Any, model: ResidualModel | None) -> tuple[str, ...]:
    """Return the keys of open bars, which a front-end sends in one text.

    Raises
    ------
    InputError
        If something is no key of a bar that opens, or names a layer that the model does not have.
    """
    keys = opened.split() if isinstance(opened, str) else opened
    example = 'As ("layer.3", "3.attn_out", "3.head.0", "3.mlp_out", "others").'
    if not isinstance(keys, Sequence):
        raise InputError.about("opened", opened, "keys of bars are needed", example)
    for key in keys:
        match = _KEY.fullmatch(key) if isinstance(key, str) else None
        if match is None:
            raise InputError.about("opened", key, "keys of bars that open are needed", example)
        layer = int(match[1] or match[2] or 0)
        if model is not None and layer >= model.n_layers:
            raise InputError.about("opened", key, f"there are {model.n_layers} layers", "They count from 0.")
    return tuple(dict.fromkeys(keys))


def views_of(given: Sequence[Contributions], model: ResidualModel | None) -> tuple[str, ...]:
    """Return what the bars can be of: of a model, or of results alone."""
    if model is None:
        return tuple(dict.fromkeys(view for result in given for view in VIEWS_OF[result.by]))
    return tuple(name for name in VIEWS if BY[name] is None or layers_inside(model, str(BY[name])))


@dataclass(frozen=True, eq=False)
class Asked:
    """What is split.

    Attributes
    ----------
    source, prompts
        As `direct_logit_attribution` takes them: a run, several, or a model with prompts.
    metric
        What the parts add up to.
    model
        Behind the source.
    """

    source: Any
    metric: Metric
    model: ResidualModel
    prompts: Any = None

    def same(self, other: Asked) -> bool:
        """Whether the splits of another are those of this one."""
        return self.source is other.source and self.metric == other.metric and self.prompts is other.prompts

    def split(self, by: str, layer: int | None = None) -> Contributions:
        """Return the whole sum, or what is inside one layer of it."""
        layers = None if layer is None else [layer]
        return direct_logit_attribution(self.source, self.metric, by, layers=layers, prompts=self.prompts)


class Opening:
    """Computes each split once, as long as the same is asked."""

    def __init__(self) -> None:
        self._asked: Asked | None = None
        self._found: dict[tuple[str, int | None], Contributions] = {}
        self._told: dict[Any, dict[str, Any]] = {}

    def once(self, key: Any, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what was found under a key, as long as the same is asked."""
        if key not in self._told:
            self._told[key] = find()
        return self._told[key]

    def of(
        self, asked: Asked, by: str, opened: Sequence[str]
    ) -> tuple[list[Contributions], dict[str, tuple[int, ...]]]:
        """Return the whole sum and what is inside the bars that are open; and what else could be opened.

        Raises
        ------
        InputError
            If the metric does not fit the run.
        UnsupportedModelError
            If a bar cannot be opened.
        """
        if self._asked is None or not self._asked.same(asked):
            self._found, self._told = {}, {}
        self._asked = asked
        results = [self._split("component" if by == "layer" else by, None)]
        untold = set()
        for key in opened:
            match = _INSIDE.match(key)
            if match is None:
                continue
            layer, name = int(match[1]), match[2]
            if (by, name) in (("neuron", "mlp_out"), ("head", "attn_out")):
                continue
            inside = self._split("neuron", layer) if name == "mlp_out" else self._heads(layer)
            untold |= {layer} if inside.by == "head" else set()
            results += [] if inside in results else [inside]
        heads, neurons = (layers_inside(asked.model, component) for component in ("attn_out", "mlp_out"))
        sources = tuple(layer for layer in heads if layer not in untold)
        return results, {"attn_out": heads, "mlp_out": neurons, "head": sources}

    def _heads(self, layer: int) -> Contributions:
        """Return a layer's heads by the token that they read from; only the heads, where that cannot be told."""
        try:
            return self._split("source", layer)
        except (UnsupportedModelError, InputError):  # a gate stands between, or prompts are of different lengths
            return self._split("head", layer)

    def _split(self, by: str, layer: int | None) -> Contributions:
        assert self._asked is not None, "of what is said before"
        if (by, layer) not in self._found:
            self._found[by, layer] = self._asked.split(by, layer)
        return self._found[by, layer]
