"""Encoded or used? A direction is taken out of the stream, or added to it, and the output is watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.metrics import Metric, Reading, logit_diff, require_metric
from resid_widgets.analysis.probing.causal_result import CausalTest, Changed, causal_result
from resid_widgets.analysis.sweeps.sweep import Cell, StoppedError, run_cells, sweeping
from resid_widgets.errors import InputError
from resid_widgets.interventions import Intervention, add, project_out
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import as_model
from resid_widgets.models.progress import ending_bars
from resid_widgets.models.reuse.edits import edit_for
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.runs.run import Run, run
from resid_widgets.prompts import read
from resid_widgets.sites import RESIDUAL, Site
from resid_widgets.whole import is_whole, several_whole, whole_number


@ending_bars()
@plain_state()
def causal_test(
    model: Any,
    prompts: Any,
    metric: Any = None,
    *,
    component: Any,
    layer: Any,
    direction: Float[NDArray, " d_model"],
    encoded: bool = True,
    alpha: Any = 0.5,
    pos: Any = -1,
    seeds: Any = tuple(range(10)),
    bos: bool | None = None,
    progress: Any = True,
) -> CausalTest:
    """Take a direction out of the stream and add it, prompt by prompt, beside random directions.

    ``erase`` projects the direction out (`resid_widgets.project_out`); ``add`` and ``subtract`` move the stream along
    it by `alpha` times the median norm of the site (`resid_widgets.add`). Each random direction is orthogonal to the
    probe's, and moves each prompt's stream exactly as far as the probe's does.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.
    prompts
        Prompts of any kind that `resid_widgets.collect` takes, or pairs of a task, whose clean prompts are taken; or a
        task, which has pairs.
    metric
        From `resid_widgets.logit_diff` and the like. For pairs by default the logit difference of answer and foil.
    component, layer, pos
        The site: where the direction was found. `pos` None means every position; labelled prompts bring their own.
    direction
        Unit vector in stream coordinates.
    encoded
        Whether the probe beat chance there.
    alpha
        Length that is added, as a share of the median norm of the site over the prompts.
    seeds
        One random direction each.
    bos, progress
        As in `resid_widgets.run`, `resid_widgets.ablation_sweep`.

    Raises
    ------
    InputError
        If something is missing or does not fit the model.
    UnsupportedModelError
        If writing the site would not reach the model's computation.

    Notes
    -----
    Elazar et al. 2021 (amnesic probing); Ravichander et al. 2021 (encoded is not used).
    """
    if model is None:
        raise InputError.about("model", model, "these activations know no model", "Give model=.")
    model = as_model(model)
    if component not in RESIDUAL:
        rule = f"the component that was probed must be one of {', '.join(RESIDUAL)}"
        raise InputError.about("component", component, rule, "For plain arrays, name it: component='resid_post'.")
    if len(direction) != model.d_model:
        rule = f"the model's stream has {model.d_model} dimensions"
        raise InputError.about("direction", f"{len(direction)} dimensions", rule, "Probe this model's stream.")
    if getattr(alpha, "ndim", None) == 0 and hasattr(alpha, "item"):
        alpha = alpha.item()
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < np.inf:
        raise InputError.about("alpha", alpha, "a positive number is needed", "0.5 is half the median norm.")
    items = several_whole(seeds)
    items = (seeds,) if items is None else items
    seeds = tuple(whole_number("seeds", seed, 0, 2**32 - 1, "range(10) is the default.") for seed in items)
    if len(seeds) < 3:
        raise InputError.about("seeds", seeds, "three random directions are the least", "Use range(10).")
    texts, places, metrics = _cases(prompts, metric, pos)
    tracker = sweeping(progress, unit="prompt")
    tracker.total = tracker.parts = len(texts)

    def case(n: int) -> tuple[Run, Reading, Site]:
        base = run(model, texts[n], keep=list({component, "resid_post"}), bos=bos)
        place = None if places[n] is None else base.pos(places[n])
        return base, metrics[n].bound(base), Site(component, int(layer), place)

    norms = []  # a pass of its own, so that one prompt's run is held at a time
    for n in range(len(texts)):
        base, _, site = case(n)
        norms.append(np.linalg.norm(_stream(base, site), axis=1))
    length = alpha * float(np.median(np.concatenate(norms)))
    others = [_random(direction, seed) for seed in seeds]
    found: list[Changed] = []
    first = case(0)
    for n in range(len(texts)):
        base, reading, site = case(n) if n else first
        stream = _stream(base, site)
        wanted = [project_out(site, direction), add(site, direction, length), add(site, direction, -length)]
        cells = [Cell((k, 0), (edit_for(base, item),)) for k, item in enumerate(wanted)]
        for column, other in enumerate(others, start=1):
            moved = [_moved(base, site, stream @ direction, other), add(site, other, length), add(site, other, -length)]
            cells += [Cell((k, column), edits_of(base, item)) for k, item in enumerate(moved)]
        after = run_cells(engine_of(base, {component}), reading, cells, (3, 1 + len(seeds)), sweeping(False), None)
        found.append(Changed(after - reading.of_base(), reading.of_base(), reading.names, base.token_ids))
        try:
            tracker.advance(1, np.stack([each.changes for each in found]))
        except StoppedError:
            break
    return causal_result(found, *first, seeds, pos, direction, float(alpha), length, encoded, tracker)


def edits_of(base: Run, items: Intervention | tuple[Intervention, ...]) -> tuple[Any, ...]:
    """Return the edits of one or several interventions."""
    return tuple(edit_for(base, item) for item in (items if isinstance(items, tuple) else (items,)))


def _moved(base: Run, site: Site, along: NDArray[np.float64], other: NDArray[np.float64]) -> Any:
    """Move each position along a random direction as far as erasing the probe's direction would."""
    places = range(base.n_pos) if site.pos is None else (site.pos,)
    return tuple(
        add(Site(site.component, site.layer, place), other, float(-far))
        for place, far in zip(places, along, strict=True)
    )


