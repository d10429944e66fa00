"""From a split of some rows to the result: means over positions and prompts, labels, and the checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.contributions.parts import Parts
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.grid import visible_tokens
from resid_widgets.analysis.intervals import mean_of
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check, Provenance


def contributions(
    parts: Parts,
    prompts: Sequence[int],
    bias: Float[NDArray, " row"],
    total: Float[NDArray, " row"],
    *,
    run: Run,
    by: str,
    label: str,
    units: str,
    checks: Sequence[Check],
    provenance: Provenance,
    title: str,
    sentence: str,
    script: str,
) -> Contributions:
    """Return the result; a prompt's numbers are the means over its rows.

    Parameters
    ----------
    prompts
        Which prompt each row is of.
    run
        Of the first prompt.
    """
    count = max(prompts) + 1
    each, totals = _by_prompt(parts.values, prompts), _by_prompt(total, prompts)
    biases, sums = _by_prompt(bias, prompts), _by_prompt(parts.sum, prompts)
    tokens = visible_tokens(run) if by == "source" and count == 1 else ()
    coords: dict[str, Any] = dict(parts.coords)
    if tokens:
        coords["token"] = ("pos", np.array(tokens, dtype=object))
    about = {"long_name": f"contribution to {label}", "units": units}

    def labelled(data: NDArray[Any], *lead: str) -> xr.DataArray:
        numbers = {name: range(len(data)) for name in lead}
        return xr.DataArray(
            data, dims=(*lead, *parts.dims), coords={**numbers, **coords}, name="contribution", attrs=about
        )

    over = mean_of(each)
    whole = f"parts + bias = {label}" if units else "parts = what stands along it"
    more = {name: labelled(getattr(over, name)) if count > 1 else None for name in ("spread", "low", "high")}
    rest = {name: float(_by_prompt(value, prompts).mean()) for name, value in parts.rest.items()}
    return Contributions(
        values=labelled(over.mean),
        rest=xr.DataArray(
            np.array(list(rest.values()), dtype=np.float64),
            dims="component",
            coords={"component": np.array(list(rest), dtype=object)},
            name="contribution",
            attrs=about,
        ),
        bias=float(biases.mean()),
        total=float(totals.mean()),
        by=by,
        label=label,
        prompts=labelled(each, "prompt") if count > 1 else None,
        totals=xr.DataArray(
            totals, dims="prompt", coords={"prompt": range(count)}, attrs={**about, "long_name": label}
        ),
        tokens_visible=tokens,
        checks=(*checks, _sum_check(parts, prompts, sums + biases, totals, whole, run), *_inside_check(parts, by, run)),
        provenance=provenance,
        title=title,
        sentence=sentence,
        script=script,
        **more,
    )


def _by_prompt(rows: Float[NDArray, "row ..."], prompts: Sequence[int]) -> Float[NDArray, "prompt ..."]:
    """Return the means over each prompt's rows."""
    of = np.asarray(prompts)
    return np.stack([rows[of == n].mean(axis=0) for n in range(max(prompts) + 1)])


def _sum_check(
    parts: Parts,
    prompts: Sequence[int],
    sums: Float[NDArray, " prompt"],
    totals: Float[NDArray, " prompt"],
    whole: str,
    run: Run,
) -> Check:
    """Hold the sum of all parts against what the model gives, relative to the largest of its terms."""
    inside = np.nan_to_num(parts.values.reshape(len(parts.values), -1))
    terms = np.stack([np.abs(inside).max(axis=1), *(np.abs(value) for value in parts.rest.values())]).max(axis=0)
    sizes = np.maximum(_by_prompt(terms, prompts), np.abs(totals))
    gap = float((np.abs(sums - totals) / np.where(sizes > 0, sizes, 1.0)).max())
    return Check.gap("parts add up", gap, run.model.gap_limit, whole)


def _inside_check(parts: Parts, by: str, run: Run) -> list[Check]:
    if not parts.opened:
        return []
    gap = max(each.gap for each in parts.opened.values())
    text = "neurons = what the MLP adds" if by == "neuron" else "heads + bias = what attention adds"
    return [Check.gap("inside adds up", gap, run.model.gap_limit, text)]
