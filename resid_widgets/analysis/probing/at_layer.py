"""What a probe analysis knows at one layer: the direction it reads along, and which samples it takes for what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resid_widgets.analysis.probing.fits import Fitting
from resid_widgets.errors import InputError
from resid_widgets.whole import whole, whole_number


class AtLayer:
    """The part of a `Probe` that is asked about one layer (and component and kind, where there are several)."""

    fitting: Fitting
    classes: tuple[Any, ...]
    samples: pd.DataFrame
    task: str

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
            To steer by, or to take out of the stream, take the mean difference: it lies where the classes lie apart,
            and depends on no penalty (Marks & Tegmark 2023). A readout is best for reading: in noise that differs
            between dimensions it points elsewhere, and where classes can be told apart without error its penalty
            decides. `agreement` and the checks say how well each is known.
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

    def agreement(
        self, layer: Any, label: Any = None, kind: str = "readout", component: str | None = None
    ) -> dict[str, float]:
        """Return how well a direction is known, as cosines: 1 is exactly, about 0 not at all.

        Parameters
        ----------
        layer, label, kind, component
            As in `direction`. Without a label, of several classes the least.

        Returns
        -------
        dict
            ``"folds"``: the least between the directions of any two folds, whose training samples overlap.
            ``"penalties"``: the least between the direction of all samples and those with the penalties beside the
            chosen one (of a grid of one, a tenth and ten times it). ``"means"``: between a readout and the mean
            difference, where the readout takes no sample for another class. NaN where there is nothing to compare.

        Raises
        ------
        InputError
            As `direction` does.
        """
        name = self._direction_kind(kind)
        at = (self._component(component), self._layer(layer))
        column = None if label is None or not self.classes else self._class(label)
        found = {}
        for what, known in self.fitting.agreement.items():
            values = known[name][at] if name in known else np.array([np.nan])
            found[what] = float(values[column] if column is not None and len(values) > 1 else values.min())
        return found

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

    def _weights(self, kind: str) -> NDArray[np.float64]:
        return self.fitting.readouts[self._direction_kind(kind)]

    def _direction_kind(self, kind: str) -> str:
        """Return under which name the directions of a kind are kept."""
        known = self.fitting.readouts
        name = next((k for k in ("full", "estimator", *known) if k in known), None) if kind == "readout" else kind
        if kind == "readout" and "estimator" in self.kinds and "estimator" not in known:
            name = None
        if name is None or name not in known:
            rule = "the estimator has no coef_" if kind == "readout" else "no such probe was fitted"
            remedy = f"There are {['readout'] * (name is not None) + list(known)}."
            raise InputError.about("kind", kind, rule, remedy)
        return name

    def _layer(self, layer: Any) -> int:
        if whole(layer) not in self.layers:
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
