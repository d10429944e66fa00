"""Live models with something around them or on them: taken out, copied so that nothing is shared, or refused."""

from __future__ import annotations

import functools
import threading
import types
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch.nn.utils import parametrizations, prune

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.runs.run import run
from tests.architectures import build
from tests.models.small_tokenizers import word_level

IDS = [5, 9, 33, 2]


def logits(hf_model: Any) -> torch.Tensor:
    with torch.no_grad():
        return hf_model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]


def found(source: Any, **options: Any) -> torch.Tensor:
    logits = run(load_model(source, progress=False, **options), IDS, keep="logits").logits
    assert logits is not None
    return logits


def same(given: Any, expected: torch.Tensor) -> None:
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


def compiled(module: Any) -> Any:
    return torch.compile(module, backend="eager")


def inside(change: Callable[[Any], object]) -> Callable[[], Any]:
    """A model to which something is done."""

    def made() -> Any:
        hf_model = build("llama")
        change(hf_model)
        return hf_model

    return made


AROUND: dict[str, Callable[[], Any]] = {
    "compiled": lambda: compiled(build("llama")),
    "DataParallel": lambda: nn.DataParallel(build("llama")),
    "both": lambda: compiled(nn.DataParallel(build("llama"))),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(build("llama")),
    "compiled in place": inside(lambda m: m.compile(backend="eager")),
    "forward compiled": inside(lambda m: setattr(m, "forward", compiled(m.forward))),
    "a layer compiled": inside(lambda m: m.model.layers.__setitem__(1, compiled(m.model.layers[1]))),
    "a layer compiled in place": inside(lambda m: m.model.layers[1].compile(backend="eager")),
}


@pytest.mark.parametrize("kind", AROUND)
def test_what_stands_around_a_model(kind: str) -> None:
    given, expected = AROUND[kind](), logits(build("llama"))
    kinds = [type(module) for module in given.modules()]
    same(found((given, None)), expected)
    assert [type(module) for module in given.modules()] == kinds
    same(found((given, None), copy=False), expected)


def test_hooks_of_accelerate() -> None:
    import accelerate

    given = accelerate.dispatch_model(build("llama"), {"": "cpu"}, force_hooks=True)
    model = load_model((given, None))
    with torch.no_grad():
        given.model.layers[0].mlp.down_proj.weight.zero_()
    logits_then = run(model, IDS, keep="logits").logits
    same(logits_then, logits(build("llama")))
    assert hasattr(given, "_hf_hook")


def test_weights_that_are_not_there() -> None:
    import accelerate

    with torch.device("meta"):
        empty = type(build("llama"))(build("llama").config)
    for given in (accelerate.cpu_offload(build("llama"), execution_device=torch.device("cpu")), empty):
        with pytest.raises(InputError, match=r"weights are not in memory.*Load it whole: from_pretrained\(...\) with"):
            load_model((given, None))


class Foreign(torch.Tensor):
    """A tensor of its own kind, as those of quantisation libraries."""

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_weights_that_are_no_plain_numbers() -> None:
    hf_model = build("llama")
    part = hf_model.model.layers[1].mlp.down_proj
    part._parameters["weight"] = torch.Tensor._make_subclass(Foreign, part.weight.detach())
    with pytest.raises(InputError, match=r"down_proj\.weight is a Foreign.*hf_model\.dequantize\(\)"):
        load_model((hf_model, None))


def kept_activations(hf_model: Any) -> None:
    for layer in hf_model.model.layers:
        layer.register_forward_hook(lambda module, args, output: setattr(module, "kept", (output, [output])))
    hf_model(torch.tensor([IDS]))
    for layer in hf_model.model.layers:
        layer._forward_hooks.clear()


def one_part(change: Callable[[nn.Module], object]) -> Callable[[], Any]:
    return inside(lambda m: change(m.model.layers[1].mlp.down_proj))


