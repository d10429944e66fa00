"""Adapters (LoRA and its like): out of peft's wrappers, merged into the weights, and from the folders they lie in.

peft is needed only where an adapter is.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils.peft_utils import find_adapter_config_file

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.model import GAP_LIMITS
from resid_widgets.models.structure import probe_ids, relative_gap

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def within_adapter(model: nn.Module) -> nn.Module | None:
    """The transformers model, its adapter layers in it, inside a PeftModel; None for any other module.

    Raises
    ------
    UnsupportedModelError
        If the adapter is not in the layers alone.
    """
    kinds = {each.__name__ for each in type(model).__mro__ if each.__module__.startswith("peft.")}
    if not kinds & {"PeftModel", "PeftMixedModel"}:
        return None
    adapted: Any = model
    for config in adapted.peft_config.values():
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        other = config.is_prompt_learning or kind in ("XLORA", "ADAPTION_PROMPT")
        if other or getattr(config, "alora_invocation_tokens", None):
            raise UnsupportedModelError(
                f"{type(model).__name__}: its {kind} adapter adds to what the model is fed, or changes with it, so it "
                "cannot be merged into the weights. Give the base model: (peft_model.get_base_model(), tokenizer)."
            )
    return adapted.base_model.model


def is_adapted(hf_model: nn.Module) -> bool:
    """Whether it has adapter layers, and weights that they can be merged into."""
    found = _adapters(hf_model)
    return bool(found) and not any(p.dtype in (torch.uint8, torch.int8) for p in hf_model.parameters())


def merged(hf_model: Any) -> tuple[str, ...]:
    """Compute the active adapters into the weights, in place, and return what to say of it.

    Raises
    ------
    InputError
        If an adapter cannot be merged, or the model computes something else then.
    """
    training = hf_model.training
    before = None if training else _logits(hf_model)
    names: set[str] = set()
    try:
        for name, layer in _adapters(hf_model):
            on = not getattr(layer, "disable_adapters", False)
            names.update(layer.active_adapters if on else ())
            if hasattr(layer, "unload_and_optionally_merge_module"):
                plain = layer.unload_and_optionally_merge_module(on, safe_merge=False, adapter_names=None)
                plain = plain if on else layer.original_module
            else:
                if on and not layer.merged:
                    layer.merge()
                elif layer.merged and not on:
                    layer.unmerge()
                plain = layer.get_base_layer()
            hf_model.set_submodule(name, plain)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # each kind of adapter has its own
        raise _unmergeable(hf_model, f"{type(error).__name__}: {error}") from error
    hf_model._hf_peft_config_loaded = False
    hf_model.__dict__.pop("peft_config", None)
    if not names:
        return ("its adapters are switched off and left out",)
    gap = None
    if before is not None:
        gap = relative_gap(_logits(hf_model), before)
        if not gap <= GAP_LIMITS.get(hf_model.dtype, 1e-4) and bool(torch.isfinite(before).all()):
            raise _unmergeable(hf_model, f"merged, its logits differ by {gap:.1e} of the largest")
    rounding = "" if gap is None else f"; its logits differ from the unmerged model's by rounding, gap {gap:.1g}"
    return (f"adapter {', '.join(sorted(names))} is merged into the weights{rounding}",)


def adapter_base(folder: Path) -> str | None:
    """Where the base model of an adapter's folder lies; None for a folder without an adapter.

    Raises
    ------
    InputError
        If the folder is damaged or holds pickled weights, or peft is not installed.
    """
    file = folder / _CONFIG
    if not file.is_file():
        return None
    try:
        base = json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
        assert isinstance(base, str) and base
    except (ValueError, RecursionError, KeyError, TypeError, AssertionError) as error:
        rule = f"its {_CONFIG} is damaged, or names no base model"
        raise InputError.about("source", str(folder), rule, by_hand(folder)) from error
    if not (folder / _WEIGHTS).is_file():
        rule = f"it holds an adapter's settings, and no {_WEIGHTS} (pickled weights can run code)"
        raise InputError.about("source", str(folder), rule, "Save it again: peft_model.save_pretrained(folder).")
    if find_spec("peft") is None:
        rule = "it holds an adapter, for which peft is needed"
        raise InputError.about("source", str(folder), rule, "Run: pip install peft")
    return base


def adapter_on_hub(name: str) -> bool:
    """Whether a name on the hub, or in its cache, is an adapter."""
    try:
        return find_adapter_config_file(name) is not None
    except Exception:  # no such name, no network, no access
        return False


def by_hand(place: Path | str) -> str:
    """How to load an adapter whose base is not where it says."""
    return f"Load its base, and give (peft.PeftModel.from_pretrained(base, {str(place)!r}), tokenizer)."


def with_adapter(hf_model: Any, folder: Path) -> tuple[Any, tuple[str, ...]]:
    """Put the adapter of a folder on its base model, and merge it.

    Raises
    ------
    InputError
        If it does not fit.
    """
    from peft import PeftModel

    try:
        adapted: Any = within_adapter(PeftModel.from_pretrained(hf_model, str(folder)).eval())
    except (torch.OutOfMemoryError, UnsupportedModelError):
        raise
    except Exception as error:  # as many kinds as for models
        first = (str(error).strip().splitlines() or [""])[0]
        rule = f"its adapter cannot be put on its base model ({type(error).__name__}: {first})"
        raise InputError.about("source", str(folder), rule, by_hand(folder)) from error
    return adapted, merged(adapted) if is_adapted(adapted) else ()


def _adapters(hf_model: nn.Module) -> list[tuple[str, Any]]:
    """Name and layer of each adapter that is not inside another."""
    peft = sys.modules.get("peft")
    if peft is None:
        return []
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    found: list[tuple[str, Any]] = []
    for name, module in hf_model.named_modules():  # outer ones come first
        inside = found and name.startswith(f"{found[-1][0]}.")
        if not inside and isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
            found.append((name, module))
    return found


def _unmergeable(hf_model: Any, why: str) -> InputError:
    rule = f"its adapter cannot be merged into the weights ({why})"
    remedy = "Merge it yourself: peft_model.merge_and_unload(); or pass copy=False, which takes it unmerged."
    return InputError.about("source", type(hf_model).__name__, rule, remedy)


def _logits(hf_model: Any) -> torch.Tensor:
    ids = probe_ids(hf_model.config.get_text_config().vocab_size, None)
    return hf_model(input_ids=torch.tensor([ids], device=hf_model.device), use_cache=False).logits[0]
