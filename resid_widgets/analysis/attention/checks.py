"""What must hold of attention, and what a reader should know of it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.attention.arguments import Asked
from resid_widgets.analysis.attention.knockout import Cuts
from resid_widgets.models.listing import listed
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check


def rows_check(run: Run, rows: Float[NDArray, "*any pos key_pos"], what: str) -> Check:
    """Say that each row sums to 1; or to less, where a part of attention goes to no token (a sink of the model's).

    Where interventions have written attention, a row sums to what they make of it.
    """
    missing = 1.0 - np.asarray(rows, dtype=np.float64).sum(-1)
    limit = run.model.gap_limit
    gap = float(np.abs(missing).max())
    written = any(item.site.component == "pattern" for item in run.interventions)
    if gap <= limit or not (written or float(missing.min()) >= -limit):
        return Check.gap("rows sum to 1", gap, limit, f"each row of {what} sums to 1")
    why = "interventions have written it" if written else "the model's own sink, which is no token, takes the rest"
    text = (
        f"rows of {what} sum to {1 - float(missing.max()):.2f} to {1 - float(missing.min()):.2f}: {why}; "
        "shown as it is, not renormalised"
    )
    return Check("rows sum to 1", "amber", gap, 0.0, text)


def weighted_check(run: Run, gap: float) -> Check:
    """Hold pattern times values against what the heads give."""
    return Check.gap("pattern × values = heads", gap, run.model.gap_limit, "pattern × values = what the heads give")


def completeness_check(asked: Asked, values: Float[NDArray, "head pos key_pos"], without: float) -> Check:
    """Hold the sum over all heads and edges against what the metric is, less what it is where nothing is looked at."""
    base = asked.metric.of_base()
    size = max(abs(base), abs(without), abs(base - without)) or 1.0
    gap = abs(float(values.sum()) - (base - without)) / size
    level = "green" if gap <= 0.01 else "amber" if gap <= 0.05 else "red"
    text = (
        f"all edges of layer {asked.layer} add up to {float(values.sum()):.3g}; the metric is {base:.3g}, and "
        f"{without:.3g} without them (gap {gap:.1g}, {asked.steps} steps)"
    )
    return Check("completeness", level, gap, 0.01, text)


def cut_checks(asked: Asked, found: Cuts) -> list[Check]:
    """Say how edges were cut, and which could not be."""
    how = "the others take its share" if asked.renormalise else "its row then sums to less"
    checks = [found.check, Check("cut", "green", None, None, f"an edge is cut, and {how}")]
    if found.alone:
        text = (
            f"{found.alone} edge{'s are' if found.alone > 1 else ' is'} all that a token looks at: without it there is "
            "no row, and no value (renormalise=False gives one)"
        )
        checks.append(Check("alone", "amber", float(found.alone), 0.0, text))
    return checks


def marked_check(run: Run) -> list[Check]:
    """Say which tokens are left out of the colour limits."""
    if not run.marked:
        return []
    many = "s" if len(run.marked) > 1 else ""
    named = f"what goes to position{many} {listed([str(pos) for pos in run.marked])}"
    text = f"{named} (the first token, or an attention sink) is left out of the colour limits"
    return [Check("marked positions", "amber", float(len(run.marked)), None, text)]
