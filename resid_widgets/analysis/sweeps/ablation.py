"""What some interventions do to a run: to a metric, to the next tokens, and to the whole stream downstream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.grid import GridResult, grid_array, visible_tokens, with_options
from resid_widgets.analysis.metrics import Metric, log_prob, require_metric
from resid_widgets.analysis.sweeps.intervention_code import intervention_code, write_script
from resid_widgets.colour import robust_scale
from resid_widgets.errors import InputError
from resid_widgets.interventions import Intervention, as_interventions
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.layers.shapes import one_shape
from resid_widgets.models.listing import listed
from resid_widgets.models.reuse.block_actions import Watch
from resid_widgets.models.reuse.blocks import joins_at
from resid_widgets.models.reuse.edits import edit_for, in_order
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.reuse.intervene import Report, report_checks
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Scale
from resid_widgets.tokens import visible
from resid_widgets.whole import whole_number

SHOWN = {
    "stream": "Change of the stream, relative to its norm. Red grew along its old direction, blue shrank.",
    "heads": "Change of each head's output at its most changed token, relative to its norm. Red grew, blue shrank.",
}
"""What can be drawn, and the sentence about it."""

ROUNDING = 1e-4

NAMED = 4
"""Interventions that a figure names before it says how many more there are."""

CAVEAT = "A small effect may mean that later layers repaired it."


@dataclass(frozen=True)
class NextToken:
    """One token's probability before and after."""

    token: str
    token_id: int
    before: float
    after: float


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Ablation(GridResult):
    """A run with interventions, beside the same run without.

    Attributes
    ----------
    values
        ``[layer, pos]`` of the stream, or ``[layer, head]``: ``sign((h' - h) . h) |h' - h| / |h|``.
    interventions
        What was done.
    metric, units
        What was measured, in words.
    before, after
        The metric without and with the interventions.
    top
        Likeliest next tokens, the likeliest of both runs first.
    shown
        Key of `SHOWN`.
    layers_run, tokens_run
        How much was computed again.
    seconds
        How long it took.
    """

    interventions: tuple[Intervention, ...]
    metric: str
    units: str
    before: float
    after: float
    top: tuple[NextToken, ...]
    shown: str
    layers_run: int
    tokens_run: int
    seconds: float

    @property
    def finding(self) -> str:
        """The interventions and the metric, for a figure that stands alone."""
        if not self.interventions:
            return f"Nothing changed: {self.metric} {self.before:.4g}."
        done = listed([str(item) for item in self.interventions], NAMED)
        return f"{done}: {self.metric} {self.before:.4g} → {self.after:.4g}."

    def save_code(self, path: str | Path) -> Path:
        """Write `code` as a script, with the arrays it reads (if any) as ``arrays.safetensors`` beside it.

        Returns the script's path.

        Raises
        ------
        InputError
            If the folder does not exist.
        """
        return write_script(path, self.script, self.interventions)


@plain_state()
def ablation(run: Any, interventions: Any, metric: Any = None, *, shown: str = "stream", top_k: Any = 5) -> Ablation:
    """Change some sites of a run and measure what follows.

    Only what can have changed is computed again, and gives the numbers of a full hooked run.

    Parameters
    ----------
    run
        From `resid_widgets.run`.
    interventions
        One, several or none; see `resid_widgets.intervene`.
    metric
        By default the log-probability of the token that is likeliest next in `run`.
    shown
        ``"stream"``: the change of ``resid_post`` by layer and token; ``"heads"``: that of each head's z.
    top_k
        How many next tokens are listed.

    Returns
    -------
    Ablation

    Raises
    ------
    InputError
        If an argument does not fit the run.
    UnsupportedModelError
        If a write would not reach the model's computation.
    """
    began = time.perf_counter()
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt).")
    top_k = whole_number("top_k", top_k, 0, 10**9, "5 is the default.")
    if run.base is not None:
        run, interventions = run.base, (*run.interventions, *as_interventions(interventions))
    if shown not in SHOWN:
        raise InputError.about("shown", shown, f"must be one of {', '.join(SHOWN)}", "'stream' is the default.")
    reading = (default_metric(run) if metric is None else require_metric(metric)).bound(run)
    items = as_interventions(interventions)
    reports = [Report(item) for item in items]
    edits = in_order(report.watched(edit_for(run, report.item)) for report in reports)
    engine = engine_of(run, {edit.component for edit in edits})
    component = "z" if shown == "heads" else "resid_post"
    watch = Watch({component})
    start, final = run.n_pos, run.activation("resid_post", run.model.n_layers - 1)
    if edits:
        ((row,),) = engine.rows([edits], watch=watch)
        start, final = row.start, torch.cat([final[: row.start], row.final])
    values = _changes(run, component, start, watch)
    after = float(reading.of_stream(final[list(reading.positions)][None])[0])
    what = "heads" if shown == "heads" else "stream"
    label = "relative change"
    return Ablation(
        values=_labelled(values, run, what, label),
        checks=(engine.check, *report_checks(reports), *reading.checks()),
        provenance=with_options(run.provenance, interventions=tuple(map(str, items)), metric=reading.label),
        component=component,
        scale=_scale(values, label),
        title="Ablation",
        sentence=f"{SHOWN[shown]} {CAVEAT}",
        tokens_visible=visible_tokens(run) if what == "stream" else tuple(f"head {n}" for n in range(values.shape[1])),
        marked=run.marked if what == "stream" else (),
        unknown=run.unknown if what == "stream" else (),
        script=intervention_code(run, items, reading, after),
        interventions=items,
        metric=reading.label,
        units=reading.units,
        before=reading.of_base(),
        after=after,
        top=_next_tokens(run, final, top_k),
        shown=shown,
        layers_run=run.model.n_layers - joins_at(edits) if edits else 0,
        tokens_run=run.n_pos - start,
        seconds=time.perf_counter() - began,
    )


