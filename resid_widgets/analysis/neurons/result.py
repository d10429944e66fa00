"""What is known of neurons over a set of prompts: statistics, contexts, histograms, logit effects, tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy.typing import NDArray

from resid_widgets.analysis.neurons.code import patterns_code
from resid_widgets.analysis.neurons.collect import Collection
from resid_widgets.analysis.neurons.contexts import Context, contexts_of
from resid_widgets.analysis.neurons.prompts import Prompts
from resid_widgets.analysis.neurons.reading import on_prompts, on_text
from resid_widgets.analysis.neurons.tables import effect_table, top_table
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.results import Result, Scale
from resid_widgets.whole import whole, whole_number

if TYPE_CHECKING:
    import pandas as pd


class Histogram(NamedTuple):
    """Counts of activations: bin i holds those from ``edges[i]`` up to, not including, ``edges[i + 1]``."""

    counts: Int[NDArray, " bin"]
    edges: Float[NDArray, " edge"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class NeuronPatterns(Result):
    """Neurons over a set of prompts. Made by `neuron_patterns`.

    Attributes
    ----------
    values
        ``[layer, neuron]`` float32, the statistic asked for. Coords ``layer`` and ``neuron``.
    stats
        Dataset of all statistics ``[layer, neuron]``: max, min, mean, std, active, above, kurtosis; with labels also
        ``correlation`` and ``auroc`` ``[label, layer, neuron]``. ``stats.attrs["n"]`` counts the positions,
        ``stats.attrs["chance"]`` is the correlation that the largest of all stays below in 95 of 100 sets of labels
        without meaning.
    component, stat
        What was read, and which statistic `values` are.
    prompts
        Token ids, label positions and labels of the prompts.
    model
        Whose neurons they are.
    scale
        Limits and kind of the colours of `values`.
    title, sentence
        What a picture is called; what it shows and does not prove.
    kept
        Extremes, histograms and the sampled prompts, a row a neuron.
    boot
        The start of the script that `code` returns.
    """

    stats: xr.Dataset
    component: str
    stat: str
    prompts: Prompts
    model: ResidualModel
    scale: Scale
    title: str
    sentence: str
    kept: Collection
    boot: str

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that were read."""
        return self.kept.plan.layers

    @property
    def neurons(self) -> tuple[int, ...]:
        """The neurons (or dimensions) of each layer that were read."""
        return self.kept.plan.neurons

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, or the one name of numeric labels; empty without labels."""
        return self.prompts.names

    @property
    def largest(self) -> tuple[int, int] | None:
        """Layer and neuron at which `values` is largest; None where it is nowhere a number."""
        x = np.where(np.isfinite(self.values.values), self.values.values, -np.inf)
        layer, neuron = np.unravel_index(int(x.argmax()), x.shape)
        return (self.layers[layer], self.neurons[neuron]) if np.isfinite(x[layer, neuron]) else None

    def row(self, layer: Any, neuron: Any) -> int:
        """Return the row of a neuron in `kept`.

        Raises
        ------
        InputError
            If the layer or the neuron was not read.
        """
        layer, neuron = self._numbers(layer, neuron)
        return self.layers.index(layer) * len(self.neurons) + self.neurons.index(neuron)

    def _numbers(self, layer: Any, neuron: Any) -> tuple[int, ...]:
        for name, value, read in (("layer", layer, self.layers), ("neuron", neuron, self.neurons)):
            if whole(value) not in read:
                span = f"{read[0]} .. {read[-1]}" if len(read) == read[-1] - read[0] + 1 else f"{list(read)}"
                raise InputError.about(name, value, f"these patterns have {name}s {span}", "Choose one of them.")
        return int(layer), int(neuron)

    def contexts(
        self,
        layer: Any,
        neuron: Any,
        k: Any = None,
        *,
        which: str = "top",
        between: object = None,
    ) -> list[Context]:
        """Return positions with the tokens around them.

        Parameters
        ----------
        k
            At most so many; None for all that were kept.
        which
            ``"top"`` the largest activations, ``"bottom"`` the smallest, ``"sample"`` all positions of the prompts that
            were drawn at random.
        between
            Two numbers: only activations from the first up to, and including, the second.

        Raises
        ------
        InputError
            If an argument is out of range.
        """
        row = self.row(layer, neuron)
        if which not in ("top", "bottom", "sample"):
            raise InputError.about("which", which, "there is no such list", "Use 'top', 'bottom' or 'sample'.")
        if k is not None:
            k = whole_number("k", k, 1, 10**9, "Leave it out for all.")
        found = contexts_of(self.kept, self.model, row, which)
        if between is not None:
            low, high = _interval(between)
            found = [context for context in found if low <= context.activation <= high]
        return found[:k]

    def histogram(self, layer: Any, neuron: Any) -> Histogram:
        """Return counts over all unmarked positions; empty bins at both ends are left out.

        Bins start at multiples of their width, a power of two: zero is an edge.
        """
        row = self.row(layer, neuron)
        counts = self.kept.histograms.counts[row].numpy()
        used = counts.nonzero()[0]
        first, last = int(used[0]), int(used[-1])
        width = 2.0 ** int(self.kept.histograms.exponent[row])
        edges = (int(self.kept.histograms.first[row]) + np.arange(first, last + 2)) * width
        return Histogram(counts[first : last + 1].copy(), edges)

    def logit_effect(self, layer: Any, neuron: Any, k: Any = 10) -> pd.DataFrame:
        """Return the tokens whose logits the neuron raises and lowers most, per unit of activation.

        ``W_out[n] @ W_U`` (Geva et al. 2022, "Transformer Feed-Forward Layers Build Predictions by Promoting Concepts
        in the Vocabulary Space"), or ``W_U[n]`` for a dimension of the stream. Raw weights: neither the final norm's
        gain nor its scale is in it, and what later layers make of the write is not either.

        Returns
        -------
        pandas.DataFrame
            ``side`` (promoted or suppressed), ``token_id``, ``token`` and ``effect`` in logits before the final norm.
        """
        layer, neuron = self._numbers(layer, neuron)
        self._require_same_weights()
        k = whole_number("k", k, 1, self.model.d_vocab, f"The vocabulary has {self.model.d_vocab} tokens.")
        return effect_table(self.model, self.component, layer, neuron, k)

    def top(
        self,
        by: str | None = None,
        *,
        token: Any = None,
        head: object = None,
        label: str | None = None,
        reads: str = "v",
        layer: Any = None,
        k: Any = 10,
    ) -> pd.DataFrame:
        """Return the neurons that come first: by a statistic, for a token, for a head or for a class.

        Parameters
        ----------
        by
            A statistic of `stats` (default: that of `values`). With `token`: ``"logit"`` (default), the logit effect
            on it, or ``"activation"``: the mean activation at its positions minus the mean over all, in standard
            deviations; this runs the prompts that have it again. With `label`: ``"correlation"`` (default) or
            ``"auroc"``.
        token
            A string, exactly as given, or an id.
        head
            Layer and head of attention. Neurons of earlier layers come first by how much of what they write the head
            reads: composition scores, see `resid_widgets.analysis.neurons.weights.composition`.
        reads
            With `head`: what the head makes of it, its values ``"v"``, queries ``"q"`` or keys ``"k"``.
        label
            A class, or ``"label"`` for numbers.
        layer
            Only neurons of this layer.
        k
            How many.

        Returns
        -------
        pandas.DataFrame
            ``layer``, ``neuron``, ``score``, then max, mean and active. ``attrs["score"]`` says what the score is.

        Raises
        ------
        InputError
            If more than one of token, head and label is given, or one is unknown.
        """
        if token is not None or head is not None:
            self._require_same_weights()
        return top_table(self, by, token=token, head=head, label=label, reads=reads, layer=layer, k=k)

    def activations_of(self, text: object, layer: Any, neuron: Any) -> xr.DataArray:
        """Run a text of your own and return the neuron's activation at each of its positions.

        Returns
        -------
        xarray.DataArray
            ``[pos]`` float32 with the visible ``token``; ``attrs["marked"]`` names positions that statistics leave out.
        """
        layer, neuron = self._numbers(layer, neuron)
        self._require_same_weights()
        return on_text(self, text, layer, neuron)

    def read(self, layer: Any, neuron: Any) -> pd.DataFrame:
        """Run all prompts again and return one neuron's activation at every position.

        Returns
        -------
        pandas.DataFrame
            ``prompt``, ``pos``, ``token_id``, ``token``, ``activation`` and ``marked`` (left out of the statistics).
        """
        layer, neuron = self._numbers(layer, neuron)
        self._require_same_weights()
        return on_prompts(self, layer, neuron)

    def name(self, layer: Any, neuron: Any) -> str:
        """What to call a neuron."""
        layer, neuron = self._numbers(layer, neuron)
        return f"{'neuron' if self.component == 'mlp_post' else self.component + ' dimension'} {layer}.{neuron}"

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a neuron: its layer, its number and all statistics, one column a label."""
        frame = self.stats[[name for name in self.stats if "label" not in self.stats[name].dims]].to_dataframe()
        for name in ("correlation", "auroc"):
            if name in self.stats:
                for label in self.labels:
                    frame[f"{name} {label}"] = self.stats[name].sel(label=label).to_series()
        return frame.drop(columns="label", errors="ignore").reset_index()

    def code(self) -> str:
        """Return a short script that makes max, mean and active again with TransformerLens and PyTorch alone."""
        return patterns_code(self)

    def _require_same_weights(self) -> None:
        if self.model.weights_hash != self.provenance.weights_hash:
            rule = "a weight, buffer, setting or function of the model has changed since these patterns were made"
            raise InputError.about("model", self.model.name, rule, "Make them again: rw.neuron_patterns(...).")


def _interval(between: Any) -> tuple[float, float]:
    try:
        low, high = (float(number) for number in between)
    except (TypeError, ValueError) as error:
        raise InputError.about("between", between, "two numbers are needed", "For example (0.5, 1.0).") from error
    if not low <= high:
        raise InputError.about("between", between, "the first must not be above the second", "Swap them.")
    return low, high
