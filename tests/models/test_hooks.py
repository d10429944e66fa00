"""Hooks: ours leave no trace and fire once; other people's are seen, named and left alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import (
    foreign_hooks,
    hooked,
    plain_hooks,
    refuse_foreign_hooks,
    without_foreign_hooks,
)
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.runs.run import run

IDS = [5, 9, 33, 2]


def all_hooks(model: ResidualModel) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.fixture
def clean(llama: ResidualModel) -> Iterator[ResidualModel]:
    """The shared Llama, with a look afterwards at whether any hook was left."""
    before = all_hooks(llama)
    yield llama
    assert all_hooks(llama) == before
    assert not any(point.fwd_hooks for point in llama.hooks.values())


def meanwhile(model: ResidualModel, change: Callable[[], Any], back: Callable[[], Any], ask: Callable[[], Any]) -> Any:
    """Call `ask` on another thread while this one, as a cell does, holds the model and has changed it for a moment."""
    with ThreadPoolExecutor(1) as other:
        with model.lock:
            change()
            asked = other.submit(ask)
            time.sleep(0.3)
            assert not asked.done()
            back()
        return asked.result()


class TestOurs:
    def test_read_and_replace(self, clean: ResidualModel) -> None:
        seen: list[Tensor] = []
        plain = forward(clean, IDS, {"blocks.1.hook_mlp_out": lambda value: seen.append(value)})
        assert seen[0].shape == (1, 4, 32)
        replaced = forward(clean, IDS, {"blocks.1.hook_mlp_out": torch.zeros_like})
        assert not torch.equal(plain, replaced)
        assert torch.equal(forward(clean, IDS), plain)

    @pytest.mark.parametrize("failure", [ValueError("broken"), KeyboardInterrupt()], ids=repr)
    def test_nothing_is_left_after_a_failure(self, clean: ResidualModel, failure: BaseException) -> None:
        def fail(value: Tensor) -> None:
            raise failure

        with pytest.raises(type(failure)):
            forward(clean, IDS, {"blocks.0.hook_resid_pre": lambda value: None, "blocks.2.hook_mlp_out": fail})

    def test_nothing_is_left_after_an_unknown_name(self, clean: ResidualModel) -> None:
        actions = {"blocks.0.hook_resid_pre": lambda value: None, "blocks.9.hook_mlp_out": lambda value: None}
        with pytest.raises(UnsupportedModelError, match=r"has no hook point blocks\.9\.hook_mlp_out"):
            forward(clean, IDS, actions)

    def test_must_fire_exactly_once(self, clean: ResidualModel) -> None:
        action = {"blocks.0.hook_mlp_out": lambda value: None}
        with pytest.raises(UnsupportedModelError, match=r"hook_mlp_out .* 0 times"), hooked(clean, action):
            pass
        twice = torch.tensor([IDS])
        with pytest.raises(UnsupportedModelError, match=r"hook_mlp_out .* 2 times"), hooked(clean, action):
            assert torch.equal(clean.bridge(twice), clean.bridge(twice))

    def test_a_user_s_hook_on_the_same_point_stays(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        model.hooks["blocks.0.hook_mlp_out"].add_hook(lambda value, hook: None)
        forward(model, IDS, {"blocks.0.hook_mlp_out": lambda value: None}, allow_hooks=True)
        assert len(model.hooks["blocks.0.hook_mlp_out"].fwd_hooks) == 1
        assert len(foreign_hooks(model)) == 1
        model.bridge.reset_hooks()


class TestPlainHooks:
    """The independent reference: PyTorch's own hooks on any module."""

    def test_in_and_out(self) -> None:
        class Named(nn.Module):
            def forward(self, *, hidden_states: Tensor) -> tuple[Tensor, str]:
                return hidden_states + 1, "rest"

        module, value = Named(), torch.zeros(2)
        with plain_hooks([(module, "in", lambda v: v + 10), (module, "out", lambda v: v * 2)]):
            assert torch.equal(module(hidden_states=value)[0], torch.full((2,), 22.0))
            assert module(hidden_states=value)[1] == "rest"
        assert torch.equal(module(hidden_states=value)[0], torch.ones(2))
        linear = nn.Linear(2, 2, bias=False)
        with plain_hooks([(linear, "in", lambda v: None), (linear, "out", torch.zeros_like)]):
            assert torch.equal(linear(torch.ones(1, 2)), torch.zeros(1, 2))
        assert not linear._forward_hooks and not linear._forward_pre_hooks


def by_point(model: ResidualModel) -> None:
    model.hooks["blocks.1.hook_resid_post"].add_hook(lambda value, hook: None)


def by_partial(model: ResidualModel) -> None:
    model.hooks["blocks.1.attn.hook_z"].add_hook(partial(lambda value, hook, scale: value * scale, scale=2))


def permanent(model: ResidualModel) -> None:
    model.hooks["blocks.1.attn.hook_z"].add_perma_hook(lambda value, hook: None)


def by_bridge(model: ResidualModel) -> None:
    model.bridge.add_hook("blocks.1.hook_mlp_out", lambda value, hook: None)


def plain_forward(model: ResidualModel) -> None:
    model.bridge.original_model.model.layers[1].register_forward_hook(lambda module, args, output: None)


