"""A model whose runs cannot be recorded, a hybrid, is edited by full passes in every function: the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis.probing.causal_test import causal_test
from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.runs.recording import Recording

IDS, OTHER = [1, 5, 9, 20, 33, 4, 60, 8, 15], [1, 40, 9, 77, 12, 4, 60, 8, 15]
THIRD = [1, 4, 50, 6, 77, 30, 2, 9, 15]
METRIC = rw.logit_diff(7, 11)
FEW: dict[str, Any] = {"layers": [1, 3], "progress": False}


def paths(model: Any, receivers: Any) -> Any:
    return rw.path_patch(model, IDS, OTHER, METRIC, "attn_out", receivers, layers=[1], progress=False)


def erased(model: Any) -> Any:
    direction = np.eye(32)[3]
    options: dict[str, Any] = {"component": "resid_post", "layer": 2, "direction": direction, "progress": False}
    return causal_test(model, [IDS, OTHER], METRIC, seeds=range(3), **options)


CALLS: dict[str, Callable[[Any], Any]] = {
    "intervene": lambda model: rw.intervene(rw.run(model, IDS), rw.zero(rw.Site("attn_out", 1, 4))).final_logits,
    "intervene twice": lambda model: rw.intervene(
        rw.intervene(rw.run(model, IDS, reuse=True), rw.zero(rw.Site("z", 3, 4, head=1))),
        rw.mean(rw.Site("mlp_post", 2)),
        keep=["resid_post", "z", "pattern", "mlp_post"],
    ).tensor("resid_post", 3),
    "ablation": lambda model: rw.ablation(rw.run(model, IDS), rw.zero(rw.Site("mlp_out", 2, 5)), METRIC).values,
    "ablation_sweep": lambda model: rw.ablation_sweep(rw.run(model, IDS), METRIC, "attn_out", **FEW).values,
    "ablation_sweep of heads": lambda model: (
        rw.ablation_sweep(
            rw.run(model, IDS), METRIC, "z", "resample", source=[OTHER], layers=[3], progress=False
        ).values
    ),
    "patch_sweep": lambda model: rw.patch_sweep(model, IDS, OTHER, METRIC, **FEW).values,
    "patch_sweep, noise": lambda model: (
        rw.patch_sweep(model, IDS, OTHER, METRIC, component="resid_mid", direction="noise", **FEW).values
    ),
    "patch_sweep of pairs": lambda model: rw.patch_sweep(model, [IDS, THIRD], [OTHER, IDS], METRIC, **FEW).values,
    "patch_sweep by a gradient": lambda model: (
        rw.patch_sweep(model, IDS, OTHER, METRIC, method="attribution", component="mlp_out", **FEW).values
    ),
    "path_patch": lambda model: paths(model, "logits").values,
    "path_patch to heads": lambda model: paths(model, [rw.Site("q", 3, head=1), rw.Site("v", 3, head=0)]).values,
    "causal_trace": lambda model: rw.causal_trace(model, IDS, (2, 4), 7, seeds=2, **FEW).values,
    "causal_trace, windows": lambda model: (
        rw.causal_trace(model, IDS, (2, 4), 7, seeds=2, component="attn_out", window=2, **FEW).values
    ),
    "causal_mediation": lambda model: (
        rw.causal_mediation(model, IDS, OTHER, METRIC, rw.Site("mlp_out", 2), progress=False).values
    ),
    "mediation_map": lambda model: rw.mediation_map(model, IDS, OTHER, METRIC, **FEW).values,
    "counterfactual": lambda model: rw.counterfactual(model, IDS, [OTHER], metric=METRIC).cases[0].values,
    "causal_test": lambda model: erased(model).values,
    "collect": lambda model: rw.collect(model, [IDS, OTHER], "attn_out", "all", progress=False).matrix(2),
    "neuron_patterns": lambda model: rw.neuron_patterns(model, [IDS, OTHER]).values,
    "logit_lens": lambda model: rw.logit_lens(rw.run(model, IDS, reuse=True)).values,
    "activation_map": lambda model: rw.activation_map(rw.run(model, IDS), "attn_out", "kurtosis").values,
}


def numbers(found: Any) -> np.ndarray:
    return (found if isinstance(found, torch.Tensor) else torch.from_numpy(np.asarray(found, dtype=float))).numpy()


@pytest.fixture(scope="module")
def models(make_model: Callable[..., Any]) -> Any:
    """The same Llama twice, of which the second will not be recorded; and a hybrid."""
    from resid_widgets.models.loading.load_model import load_model
    from tests.architectures import build

    return make_model("llama"), load_model((build("llama"), None)), make_model("olmo_hybrid")


@pytest.mark.parametrize("name", CALLS)
def test_the_same_numbers_without_a_recording(name: str, models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, refusing, _ = models
    made = Recording.__init__

    def refuse(self: Recording, model: Any, *args: Any, **more: Any) -> None:
        if model.bridge is refusing.bridge:
            raise UnsupportedModelError("it has no keys and values")
        made(self, model, *args, **more)

    monkeypatch.setattr(Recording, "__init__", refuse)
    expected, found = numbers(CALLS[name](plain)), numbers(CALLS[name](refusing))
    assert np.isfinite(expected).all() and np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_a_hybrid_runs(name: str, models: Any) -> None:
    """Three of its four layers keep no keys and values, and have no heads."""
    *_, hybrid = models
    found = numbers(CALLS[name](hybrid))
    assert np.isfinite(found).all() and np.ptp(found) > 0
