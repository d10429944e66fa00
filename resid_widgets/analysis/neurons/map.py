"""One number for each neuron, as a picture: a statistic, or an order for a token, a head or a class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.neurons.dataset import STATS, NeuronStat
from resid_widgets.analysis.neurons.result import NeuronPatterns
from resid_widgets.analysis.neurons.tables import neuron_scores
from resid_widgets.colour import robust_scale

if TYPE_CHECKING:
    import pandas as pd

TOKEN, HEAD = "token", "head"
_LABELLED = {
    "correlation": NeuronStat("correlation with {}", "−1 to 1", signed=True, bounds=(-1.0, 1.0)),
    "auroc": NeuronStat("AUROC of {}", "0 to 1", signed=False, bounds=(0.0, 1.0)),
}
_SAYS = {
    TOKEN: "How much each neuron's direction of writing raises a token's logit, from the raw weights. "
    "What later layers make of the write is not in it.",
    HEAD: "How much of what each neuron writes a head could read, from the raw weights. "
    "What could be read need not be.",
    "correlation": "How each neuron's activation goes with the label, one number a prompt. A neuron that goes with a "
    "label need not be used for it.",
    "auroc": "How well each neuron's activation alone tells the class from the rest: 0.5 is chance. "
    "A neuron that tells a class need not be used for it.",
}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class NeuronMap(GridResult):
    """One number for each neuron.

    Attributes
    ----------
    values
        ``[layer, neuron]`` float32.
    patterns
        Where they come from.
    order
        What was asked for; see `neuron_map`.
    """

    patterns: NeuronPatterns
    order: str

    def as_patterns(self) -> NeuronPatterns:
        """Return the patterns with this number as their `values`."""
        return replace(self.patterns, values=self.values, scale=self.scale, title=self.title, sentence=self.sentence)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a neuron with all statistics, and this number where it is none of them."""
        frame = self.patterns.to_dataframe()
        if self.order in (TOKEN, HEAD):
            frame.insert(2, self.scale.label, self.values.values.ravel())
        return frame

    def code(self) -> str:
        """Return the script of the patterns."""
        return self.patterns.code()


def orders(patterns: NeuronPatterns) -> dict[str, str]:
    """Return what `neuron_map` can be asked for of these patterns, with what each is called."""
    known = {name: stat.label for name, stat in STATS.items()}
    for kind, stat in _LABELLED.items():
        if kind in patterns.stats:
            known |= {f"{kind} {label}": stat.label.format(label) for label in patterns.labels}
    known[TOKEN] = "logit effect on a token"
    if max(patterns.model.n_layers - 1, 0) > patterns.layers[0]:
        known[HEAD] = "what a head reads"
    return known


def neuron_map(
    patterns: NeuronPatterns,
    order: str,
    token: str | int | None = None,
    head: tuple[int, int] | None = None,
    reads: str = "v",
) -> NeuronMap:
    """Return one number for each neuron.

    Parameters
    ----------
    order
        A key of `orders`: a statistic, ``"correlation <label>"``, ``"auroc <label>"``, ``"token"``, ``"head"``.
    token, head, reads
        As in ``NeuronPatterns.top``, for the last two.

    Raises
    ------
    InputError
        If the token or head is none.
    """
    kind, _, label = order.partition(" ")
    if order == TOKEN:
        values, said = neuron_scores(patterns, token=token)
        stat = NeuronStat(said.partition(",")[0], "logits per unit of activation", signed=True)
    elif order == HEAD:
        values, said = neuron_scores(patterns, head=head, reads=reads)
        stat = NeuronStat(said.partition(" (")[0], "share of the norm", signed=False, bounds=(0.0, 1.0))
    elif label:
        values, _ = neuron_scores(patterns, kind, label=label)
        stat = replace(_LABELLED[kind], label=_LABELLED[kind].label.format(label))
    else:
        values, _ = neuron_scores(patterns, order)
        stat = STATS[order]
    array = xr.DataArray(
        np.asarray(values, dtype=np.float32),
        dims=("layer", "neuron"),
        coords={"layer": list(patterns.layers), "neuron": list(patterns.neurons)},
        name=kind,
        attrs={"long_name": stat.label, "units": stat.units},
    )
    scale = robust_scale(array.values, signed=stat.signed, label=stat.label, units=stat.units, bounds=stat.bounds)
    says = patterns.sentence.replace(STATS[patterns.stat].label, stat.label)
    return NeuronMap(
        values=array,
        checks=patterns.checks,
        provenance=patterns.provenance,
        component=patterns.component,
        scale=scale,
        title=f"Neurons · {stat.label} · {patterns.component}",
        sentence=_SAYS.get(kind if label else order, says),
        tokens_visible=tuple(map(str, patterns.neurons)),
        marked=(),
        unknown=(),
        script="",
        patterns=patterns,
        order=order,
    )