ON_IT: dict[str, Callable[[], Any]] = {
    "graphs": inside(kept_activations),
    "pruned": one_part(lambda part: prune.l1_unstructured(part, "weight", 0.5)),
    "pruned twice": one_part(
        lambda part: [prune.l1_unstructured(part, "weight", n) for n in (0.5, 0.2)]  # pyright: ignore[reportArgumentType]
    ),
    "old weight norm": one_part(lambda part: nn.utils.weight_norm(part)),
    "old spectral norm": one_part(lambda part: nn.utils.spectral_norm(part).eval()),
    "weight norm": one_part(lambda part: parametrizations.weight_norm(part)),
    "orthogonal": one_part(lambda part: parametrizations.orthogonal(part)),
    "tied": inside(lambda m: setattr(m.lm_head, "weight", m.model.embed_tokens.weight)),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("kind", ON_IT)
def test_what_torch_does_not_copy_by_itself(kind: str) -> None:
    given = ON_IT[kind]()
    expected, held = logits(given), set(given.state_dict())
    model = load_model((given, None))
    same(run(model, IDS, keep="logits").logits, expected)
    assert set(given.state_dict()) == held
    same(logits(given), expected)
    with torch.no_grad():
        for parameter in given.parameters():
            parameter.mul_(2)
    same(run(model, IDS, keep="logits").logits, expected)


def test_made_in_inference_mode() -> None:
    with torch.inference_mode():
        hf_model = build("llama")
    same(found((hf_model, None)), logits(build("llama")))


def with_lru(mlp: Any) -> None:
    mlp.forward = functools.lru_cache(mlp.forward)


def with_closure(mlp: Any) -> None:
    inner = mlp.forward
    mlp.forward = lambda x: inner(x)


def with_wraps(mlp: Any) -> None:
    inner = mlp.forward
    mlp.forward = functools.wraps(inner)(lambda x: inner(x))


def with_default(mlp: Any) -> None:
    mlp.forward = lambda x, inner=mlp.forward: inner(x)


def with_reference(mlp: Any) -> None:
    there = weakref.ref(mlp)
    mlp.forward = lambda x: type(there()).forward(there(), x)


def with_table(mlp: Any) -> None:
    table = SimpleNamespace(parts=[{"mlp": mlp}])
    mlp.forward = lambda x: type(mlp).forward(table.parts[0]["mlp"], x)


def with_weight(mlp: Any) -> None:
    weight = mlp.down_proj.weight.detach()  # the same memory
    mlp.down_proj.forward = lambda x: x @ weight.T


def with_global(mlp: Any) -> None:
    globals()["INNER"] = mlp.forward
    mlp.forward = lambda x: INNER(x)  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


def with_hook(mlp: Any) -> None:
    mlp.register_forward_hook(lambda module, args, output: output + mlp.down_proj.weight.sum())


@pytest.mark.parametrize(
    "change",
    [with_closure, with_wraps, with_default, with_reference, with_table, with_weight, with_global, with_hook, with_lru],
)
def test_a_function_that_a_copy_would_share(change: Callable[[Any], None]) -> None:
    hf_model = inside(lambda m: change(m.model.layers[1].mlp))()
    with pytest.raises(InputError, match=r"a copy would share its model\.layers\.1\.mlp.*or pass copy=False"):
        load_model((hf_model, None))
    for module in hf_model.modules():
        module._forward_hooks.clear()


class Called:
    def __init__(self, mlp: Any) -> None:
        self.forward = mlp.forward

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward(x)


@pytest.mark.parametrize(
    "make",
    [
        lambda mlp: types.MethodType(lambda self, x: type(self).forward(self, x), mlp),
        lambda mlp: functools.partial(mlp.forward),
        Called,
        lambda mlp: torch.zeros_like,
    ],
)
def test_a_function_that_is_copied_with_it(make: Callable[[Any], Any]) -> None:
    hf_model = inside(lambda m: setattr(m.model.layers[1].mlp, "forward", make(m.model.layers[1].mlp)))()
    expected = logits(hf_model)
    model = load_model((hf_model, None))
    with torch.no_grad():
        hf_model.model.layers[1].mlp.down_proj.weight.zero_()
    same(run(model, IDS, keep="logits").logits, expected)


def test_what_cannot_be_copied() -> None:
    hf_model = inside(lambda m: setattr(m, "guard", threading.Lock()))()
    with pytest.raises(InputError, match=r"it cannot be copied \(TypeError: .*pass copy=False"):
        load_model((hf_model, None))
    same(found((hf_model, None), copy=False), logits(build("llama")))


def test_a_model_that_does_not_run() -> None:
    hf_model = inside(lambda m: setattr(m.model.layers[1].mlp, "forward", lambda x: 1 / 0))()
    with pytest.raises(UnsupportedModelError, match=r"through Hugging Face's own model fails \(ZeroDivisionError"):
        load_model((hf_model, None))


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"inner": build("llama")})


def pipeline() -> Any:
    kind = type("TextPipeline", (), {"__module__": "transformers.pipelines.text"})
    made = kind()
    made.model, made.tokenizer = build("llama"), word_level("w0")
    return made


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: (Holder(), None), r"stands around a LlamaForCausalLM.*\(model\.body\.inner, tokenizer\)"),
        (Holder, r"stands around a LlamaForCausalLM.*\(model\.body\.inner, tokenizer\)"),
        (lambda: compiled(build("llama")), r"a tokenizer must come with it"),
        (pipeline, r"it is a pipeline\. Give its parts: \(pipeline\.model, pipeline\.tokenizer\)"),
        (lambda: (load_model((build("llama"), None)), None), r"a bridge is no part of a pair\. Give the bridge alone"),
        (
            lambda: type("HookedTransformer", (nn.Module,), {})(),
            r"rewritten\. Load the model itself, by name",
        ),
    ],
)
def test_what_is_no_pair(source: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(source())


def test_models_that_predict_no_token() -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    vit = transformers.ViTModel(transformers.ViTConfig(**small, image_size=16, patch_size=8))
    with pytest.raises(
        UnsupportedModelError, match=r"ViTModel: this vit model cannot be shown: it does not predict a next token"
    ):
        load_model((vit, None))
    with pytest.raises(UnsupportedModelError, match=r"LlamaModel gives no logits\. Load it with its language-model h"):
        load_model((build("llama").model, None))
