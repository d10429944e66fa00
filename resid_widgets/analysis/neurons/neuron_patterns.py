"""What each neuron of a model answers to, over a set of prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from resid_widgets.analysis.code import boot_code
from resid_widgets.analysis.grid import with_options
from resid_widgets.analysis.neurons.collect import (
    Plan,
    alone_checks,
    collect_neurons,
    finite_checks,
    marked_check,
)
from resid_widgets.analysis.neurons.dataset import STATS, stat_checks, stats_of
from resid_widgets.analysis.neurons.prompts import Prompts, labelled_prompts
from resid_widgets.analysis.neurons.result import NeuronPatterns
from resid_widgets.analysis.neurons.weights import written_check
from resid_widgets.colour import robust_scale
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.components import offered_components
from resid_widgets.models.layers.shapes import one_shape
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.progress import ending_bars, reporter
from resid_widgets.models.prompt_list import read_prompts
from resid_widgets.models.runs.run import Run, run
from resid_widgets.models.token_checks import NAMES, token_checks
from resid_widgets.results import Provenance
from resid_widgets.sites import RESIDUAL
from resid_widgets.whole import is_whole, whole_number

COMPONENTS = ("mlp_post", *RESIDUAL)
SENTENCE = (
    "The {what} of each {unit} of {component} over {n} positions of {prompts} prompts. What a neuron answers to "
    "in these prompts need not be all that it answers to, nor what the model uses it for."
)


@ending_bars()
@plain_state()
def neuron_patterns(
    model: Any,
    prompts: object,
    *,
    component: str = "mlp_post",
    layers: object = None,
    neurons: object = None,
    labels: object = None,
    label_at: str = "position",
    stat: str = "max",
    threshold: Any = 0.0,
    top_k: Any = 10,
    context: Any = 8,
    bins: Any = 64,
    sample: Any = 256,
    bos: bool | None = None,
    seed: Any = 0,
    progress: Any = False,
) -> NeuronPatterns:
    """Find out what neurons answer to: one pass over prompts, whatever their number.

    Statistics are over all positions but the marked ones (see `resid_widgets.models.runs.result.Run.marked`): each
    prompt's first, and those whose stream is massive. They are exact, and of activations nothing that is held grows
    with the prompts (one number a prompt and neuron for AUROC, up to 256 MB, excepted).

    Parameters
    ----------
    model
        A ResidualModel or a TransformerBridge.
    prompts
        Strings, token ids, a tokenizer's output, labelled prompts, rows or a table, as in `resid_widgets.collect`.
    component
        ``"mlp_post"``, the MLP's neurons (what ``W_out`` multiplies), or a component of the stream, whose dimensions
        then count as neurons: resid_pre, resid_mid, resid_post, attn_out, mlp_out.
    layers, neurons
        Whole numbers, one or several; None for all. The same neurons of each layer.
    labels
        One a prompt: classes, each then taken against the rest, or numbers. Default: those of a task's prompts.
    label_at
        Which number stands for a prompt: the activation at its ``"position"`` (a task's own, else the last), the
        ``"mean"`` or the ``"max"`` over its unmarked positions. Correlations are Pearson's (with a class: the
        point-biserial) with one observation a prompt.
    stat
        Which statistic becomes `values`: max, min, mean, std, active, above, kurtosis.
    threshold
        In activation units; ``above`` is the share of positions above it.
    top_k, context
        How many of the largest and of the smallest activations are kept, and how many tokens to either side.
    bins
        Of each histogram, at most; from half to all of them are used.
    sample
        At most so many positions, of whole prompts drawn at random, of which all activations are kept.
    bos
        None follows the tokenizer's own default; True and False override it.
    seed
        Of the sample.
    progress
        True shows a bar where it takes more than two seconds. A function is called after each pass with the prompts
        done and in all; it may raise to stop.

    Returns
    -------
    NeuronPatterns
        ``.values`` is ``[layer, neuron]`` float32.

    Raises
    ------
    InputError
        If an argument is unknown, out of range or of no use, a layer has no neurons (a mixture of experts) or others
        as many, or what is to be kept would not fit in memory.
    """
    model = as_model(model)
    report = reporter(progress, "neurons", "prompt")
    component, plan_layers, plan_neurons = _rows(model, component, layers, neurons)
    if stat not in STATS:
        raise InputError.about("stat", stat, "there is no such statistic", f"Use one of {', '.join(STATS)}.")
    if label_at not in ("position", "mean", "max"):
        raise InputError.about("label_at", label_at, "there is no such rule", "Use 'position', 'mean' or 'max'.")
    if getattr(threshold, "ndim", None) == 0 and hasattr(threshold, "item"):
        threshold = threshold.item()
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not np.isfinite(threshold):
        raise InputError.about("threshold", threshold, "a finite number is needed", "It is in activation units.")
    plan = Plan(
        component=component,
        layers=plan_layers,
        neurons=plan_neurons,
        top_k=whole_number("top_k", top_k, 1, 1000, "10, say."),
        context=whole_number("context", context, 0, 1000, "8, say."),
        bins=whole_number("bins", bins, 4, 4096, "64, say."),
        sample=whole_number("sample", sample, 0, 10**7, "0 keeps no sample."),
        threshold=float(threshold),
        label_at=label_at,
        seed=whole_number("seed", seed, 0, 2**32 - 1, "Any whole number."),
    )
    entries = read_prompts(model, prompts, bos)
    read = labelled_prompts(entries, labels)
    if all(len(tokens.ids) < 2 for tokens in read.tokens):
        rule = "each has one token, and a prompt's first position is left out"
        raise InputError.about("prompts", prompts, rule, "Give longer prompts.")
    plan.require_memory(model, read)
    first = run(model, read.tokens[0].ids, keep=component)
    kept = collect_neurons(model, read, plan, first.provenance.weights_hash, report)
    if not kept.moments.n:
        raise InputError.about("prompts", prompts, "no position has finite activations", "Check the model.")
    stats = stats_of(kept)
    values = stats[stat].astype(np.float32).rename(stat)
    chosen = STATS[stat]
    written = (written_check(first, plan.layers),) if component == "mlp_post" else ()
    options = {
        "prompts": len(read.tokens), "component": component, "layers": plan.layers, "stat": stat, "top_k": plan.top_k,
        "context": plan.context, "bins": plan.bins, "sample": plan.sample, "threshold": plan.threshold,
        "label_at": label_at,
    }  # fmt: skip
    unit = "neuron" if component == "mlp_post" else "dimension"
    return NeuronPatterns(
        values=values,
        checks=(
            *(check for check in first.checks if check.name not in NAMES),
            *written,
            *token_checks(entries),
            *alone_checks(kept, first),
            marked_check(kept),
            *finite_checks(kept),
            *stat_checks(kept, stats),
        ),
        provenance=_provenance(first, read, options),
        stats=stats,
        component=component,
        stat=stat,
        prompts=read,
        model=model,
        scale=robust_scale(
            values.values, signed=chosen.signed, label=chosen.label, units=chosen.units, bounds=chosen.bounds
        ),
        title=f"Neurons · {chosen.label} · {component}",
        sentence=SENTENCE.format(
            what=chosen.label, unit=unit, component=component, n=kept.moments.n, prompts=len(read.tokens)
        ),
        kept=kept,
        boot=boot_code(first).rpartition("\n")[0],
    )


def _provenance(first: Run, read: Prompts, options: dict[str, Any]) -> Provenance:
    """Return the first run's provenance with the tokens of all prompts."""
    ids = tuple(i for tokens in read.tokens for i in tokens.ids)
    bos = ", ".join(dict.fromkeys(tokens.bos for tokens in read.tokens))
    return replace(with_options(first.provenance, **options), token_ids=ids, bos=bos)


def _rows(
    model: ResidualModel, component: object, layers: object, neurons: object
) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return component, layers and neurons, checked."""
    if not isinstance(component, str) or component not in COMPONENTS:
        raise InputError.about("component", component, "it has no neurons", f"Use one of {', '.join(COMPONENTS)}.")
    offered_components(model, (component,), by_default=False)
    chosen = _several("layers", layers, model.n_layers)
    (width,) = one_shape(model, component, chosen)
    return component, chosen, _several("neurons", neurons, width)


def _several(name: str, given: Any, n: int) -> tuple[int, ...]:
    if given is None:
        return tuple(range(n))
    one = not np.iterable(given) or isinstance(given, str)
    items = [given] if is_whole(given) or one else list(given)
    numbers = [whole_number(name, item, 0, n - 1, f"There are {n}.") for item in items]
    if not numbers or len(set(numbers)) != len(numbers):
        rule = "each may be there only once" if numbers else "it names none"
        raise InputError.about(name, given, rule, "Leave it out for all.")
    return tuple(sorted(numbers))
