"""A live model as it is given: taken out of what stands around it, copied, and made plain; or why it cannot be."""

from __future__ import annotations

import sys
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.copies import deep_copy, shared_with
from resid_widgets.models.loading.adapters import is_adapted, merged, within_adapter
from resid_widgets.models.loading.folder import check_kind
from resid_widgets.models.model import ResidualModel

_AROUND = {
    "OptimizedModule": "_orig_mod",  # torch.compile
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}
"""Modules of torch that compute what the module inside them computes."""

_NO_COPY = "Load it a second time and give that, or pass copy=False, which takes (and rewrites) the model itself."
_PAIR = "a pair is (hf_model, tokenizer)"


def pair_of(source: Any) -> tuple[PreTrainedModel, Any]:
    """Take apart ``(hf_model, tokenizer)``, and the model out of what only stands around it; or say why it is none.

    Raises
    ------
    InputError
        If there is no transformers model in it, or no tokenizer beside it.
    UnsupportedModelError
        If the model does not predict a token.
    """
    if not isinstance(source, (tuple, list)):
        if isinstance(unwrapped(source), PreTrainedModel):
            rule = "a tokenizer must come with it"
            raise InputError.about("source", type(source).__name__, rule, "Give (hf_model, tokenizer or None).")
        raise _no_source(source, type(source).__name__, "a name, a folder, a .gguf file, (hf_model, tokenizer) or a "
                         "TransformerBridge is needed", "Leave it out for the bundled tiny model.")  # fmt: skip
    kinds = [type(part).__name__ for part in source]
    if len(source) == 2 and isinstance(source[0], (TransformerBridge, ResidualModel)):
        remedy = "Give the bridge alone: rw.load_model(bridge, tokenizer=...)."
        raise InputError.about("source", kinds, "a bridge is no part of a pair", remedy)
    hf_model = unwrapped(source[0]) if len(source) == 2 else None
    if not isinstance(hf_model, PreTrainedModel):
        given = source[0] if len(source) == 2 else None
        raise _no_source(given, kinds, _PAIR, "The tokenizer may be None.")
    if any(isinstance(module, GeneralizedComponent) for module in hf_model.modules()):
        raise InputError.about(
            "source", kinds, "this hf_model already lives in a TransformerBridge", "Give the bridge itself."
        )
    _require_logits(hf_model)
    return hf_model, source[1]


def _no_source(given: Any, shown: object, rule: str, remedy: str) -> InputError:
    """What to say of an object that is no model of ours; where one is inside it, where it is."""
    kind = type(given)
    homes = {each.__module__.partition(".")[0] for each in kind.__mro__}
    if kind.__name__ == "HookedTransformer":
        rule = "a HookedTransformer holds weights that TransformerLens has rewritten"
        remedy = "Load the model itself, by name or folder, or give a TransformerBridge of it."
    elif "transformers" in homes and hasattr(given, "model") and hasattr(given, "tokenizer"):  # a pipeline
        rule, remedy = "it is a pipeline", "Give its parts: (pipeline.model, pipeline.tokenizer)."
    elif isinstance(given, nn.Module):
        inside = [(name, part) for name, part in given.named_modules() if isinstance(part, PreTrainedModel)]
        if inside:
            name, part = inside[0]
            rule = f"it stands around a {type(part).__name__}, and may compute something else"
            remedy = f"Give the model inside it: (model.{name}, tokenizer)."
    return InputError.about("source", shown, rule, remedy)


def _require_logits(hf_model: PreTrainedModel) -> None:
    """Refuse what predicts no token."""
    kind, config = type(hf_model).__name__, hf_model.config
    if getattr(config, "is_encoder_decoder", False):
        check_kind(kind, config)
    try:
        head = hf_model.get_output_embeddings()
    except (NotImplementedError, AttributeError):
        head = None
    if head is None:
        check_kind(kind, config)  # a head would not help what predicts no next token
        known = config.model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        known = known or config.model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        remedy = "Load it with its language-model head: AutoModelForCausalLM." if known else "Only language models are."
        raise UnsupportedModelError(
            f"{kind} gives no logits{'' if known else ' of tokens, and cannot be shown'}. {remedy}"
        )


def unwrapped(model: Any) -> Any:
    """The module inside `torch.compile`, DataParallel and adapters, which computes the same."""
    while isinstance(model, nn.Module):
        # By name, for `torch._dynamo` takes seconds to import, and peft may not be there.
        homes = {each.__name__ for each in type(model).__mro__ if each.__module__.startswith("torch.")}
        inside = next((getattr(model, _AROUND[name], None) for name in _AROUND if name in homes), None)
        inside = within_adapter(model) if inside is None else inside
        if inside is None:
            break
        model = inside
    return model


