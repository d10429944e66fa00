"""A quick fingerprint of a model, so that results say what they came from and never mix two."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from resid_widgets.models.ambient import plain_state
from resid_widgets.models.fingerprint.settings import Settings

_SAMPLES = 64

_SAME_WIDTH = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class _Known:
    """A fingerprint, and what must not have changed for it to hold."""

    digest: str
    key: tuple[Any, ...]
    modules: list[nn.Module]
    settings: Settings
    views: list[Tensor]
    """Evenly spaced values of each tensor, in its own storage: they see what is written there."""
    sample: bytes

    def holds(self, key: tuple[Any, ...], modules: list[nn.Module]) -> bool:
        same = self.key == key and self.modules is modules and self.settings.unchanged
        return same and self.sample == _read(self.views)


@plain_state()
def fingerprint(model: nn.Module, cache: dict[str, Any]) -> str:
    """Hash what decides a model's numbers (16 hex digits): parameters, buffers, and `Settings`.

    Of each tensor: name, shape, row sums and evenly spaced values. Not cryptographic: it tells apart models and edited
    ones. Values are summed as whole numbers, so that neither the order of summing nor the device matters; buffers that
    are computed and not stored (rotary frequencies) count rounded, for processors differ in their last bits. It costs
    one pass over the weights, and is kept in `cache` until something is written or replaced. An edit through
    ``parameter.data``, of which PyTorch keeps no count, is noticed if it touches one of the evenly spaced values.
    """
    modules = modules_under(model)
    held = [p for module in modules for p in module._parameters.values() if p is not None]
    held += [b for module in modules if module._buffers for b in _buffers(module).values()]
    key = tuple((id(p), 0 if p.is_inference() else p._version, p.data_ptr()) for p in held)
    known: _Known | None = cache.get("fingerprint")
    if known is None or not known.holds(key, modules):
        digest = hashlib.blake2b(digest_size=8)
        views: list[Tensor] = []
        for name, tensor, stored in _tensors(model):
            numbers = _whole_numbers(tensor)
            flat = numbers.reshape(-1)
            views.append(flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES])
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            # In its own dtype: it may wrap around, which is exact too, and ten times as fast.
            exact = [views[-1], numbers.sum(dim=-1, dtype=numbers.dtype).reshape(-1)]
            digest.update(_read(exact) if stored or not tensor.is_floating_point() else _rounded(tensor))
        settings = Settings([module for module in modules if not isinstance(module, HookPoint)])
        digest.update(settings.digest.encode())
        known = cache["fingerprint"] = _Known(digest.hexdigest(), key, modules, settings, views, _read(views))
    return known.digest


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    """Its buffers, but not those that each pass computes anew: rotary frequencies which follow a prompt's length."""
    passing = getattr(module, "rope_type", "") in ("dynamic", "longrope")
    return {name: b for name, b in module._buffers.items() if b is not None and not (passing and "inv_freq" in name)}


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Name and value of each parameter and buffer, and whether it is stored with the model."""
    yield from ((name, parameter, True) for name, parameter in model.named_parameters())
    for path, module in model.named_modules():
        for name, buffer in _buffers(module).items():
            yield f"{path}.{name}", buffer, name not in module._non_persistent_buffers_set


def _rounded(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1).cpu().double()
    sample = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES]
    return " ".join([f"{float(flat.sum()):.2e}", *(f"{value:.1e}" for value in sample.tolist())]).encode()


def modules_under(*roots: nn.Module) -> list[nn.Module]:
    """Each module once, the nearest to the roots first; a bridge has thousands, and this is quick.

    The first root remembers what was found, and it is found again only where a module was added, removed or replaced.
    """
    holder = roots[0].__dict__
    known = holder.get(_KNOWN)
    if known is not None and known[0] == roots[1:] and known[2] == [tuple(m._modules.values()) for m in known[1]]:
        return known[1]
    found = _search(roots)
    holder[_KNOWN] = roots[1:], found, [tuple(module._modules.values()) for module in found]
    return found


_KNOWN = "_resid_widgets_modules"


def _search(roots: Sequence[nn.Module]) -> list[nn.Module]:
    found = list(roots)
    seen = set(map(id, found))
    for module in found:  # it grows meanwhile
        for child in module._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return found


def _whole_numbers(parameter: Tensor) -> Tensor:
    """The bits of `parameter` as integers, at least one row."""
    bits = parameter.detach().contiguous().view(_SAME_WIDTH[parameter.element_size()])
    return bits.reshape(-1) if bits.ndim == 0 else bits


def _read(views: list[Tensor]) -> bytes:
    """The values of all `views`, with one copy a device."""
    together: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for view in views:
        together[view.device, view.dtype].append(view)
    return b"".join(torch.cat(group).cpu().numpy().tobytes() for group in together.values())
