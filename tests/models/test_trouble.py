"""What a model's own code raises is told as ours, wherever a pass is made; what we raise ourselves stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import resid_widgets as rw
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.forward import forward
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.trouble import refused_by_name
from tests.architectures import build

SHORT, LONG, OTHER = [5, 9, 33], [1, 5, 9, 20, 33, 4, 60, 8, 15, 7], [1, 40, 9, 20, 33, 4, 60, 8, 15, 7]
KINDS = [RuntimeError, IndexError, KeyError, TypeError, ValueError, AttributeError, AssertionError, ZeroDivisionError]


class Fails(nn.Module):
    """A module that raises on more than seven tokens, as one does that has no more positions."""

    def __init__(self, inner: Any, error: BaseException, most: int = 7) -> None:
        super().__init__()
        self.inner, self.error, self.most = inner, error, most

    def forward(self, hidden: torch.Tensor, *args: Any, **more: Any) -> Any:
        if hidden.shape[1] > self.most:
            raise type(self.error)(*self.error.args)  # a new one, whose traceback begins here
        return self.inner(hidden, *args, **more)


def failing(error: BaseException, most: int = 7) -> Any:
    plain = build("llama")
    plain.model.layers[2].mlp.act_fn = Fails(plain.model.layers[2].mlp.act_fn, error, most)
    return plain.eval()


CALLS: dict[str, Callable[[ResidualModel], Any]] = {
    "run": lambda model: rw.run(model, LONG),
    "run for reuse": lambda model: rw.run(model, LONG, reuse=True),
    "run of all components": lambda model: rw.run(model, LONG, keep=["q", "z", "pattern", "mlp_post", "logits"]),
    "collect": lambda model: rw.collect(model, [LONG, OTHER], progress=False),
    "collect one": lambda model: rw.collect(model, [LONG], ["mlp_post"], progress=False),
    "patch_sweep": lambda model: rw.patch_sweep(model, LONG, OTHER, rw.logit_diff(7, 9), progress=False),
    "neuron_patterns": lambda model: rw.neuron_patterns(model, [LONG, OTHER]),
}


@pytest.fixture(scope="module")
def short_sighted() -> ResidualModel:
    """It runs on few tokens, and so can be loaded."""
    return load_model((failing(IndexError("index out of range in self")), None), copy=False)


@pytest.mark.parametrize("name", CALLS)
def test_a_pass_that_fails(name: str, short_sighted: ResidualModel) -> None:
    assert rw.run(short_sighted, SHORT).checks[0].level == "green"
    message = r"LlamaForCausalLM: a pass of .*10 tokens .*fails \(IndexError: index out of range in self\)"
    with pytest.raises(UnsupportedModelError, match=message):
        CALLS[name](short_sighted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_does_not_run_at_all(kind: type[Exception]) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"Hugging Face's own model fails \({kind.__name__}: .?no\W?\)"):
        load_model((failing(kind("no"), 1), None))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), KeyboardInterrupt(), InputError("ours")])
def test_what_is_no_fault_of_the_model_stays_what_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)):
        load_model((failing(error, 1), None))


def test_no_memory_on_the_cpu() -> None:
    with pytest.raises(RuntimeError, match="allocate memory"), refused_by_name("a model", "a pass fails"):
        torch.empty(2**55)


def test_an_error_of_our_own_action_is_not_the_model_s(llama: ResidualModel) -> None:
    def wrong(value: torch.Tensor) -> torch.Tensor:
        return value @ value  # shapes that do not fit

    with pytest.raises(RuntimeError, match="size"):
        forward(llama, SHORT, {"blocks.1.hook_attn_out": wrong})


def test_no_gradient(monkeypatch: pytest.MonkeyPatch, llama: ResidualModel) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise RuntimeError("one of the variables needed for gradient computation has been modified")

    monkeypatch.setattr(torch.autograd, "grad", none)
    options: dict[str, Any] = {"method": "attribution", "progress": False}
    with pytest.raises(UnsupportedModelError, match=r"it gives no gradient with respect to resid_pre \(RuntimeError"):
        rw.patch_sweep(llama, LONG, OTHER, rw.logit_diff(7, 9), **options)
