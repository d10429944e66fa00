"""A Hugging Face model's modules by their own names, and which of them takes or gives values that were recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resid_widgets.models.structure import relative_gap


@dataclass(frozen=True)
class PlainModules:
    """A Hugging Face model's modules by their own names.

    In a bridged model a wrapper stands around each. `called` has the outermost, which the model's code calls
    (a norm's wrapper computes on its own and never calls what it wraps); `own` the innermost, Hugging Face's.
    """

    called: dict[str, nn.Module]
    own: dict[str, nn.Module]

    def projections(self, path: str) -> list[nn.Module]:
        """Return the modules below `path` that multiply by a matrix. A norm, which only scales, is none of them."""
        below = [module for name, module in self.own.items() if name.startswith(f"{path}.")]
        weights = [(module, getattr(module, "weight", None)) for module in below]
        return [module for module, weight in weights if isinstance(weight, Tensor) and weight.ndim > 1]


def plain_modules(root: nn.Module) -> PlainModules:
    """Sort the modules of a bridged or plain model by their Hugging Face names."""
    called: dict[str, nn.Module] = {}
    own: dict[str, nn.Module] = {}
    for name, module in root.named_modules():
        plain = ".".join(part for part in name.split(".") if part != "_original_component")
        called.setdefault(plain, module)
        own[plain] = module
    return PlainModules(called, own)


def holder(
    seen: Iterable[tuple[nn.Module, Tensor]], wanted: Float[Tensor, "pos width"], limit: float
) -> tuple[nn.Module, Tensor] | None:
    """Return the first module that was seen with exactly `wanted`, and in which of its columns; None if none was."""
    for module, value in seen:
        columns = _columns(wanted, value.reshape(-1, value.shape[-1]), limit)
        if columns is not None:
            return module, columns
    return None


def _columns(wanted: Float[Tensor, "pos a"], given: Float[Tensor, "rows b"], limit: float) -> Tensor | None:
    """For each column of `wanted`, the column of `given` that equals it at every position; None if one has none."""
    if given.shape[0] != wanted.shape[0] or given.shape[1] < wanted.shape[1]:
        return None
    # As many columns in the same order is the plain case, and settles columns that are alike (dead ReLUs).
    if given.shape == wanted.shape and relative_gap(given, wanted) <= limit:
        return torch.arange(wanted.shape[1])
    distance = torch.cdist(
        wanted.T.float(), given.T.float(), p=float("inf"), compute_mode="donot_use_mm_for_euclid_dist"
    )
    best = distance.min(dim=1)
    scale = float(wanted.abs().max()) or 1.0
    if float(best.values.max()) > limit * scale or best.indices.unique().numel() != wanted.shape[1]:
        return None
    return best.indices
