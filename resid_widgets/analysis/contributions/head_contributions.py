"""What each head adds to the stream, beside what becomes of an answer without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from resid_widgets.analysis.contributions.direct_logit_attribution import require_linear
from resid_widgets.analysis.contributions.direction import logit_directions
from resid_widgets.analysis.contributions.given import given
from resid_widgets.analysis.contributions.heads_code import heads_code
from resid_widgets.analysis.contributions.heads_result import HeadContributions, told
from resid_widgets.analysis.contributions.rows import rows_of_runs
from resid_widgets.analysis.contributions.split import along_inside
from resid_widgets.analysis.contributions.sublayer import block_modules
from resid_widgets.analysis.contributions.written import Written, written_by_heads
from resid_widgets.analysis.grid import visible_tokens, with_options
from resid_widgets.analysis.metrics import Metric
from resid_widgets.analysis.sweeps.ablation_sweep import AblationSweep, ablation_sweep
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.components import require_offered
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.reuse.edits import unmarked
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check

HOW = {"zero": "set to zero", "mean": "replaced by its mean"}


@plain_state()
def head_contributions(
    run: Any,
    metric: Any = None,
    how: Any = "zero",
    *,
    progress: Any = True,
    stop: Callable[[], bool] | None = None,
) -> HeadContributions:
    """Measure what each head adds to the stream at each position, and what it does for an answer.

    Its direct effect is what it writes along the direction that the answer reads from the final stream. Its causal
    effect is what the answer loses without it, in an exact run. They differ by what later layers make of it: where the
    loss is smaller, others have stepped in (self-repair, McGrath et al. 2023); else it acts through them.

    Parameters
    ----------
    run
        From `resid_widgets.run` or `intervene`.
    metric
        One that is linear in the logits, see `resid_widgets.direct_logit_attribution`; None for the writes alone.
    how
        What takes the place of a head, at all positions, and what its direct effect is counted from: ``"zero"``, or
        ``"mean"`` over the unmarked positions of the run.
    progress, stop
        As in `resid_widgets.ablation_sweep`.

    Returns
    -------
    HeadContributions
        ``.values`` are the lengths of what is written, ``[layer, head, pos]``; ``.heads`` is a dataset of all.

    Raises
    ------
    InputError
        If an argument does not fit the run, or the metric is not linear in the logits.
    UnsupportedModelError
        If a layer's heads are not all of what its attention writes, or writing them would not reach the computation.
    """
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt).")
    if not isinstance(how, str) or how not in HOW:
        raise InputError.about("how", how, "there is no such ablation here", f"Use one of {', '.join(HOW)}.")
    model = run.model
    require_offered(model, "z")
    layers = layers_with(model, "z")
    checks: list[Check] = list(run.checks)
    asked = None if metric is None else require_linear(metric)
    sweep: AblationSweep | None = None
    if asked is not None:
        sweep = ablation_sweep(run, asked, "z", how, layers=layers, progress=progress, stop=stop)
        checks += [check for check in sweep.checks if check.name not in {each.name for each in checks}]
    modules = block_modules(model)
    writes = {layer: written_by_heads(run, layer, modules) for layer in layers}
    gap = max(each.sublayer.gap for each in writes.values())
    checks.append(Check.gap("heads = attention", gap, model.gap_limit, "heads + bias = what attention adds"))
    if any(each.source is None for each in writes.values()):
        text = "sources are not told: something stands between values and heads, such as a gate or a norm"
        checks.append(Check("sources", "amber", None, None, text))
    heads = _dataset(run, layers, writes)
    label = ""
    if sweep is not None and asked is not None:
        direct = _direct(run, asked, layers, how, heads.sizes["head"])
        causal = -sweep.values.values
        heads["direct"], heads["causal"] = (("layer", "head"), direct), (("layer", "head"), causal)
        heads["indirect"] = (("layer", "head"), causal - direct)
        heads["reading"] = (("layer", "head"), told(direct, causal))
        label = sweep.metric
    return HeadContributions(
        values=heads["norm"].assign_attrs(long_name="length of what a head writes", units=""),
        checks=tuple(checks),
        provenance=with_options(run.provenance, method="head_contributions", metric=label or None, how=how),
        heads=heads,
        label=label,
        how=how,
        base=None if sweep is None else sweep.base,
        tokens_visible=visible_tokens(run),
        title=f"Head contributions{f' · {label}' if label else ''}",
        sentence=_sentence(label, how),
        script=heads_code(run, {layer: each.sublayer for layer, each in writes.items()}, _EFFECTS if label else ""),
    )


_EFFECTS = (
    "# Direct effects: rw.direct_logit_attribution(run, metric, by='head').code(). Causal effects, with their sign "
    "turned:\n# rw.ablation_sweep(run, metric, 'z', how).code()."
)


def _sentence(label: str, how: str) -> str:
    if not label:
        return "How much each head adds to the stream at each position. A long write need not matter to any answer."
    gone = HOW[how]
    return (
        f"What each head writes directly into {label}, beside what that loses when the head is {gone}. The difference "
        "is what later layers make of the head: self-repair where they make up for it, an indirect effect where not."
    )


def _dataset(run: Run, layers: tuple[int, ...], writes: dict[int, Written]) -> xr.Dataset:
    widest = max(each.norm.shape[0] for each in writes.values())
    shape = (len(layers), widest, run.n_pos)

    def whole(name: str, missing: float = np.nan) -> NDArray[np.float64]:
        array = np.full(shape, missing)
        for place, layer in enumerate(layers):
            found = getattr(writes[layer], name)
            if found is not None:
                array[place, : found.shape[0]] = found
        return array

    names = {"norm": np.nan, "share": np.nan, "cosine": np.nan, "source": -1.0, "source_share": np.nan}
    variables = {name: (("layer", "head", "pos"), whole(name, missing)) for name, missing in names.items()}
    coords = {
        "layer": list(layers),
        "head": list(range(widest)),
        "pos": list(range(run.n_pos)),
        "token": ("pos", np.array(visible_tokens(run), dtype=object)),
    }
    made = xr.Dataset(variables, coords)
    made["source"] = made["source"].astype(int)
    return made


def _direct(run: Run, metric: Metric, layers: tuple[int, ...], how: str, widest: int) -> NDArray[np.float64]:
    """Return the direct effect of each head, counted from what takes its place."""
    of = given(run, None, None, metric)
    rows = rows_of_runs([run], of.positions)
    end = rows.at("resid_post", run.model.n_layers - 1)
    read = logit_directions(run.model, end, [of.weights[0]] * len(rows), of.label)
    found = np.full((len(layers), widest), np.nan)
    with run.model.lock, without_foreign_hooks(run.model):
        opened = [along_inside(rows, "attn_out", layer, read.vectors) for layer in layers]
    for place, (layer, inside) in enumerate(zip(layers, opened, strict=True)):
        effects = inside.values
        if how == "mean":
            origin = run if run.base is None else run.base
            mean = origin.activation("z", layer)[unmarked(origin)].double().mean(dim=0)
            effects = effects - (inside.weights * mean).sum(-1).cpu().numpy()
        found[place, : effects.shape[1]] = effects.mean(axis=0)
    return found
