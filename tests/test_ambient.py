"""Whatever state a notebook has put torch in: the same numbers, and afterwards the state is what it was.

Every name that the package offers is either called here, in each state, or said to compute nothing.
"""

from __future__ import annotations

import ast
import random
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, is_dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import resid_widgets as rw
from resid_widgets.models.ambient import plain_pass, plain_state

PACKAGE = Path(rw.__file__).parent
CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"
METRIC = rw.logit_diff(" Mary", " John")
SITE = rw.Site("resid_post", 1, pos=5)
QUIET = {"progress": False}
RUNS: dict[Any, Any] = {}
MODELS: dict[str, Any] = {}
PLAIN: dict[str, Any] = {}

# --- what is called ---------------------------------------------------------------------------------------------------


def run_of(model: Any) -> Any:
    if model not in RUNS:
        RUNS[model] = rw.run(model, CLEAN)
    return RUNS[model]


def edited(item: Any) -> Callable[[Any], Any]:
    return lambda model: rw.intervene(run_of(model), [item])


def measured(metric: Any) -> Callable[[Any], Any]:
    return lambda model: rw.ablation(run_of(model), [rw.zero(SITE)], metric)


def rewritten(edit: Any) -> Callable[[Any], Any]:
    return lambda model: edit.apply("Mary sees the dogs of John")


