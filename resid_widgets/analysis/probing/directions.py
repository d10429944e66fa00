"""How well the direction of a probe is known: whether other samples, or another penalty, would have given it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.results import Check

KNOWN = 0.95
"""Cosine under which two directions count as different."""

AGREEMENT = {
    "folds": "between folds",
    "penalties": "between neighbouring penalties",
    "means": "with the mean difference where all samples are told apart",
}
"""What is compared.

Where all samples are told apart, the few nearest ones and the penalty decide a readout. Folds and neighbouring
penalties can agree on one that is far from where the classes lie apart; so there it is held against that, too.
"""

STEP = 10.0
"""Between neighbouring penalties, where there is one only."""


def neighbours(penalties: Sequence[float], chosen: float) -> list[float]:
    """Return the penalties beside the chosen one: of the grid, or a tenth and ten times where there is one only."""
    if len(penalties) == 1:
        return [chosen / STEP, chosen * STEP]
    grid = sorted({*penalties, chosen})
    at = grid.index(chosen)
    return [grid[n] for n in (at - 1, at + 1) if 0 <= n < len(grid)]


def least_cosine(
    weights: Sequence[Float[NDArray, "d_model column"]], to: Float[NDArray, "d_model column"] | None = None
) -> Float[NDArray, " column"]:
    """Return the least cosine between any two directions of each column, or of any with that of `to`.

    A direction of length zero agrees with none.
    """
    units = np.stack([_unit(each) for each in weights])
    if to is not None:
        return (units * _unit(to)).sum(axis=1).min(axis=0)
    cosines = np.einsum("adc,bdc->cab", units, units)
    return cosines[:, *np.triu_indices(len(units), 1)].min(axis=1)


def _unit(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(weights, axis=0)
    return np.where(length > 0, weights / np.where(length > 0, length, 1), 0)


def direction_check(
    kind: str,
    agreement: Mapping[str, Float[NDArray, "component layer column"]],
    components: Sequence[str | None],
    layers: Sequence[int],
    classes: Sequence[Any],
) -> list[Check]:
    """Return a check of the least cosine among all directions of one kind, which names where it is."""
    known = {what: found for what, found in agreement.items() if np.isfinite(found).any()}
    if not known:
        return []
    least = np.fmin.reduce(list(known.values()))
    c, layer, column = map(int, np.unravel_index(int(np.nanargmin(least)), least.shape))
    worst = float(least[c, layer, column])
    told = [f"{np.nanmin(found):.2f} {AGREEMENT[what]}" for what, found in known.items()]
    text = f"the {kind} direction has a cosine of at least {', '.join(told)}"
    if worst >= KNOWN:
        return [Check(f"direction ({kind})", "green", worst, KNOWN, text)]
    where = [f"layer {layers[layer]}"]
    if len(components) > 1:
        where.append(str(components[c]))
    if least.shape[-1] > 1:
        where.append(f"class {classes[column]!r}")
    low, count = int((least < KNOWN).any(axis=-1).sum()), int(np.isfinite(least).any(axis=-1).sum())
    text += f" (least at {', '.join(where)}; under {KNOWN} in {low} of {count}), so it is not well known: "
    text += "take more samples"
    if classes and kind != "mean_difference":
        text += "; for steering take kind='mean_difference'"
    return [Check(f"direction ({kind})", "amber", worst, KNOWN, text)]