def plain_before(model: ResidualModel) -> None:
    model.bridge.original_model.register_forward_pre_hook(lambda module, args: None)


def on_the_bridge(model: ResidualModel) -> None:
    model.bridge.register_forward_hook(lambda module, args, output: None)


KINDS = {
    by_point: "blocks.1.hook_resid_post",
    by_partial: "blocks.1.attn.hook_z",
    permanent: "blocks.1.attn.hook_z",
    by_bridge: "blocks.1.hook_mlp_out",
    plain_forward: "blocks.1",
    plain_before: "original_model",
    on_the_bridge: "the bridge itself",
}


class TestForeign:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    def test_refused_by_name_before_anything_runs(
        self, kind: Callable[[ResidualModel], None], fresh: Callable[..., ResidualModel]
    ) -> None:
        model = fresh()
        plain = run(model, IDS)
        kind(model)
        assert foreign_hooks(model) == [KINDS[kind]]
        with pytest.raises(InputError, match=rf"hooks that are not ours, on {KINDS[kind]}.*allow_hooks=True"):
            run(model, IDS)
        with without_foreign_hooks(model):
            assert foreign_hooks(model) == []
            assert torch.equal(run(model, IDS).final_logits, plain.final_logits)
        assert len(foreign_hooks(model)) == 1
        for module in model.modules():
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()

    def test_global(self, llama: ResidualModel) -> None:
        handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: None)
        try:
            with pytest.raises(InputError, match="every module"):
                run(llama, IDS)
        finally:
            handle.remove()

    def test_many_are_counted(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        for layer in range(4):
            for name in ("resid_pre", "mlp_out"):
                model.hooks[model.hook_name(name, layer)].add_hook(lambda value, hook: None)
        with pytest.raises(InputError, match="and 3 more"):
            refuse_foreign_hooks(model)
        model.bridge.reset_hooks()

    def test_put_on_meanwhile(self, fresh: Callable[..., ResidualModel]) -> None:
        """A thread without our lock may ablate in the middle of a pass: such numbers are never shown."""
        model = fresh()

        def intrude(value: Tensor) -> None:
            model.hooks["blocks.3.hook_mlp_out"].add_hook(lambda value, hook: value * 0)

        with pytest.raises(InputError, match="hooks that are not ours"):
            forward(model, IDS, {"blocks.0.hook_resid_pre": intrude})
        model.bridge.reset_hooks()


class TestPlumbing:
    """What TransformerLens and transformers install for themselves is nobody's hook."""

    @pytest.mark.parametrize(
        "switch", ["set_use_attn_result", "set_use_split_qkv_input", "set_use_attn_in", "set_use_hook_mlp_in"]
    )
    def test_switches(self, switch: str, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        before = run(model, IDS)
        getattr(model.bridge, switch)(True)
        after = run(model, IDS)
        # Other products in another order, so not the same bits.
        torch.testing.assert_close(before.final_logits, after.final_logits, rtol=1e-5, atol=1e-5)
        assert [c.level for c in after.checks] == ["green", "green"]

    def test_after_transformer_lens_has_run(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        ids = torch.tensor([IDS])
        before = run(model, IDS)
        _, cache = model.bridge.run_with_cache(ids)
        model.bridge.run_with_hooks(ids, fwd_hooks=[("blocks.0.hook_mlp_out", lambda value, hook: value * 0)])
        model.bridge.original_model(ids, output_hidden_states=True, output_attentions=True)
        after = run(model, IDS)
        assert torch.equal(before.final_logits, after.final_logits)
        assert torch.equal(cache["blocks.2.hook_resid_post"][0], after.tensor("resid_post", 2))

    def test_inside_transformer_lens_own_context(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        ablate: Any = [("blocks.0.hook_mlp_out", lambda value, hook: value * 0)]
        with model.bridge.hooks(fwd_hooks=ablate):
            with pytest.raises(InputError, match="hooks that are not ours"):
                run(model, IDS)
            seen = run(model, IDS, allow_hooks=True)
        assert not torch.equal(seen.final_logits, run(model, IDS).final_logits)


class TestCellThatUsesTheModel:
    """Found by a click that met with the beginning of a cell: the hooks of the moment are not held against it."""

    @pytest.mark.parametrize("ask", [refuse_foreign_hooks, lambda model: engine_of(run(model, IDS), ["mlp_out"])])
    def test_its_hooks(self, clean: ResidualModel, ask: Callable[[ResidualModel], Any]) -> None:
        point = clean.hooks["blocks.1.hook_mlp_out"]
        meanwhile(clean, lambda: point.add_hook(lambda value, hook: value), point.remove_hooks, lambda: ask(clean))

    def test_its_train_mode(self, clean: ResidualModel) -> None:
        made, bridge = run(clean, IDS), clean.bridge
        meanwhile(clean, bridge.train, bridge.eval, lambda: engine_of(made, ["mlp_out"]))

    def test_hooks_that_it_leaves(self, clean: ResidualModel) -> None:
        point = clean.hooks["blocks.1.hook_mlp_out"]
        add = partial(point.add_hook, lambda value, hook: value)
        with pytest.raises(InputError, match="hooks that are not ours"):
            meanwhile(clean, add, lambda: None, lambda: refuse_foreign_hooks(clean))
        point.remove_hooks()