def stored(model: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        rw.collect(model, [CLEAN, CORRUPT], store=f"{folder}/store", **QUIET)
        return rw.open_activations(f"{folder}/store", model).values.load()


def patterns(model: Any) -> Any:
    found = rw.neuron_patterns(model, [CLEAN, CORRUPT, "The dog sees the old picture"], labels=[0, 1, 1], top_k=3)
    more = found.logit_effect(1, 2, k=3), found.top("max", k=3), found.read(1, 2), found.activations_of(CORRUPT, 1, 2)
    return [found, found.histogram(1, 2), *more]


def probed(model: Any) -> Any:
    task = rw.tasks.load("agreement", model, n=24)
    found = rw.probe((model, task.prompts), layers=[1, 2], folds=2, seeds=[0], penalties=[0.1, 1.0], **QUIET)
    tested = found.causal_test(2, prompts=task.pairs[:3], seeds=range(3), **QUIET)
    return [found, found.direction(2), tested]


def drawn(make: Callable[[Any], Any], at: dict[str, int] | None = None, **change: Any) -> Callable[[Any], Any]:
    def call(model: Any) -> Any:
        widget = make(model)
        try:
            if change:
                widget.change(**change)
            widget.select(**at) if at else widget.select(1, 2)
            return [widget.result, str(widget.details)]
        finally:
            widget.close()

    return call


def opened(model: Any) -> Any:
    widget = rw.AttentionExplorer(run_of(model), METRIC)
    try:
        widget.select(layer=2, head=1, pos=9, key_pos=4)
        widget.ablate(0, 3)
        return [widget.result, str(widget.details), str(widget.summary["now"])]
    finally:
        widget.close()


def linked(model: Any) -> Any:
    run = run_of(model)
    widgets = rw.ActivationHeatmap(run), rw.LogitLensHeatmap(run)
    link = rw.link(*widgets)
    widgets[0].select(1, 2)
    link.unlink()
    selected = [(w.layer, w.pos) for w in widgets]
    for widget in widgets:
        widget.close()
    return selected


def curves(model: Any) -> Any:
    x = {n: rw.collect(model, [CLEAN, CORRUPT] * 6, positions="all", layers=[n], **QUIET).matrix(n) for n in (1, 2)}
    labels = np.arange(len(x[1])) % 2
    widget = rw.ProbeCurves(rw.probe(x, labels=labels, folds=2, seeds=[0], penalties=[1.0], **QUIET))
    try:
        return widget.result
    finally:
        widget.close()


def attribution(model: Any) -> Any:
    return rw.patch_sweep(model, CLEAN, CORRUPT, METRIC, component="z", method="attribution", **QUIET)


CALLS: dict[str, Callable[[Any], Any]] = {
    "load_model": lambda model: run_of(rw.load_model(**QUIET)),
    "run": lambda model: rw.run(model, CLEAN, keep=["resid_mid", "z", "pattern", "mlp_post", "logits"]),
    "capabilities": rw.capabilities,
    "intervene": edited(rw.patch(SITE, CORRUPT)),
    "collect": lambda model: rw.collect(model, [CLEAN, CORRUPT], ["resid_mid", "mlp_out"], "all", **QUIET),
    "open_activations": stored,
    "activation_map": lambda model: rw.activation_map(run_of(model), stat="norm"),
    "logit_lens": lambda model: rw.logit_lens(run_of(model), targets=[" Mary"]),
    "ablation": lambda model: rw.ablation(run_of(model), [rw.zero(rw.Site("z", 2, head=0))], METRIC),
    "ablation_sweep": lambda model: rw.ablation_sweep(run_of(model), METRIC, "z", **QUIET),
    "patch_sweep": lambda model: [
        attribution(model),
        rw.patch_sweep(model, CLEAN, CORRUPT, METRIC, component="resid_mid", layers=[1], **QUIET),
    ],
    "path_patch": lambda model: rw.path_patch(
        model, CLEAN, CORRUPT, METRIC, rw.Site("z", 1, head=0), [rw.Site("q", 2, head=1)], **QUIET
    ),
    "causal_mediation": lambda model: rw.causal_mediation(model, CLEAN, CORRUPT, METRIC, SITE, **QUIET),
    "mediation_map": lambda model: rw.mediation_map(model, CLEAN, CORRUPT, METRIC, layers=[1], **QUIET),
    "causal_trace": lambda model: rw.causal_trace(model, CLEAN, "Mary", seeds=2, layers=[1], **QUIET),
    "counterfactual": lambda model: rw.counterfactual(model, CLEAN, rw.swap("Mary", "John"), metric=METRIC).cases[0],
    "attention": lambda model: [
        *(rw.attention(run_of(model), 1, None, kind) for kind in ("pattern", "value_weighted", "rollout")),
        *(rw.attention(run_of(model), 1, 2, kind, METRIC, **QUIET) for kind in ("gradient", "integrated", "knockout")),
    ],
    "find_heads": lambda model: rw.find_heads(model, length=6, prompts=1, draws=2, **QUIET),
    "attention_scores": lambda model: [
        rw.attention_scores(run_of(model), 3, 1, -1, 10, by=by) for by in ("component", "head")
    ],
    "direct_logit_attribution": lambda model: [
        rw.direct_logit_attribution(run_of(model), METRIC, by) for by in ("component", "source", "neuron")
    ],
    "along": lambda model: [
        rw.along(run_of(model), direction, rw.Site("resid_post", 2, pos=7), "head")
        for direction in (" Mary", range(128))
    ],
    "head_contributions": lambda model: [
        rw.head_contributions(run_of(model), METRIC, how, progress=False) for how in ("zero", "mean")
    ],
    "attention_overview": lambda model: rw.attention_overview(run_of(model), METRIC),
    "head_writes": lambda model: rw.head_writes(run_of(model), 2, 1, -1, 4, METRIC),
    "neuron_patterns": patterns,
    "probe": probed,
    "logit_diff": measured(rw.logit_diff(" Mary", " John")),
    "logit": measured(rw.logit(" Mary")),
    "weighted_logits": measured(rw.weighted_logits({" Mary": 1.0, " John": -0.5})),
    "log_prob": measured(rw.log_prob(" Mary")),
    "prob": measured(rw.prob(" Mary")),
    "rank": measured(rw.rank(" Mary")),
    "kl_to_base": measured(rw.kl_to_base()),
    "zero": edited(rw.zero(SITE)),
    "mean": edited(rw.mean(SITE, over=[CORRUPT])),
    "resample": edited(rw.resample(SITE, ["The dogs beside the red car run", CORRUPT], seed=1)),
    "noise": edited(rw.noise(SITE, seed=3)),
    "clamp": edited(rw.clamp(SITE, low=-0.1, high=0.1)),
    "set_to": edited(rw.set_to(SITE, 0.25)),
    "add": edited(rw.add(SITE, np.ones(128, dtype=np.float32))),
    "project_out": edited(rw.project_out(SITE, np.ones(128, dtype=np.float32))),
    "patch": edited(rw.patch(SITE, CORRUPT)),
    "swap": rewritten(rw.swap("Mary", "John")),
    "negate": rewritten(rw.negate("sees")),
    "change_number": rewritten(rw.change_number("dogs", "dog")),
    "tasks": lambda model: [str(p) for p in rw.tasks.load("ioi", model, n=6).prompts],
    "ActivationHeatmap": drawn(lambda model: rw.ActivationHeatmap(run_of(model)), stat="kurtosis"),
    "LogitLensHeatmap": drawn(lambda model: rw.LogitLensHeatmap(run_of(model)), component="resid_pre"),
    "AblationExplorer": drawn(
        lambda model: rw.AblationExplorer(run_of(model), metric=METRIC), interventions=(rw.zero(SITE),)
    ),
    "ContributionChart": drawn(
        lambda model: rw.ContributionChart(run_of(model), METRIC),
        {"layer": 2, "head": 0},
        opened=("layer.2", "2.attn_out", "2.mlp_out"),
    ),
    "AttentionExplorer": opened,
    "PatchingHeatmap": drawn(lambda model: rw.PatchingHeatmap(model, CLEAN, CORRUPT, METRIC)),
    "NeuronExplorer": drawn(lambda model: rw.NeuronExplorer(rw.neuron_patterns(model, [CLEAN, CORRUPT], top_k=2))),
    "ProbeCurves": curves,
    "link": linked,
}

COMPUTE_NOTHING = {
    *("InputError", "UnsupportedModelError", "Intervention", "Metric", "Site", "Check", "Provenance", "Result"),
    # made by the functions above
    *("ResidualModel", "Run", "Activations", "ActivationMap", "LogitLens", "Ablation", "AblationSweep", "PatchSweep"),
    *("PathPatch", "CausalMediation", "CausalTrace", "Counterfactual", "MediationMap", "NeuronPatterns", "Probe"),
    *("CausalTest", "Attention", "AttentionOverview", "AttentionScore", "Contributions", "HeadContributions"),
    *("FoundHeads", "HeadWrites"),
}


def test_every_public_name_is_called_or_computes_nothing() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    names = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names == CALLS.keys() | COMPUTE_NOTHING


# --- the states -------------------------------------------------------------------------------------------------------


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("error")
        yield


@contextmanager
def seeds(seed: int) -> Iterator[None]:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the global one is what this is about
    torch.manual_seed(seed)
    yield


STATES: dict[str, Callable[[], Any]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "gradients off": lambda: torch.set_grad_enabled(False),
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "device": lambda: torch.device("meta"),
    "1 thread": lambda: threads(1),
    "2 threads": lambda: threads(2),
    "deterministic": deterministic,
    "warnings": warnings_are_errors,
    "seed": lambda: seeds(12345),
}
TOGETHER = {
    "switched off": ("gradients off", "float64", "1 thread", "seed"),
    "inference": ("inference mode", "bfloat16", "2 threads"),
    "mixed": ("autocast", "float16", "device", "deterministic", "warnings"),
}
"""Every function is called in every state, in several at once: alone, each is asked for what is remembered."""


@contextmanager
def state_of(name: str) -> Iterator[None]:
    """The state, or the states, of that name; "plain" is none."""
    with ExitStack() as stack:
        for each in TOGETHER.get(name, (name,) if name in STATES else ()):
            stack.enter_context(STATES[each]())
        yield


def test_every_state_is_tried_on_every_function() -> None:
    assert {name for names in TOGETHER.values() for name in names} == STATES.keys()


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    yield
    for kept in (RUNS, MODELS, PLAIN):
        kept.clear()


def model_of(state: str) -> Any:
    """A model of its own for each state: what is found out about it is found out there."""
    if state not in MODELS:
        with state_of(state):
            MODELS[state] = rw.load_model(progress=False)
    return MODELS[state]


def plain(name: str) -> Any:
    if name not in PLAIN:
        with torch.enable_grad():
            PLAIN[name] = numbers(CALLS[name](model_of("plain")))
    return PLAIN[name]


# --- what is compared -------------------------------------------------------------------------------------------------


def numbers(found: Any) -> Any:
    """All that a result says, as plain numbers, lists and levels of checks."""
    if isinstance(found, torch.Tensor):
        return found.detach().double().numpy()
    if isinstance(found, xr.DataArray | xr.Dataset):
        found = found.to_dataset(name="values") if isinstance(found, xr.DataArray) else found
        return {str(name): numbers(value.values) for name, value in found.data_vars.items()}
    if isinstance(found, pd.DataFrame):
        return {str(name): numbers(column.to_numpy()) for name, column in found.items()}
    if isinstance(found, np.ndarray):
        return found.astype(float) if found.dtype.kind in "fiub" else found.astype(str).tolist()
    if isinstance(found, rw.Run):
        kept = {f"{c} {n}": numbers(found.tensor(c, n)) for c in found.components for n in found.layers}
        return {**kept, "logits": numbers(found.final_logits), "levels": levels(found)}
    if isinstance(found, rw.Activations):
        return {c: numbers(found.matrix(2, c)) for c in found.components}
    if isinstance(found, rw.Result):
        kinds = float | np.ndarray | xr.DataArray
        parts = {k: numbers(v) for k, v in vars(found).items() if isinstance(v, kinds) and k != "seconds"}
        return {**parts, "levels": levels(found)}
    if is_dataclass(found) and not isinstance(found, type):
        return [numbers(part) for part in astuple(found)] if type(found).__name__ == "Capabilities" else fields(found)
    if isinstance(found, list | tuple):
        return [numbers(part) for part in found]
    return found


def fields(found: Any) -> Any:
    return {k: numbers(v) for k, v in vars(found).items() if isinstance(v, float | np.ndarray | torch.Tensor)}


def levels(found: Any) -> list[tuple[str, str]]:
    return [(check.name, check.level) for check in found.checks]


def assert_alike(found: Any, wanted: Any, where: str = "") -> None:
    """Numbers but for the order of summing, all else to the letter."""
    if isinstance(wanted, Mapping):
        assert found.keys() == wanted.keys(), where
        for name in wanted:
            assert_alike(found[name], wanted[name], f"{where} {name}")
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted), where
        for n, (a, b) in enumerate(zip(found, wanted, strict=True)):
            assert_alike(a, b, f"{where} {n}")
    elif isinstance(wanted, np.ndarray | float):
        scale = float(np.nanmax(np.abs(wanted), initial=1.0))
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5 * scale, err_msg=where)
    elif isinstance(wanted, str):
        digits = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
        assert digits.sub("#", found) == digits.sub("#", wanted), where
    else:
        assert found == wanted, where


