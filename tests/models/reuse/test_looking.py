"""What is looked at one layer at a time is what a run would have kept, and nothing of it is held."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import resid_widgets as rw
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.reuse.looking import each_layer, one_layer
from resid_widgets.models.structure import relative_gap
from tests.architectures import build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41]  # longer than the sliding windows of some families
FAMILIES_LOOKED_AT = (
    "gpt2", "gpt_neo", "gptj", "bloom", "mistral", "gemma2", "gemma3_text", "gemma3_text both ways", "gpt_oss",
    "gemma4_text wide heads", "deepseek_v2", "qwen3_moe every second", "mpt", "olmo_hybrid",
)  # fmt: skip
"""Of each kind of attention one."""
COMPONENTS = ("pattern", "v", "z", "attn_out")


def seen(run: Any, component: str) -> dict[int, torch.Tensor]:
    found: dict[int, torch.Tensor] = {}
    each_layer(run, component, lambda layer, value: found.update({layer: value.clone()}))
    return found


@pytest.fixture(scope="module", params=FAMILIES_LOOKED_AT)
def runs(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A run of a family that keeps next to nothing, and one that keeps everything that is looked at."""
    model = load_model((build(request.param), None))
    keep = [c for c in COMPONENTS if layers_with(model, c)]
    return rw.run(model, IDS, keep="resid_post"), rw.run(model, IDS, keep=keep)


def test_each_layer_is_as_it_is_kept(runs: tuple[Any, Any]) -> None:
    run, kept = runs
    for component in kept.components:
        found = seen(run, component)
        assert list(found) == sorted(found)
        assert found
        for layer, value in found.items():
            assert value.shape == kept.tensor(component, layer).shape
            assert relative_gap(value, kept.tensor(component, layer)) <= 1e-5
            assert relative_gap(one_layer(run, component, layer), kept.tensor(component, layer)) <= 1e-4
        assert not run.holds(component)


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt_neox", "mistral"])
def test_of_an_intervened_run_it_is_the_edited_one(family: str) -> None:
    model = load_model((build(family), None))
    edited = rw.intervene(rw.run(model, IDS, keep="resid_post"), rw.zero(rw.Site("z", 1, pos=3, head=0)))
    whole = rw.intervene(rw.run(model, IDS, keep="resid_post"), edited.interventions, keep=["pattern", "v"])
    for component in ("pattern", "v"):
        for layer, value in seen(edited, component).items():
            assert relative_gap(value, whole.tensor(component, layer)) <= 1e-4
            assert relative_gap(one_layer(edited, component, layer), whole.tensor(component, layer)) <= 1e-4


def test_what_is_not_there_is_said() -> None:
    run = rw.run(load_model((build("llama"), None)), IDS, keep="resid_post")
    with pytest.raises(rw.InputError, match="component='patern': must be one of"):
        each_layer(run, "patern", lambda *_: None)
    next(run.model.bridge.original_model.parameters()).data += 0.1
    with pytest.raises(rw.InputError, match="has changed since this run was made"):
        each_layer(run, "pattern", lambda *_: None)
