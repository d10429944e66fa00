"""A recording on the bare model gives the bridge's bits, or is made through the bridge, and never touches the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models import bare
from resid_widgets.models.bare import BareModel, record
from resid_widgets.models.forward import forward
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import run
from resid_widgets.sites import COMPONENTS, RESIDUAL
from tests.architectures import build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 3, 3]


def load(family: str) -> ResidualModel:
    return load_model((build(family), None), progress=False)


def seen_by(run_once: Callable[..., Tensor], model: ResidualModel, components: tuple[str, ...]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    names = [model.hook_name(c, n) for c in components for n in range(model.n_layers) if model.has(c, n)]
    actions = {name: lambda value, name=name: seen.update({name: value}) or None for name in names}
    seen["logits"] = run_once(model, IDS, actions, last_only=False)
    return seen


def recorded(model: ResidualModel, components: tuple[str, ...]) -> dict[str, Tensor]:
    return seen_by(lambda *args, **kwargs: record(*args, model.weights_hash, **kwargs), model, components)


def passes_through_the_bridge(model: ResidualModel, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """From now on, one entry for each pass of the bridge."""
    passes: list[Any] = []
    through_bridge = bare.forward

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        passes.append(args)
        return through_bridge(*args, **kwargs)

    monkeypatch.setattr(bare, "forward", counted)
    return passes


# The stream of Llama, Gemma 2, NeoX and Mixtral is recorded bare. GPT-2's norms have a formula of their own in
# TransformerLens, Granite's and Falcon's writes hook points of their own, and OPT's hook points another shape.
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_neox", "mixtral", "opt", "gpt2", "granite", "falcon"])
@pytest.mark.parametrize("components", [RESIDUAL, COMPONENTS])
def test_gives_the_bits_of_the_bridge(family: str, components: tuple[str, ...]) -> None:
    model = load(family)
    expected = seen_by(forward, model, components)
    found = recorded(model, components)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape and torch.equal(found[name], value), name


@pytest.mark.parametrize(("family", "taken"), [("llama", True), ("gpt2", False), ("granite", False), ("opt", False)])
def test_is_taken_only_where_the_bits_are_the_same(family: str, taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(family)
    run(model, IDS)  # the proof passes through the bridge, once
    passes = passes_through_the_bridge(model, monkeypatch)
    run(model, IDS)
    assert (not passes) == taken


def test_a_hook_point_that_lies_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    places = BareModel._copy

    def swapped(self: BareModel, module: Any) -> Any:
        copy = places(self, module)
        if module is model.bridge.blocks[1].attn:
            self._places[id(module.hook_out)] = copy, "in"
        return copy

    monkeypatch.setattr(BareModel, "_copy", swapped)
    passes = passes_through_the_bridge(model, monkeypatch)
    expected = forward(model, IDS, last_only=False)
    assert torch.equal(recorded(model, RESIDUAL)["logits"], expected)
    assert len(passes) == 2  # the proof, which failed, and the recording


def test_leaves_the_model_alone() -> None:
    """The user's own hooks would not fire, and none of ours is ever on the user's model."""
    model = load("llama")
    run(model, IDS)
    before = [dict(vars(m)) for m in model.modules()]
    tables = [(dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._modules)) for m in model.modules()]
    inside: list[list[Any]] = []

    def look(value: Tensor) -> None:
        inside.extend([[dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._modules)] for m in model.modules()])

    record(model, IDS, {model.hook_name("resid_post", 1): look}, model.weights_hash)
    assert [tuple(state) for state in inside] == tables
    assert [dict(vars(m)) for m in model.modules()] == before


def test_sees_what_the_user_changes() -> None:
    """Edited weights, replaced modules and changed constants are in the next run: nothing of the copy is kept."""
    model = load("llama")
    base = run(model, IDS).final_logits
    attention = model.bridge.original_model.model.layers[1].self_attn
    attention.original_component.scaling *= 2
    scaled = run(model, IDS).final_logits
    assert not torch.equal(scaled, base) and torch.equal(scaled, forward(model, IDS)[0])
    with torch.no_grad():
        model.bridge.blocks[2].mlp.original_component.down_proj.original_component.weight.mul_(1.5)
    edited = run(model, IDS).final_logits
    assert not torch.equal(edited, scaled) and torch.equal(edited, forward(model, IDS)[0])


def test_an_edit_that_only_the_bridge_sees_goes_through_the_bridge() -> None:
    """TransformerLens keeps a copy of its own of fused projections: after an edit there, only the bridge is right."""
    model = load("gpt_neox")
    before = run(model, IDS).final_logits
    with torch.no_grad():
        model.bridge.blocks[0].attn.q.original_component.weight.mul_(2.0)
    expected = forward(model, IDS)[0]
    assert not torch.equal(expected, before)
    assert torch.equal(run(model, IDS).final_logits, expected)


def test_other_peoples_hooks_act_where_they_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    base = run(model, IDS).final_logits
    point = model.hooks[model.hook_name("attn_out", 1)]
    handle = point.register_forward_hook(lambda module, args, output: output * 0)
    try:
        hooked = run(model, IDS, allow_hooks=True).final_logits
    finally:
        handle.remove()
    assert not torch.equal(hooked, base)


def test_refuses_a_hook_point_that_does_not_fire_once() -> None:
    model = load("llama")
    copy = BareModel(model)
    name = model.hook_name("resid_post", 0)
    block, _ = copy._places[id(model.hooks[name])]
    copy.root.model.layers[0] = torch.nn.Sequential()  # never calls the block
    copy.root.model.layers[0].forward = lambda hidden, **kwargs: hidden
    assert isinstance(block, torch.nn.Module)
    with pytest.raises(UnsupportedModelError, match="fired 0 times"):
        copy.forward(IDS, {name: lambda value: None}, last_only=True)


def test_keeps_no_more_than_the_run_says(smollm2: ResidualModel) -> None:
    """What a run says it holds is what is alive, counted from all tensors that exist."""
    import gc

    def alive() -> int:
        gc.collect()
        tensors = [o for o in gc.get_objects() if issubclass(type(o), Tensor) and o.layout is torch.strided]
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())

    run(smollm2, IDS)
    before = alive()
    held = run(smollm2, IDS)
    assert alive() - before == held.memory