def surroundings(model: Any) -> dict[str, Any]:
    """All that belongs to the user; but for Python's own generator, from which beartype draws in these tests."""
    return {
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": torch.get_default_dtype(),
        "device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warnings": list(warnings.filters),
        "torch's generator": torch.get_rng_state().tolist(),
        "numpy's generator": str(np.random.get_state()),  # noqa: NPY002
        "numpy's errors": np.geterr(),
        "matplotlib": dict(mpl.rcParams),
        "weights": [(n, p.requires_grad, p.grad, p.dtype) for n, p in model.bridge.named_parameters()],
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "config": model.bridge.original_model.config.to_dict(),
        "attributes": sorted(set(vars(model.bridge.original_model)) | set(vars(model.bridge))),
    }


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("state", TOGETHER)
def test_no_state_changes_a_number_and_none_is_changed(state: str, name: str) -> None:
    wanted, model = plain(name), model_of(state)
    with state_of(state):
        before = surroundings(model)
        found = CALLS[name](model)
        after = surroundings(model)
    assert before == after
    assert_alike(numbers(found), wanted)


@pytest.mark.parametrize("state", STATES)
def test_nothing_that_was_found_out_there_stays(state: str) -> None:
    """The facts of the model that only ever was in that state, asked in the plain one."""
    model = model_of(state)
    with state_of(state):
        sweep = rw.ablation_sweep(run_of(model), METRIC, "z", progress=False)
        attribution(model)
    assert_alike(numbers(rw.ablation_sweep(run_of(model), METRIC, "z", progress=False)), plain("ablation_sweep"))
    assert_alike(numbers(rw.capabilities(model)), plain("capabilities"))
    assert_alike(numbers(rw.patch_sweep(model, CLEAN, CORRUPT, METRIC, component="resid_mid", layers=[1],
                                        progress=False)), plain("patch_sweep")[1])  # fmt: skip
    assert {check.level for check in sweep.checks if check.name == "exact reuse"} == {"green"}


