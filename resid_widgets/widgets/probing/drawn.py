"""What a dashboard of probes draws: results and their curves, the pairs of prompts, the causal tests that were run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resid_widgets.analysis.probing.causal_result import CausalTest
from resid_widgets.analysis.probing.result import Probe
from resid_widgets.analysis.probing.series import Series, as_results, series_of
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.widgets.probing.live import Fitted, Wish


class Drawn:
    """No widget: what the widgets of a dashboard show.

    Parameters
    ----------
    source
        A result, several of them, what was fitted first, or None: it is fitted still.
    model
        The model behind it, if it is known; else that of the results.
    pairs
        Pairs of prompts for the causal test of what has none of its own.

    Raises
    ------
    InputError
        If there is no result in `source`.
    """

    def __init__(self, source: Any, model: ResidualModel | None = None, pairs: Sequence[Any] = ()) -> None:
        self._given_pairs = pairs
        self._pairs: dict[Any, Sequence[Any]] = {}
        self._causal: dict[tuple[str, int], CausalTest] = {}
        self._results: dict[Any, Probe] = {}
        self.series: tuple[Series, ...] = ()
        self.model = model
        if source is None:
            return
        if isinstance(source, Fitted):
            self.take(source, beside=False)
            return
        self._results = dict(as_results(source))
        self.series = series_of(self._results)
        known = next((result.model for result in self._results.values() if result.model is not None), None)
        self.model = None if known is None else as_model(known)

    @property
    def results(self) -> dict[str, Probe]:
        """The results, by name."""
        return {key if isinstance(key, str) else " · ".join(key): result for key, result in self._results.items()}

    @property
    def names(self) -> list[str]:
        """The curves' names."""
        return [series.name for series in self.series]

    def at(self, name: Any, wanted: Any = None) -> Series:
        """Return the curve that is called `name`; where that is None, the one called `wanted`, else the first.

        Raises
        ------
        InputError
            If no curve has this name.
        """
        asked = wanted if name is None else name
        found = next((series for series in self.series if series.name == asked), None)
        if found is None and name is not None:
            raise InputError.about("series", name, f"the curves are {', '.join(self.names)}", "Choose one of them.")
        return found or self.series[0]

    def take(self, found: Fitted, beside: bool) -> None:
        """Draw a fitted result, beside the others or in their place."""
        key = key_of(found.wish)
        kept = self._results if beside else {}
        first = next(iter(kept.values()), None)
        if first is not None and first.metric != found.result.metric:
            kept = {}
        self._results = {**{name: result for name, result in kept.items() if name != key}, key: found.result}
        self._pairs = {name: pairs for name, pairs in self._pairs.items() if name in self._results} | {key: found.pairs}
        self.series, self._causal = series_of(self._results), {}

    def causal(self, name: Any, layer: Any) -> CausalTest | None:
        """Return the causal test of a curve's layer, if it was run."""
        return self._causal.get((name, layer))

    def why_not(self, series: Series) -> str:
        """Say why there is no causal test of a curve; empty where there is one."""
        if self.model is None:
            return "The causal test needs a model: these activations know none."
        if series.component is None:
            return "The causal test needs to know which component was probed: give {'resid_post': {layer: X}}."
        if not self._pairs_of(series):
            return "The causal test needs prompts with answers: rw.ProbeCurves(result, pairs=rw.tasks.load(...).pairs)."
        if series.kind not in ("full", "estimator", "mean_difference", "sparse"):
            return "This kind of probe has no direction."
        return ""

    def erase(self, series: Series, layer: int, label: Any) -> CausalTest:
        """Run the causal test of a curve's layer, and keep it.

        Raises
        ------
        InputError
            If there is none of this curve.
        """
        why = self.why_not(series)
        if why:
            raise InputError(why)
        kind = "readout" if series.kind in ("full", "estimator") else series.kind
        test = series.result.causal_test(
            layer,
            self.model,
            self._pairs_of(series),
            label=label,
            component=series.component,
            kind=kind,
            progress=False,
        )
        if series in self.series:  # nothing else was drawn meanwhile
            self._causal[series.name, layer] = test
        return test

    def free(self) -> None:
        """Keep nothing."""
        self._results, self.series, self._causal, self._pairs, self.model = {}, (), {}, {}, None

    def _pairs_of(self, series: Series) -> Sequence[Any]:
        return self._pairs.get(series.key) or self._given_pairs


def key_of(wish: Wish) -> tuple[str, str]:
    """Return what a fitted result is kept under: a later one of the same name takes its place."""
    return wish.name, wish.component
