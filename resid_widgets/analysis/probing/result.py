"""The result of probing: curves by layer with their baselines, as a table, a script and a test of cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from resid_widgets.analysis.probing.at_layer import AtLayer
from resid_widgets.analysis.probing.causal_result import CausalTest
from resid_widgets.analysis.probing.causal_test import causal_test
from resid_widgets.analysis.probing.code import probe_code
from resid_widgets.analysis.probing.fits import Fitting
from resid_widgets.analysis.probing.score import bounds_of, interval_over_folds
from resid_widgets.errors import InputError
from resid_widgets.results import Result

CURVES = ("accuracy", "majority", "chance", "shuffled", "control", "selectivity")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Probe(AtLayer, Result):
    """What can be read off the stream at each layer, beside what a probe reads off labels without meaning.

    All arrays by fold are ``[layer, fold]``, with a dim ``component`` before where several were probed, and a dim
    ``kind`` before that where several kinds of probe were fitted. ``fold`` runs over seeds and folds (coord ``seed``).

    Attributes
    ----------
    values
        ``[layer]``: mean of `accuracy` over folds and seeds.
    low, high
        ``[layer]``: its 95 % interval (see `interval`).
    accuracy
        Held-out score, in `metric`.
    majority
        Plain accuracy, on the test part, of always answering training's commonest class (of numbers: R² of
        training's mean).
    chance
        The score of that answer in `metric`: what to hold `accuracy` against (one over the number of classes for
        balanced accuracy).
    shuffled
        Score on labels shuffled by group.
    control
        Score on a control task, one random label a unit, on the test samples whose unit training knows; NaN without
        units.
    selectivity
        ``accuracy - control``.
    penalty
        C (or alpha) that was chosen.
    scores
        ``[layer, sample]``: held-out, mean over seeds. Of two classes the probability of ``classes[1]`` (or its margin,
        see the units), of more that of the true class; of numbers the prediction.
    classes
        Sorted; empty for numbers.
    metric, task
        As given.
    samples
        One row a sample: ``label``, ``group``, ``unit`` and what else is known.
    code_length, uniform_length, compression
        Bits ``[layer, seed]`` of the online code, bits of the uniform code, and uniform / code; None unless asked for.
    model
        The model, if the activations still know it.
    peak
        Bytes that the fits were said to use at most, beyond activations that are held in memory.
    title, sentence, origin
        For the picture.
    """

    low: xr.DataArray
    high: xr.DataArray
    accuracy: xr.DataArray
    majority: xr.DataArray
    chance: xr.DataArray
    shuffled: xr.DataArray
    control: xr.DataArray
    selectivity: xr.DataArray
    penalty: xr.DataArray
    scores: xr.DataArray
    classes: tuple[Any, ...]
    metric: str
    task: str
    folds: int
    samples: pd.DataFrame
    code_length: xr.DataArray | None
    uniform_length: float
    compression: xr.DataArray | None
    model: Any
    peak: int
    title: str
    sentence: str
    origin: str
    fitting: Fitting

    def interval(self, curve: str = "accuracy") -> tuple[xr.DataArray, xr.DataArray]:
        """Return the ends ``[layer]`` of a curve's 95 % confidence interval over folds and seeds.

        Folds share training samples, so that their scores are no independent draws: this is the corrected resampled t
        interval of Nadeau & Bengio (2003), see `resid_widgets.analysis.probing.score.interval_over_folds`.

        Parameters
        ----------
        curve
            ``"accuracy"``, ``"majority"``, ``"chance"``, ``"shuffled"``, ``"control"`` or ``"selectivity"``.
        """
        if curve not in CURVES:
            raise InputError.about("curve", curve, f"must be one of {', '.join(CURVES)}", "'accuracy' is the default.")
        by_fold: xr.DataArray = getattr(self, curve)
        bounds = bounds_of(
            self.metric if curve != "majority" or not self.classes else "accuracy", curve == "selectivity"
        )
        low, high = interval_over_folds(by_fold.values, self.folds, bounds=bounds)
        return self.values.copy(data=low).rename("low"), self.values.copy(data=high).rename("high")

    def causal_test(
        self,
        layer: Any,
        model: Any = None,
        prompts: Any = None,
        metric: Any = None,
        *,
        label: Any = None,
        component: str | None = None,
        kind: str = "readout",
        alpha: Any = 0.5,
        pos: int | None = -1,
        seeds: Any = tuple(range(10)),
        bos: bool | None = None,
        progress: Any = True,
    ) -> CausalTest:
        """Ask whether the model uses the direction: take it out, and add it, and see what the output does.

        Parameters are those of `resid_widgets.analysis.probing.causal_test.causal_test`; `label`, `kind` and
        `component` choose the direction as in `direction`. The model is by default the one that the activations came
        from.
        """
        # Plain arrays have no names: there `component` says where the model is changed.
        of = component if self.components != (None,) else None
        at = (0, self._component(of), self._layer(layer))
        direction = self.direction(layer, label, kind, of)
        lowest = np.reshape(self.low.values, self.fitting.plan.shape)[at]
        return causal_test(
            self.model if model is None else model,
            prompts,
            metric,
            component=component if self.components == (None,) else self.components[at[1]],
            layer=layer,
            direction=direction,
            encoded=bool(lowest > np.nanmean(self.fitting.scored["chance"][at])),
            alpha=alpha,
            pos=pos,
            seeds=seeds,
            bos=bos,
            progress=progress,
        )

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a layer: the curves' means over folds, and the interval of the accuracy."""
        table: dict[str, xr.DataArray] = {"accuracy": self.values, "low": self.low, "high": self.high}
        table.update({name: getattr(self, name).mean("fold") for name in CURVES[1:]})
        if self.compression is not None:
            table["compression"] = self.compression.mean("seed")
        frame = xr.Dataset({name: array.variable for name, array in table.items()}, self.values.coords).to_dataframe()
        return frame.reset_index()

    def __str__(self) -> str:
        lines = [self.title, f"  {self.origin}"]
        lines += [f"  [{c.level}] {c.text}" for c in self.checks]
        lines.append(self.to_dataframe().to_string(max_rows=40, index=False, float_format=lambda v: f"{v:.3f}"))
        return "\n".join(lines)

    __repr__ = __str__

    def code(self, *, component: str | None = None, kind: str | None = None) -> str:
        """Return a script that makes `accuracy` again with scikit-learn, and its samples with TransformerLens.

        Folds and penalties are written out. Of plain arrays it is the reader's to define ``x``, ``{layer: X}``.
        """
        return probe_code(self, self._kind(kind), self._component(component))