@pytest.mark.parametrize("make", [rw.activation_map, rw.logit_lens])
def test_a_figure_leaves_matplotlib_as_it_was(tiny: Any, make: Any) -> None:
    before = dict(mpl.rcParams)
    make(run_of(tiny)).plot()
    assert dict(mpl.rcParams) == before


# --- the one place ----------------------------------------------------------------------------------------------------


def test_the_state_is_set_in_one_place() -> None:
    sets = re.compile(r"torch\.(no_grad|inference_mode|set_grad_enabled|set_default_\w+|autocast)")
    wrong = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))  # scripts are texts, and say it themselves
        if isinstance(node, ast.Attribute) and sets.fullmatch(ast.unparse(node)) and path.name != "ambient.py"
    }
    assert wrong == {"forward.py"}  # only there a pass may want gradients


def test_a_pass_within_a_pass_and_an_error_leave_the_dtype_as_it_was() -> None:
    with default_dtype(torch.float64):
        with plain_pass():
            with pytest.raises(KeyError), plain_pass():
                raise KeyError
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float64
        with plain_pass():
            torch.set_default_dtype(torch.bfloat16)  # another thread's user
        assert torch.get_default_dtype() == torch.bfloat16


def test_what_is_made_within_inference_mode_can_have_gradients() -> None:
    with torch.inference_mode():
        with plain_state():
            made = torch.ones(2)
            assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled()
    assert not made.is_inference()


def test_bins_of_small_numbers_are_exact_whatever_the_default_dtype() -> None:
    from resid_widgets.analysis.neurons.running_statistics import _bin

    with default_dtype(torch.float16):  # 2 ** 20 is not a number there
        assert _bin(torch.tensor([3e-6], dtype=torch.float64), torch.tensor([-20])).tolist() == [3]
