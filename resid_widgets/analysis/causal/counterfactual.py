"""Counterfactual prompts: what an edit of the prompt changes in the output, and where in the stream the runs part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.causal.causal_code import counterfactual_code
from resid_widgets.analysis.causal.edited_prompts import alignment_check, counterparts_of, edited_prompts
from resid_widgets.analysis.grid import (
    GridResult,
    check_component,
    grid_array,
    visible_tokens,
    with_options,
)
from resid_widgets.analysis.metrics import Reading, require_metric
from resid_widgets.analysis.sweeps.ablation import NextToken, default_metric
from resid_widgets.colour import robust_scale
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import as_model
from resid_widgets.models.runs.run import Run, run
from resid_widgets.results import Result, in_title
from resid_widgets.tokens import visible
from resid_widgets.whole import whole_number


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CounterfactualCase(GridResult):
    """One edited prompt beside the prompt as it was.

    Attributes
    ----------
    values
        ``[layer, pos]``: ``|h' - h| / |h|`` at each position of the prompt; NaN where it has no counterpart.
    cosine
        ``[layer, pos]``: cosine of h and h'.
    edit
        What was edited, in words.
    token_ids
        Of the edited prompt.
    tokens_edited
        Their text, visible.
    counterparts
        For each position of the prompt that of the edited one, or None.
    before, after
        The metric on the prompt and on the edited one.
    kl
        KL(prompt || edited prompt) of the next token, in nats.
    top
        Likeliest next tokens of both, the likeliest before first.
    """

    cosine: xr.DataArray
    edit: str
    token_ids: tuple[int, ...]
    tokens_edited: tuple[str, ...]
    counterparts: tuple[int | None, ...]
    before: float
    after: float
    kl: float
    top: tuple[NextToken, ...]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Counterfactual(Result):
    """Several edits of one prompt, side by side.

    Attributes
    ----------
    values, cosine
        ``[edit, layer, pos]``: those of each case.
    cases
        One for each edit.
    metric
        What was measured, in words.
    """

    cosine: xr.DataArray
    cases: tuple[CounterfactualCase, ...]
    metric: str

    def summary(self) -> Any:
        """Return one row an edit, as a pandas.DataFrame: the metric before and after, KL, likeliest next tokens."""
        import pandas as pd

        rows = []
        for case in self.cases:
            likeliest = [max(case.top, key=lambda token: getattr(token, side)).token for side in ("before", "after")]
            rows.append((case.edit, case.before, case.after, case.kl, *likeliest))
        return pd.DataFrame(rows, columns=["edit", "before", "after", "kl", "top before", "top after"])

    def code(self) -> str:
        """Return the scripts of all cases, one after the other."""
        return "\n\n".join(f"# {case.edit}\n{case.code()}" for case in self.cases)


@plain_state()
def counterfactual(
    source: Any,
    prompt: Any = None,
    edits: Any = (),
    *,
    metric: Any = None,
    component: str = "resid_post",
    top_k: Any = 5,
    bos: bool | None = None,
) -> Counterfactual:
    """Run a prompt and edited copies of it, and compare.

    Parameters
    ----------
    source
        A ResidualModel or a bare TransformerBridge; or a Run, whose prompt is then taken.
    prompt
        A prompt of any kind that `resid_widgets.run` takes; None for a Run.
    edits
        One or several: `resid_widgets.swap`, `change_number`, `negate`, or the edited prompt itself (a string or token
        ids).
    metric
        Read in each run; by default the log-probability of the token that is likeliest next on the prompt.
    component
        Whose vectors are compared: resid_pre, resid_mid, resid_post, attn_out or mlp_out.
    top_k
        How many next tokens are listed.
    bos
        As in `resid_widgets.run`.

    Returns
    -------
    Counterfactual
        ``.cases``, ``.values`` and ``.cosine`` ``[edit, layer, pos]``, ``.summary()``.

    Raises
    ------
    InputError
        If there is no edit, an edit changes nothing or does not fit the text, or an argument is none.

    Notes
    -----
    Prompts of equal length are compared position by position. Of others, the longest common beginning and the longest
    common end of the tokens are aligned, and what is between has no counterpart.
    """
    base = _base_run(source, prompt, bos)
    component = check_component(base, component)
    top_k = whole_number("top_k", top_k, 1, base.model.d_vocab, "5 is the default.")
    reading = (default_metric(base) if metric is None else require_metric(metric)).bound(base)
    rewritten = edited_prompts(base, prompt, edits)
    options = base.provenance.options
    cases = []
    for name, ids in rewritten:
        other = run(base.model, ids, keep=base.components, allow_hooks=options["allow_hooks"])
        cases.append(_case(base, other, name, reading, component, top_k))
    stacked = [xr.concat([getattr(case, name) for case in cases], dim="edit", join="override")
               for name in ("values", "cosine")]  # fmt: skip
    values, cosine = (each.assign_coords(edit=[case.edit for case in cases]) for each in stacked)
    return Counterfactual(
        values=values,
        cosine=cosine,
        checks=tuple(dict.fromkeys(check for case in cases for check in case.checks)),
        provenance=with_options(base.provenance, edits=tuple(case.edit for case in cases), metric=reading.label),
        cases=tuple(cases),
        metric=reading.label,
    )


def _base_run(source: Any, prompt: Any, bos: bool | None) -> Run:
    if isinstance(source, Run):
        if prompt is not None:
            raise InputError.about("prompt", prompt, "a Run has its prompt", "Leave it out, or give the model instead.")
        return source
    model = as_model(source)
    if prompt is None:
        raise InputError.about("prompt", prompt, "a prompt is needed", "Give a string or token ids.")
    return run(model, prompt, bos=bos)


def _case(base: Run, other: Run, name: str, reading: Reading, component: str, top_k: int) -> CounterfactualCase:
    places = counterparts_of(base.token_ids, other.token_ids)
    distance, cosine = _distances(base, other, component, places)
    before, after = reading.of_base(), _elsewhere(reading, other)
    logs = [each.final_logits.double().log_softmax(-1) for each in (base, other)]
    kl = float((logs[0].exp() * (logs[0] - logs[1])).sum())
    label = "distance relative to the norm"
    found = alignment_check(base, other, places)
    return CounterfactualCase(
        values=grid_array(distance, base, name="distance", long_name=label, units=""),
        cosine=grid_array(cosine, base, name="cosine", long_name="cosine of the two vectors", units=""),
        checks=(found, *(check for each in (base, other) for check in each.checks if check.level != "green")),
        provenance=with_options(
            base.provenance, edit=name, component=component, metric=reading.label, edited_token_ids=other.token_ids
        ),
        component=component,
        scale=robust_scale(distance, base.marked, signed=False, label=label, bounds=(0.0, None)),
        title=f"Counterfactual · {in_title(name)}",
        sentence=(
            f"How far {component} is from where it was. {reading.label} goes from {before:.3g} to {after:.3g}, "
            f"KL {kl:.3g} nats. A distance says that the runs part there, not that the output depends on it."
        ),
        tokens_visible=_columns(base, other, places),
        marked=base.marked,
        unknown=base.unknown,
        script=counterfactual_code(base, other, component, places),
        edit=name,
        token_ids=other.token_ids,
        tokens_edited=visible_tokens(other),
        counterparts=places,
        before=before,
        after=after,
        kl=kl,
        top=_top(base, logs, top_k),
    )


def _distances(
    base: Run, other: Run, component: str, places: Sequence[int | None]
) -> tuple[Float[NDArray, "layer pos"], Float[NDArray, "layer pos"]]:
    """Return relative distance and cosine at each layer and position, NaN where there is no counterpart."""
    found = np.full((2, base.model.n_layers, base.n_pos), np.nan, dtype=np.float32)
    here = [pos for pos, place in enumerate(places) if place is not None]
    there = [place for place in places if place is not None]
    for layer in base.layers:
        old, new = base.tensor(component, layer)[here].double(), other.tensor(component, layer)[there].double()
        sizes = old.norm(dim=-1), new.norm(dim=-1)
        found[0, layer, here] = ((new - old).norm(dim=-1) / sizes[0]).cpu().numpy()
        found[1, layer, here] = ((new * old).sum(-1) / (sizes[0] * sizes[1])).cpu().numpy()
    return found[0], found[1]


def _elsewhere(reading: Reading, other: Run) -> float:
    """Return the metric of another run, whose positions may be counted otherwise."""
    final = other.activation("resid_post", other.model.n_layers - 1)
    positions = [other.pos(pos) for pos in reading.metric.pos]
    return float(reading.of_stream(final[positions][None])[0])


def _columns(base: Run, other: Run, places: Sequence[int | None]) -> tuple[str, ...]:
    """Return what stands under each column: both tokens where they differ."""
    names, edited = visible_tokens(base), visible_tokens(other)
    pairs = zip(names, places, strict=True)
    return tuple(a if place is None or edited[place] == a else f"{a}/{edited[place]}" for a, place in pairs)


def _top(base: Run, logs: Sequence[Float[Tensor, " d_vocab"]], top_k: int) -> tuple[NextToken, ...]:
    """Return the likeliest next tokens of either prompt."""
    before, after = (each.exp().cpu() for each in logs)
    chosen = torch.maximum(before, after).topk(min(top_k, len(before))).indices.tolist()
    names = base.model.token_strings(chosen)
    found = [
        NextToken(visible(name), i, float(before[i]), float(after[i])) for name, i in zip(names, chosen, strict=True)
    ]
    return tuple(sorted(found, key=lambda token: -token.before))
