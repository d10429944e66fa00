"""Causal mediation: how much of the difference between two prompts passes through a chosen site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from resid_widgets.analysis.causal.causal_code import mediation_code
from resid_widgets.analysis.causal.mediation_effects import (
    EFFECTS,
    OUTCOMES,
    effects_of,
    mediation_checks,
    require_outcome,
)
from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.intervals import mean_of
from resid_widgets.analysis.metrics import Metric, Reading, label_of
from resid_widgets.analysis.pairs import Pair, as_pairs
from resid_widgets.analysis.sweeps.sweep import Cell, StoppedError, Sweeping, run_cells, sweeping
from resid_widgets.errors import InputError
from resid_widgets.interventions import patch
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.progress import ending_bars
from resid_widgets.models.reuse.edits import checked_site, edit_for
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.runs.run import Run, run
from resid_widgets.results import Check, Provenance, Result, in_title
from resid_widgets.sites import Site, named_site


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CausalMediation(Result):
    """Total effect of one prompt against another, split at a mediator.

    Attributes
    ----------
    values
        ``[effect]``: TE, NDE, NIE, TIE and interaction, means over pairs, in the metric's unit.
    low, high
        ``[effect]``: 95 % confidence interval of the mean over pairs (Student's t); NaN for one pair.
    pairs
        ``[pair, effect]``.
    outcomes
        ``[pair, outcome]``: the metric under each combination of prompt and mediator.
    mediator
        The sites that were held together.
    metric
        What was measured, in words.
    title, sentence
        For the picture.
    script
        What `code` returns.
    """

    low: xr.DataArray
    high: xr.DataArray
    pairs: xr.DataArray
    outcomes: xr.DataArray
    mediator: tuple[Site, ...]
    metric: str
    title: str
    sentence: str
    script: str

    @property
    def mediated(self) -> float:
        """NIE / TE: the share of the difference that the mediator's value alone brings about; NaN where TE is 0."""
        total = float(self.values.sel(effect="TE"))
        return float(self.values.sel(effect="NIE")) / total if total else np.nan

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row an effect: mean, low and high."""
        columns = {"mean": self.values.values, "low": self.low.values, "high": self.high.values}
        return pd.DataFrame({"effect": list(EFFECTS), **columns})

    def code(self) -> str:
        """Return a short script that makes the same numbers (of the first pair) with TransformerLens and PyTorch."""
        return self.script


@ending_bars()
@plain_state()
def causal_mediation(
    model: Any,
    clean: Any,
    corrupt: Any,
    metric: Any,
    mediator: Any,
    *,
    bos: bool | None = None,
    progress: Any = True,
) -> CausalMediation:
    """Split the difference between two prompts into what passes through a mediator and what goes past it.

    With x1 the clean and x0 the corrupt prompt, and Y(x, m) the metric of prompt x with the mediator held at m::

        TE  = Y(x1, M(x1)) - Y(x0, M(x0))     total effect
        NDE = Y(x1, M(x0)) - Y(x0, M(x0))     natural direct effect: the prompt changes, the mediator does not
        NIE = Y(x0, M(x1)) - Y(x0, M(x0))     natural indirect effect: only the mediator changes
        TIE = Y(x1, M(x1)) - Y(x1, M(x0))     total indirect effect

    ``TE = NDE + TIE`` on every model; ``interaction = TE - NDE - NIE`` is small only where the model is nearly linear.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.
    clean, corrupt
        Prompts of equally many tokens, or lists of them for many pairs, as in `resid_widgets.patch_sweep`.
    metric
        From `resid_widgets.logit_diff`, `log_prob` or `rank`; for many pairs with one token for all, or one for each.
    mediator
        A `Site`, or several that are held together.
    bos
        As in `resid_widgets.run`.
    progress
        As in `resid_widgets.ablation_sweep`; counted in pairs.

    Returns
    -------
    CausalMediation
        ``.values`` ``[effect]`` in the metric's unit, ``.low``, ``.high``, ``.pairs``, ``.outcomes``.

    Raises
    ------
    InputError
        If an argument does not fit, or the metric is ``kl_to_base``, which is no one function of a run.
    UnsupportedModelError
        If writing a mediator would not reach the model's computation.

    Notes
    -----
    Pearl 2001 (direct and indirect effects); Vig et al. 2020 (mediation in language models). NIE is what
    `resid_widgets.patch_sweep` measures by denoising, TE - NDE what it measures by noising.
    """
    model = as_model(model)
    metric = require_outcome(metric)
    sites = _mediators(mediator)
    tracker = sweeping(progress, unit="pair")
    pairs, _ = as_pairs(model, clean, corrupt, bos)
    metrics = [metric.for_prompt(n, len(pairs)) for n in range(len(pairs))]
    tracker.total = tracker.parts = len(pairs)
    done = []
    for pair, each in zip(pairs, metrics, strict=True):
        done.append(_one_pair(model, pair, each, sites))
        try:
            tracker.advance(1, np.stack([one.outcomes for one in done]))
        except StoppedError:
            break
    return _result(model, done, sites, tracker)


def _mediators(given: Any) -> tuple[Site, ...]:
    one = named_site(given)
    several = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    sites = (one,) if one else tuple(site for site in map(named_site, several) if site)
    if not sites or (one is None and len(sites) < len(several)):
        example = 'For example rw.Site("z", layer=2, head=1). For a map over sites use rw.mediation_map(...).'
        raise InputError.about("mediator", given, "a Site or several are needed", example)
    return sites


@dataclass(frozen=True, eq=False)
class _Done:
    """One pair: its outcomes as in `OUTCOMES`, and those of the two plain runs."""

    outcomes: NDArray[np.float64]
    plain: NDArray[np.float64]
    base: Run
    other: Run
    reading: Reading
    reuse: Check
    script: str


def _one_pair(model: ResidualModel, pair: Pair, metric: Metric, sites: tuple[Site, ...]) -> _Done:
    components = tuple(dict.fromkeys(site.component for site in sites))
    one, zero = (run(model, ids, keep=[*components, "resid_post"]) for ids in (pair.clean_tokens, pair.corrupt_tokens))
    outcomes, plain = [], []
    for here in (one, zero):
        reading = metric.bound(here)
        # The mediator's own values are put back as well: that this changes nothing is a check, not an assumption.
        cells = [
            Cell((n,), tuple(edit_for(here, patch(site, source)) for site in sites))
            for n, source in enumerate((one, zero))
        ]
        outcomes.append(run_cells(engine_of(here, set(components)), reading, cells, (2,), sweeping(False), None))
        plain.append(reading.of_base())
    reading = metric.bound(zero)
    script = mediation_code(one, zero, [checked_site(zero, site) for site in sites], reading)
    reuse = engine_of(zero, set(components)).check
    return _Done(np.concatenate(outcomes), np.array(plain), zero, one, reading, reuse, script)


def _result(model: ResidualModel, done: list[_Done], sites: tuple[Site, ...], tracker: Sweeping) -> CausalMediation:
    outcomes = np.stack([each.outcomes for each in done])
    plain = np.array([each.plain for each in done])
    effects = effects_of(plain, outcomes)
    stats = mean_of(effects)
    first = done[0]
    label = label_of([each.reading for each in done])

    def array(data: NDArray[np.float64], name: str) -> xr.DataArray:
        attrs = {"long_name": f"{name} of each effect on {label}", "units": first.reading.units}
        return xr.DataArray(data, dims="effect", coords={"effect": list(EFFECTS)}, name=name, attrs=attrs)

    count = np.arange(len(done))
    where = ", ".join(map(str, sites))
    return CausalMediation(
        values=array(stats.mean, "mean"),
        low=array(stats.low, "low"),
        high=array(stats.high, "high"),
        pairs=xr.DataArray(
            effects, dims=("pair", "effect"), coords={"pair": count, "effect": list(EFFECTS)}, name="value"
        ),
        outcomes=xr.DataArray(
            outcomes, dims=("pair", "outcome"), coords={"pair": count, "outcome": list(OUTCOMES)}, name="metric"
        ),
        checks=(
            first.reuse,
            *mediation_checks(model.gap_limit, plain, outcomes, effects),
            *first.reading.checks(),
            *tracker.check(outcomes),
        ),
        provenance=_provenance(first, done, where),
        mediator=sites,
        metric=label,
        title=f"Causal mediation · {in_title(where)}",
        sentence=(
            f"How much of the difference in {label} passes through {where} (NIE, TIE), and how much goes "
            "past it (NDE). A part of the difference that needs both at once counts as interaction."
        ),
        script=first.script,
    )


def _provenance(first: _Done, done: list[_Done], where: str) -> Provenance:
    return with_options(
        first.base.provenance,
        method="causal mediation",
        mediator=where,
        metric=label_of([each.reading for each in done]),
        clean_token_ids=tuple(tuple(each.other.token_ids) for each in done),
        corrupt_token_ids=tuple(tuple(each.base.token_ids) for each in done),
    )