def taken(hf_model: PreTrainedModel, copy: bool) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """Return the model to bridge, `hf_model` or an independent copy, and what its reader should know of it.

    Both are freed of compilation and of the hooks of accelerate, which a bridge cannot see through. A copy also has
    its prunings, old weight norms and adapters computed into its weights.

    Raises
    ------
    InputError
        If it cannot be copied, a copy would share modules with it, or its weights are not there as plain numbers.
    """
    check_numbers(hf_model)
    if not copy:
        _make_plain(hf_model)
        return hf_model, ()
    try:
        made = deep_copy(hf_model)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # whatever a thing that hangs on it raises
        first = (str(error).splitlines() or [""])[0]
        rule = f"it cannot be copied ({type(error).__name__}: {first})"
        raise InputError.about("source", type(hf_model).__name__, rule, _NO_COPY) from error
    _make_plain(made)
    if shared := shared_with(made, hf_model):
        rule = f"a copy would share its {shared[0]} with it: a function put there still calls the model it was made for"
        remedy = "Take it off first, or pass copy=False, which takes (and rewrites) the model itself."
        raise InputError.about("source", type(hf_model).__name__, rule, remedy)
    for module in made.modules():
        _settle_hooks(module)
    return made, merged(made) if is_adapted(made) else ()


def moved(hf_model: Any, dtype: torch.dtype | None, device: torch.device | None) -> Any:
    """Cast and move a model; None leaves it as it is.

    Raises
    ------
    InputError
        If it cannot be (a quantised one), or lies on several devices and none is named.
    """
    places = sorted({str(parameter.device) for parameter in hf_model.parameters()})
    if device is None and len(places) > 1:
        rule = f"its layers lie on several devices ({', '.join(places)})"
        raise InputError.about("source", type(hf_model).__name__, rule, "Name the one for all: device='cuda:0'.")
    wanted = {name: value for name, value in (("dtype", dtype), ("device", device)) if value is not None}
    if not wanted:
        return hf_model
    try:
        return hf_model.to(**wanted)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError, NotImplementedError) as error:
        rule = f"this model cannot be cast or moved ({error})"
        shown = ", ".join(str(value) for value in wanted.values())
        raise InputError.about("/".join(wanted), shown, rule, "Leave it out, or load the model that way.") from error


def check_numbers(hf_model: nn.Module) -> None:
    """Refuse weights that are not there as numbers, or that a pass reads differently beside other tokens.

    Raises
    ------
    InputError
        Naming one of them, and how to load the model instead.
    """
    kind = type(hf_model).__name__
    held = [*hf_model.named_parameters(), *hf_model.named_buffers()]
    absent = [name for name, value in held if value.is_meta]
    if absent:
        rule = f"{len(absent)} of its weights are not in memory ({absent[0]}, ...): offloaded, or never loaded"
        raise InputError.about(
            "source", kind, rule, "Load it whole: from_pretrained(...) without device_map and meta device."
        )
    plain = "Load it unquantised and whole, or make it so: hf_model.dequantize()."
    for name, value in held:
        own_kind = _dispatch(type(value)) is not _dispatch(torch.Tensor)
        if own_kind or value.is_quantized or value.layout != torch.strided:
            rule = f"its weight {name} is a {type(value).__name__}, which holds no plain numbers"
            raise InputError.about("source", kind, rule, plain)
    for name, module in hf_model.named_modules():
        if type(module).__module__.startswith(("torch.ao.nn.", "torch.nn.quantized")):
            rule = f"its {name} is a quantised {type(module).__name__} of torch.ao, whose weights cannot be read"
            raise InputError.about("source", kind, rule, "Give the model as it was before it was quantised.")
        if type(module).__name__ == "Linear8bitLt" and getattr(module.state, "threshold", 0.0):
            rule = f"its {name} computes in 8 bit but for outliers, which it looks for in all tokens of a pass together"
            remedy = "Make it plain: hf_model.dequantize(), or quantise it with llm_int8_threshold=0.0."
            raise InputError.about("source", kind, f"{rule}, so that no token's numbers are its own", remedy)


def _dispatch(kind: type) -> Any:
    return getattr(kind, "__torch_dispatch__", None)


def _make_plain(hf_model: nn.Module) -> None:
    """Take off, in place, what torch and accelerate put around modules and their calls."""
    modules = list(hf_model.modules())
    for module in modules:
        for name, child in module._modules.items():
            module._modules[name] = unwrapped(child)
        module.__dict__.pop("_compiled_call_impl", None)  # module.compile()
    if any("_hf_hook" in module.__dict__ for module in modules):
        sys.modules["accelerate.hooks"].remove_hook_from_module(hf_model, recurse=True)
    for module in hf_model.modules():
        forward: Any = module.__dict__.get("forward")
        while hasattr(forward, "_torchdynamo_orig_callable"):  # module.forward = torch.compile(module.forward)
            forward = forward._torchdynamo_orig_callable
        if isinstance(forward, MethodType) and forward.__func__ is type(module).forward:
            del module.forward


def _settle_hooks(module: nn.Module) -> None:
    """Let a copy's weights be what torch's hooks compute them to be before each pass."""
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, str(hook._tensor_name))
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
