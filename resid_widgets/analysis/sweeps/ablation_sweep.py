"""What a metric loses when each site in turn is ablated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from resid_widgets import interventions as ops
from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.metrics import require_metric
from resid_widgets.analysis.sweeps.cells import cells_of
from resid_widgets.analysis.sweeps.opening import Opening, lasting
from resid_widgets.analysis.sweeps.sweep import Cell, fixed, run_cells, sweeping, work_of
from resid_widgets.analysis.sweeps.sweep_code import ablation_code
from resid_widgets.analysis.sweeps.sweep_result import SweepResult, column_labels, sweep_array, sweep_scale
from resid_widgets.errors import InputError
from resid_widgets.interventions import Intervention
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.progress import ending_bars
from resid_widgets.models.reuse.edits import edit_for
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import Site

How = str | Callable[[Site], Intervention]
NAMED = ("zero", "mean", "resample", "noise")
SAYS = {
    "zero": "set to zero",
    "mean": "replaced by its mean",
    "resample": "replaced by its value on another prompt",
    "noise": "disturbed by noise",
}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AblationSweep(SweepResult):
    """Effect of ablating each site.

    Attributes
    ----------
    values
        The metric after the ablation minus before, in its own unit.
    raw
        The metric after.
    base
        The metric before.
    """

    base: float


@ending_bars()
@plain_state()
def ablation_sweep(
    run: Run,
    metric: Any,
    component: str = "resid_post",
    how: How = "mean",
    *,
    by: str | None = None,
    layers: Any = None,
    neurons: Any = None,
    progress: Any = True,
    stop: Callable[[], bool] | None = None,
    budget: Any = None,
    **options: Any,
) -> AblationSweep:
    """Ablate each site of a component in turn and measure what changes.

    Parameters
    ----------
    run
        From `resid_widgets.run`.
    metric
        From `resid_widgets.logit_diff`, `log_prob`, `kl_to_base` or `rank`.
    component
        resid_pre, resid_mid, resid_post, attn_out, mlp_out: one cell a layer and position; z, q, k, v, pattern: one a
        layer and head (all positions), or with ``by="head_pos"`` one a layer, position and head; mlp_post: one a layer
        and neuron, for chosen `layers`.
    how
        ``"zero"``, ``"mean"``, ``"resample"`` (needs ``source=``), ``"noise"`` (``sigma=``, ``seed=``); or a function
        that makes an intervention of a `Site`, for example ``lambda site: rw.clamp(site, -1, 1)``.
    by, layers, neurons
        Which cells, see above.
    progress
        True shows a bar; a function is called with a `resid_widgets.analysis.sweeps.sweep.Progress` after each wave of
        cells, and stops the sweep by returning False.
    stop
        Asked often; True stops the sweep, which then gives what it has.
    budget
        Bytes that may be in use at once; a quarter of what is free by default.
    **options
        Of the ablation: ``over=``, ``source=``, ``seed=``, ``sigma=``.

    Returns
    -------
    AblationSweep
        ``.values`` after minus before, ``.raw`` after, ``.base`` before.

    Raises
    ------
    InputError
        If an argument is unknown or does not fit the run.
    UnsupportedModelError
        If writing the component would not reach the model's computation.
    """
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt).")
    make = _maker(how, options)
    tracker = sweeping(progress, stop)
    reading = require_metric(metric).bound(run)
    cells = cells_of(run.model, component, run.n_pos, by, layers, neurons)
    origin = run if run.base is None else run.base
    engine = engine_of(run, {component})
    lean = not engine.background
    items, made = {}, []
    for index, site in cells:
        item = make(site)
        made.append(Cell(index, fixed(origin, edit_for(origin, item), lean)))
        items[index] = lasting(item)
    tracker.total = work_of(engine, made)
    raw = run_cells(engine, reading, made, cells.shape, tracker, budget)
    base = reading.of_base()
    values = raw - base
    tokens = {"token": tuple(run.tokens)}
    label = f"change of {reading.label}"
    named = how if isinstance(how, str) else "ablation"
    idle = sum(not cell.edits for cell in made)
    return AblationSweep(
        values=sweep_array(values, cells, tokens, name="effect", long_name=label, units=reading.units),
        raw=sweep_array(raw, cells, tokens, name="metric", long_name=reading.label, units=reading.units),
        base=base,
        checks=(engine.check, *reading.checks(), *tracker.check(raw)),
        provenance=with_options(
            run.provenance, sweep="ablation", component=component, how=named, metric=reading.label, idle_cells=idle
        ),
        component=component,
        scale=sweep_scale(values, label, reading.units),
        title=f"Ablation · {named} · {component}",
        sentence=(
            f"How much {reading.label} (now {base:.3g}) changes when one {_cell_word(cells.dims)} of {component} is "
            f"{SAYS.get(named, 'changed')}. A small change may mean that later layers repaired it."
        ),
        tokens_visible=column_labels(cells, tuple(run.tokens)),
        marked=run.marked if cells.dims[1] == "pos" else (),
        unknown=run.unknown if cells.dims[1] == "pos" else (),
        script=ablation_code(run, reading, cells, named, options),
        metric=reading.label,
        cells=cells,
        opening=None
        if None in items.values()
        else Opening(
            tuple(run.token_ids),
            reading.metric,
            tuple(run.interventions),
            {index: (item,) for index, item in items.items() if item is not None},
            f"One cell of the sweep “{named} · {component}”.",
        ),
    )


def _cell_word(dims: tuple[str, ...]) -> str:
    return {"pos": "position", "neuron": "neuron"}.get(dims[-1], "head")


def _made_by(how: Callable[[Site], Any], site: Site) -> Intervention:
    """Return what a user's function makes of a site, after checking that it is one intervention of that site."""
    made = how(site)
    if not isinstance(made, Intervention) or made.site != site:
        rule = f"a function of a site makes one intervention of that site, here {site}"
        raise InputError.about("how", made, rule, "For example how=lambda site: rw.clamp(site, -1.0, 1.0).")
    return made


def _maker(how: How, options: dict[str, Any]) -> Callable[[Site], Intervention]:
    """Return what makes an intervention of a site."""
    if callable(how):
        if options:
            name = next(iter(options))
            raise InputError.about(name, options[name], "a function has its options already", "Give them in it.")
        return partial(_made_by, how)
    if how not in NAMED:
        remedy = f"Use one of {', '.join(NAMED)}, or a function that makes an intervention of a Site."
        raise InputError.about("how", how, "there is no such ablation", remedy)
    constructor = getattr(ops, how)
    allowed = {"zero": (), "mean": ("over",), "resample": ("source", "seed"), "noise": ("sigma", "seed")}[how]
    for name, value in options.items():
        if name not in allowed:
            rule = f"{how} has {'no options' if not allowed else 'only ' + ', '.join(allowed)}"
            raise InputError.about(name, value, rule, "Leave it out.")
    if how == "resample" and "source" not in options:
        raise InputError.about("source", None, "resampling needs a source", "Give a prompt or several: source=...")
    made: dict[str, Intervention] = {}

    def make(site: Site) -> Intervention:
        if site.component not in made:  # its prompts are read once
            made[site.component] = constructor(site, **options)
        return replace(made[site.component], site=site)

    return make
