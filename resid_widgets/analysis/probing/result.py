"""The result of probing: curves by layer with their baselines, directions, and the samples behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from resid_widgets.analysis.grid import whole_number
from resid_widgets.analysis.probing.causal_result import CausalTest
from resid_widgets.analysis.probing.causal_test import causal_test
from resid_widgets.analysis.probing.code import probe_code
from resid_widgets.analysis.probing.fits import Fitting
from resid_widgets.analysis.probing.score import bounds_of, interval_over_folds
from resid_widgets.errors import InputError
from resid_widgets.results import Result

CURVES = ("accuracy", "majority", "chance", "shuffled", "control", "selectivity")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Probe(Result):
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

    @property
    def components(self) -> tuple[str | None, ...]:
        """What was probed; None where plain arrays came without a name."""
        return self.fitting.plan.data.components

    @property
    def layers(self) -> tuple[int, ...]:
        """Layer numbers."""
        return self.fitting.plan.data.layers

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of probe."""
        return tuple(recipe.kind for recipe in self.fitting.plan.recipes)

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

    def direction(
        self,
        layer: Any,
        label: Any = None,
        kind: str = "readout",
        component: str | None = None,
    ) -> NDArray[np.float64]:
        """Return a unit vector ``[d_model]`` in raw stream coordinates, fitted on all samples.

        Parameters
        ----------
        layer
            One of `layers`.
        label
            The class it points towards: of two by default ``classes[1]``; of more it must be named.
        kind
            ``"readout"``: the probe's weights, w / sigma (where there is one, of the full probe or the estimator).
            ``"mean_difference"``: from the other classes' mean to that of this one. ``"sparse"`` if it was fitted.
            A readout is best for reading; in noise that differs between dimensions it is not where the classes lie
            apart.
        component
            One of `components`; needed where there are several.

        Raises
        ------
        InputError
            If there is no such layer, label, component or kind, or the estimator has no ``coef_``.
        """
        found = self._weights(kind)[self._component(component), self._layer(layer)]
        if len(found) == 1 or not self.classes:
            sign = 1.0
            if self.classes and label is not None:
                sign = 1.0 if self._class(label) == 1 else -1.0
            vector = sign * found[0]
        else:
            if label is None:
                rule = f"there are {len(self.classes)} classes, and each has a direction"
                raise InputError.about("label", label, rule, f"Choose from {list(self.classes)}.")
            vector = found[self._class(label)]
        length = np.linalg.norm(vector)
        if not np.isfinite(length) or length == 0:
            rule = "the probe found no direction there" if length == 0 else "this layer was not fitted"
            raise InputError.about("layer", layer, rule, "Choose another layer.")
        return vector / length

    def confusion(
        self, layer: Any, *, component: str | None = None, kind: str | None = None, normalise: bool = False
    ) -> pd.DataFrame:
        """Return how often each class (rows) was taken for each (columns), held out; mean over seeds.

        Parameters
        ----------
        normalise
            Shares of each row instead of counts of samples.
        """
        self._require_classes("a confusion matrix")
        fitting, n = self.fitting, len(self.classes)
        predicted = fitting.predicted[self._kind(kind), self._component(component), self._layer(layer)]
        counts = np.zeros((n, n))
        for row in predicted:
            known = row >= 0
            np.add.at(counts, (fitting.plan.codes[known], row[known].astype(np.int64)), 1 / len(predicted))
        if normalise:
            counts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
        names = list(self.classes)
        return pd.DataFrame(counts, index=pd.Index(names, name="label"), columns=pd.Index(names, name="predicted"))

    def hardest(
        self, layer: Any, n: Any = 10, *, component: str | None = None, kind: str | None = None
    ) -> pd.DataFrame:
        """Return the samples that the probe gets most wrong, worst first.

        Columns: ``sample`` (row number), ``label``, ``predicted`` (by the first seed's probe), ``score`` (as `scores`),
        ``truth`` (the score of the true class; of numbers minus the error), and what `samples` knows (token, prompt).
        """
        fitting, codes = self.fitting, self.fitting.plan.codes
        at = (self._kind(kind), self._component(component), self._layer(layer))
        score, predicted = fitting.scores[at], fitting.predicted[at][0]
        if not self.classes:
            truth, shown = -np.abs(score - codes), predicted
        else:
            flip = {"margin": lambda s: -s}.get(fitting.score_units, lambda s: 1 - s)
            truth = score if len(self.classes) > 2 else np.where(codes == 1, score, flip(score))
            shown = np.array([self.classes[int(p)] if p >= 0 else None for p in predicted], dtype=object)
        worst = np.argsort(truth, kind="stable")[: whole_number("n", n, 0, 10**9, "10 is the default.")]
        found = pd.DataFrame(
            {
                "sample": worst,
                "label": self.samples["label"].to_numpy()[worst],
                "predicted": shown[worst],
                "score": score[worst],
                "truth": truth[worst],
            }
        )
        known = self.samples.drop(columns="label").iloc[worst].reset_index(drop=True)
        return pd.concat([found, known], axis=1)

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

    def _weights(self, kind: str) -> NDArray[np.float64]:
        known = self.fitting.readouts
        name = next((k for k in ("full", "estimator", *known) if k in known), None) if kind == "readout" else kind
        if kind == "readout" and "estimator" in self.kinds and "estimator" not in known:
            name = None
        if name is None or name not in known:
            rule = "the estimator has no coef_" if kind == "readout" else "no such probe was fitted"
            remedy = f"There are {['readout'] * (name is not None) + list(known)}."
            raise InputError.about("kind", kind, rule, remedy)
        return known[name]

    def code(self, *, component: str | None = None, kind: str | None = None) -> str:
        """Return a script that makes `accuracy` again with scikit-learn, and its samples with TransformerLens.

        Folds and penalties are written out. Of plain arrays it is the reader's to define ``x``, ``{layer: X}``.
        """
        return probe_code(self, self._kind(kind), self._component(component))

    def _layer(self, layer: Any) -> int:
        if isinstance(layer, bool) or layer not in self.layers:
            raise InputError.about("layer", layer, f"the layers are {list(self.layers)}", "Choose one of them.")
        return self.layers.index(int(layer))

    def _component(self, component: Any) -> int:
        if component is None and len(self.components) == 1:
            return 0
        if component not in self.components or component is None:
            rule = f"the components are {list(self.components)}"
            raise InputError.about("component", component, rule, "Choose one of them.")
        return self.components.index(component)

    def _kind(self, kind: Any) -> int:
        if kind is None:
            return 0
        if kind not in self.kinds:
            raise InputError.about("kind", kind, f"the probes are {list(self.kinds)}", "Choose one of them.")
        return self.kinds.index(kind)

    def _class(self, label: Any) -> int:
        if label not in self.classes:
            raise InputError.about("label", label, f"the classes are {list(self.classes)}", "Choose one of them.")
        return self.classes.index(label)

    def _require_classes(self, what: str) -> None:
        if not self.classes:
            raise InputError.about("task", self.task, f"{what} needs classes", "Probe with task='classify'.")
