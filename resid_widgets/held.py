"""Values inside frozen objects: arrays that are compared by content, and what was taken from another run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from resid_widgets.errors import InputError


class Held:
    """An array inside a frozen object: compared and hashed by content.

    Attributes
    ----------
    array
        Read-only numpy array, float32 or float64.
    digest
        Hash of shape, type and content (16 hex digits).
    """

    __slots__ = ("array", "digest")

    def __init__(self, values: Any, name: str = "value") -> None:
        detached = values.detach().cpu() if hasattr(values, "detach") else values
        if str(getattr(detached, "dtype", "")) in ("torch.bfloat16", "torch.float16"):
            detached = detached.float()  # numpy has no bfloat16
        detached = detached.numpy() if hasattr(detached, "numpy") else detached  # numpy 2 warns of a bare tensor
        try:
            array = np.array(detached)
        except (TypeError, ValueError) as error:
            raise InputError.about(name, values, f"an array of numbers is needed ({error})", "") from error
        if array.dtype.kind not in "fiub":
            raise InputError.about(name, values, "an array of numbers is needed", "Pass a number, array or tensor.")
        array = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
        if not np.isfinite(array).all():
            raise InputError.about(name, values, "every number must be finite", "Leave out NaN and infinities.")
        array.setflags(write=False)
        self.array = array
        told = f"{array.shape}{array.dtype}".encode()
        self.digest = hashlib.blake2b(told + np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"array{list(self.array.shape)} {self.digest[:6]}"


@dataclass(frozen=True)
class Captured:
    """Values taken from another run, with what is needed to take them again.

    Attributes
    ----------
    values
        The whole component of the site's layer, position first (pattern: head first).
    token_ids
        What the source run was fed.
    weights_hash
        Of the model that made it.
    plain
        Whether the source run had no interventions, so that running its tokens gives the values again.
    """

    values: Held
    token_ids: tuple[int, ...]
    weights_hash: str
    plain: bool = True
