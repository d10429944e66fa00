"""The effects of causal mediation: how they follow from the outcomes, and the checks that say how far to trust them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets.analysis.intervals import mean_of
from resid_widgets.analysis.metrics import Metric, require_metric
from resid_widgets.errors import InputError
from resid_widgets.results import Check

EFFECTS = ("TE", "NDE", "NIE", "TIE", "interaction")
OUTCOMES = ("Y(x1, M(x1))", "Y(x1, M(x0))", "Y(x0, M(x1))", "Y(x0, M(x0))")
LARGE_INTERACTION = 0.1
"""An interaction above this share of TE is amber: the direct and the indirect part then do not simply add up."""


def require_outcome(metric: Any) -> Metric:
    """Return a metric that is one function of a run, whatever it is compared with.

    Raises
    ------
    InputError
        If it is none, or is ``kl_to_base``.
    """
    metric = require_metric(metric)
    if metric.kind == "kl_to_base":
        rule = "mediation compares one measure on two prompts, and this one is measured against one of them"
        raise InputError.about("metric", "kl_to_base", rule, "Use rw.logit_diff or rw.log_prob.")
    return metric


def effects_of(plain: NDArray[np.float64], outcomes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return TE, NDE, NIE, TIE and interaction ``[pair, 5]``.

    Parameters
    ----------
    plain
        ``[pair, 2]``: the metric of the clean and of the corrupt run, nothing put in; TE is their difference.
    outcomes
        ``[pair, 4]``, in the order of `OUTCOMES`, each with the mediator put in.
    """
    one_one, one_zero, zero_one, zero_zero = outcomes.T
    total = plain[:, 0] - plain[:, 1]
    direct, indirect = one_zero - zero_zero, zero_one - zero_zero
    return np.stack([total, direct, indirect, one_one - one_zero, total - direct - indirect], axis=1)


def mediation_checks(
    limit: float, plain: NDArray[np.float64], outcomes: NDArray[np.float64], effects: NDArray[np.float64]
) -> list[Check]:
    """Hold the outcomes against each other; arrays as `effects_of` takes and returns them.

    Parameters
    ----------
    limit
        Largest relative difference that counts as equal.
    """
    size = float(np.abs(outcomes).max()) or 1.0
    unmoved = float(np.abs(outcomes[:, [0, 3]] - plain).max()) / size
    total, direct, _, last, both = effects.T
    gap = float(np.abs(total - direct - last).max()) / size
    found = [
        Check.gap("mediator of its own run", unmoved, limit, "a run's own mediator changes nothing"),
        Check.gap("TE = NDE + TIE", gap, limit, "TE = NDE + TIE"),
        interaction_check(both, total),
        Check("pairs", "green" if len(total) > 1 else "amber", float(len(total)), None, sample_text(len(total))),
    ]  # fmt: skip
    stats = mean_of(total)
    if stats.low <= 0 <= stats.high:
        text = f"the total effect may be zero (95 % interval {stats.low:.3g} to {stats.high:.3g})"
        found.append(Check("total effect", "amber", float(stats.mean), None, text))
    return found


def interaction_check(interaction: NDArray[np.float64], total: NDArray[np.float64]) -> Check:
    """Say how large the interaction is beside the total effect; sizes are averaged over pairs, so none cancels."""
    size, of = float(np.abs(interaction).mean()), float(np.abs(total).mean())
    share = size / of if of else (0.0 if size == 0 else np.inf)
    large = share > LARGE_INTERACTION
    text = f"interaction TE − NDE − NIE has size {size:.3g}, {share:.1%} of TE"
    if large:
        text += ": direct and indirect part do not simply add up"
    return Check("interaction", "amber" if large else "green", share, LARGE_INTERACTION, text)


def sample_text(count: int) -> str:
    """Say how many pairs there were."""
    return "one pair: no interval can be given" if count == 1 else f"{count} pairs, 95 % intervals of the mean"