def _stream(base: Run, site: Site) -> NDArray[np.float64]:
    whole = base.activation(site.component, site.layer).double().cpu().numpy()
    return whole if site.pos is None else whole[[site.pos]]


def _random(direction: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return a random unit vector orthogonal to the direction."""
    drawn = np.random.default_rng([seed, 4]).normal(size=len(direction))
    drawn -= (drawn @ direction) * direction
    return drawn / np.linalg.norm(drawn)


def _cases(prompts: Any, metric: Any, pos: Any) -> tuple[list[Any], list[Any], list[Metric]]:
    """Return what is run, where it is changed, and what is measured, one each."""
    pairs = getattr(prompts, "pairs", prompts)  # of a task
    items = list(pairs) if isinstance(pairs, Sequence) and not isinstance(pairs, str) else []
    paired = bool(items) and all(hasattr(item, "clean") for item in items)
    rule = "two prompts are the least, for an interval over them"
    remedy = "Give prompts=[...], or the pairs of a task."
    if prompts is None or isinstance(prompts, str) or is_whole(prompts) or (paired and len(items) < 2):
        raise InputError.about("prompts", prompts, rule, remedy)
    found = read("prompts", [item.clean for item in items] if paired else prompts).prompts
    if len(found) < 2:
        raise InputError.about("prompts", prompts, rule, remedy)
    texts: list[Any] = list(found)
    places = [None if pos is None else pos if given.place is None else given.place for given in found]
    if metric is None:
        if not paired:
            remedy = "For example rw.logit_diff(' are', ' is'), or give the pairs of a task."
            raise InputError.about("metric", metric, "a metric is needed for these prompts", remedy)
        return texts, places, [logit_diff(item.answer, item.foil) for item in items]
    metric = require_metric(metric)
    return texts, places, [metric.for_prompt(n, len(found)) for n in range(len(found))]
