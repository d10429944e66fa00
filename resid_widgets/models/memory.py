"""How much memory a run will take, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterable

import psutil
import torch
from torch import Tensor

from resid_widgets.errors import InputError

CPU = torch.device("cpu")


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on `device`."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes that tensors hold, those that share a storage counted once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def human(n_bytes: int) -> str:
    """Bytes as a short text, e.g. ``"1.5 GB"``."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def require_memory(needed: int, device: torch.device, what: str, remedy: str) -> None:
    """Refuse an allocation that would not fit.

    Raises
    ------
    InputError
        Naming what is needed, what is free, and what to do.
    """
    free = free_bytes(device)
    if needed > free:
        raise InputError.about(what, human(needed), f"only {human(free)} are free on {device}", remedy)
