"""A quick fingerprint of a model's weights, so that results say what they came from."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from resid_widgets.models.ambient import plain_state

_SAMPLES = 64

_SAME_WIDTH = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class _Known:
    """A fingerprint, and what must not have changed for it to hold."""

    digest: str
    key: tuple[Any, ...]
    views: list[Tensor]
    """Evenly spaced values of each parameter, in its own storage: they see what is written there."""
    sample: bytes


@plain_state()
def fingerprint(model: nn.Module, cache: dict[str, Any]) -> str:
    """Hash names, shapes, row sums and evenly spaced values of all parameters (16 hex digits).

    Not cryptographic: it tells apart models and edited weights. Values are summed as whole numbers, so that neither
    the order of summing nor the device matters. It costs one pass over the weights, and is kept in `cache` until a
    parameter is written or replaced. An edit through ``parameter.data``, of which PyTorch keeps no count, is
    noticed if it touches one of the evenly spaced values.
    """
    held = [p for module in modules_under(model) for p in module._parameters.values() if p is not None]
    key = tuple((id(p), 0 if p.is_inference() else p._version, p.data_ptr()) for p in held)
    known: _Known | None = cache.get("fingerprint")
    if known is None or known.key != key or known.sample != _read(known.views):
        digest = hashlib.blake2b(digest_size=8)
        views: list[Tensor] = []
        for name, parameter in model.named_parameters():
            numbers = _whole_numbers(parameter)
            flat = numbers.reshape(-1)
            views.append(flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES])
            digest.update(f"{name}{tuple(parameter.shape)}{parameter.dtype}".encode())
            # In its own dtype: it may wrap around, which is exact too, and ten times as fast.
            digest.update(_read([views[-1], numbers.sum(dim=-1, dtype=numbers.dtype).reshape(-1)]))
        known = cache["fingerprint"] = _Known(digest.hexdigest(), key, views, _read(views))
    return known.digest


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