def default_metric(run: Run) -> Metric:
    """Return the log-probability of the token that is likeliest next."""
    return log_prob(int(run.final_logits.argmax()))


def _changes(run: Run, component: str, start: int, watch: Watch) -> NDArray[np.float32]:
    """Return the relative change in each cell; 0 where nothing was computed again."""
    columns = (
        run.n_pos
        if component == "resid_post"
        else one_shape(run.model, "z", run.layers, 1, otherwise="Use shown='stream'.")[0]
    )
    values = np.zeros((run.model.n_layers, columns), dtype=np.float32)
    for (name, layer), new in watch.seen.items():
        if name == component and 0 <= layer < run.model.n_layers:
            change = _relative(run.activation(component, layer)[start:], new)
            if component == "z":  # at each head's most changed token
                change = change.gather(0, change.abs().argmax(dim=0, keepdim=True))[0]
                values[layer] = change.cpu().numpy()
            else:
                values[layer, start:] = change.cpu().numpy()
    return values


def _relative(old: Tensor, new: Tensor) -> Tensor:
    """Return ``|new - old| / |old|`` with the sign of the change along `old`."""
    old, difference = old.double(), new.double() - old.double()
    size = difference.norm(dim=-1) / old.norm(dim=-1).clamp_min(torch.finfo(torch.float64).tiny)
    return (torch.where((difference * old).sum(-1) < 0, -size, size)).float()


def _labelled(values: NDArray[np.float32], run: Run, what: str, label: str) -> Any:
    if what == "stream":
        return grid_array(values, run, name="change", long_name=label, units="")
    coords = {"layer": np.arange(values.shape[0]), "head": np.arange(values.shape[1])}
    return xr.DataArray(
        values, dims=("layer", "head"), coords=coords, name="change", attrs={"long_name": label, "units": ""}
    )


def _scale(values: NDArray[np.float32], label: str) -> Scale:
    """Centred on zero and at most from -1 to 1: a change as large as the vector itself has the full colour.

    At least from -`ROUNDING` to `ROUNDING`: what is only the order of a sum has no colour. Of both signs whatever came:
    the next click can change it, and a cell shall not change its colour with another's sign.
    """
    scale = robust_scale(values, (), signed=True, label=label, percentiles=(0.0, 100.0))
    high = min(1.0, max(-scale.low, scale.high, ROUNDING))
    size = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    return Scale("diverging", -high, high, bool((values < -high).any()), size > high, label, "")


def _next_tokens(run: Run, final: Tensor, top_k: int) -> tuple[NextToken, ...]:
    """Return the likeliest next tokens of both runs."""
    before = run.final_logits.double().softmax(-1).cpu()
    after = run.model.unembed(final[-1]).double().softmax(-1).cpu()
    chosen: Sequence[int] = torch.maximum(before, after).topk(min(top_k, len(before))).indices.tolist()
    names = run.model.token_strings(list(chosen))
    found = [
        NextToken(visible(name), i, float(before[i]), float(after[i])) for name, i in zip(names, chosen, strict=True)
    ]
    return tuple(sorted(found, key=lambda token: -token.before))
