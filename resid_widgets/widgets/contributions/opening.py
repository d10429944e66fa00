"""What the bars of a chart are computed from: the whole sum, and for each bar that is opened what is inside."""

from __future__ import annotations

import re
from collections.abc import Sequence

from resid_widgets.analysis.contributions.branches import VIEWS
from resid_widgets.analysis.contributions.direct_logit_attribution import direct_logit_attribution
from resid_widgets.analysis.contributions.opened import VIEWS_OF
from resid_widgets.analysis.contributions.parts import BY
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.contributions.split import layers_inside
from resid_widgets.analysis.metrics import Metric
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run

_INSIDE = re.compile(r"(\d+)\.(attn_out|mlp_out|head\.\d+)")

def views_of(result: Contributions | None) -> tuple[str, ...]:
    """Return what the bars of one result can be of."""
    return VIEWS if result is None else VIEWS_OF[result.by]


class Opening:
    """Computes each split once for a run and a metric.

    Parameters
    ----------
    given
        The one result of a chart without a run.
    """

    def __init__(self, given: Contributions | None) -> None:
        self.given = given
        self._of: tuple[Run, Metric] | None = None
        self._found: dict[tuple[str, int | None], Contributions | None] = {}

    @property
    def first(self) -> Contributions:
        """The result that was given.

        Raises
        ------
        InputError
            If there was none.
        """
        if self.given is None:
            raise InputError("There is no run to compute contributions from: rw.ContributionChart(run, metric).")
        return self.given

    def views(self, model: ResidualModel) -> list[str]:
        """Return what the bars of a run can be of."""
        return [name for name in VIEWS if BY[name] is None or layers_inside(model, str(BY[name]))]

    def of(
        self, run: Run, metric: Metric, by: str, opened: Sequence[str]
    ) -> tuple[list[Contributions], dict[str, tuple[int, ...]]]:
        """Return the whole sum and what is inside the bars that are open; and what else could be opened.

        Raises
        ------
        InputError
            If the metric does not fit the run.
        UnsupportedModelError
            If a bar cannot be opened.
        """
        if self._of is None or self._of[0] is not run or self._of[1] != metric:
            self._of, self._found = (run, metric), {}
        results = [self._split("component" if by == "layer" else by, None)]
        untold = set()
        for key in opened:
            match = _INSIDE.match(key)
            if match is None or int(match[1]) >= run.model.n_layers:
                continue
            layer, name = int(match[1]), match[2]
            if name == "mlp_out":
                wanted = [] if by == "neuron" else [self._split("neuron", layer)]
            elif name == "attn_out" and by == "head":
                wanted = []
            else:
                wanted = [self._heads(layer)]
                untold |= {layer} if wanted[0].by == "head" else set()
            results += [each for each in wanted if each not in results]
        heads, neurons = (layers_inside(run.model, component) for component in ("attn_out", "mlp_out"))
        sources = tuple(layer for layer in heads if layer not in untold)
        return results, {"attn_out": heads, "mlp_out": neurons, "head": sources}

    def _heads(self, layer: int) -> Contributions:
        """Return a layer's heads by the token that they read from; only the heads, where that cannot be told."""
        try:
            return self._split("source", layer)
        except UnsupportedModelError:
            return self._split("head", layer)

    def _split(self, by: str, layer: int | None) -> Contributions:
        assert self._of is not None, "of what is said before"
        found = self._found.get((by, layer))
        if found is None:
            run, metric = self._of
            layers = None if layer is None else [layer]
            found = direct_logit_attribution(run, metric, by, layers=layers)
            self._found[by, layer] = found
        return found
