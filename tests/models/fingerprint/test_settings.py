"""A change that touches no weight changes the fingerprint too; undone, it is as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

import resid_widgets as rw
from resid_widgets.models.fingerprint.fingerprint import fingerprint
from tests.architectures import FAMILIES, build

IDS = [5, 17, 33, 8, 60, 12, 44, 9]
Change = Callable[[Any], Any]


@contextmanager
def changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute, and afterwards what was there."""
    own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own or name == "__class__" or isinstance(before, nn.Module):
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextmanager
def scaled_in_place(tensor: torch.Tensor) -> Iterator[None]:
    before = tensor.clone()
    tensor.mul_(0.5)
    try:
        yield
    finally:
        tensor.copy_(before)


def louder(module: nn.Module, by: float) -> Callable[..., Any]:
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs) * by

    return forward


def without_rotation(q: Any, k: Any, *_: Any, **__: Any) -> Any:
    return q, k


def silent(self: Any, x: torch.Tensor) -> torch.Tensor:
    return x * 0


class OtherMLP(modeling_llama.LlamaMLP):
    """Computes the same; its author may have meant otherwise."""


CHANGES: dict[str, Change] = {
    "buffer": lambda m: scaled_in_place(m.model.rotary_emb.inv_freq),
    "activation function": lambda m: changed(m.model.layers[1].mlp, "act_fn", nn.GELU()),
    "scale of attention": lambda m: changed(m.model.layers[1].self_attn, "scaling", 0.9),
    "epsilon": lambda m: changed(m.model.norm, "variance_epsilon", 0.5),
    "forward of one module": lambda m: changed(m.model.layers[1].mlp, "forward", louder(m.model.layers[1].mlp, 2.0)),
    "forward of a class": lambda m: changed(type(m.model.layers[1].mlp), "forward", silent),
    "function of the model's file": lambda m: changed(modeling_llama, "apply_rotary_pos_emb", without_rotation),
    "config": lambda m: changed(m.config, "pretraining_tp", 3),
    "mapping in the config": lambda m: changed(
        m.config, "rope_parameters", {"rope_type": "default", "rope_theta": 7.0}
    ),
    "class of a module": lambda m: changed(m.model.layers[1].mlp, "__class__", OtherMLP),
    "new flag": lambda m: changed_flag(m.model.layers[1]),
}


@contextmanager
def changed_flag(module: Any) -> Iterator[None]:
    module.switched_off = True
    try:
        yield
    finally:
        del module.switched_off


@pytest.fixture(scope="module")
def plain() -> Any:
    return build("llama")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_is_seen(plain: Any, change: Change) -> None:
    known: dict[str, Any] = {}
    before = fingerprint(plain, known)
    with change(plain):
        assert fingerprint(plain, known) != before
    assert fingerprint(plain, known) == before


def test_two_functions_of_one_name_are_two(plain: Any) -> None:
    mlp = plain.model.layers[1].mlp
    found = set()
    for by in (2.0, 3.0):
        with changed(mlp, "forward", louder(mlp, by)):
            found.add(fingerprint(plain, {}))
    with changed(mlp, "forward", partial(silent, mlp)):
        found.add(fingerprint(plain, {}))
    assert len(found) == 3


def test_a_list_written_in_place_is_seen(plain: Any) -> None:
    known: dict[str, Any] = {}
    plain.model.merged = ["one"]
    before = fingerprint(plain, known)
    plain.model.merged.append("two")
    assert fingerprint(plain, known) != before
    del plain.model.merged


@pytest.mark.parametrize(
    ("name", "value"),
    [("_name_or_path", "elsewhere"), ("transformers_version", "0"), ("use_cache", False), ("eos_token_id", 7)],
)
def test_what_no_pass_depends_on_is_not_told(plain: Any, name: str, value: Any) -> None:
    before = fingerprint(plain, {})
    with changed(plain.config, name, value):
        assert fingerprint(plain, {}) == before


def test_activations_that_hooks_keep_on_a_module_are_not_settings(plain: Any) -> None:
    before = fingerprint(plain, {})
    plain.model.layers[0].kept = torch.ones(3)
    assert fingerprint(plain, {}) == before
    del plain.model.layers[0].kept


@pytest.mark.parametrize("family", ["gpt2", "bloom", "gemma3_text", "mixtral", "phi3"])
def test_a_pass_changes_nothing(family: str) -> None:
    model = rw.load_model((build(family), None), copy=False, progress=False)
    before = model.weights_hash
    rw.intervene(rw.run(model, IDS * 5), rw.zero(rw.Site("resid_post", 1, pos=3)))
    model._seen.clear()
    assert model.weights_hash == before


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotary_frequencies_that_follow_the_prompt_are_no_change(kind: str) -> None:
    rope = {"rope_theta": 10_000.0, "rope_type": kind}
    rope |= {"factor": 2.0} if kind == "dynamic" else {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    rope["original_max_position_embeddings"] = 16
    config = LlamaConfig(**FAMILIES["llama"], rope_parameters=rope)
    plain = LlamaForCausalLM._from_config(config, attn_implementation="eager").eval()
    known: dict[str, Any] = {}
    before = fingerprint(plain, known)
    with torch.no_grad():
        plain(torch.tensor([list(range(3, 63))]))
        assert fingerprint(plain, known) == before
        plain(torch.tensor([[5]]))
    assert fingerprint(plain, known) == before


def test_families_differ() -> None:
    names = ["llama", "mistral", "qwen2"]
    assert len({fingerprint(build(name), {}) for name in names if name in FAMILIES}) == len(names)
