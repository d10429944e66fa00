"""From the heads or neurons of a sublayer to what it adds to the stream: a projection, and a factor or a held norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resid_widgets.analysis.contributions.frozen_norm import FrozenNorm, frozen
from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.layers.plain import plain_modules
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import blocks_path, relative_gap

INNER = {"attn_out": "z", "mlp_out": "mlp_post"}
_PROJECTIONS = {"attn_out": ("attn", "o"), "mlp_out": ("mlp", "out")}
_POST_NORMS = {"attn_out": "ln1_post", "mlp_out": "ln2_post"}


@dataclass(frozen=True, eq=False)
class Sublayer:
    """How a sublayer writes at one position.

    Attributes
    ----------
    project
        From ``[d_in]`` to ``[d_model]``, the sublayer's last matrix with its bias.
    factor
        What that is multiplied with.
    norm
        What it goes through before it is added (Gemma 2, OLMo 2), held at this position's scale; None as a rule.
    gap
        Largest relative difference from what the run has.
    """

    project: Callable[[Tensor], Tensor]
    factor: float
    norm: FrozenNorm | None
    gap: float

    def read(
        self, direction: Float[Tensor, " d_model"], inner: Float[Tensor, " d_in"]
    ) -> tuple[Float[Tensor, " d_in"], float]:
        """Return what `direction` of the stream reads of each number inside, and what it reads of the biases."""
        before = self.factor * (direction if self.norm is None else self.norm.read(direction))
        with plain_pass(), torch.enable_grad():
            leaf = inner.detach().clone().requires_grad_()
            (weights,) = torch.autograd.grad((self.project(leaf).double() * before).sum(), leaf)
        with plain_pass():
            bias = float(self.project(torch.zeros_like(inner)).double() @ before)
        own = 0.0 if self.norm is None else self.factor * float(direction @ self.norm.bias)
        return weights.double(), bias + own


def sublayer(
    model: ResidualModel,
    component: str,
    layer: int,
    inner: Float[Tensor, " d_in"],
    written: Float[Tensor, " d_model"],
) -> Sublayer:
    """Find out how a sublayer writes; the model's lock is held.

    Parameters
    ----------
    component
        ``attn_out`` or ``mlp_out``.
    inner, written
        What stands in its heads or neurons, and what it adds to the stream there.

    Raises
    ------
    UnsupportedModelError
        If it is no projection with a factor or norm behind it.
    """
    best = torch.inf
    post = getattr(model.bridge.blocks[layer], _POST_NORMS[component], None)
    for module in _matrices(model, component, layer, len(inner)):
        found = _tried(model, module, post, inner, written)
        if found.gap <= model.gap_limit:
            return found
        best = min(best, found.gap)
    raise UnsupportedModelError(
        f"{component} of layer {layer} of {model.name} cannot be split into {INNER[component]}: no matrix of the "
        f"block, with a factor or norm behind it, gives it of these numbers (least gap {best:.1e})."
    )


def _matrices(model: ResidualModel, component: str, layer: int, width: int) -> Iterator[nn.Module]:
    """Yield what may be the sublayer's last matrix: as TransformerLens names it, or any of the block that fits."""
    part, name = _PROJECTIONS[component]
    named = getattr(getattr(model.bridge.blocks[layer], part, None), name, None)
    if named is not None:
        yield named
    modules = plain_modules(model.bridge.original_model)
    for module in modules.projections(f"{blocks_path(model)}.{layer}"):
        shape = tuple(getattr(module, "weight", torch.empty(0)).shape)
        if shape in ((model.d_model, width), (width, model.d_model)):
            yield module


def _tried(model: ResidualModel, module: nn.Module, post: Any, inner: Tensor, written: Tensor) -> Sublayer:
    """Return how a sublayer writes if `module` is its last matrix; the gap tells whether it is."""

    def project(x: Tensor) -> Tensor:
        return module(x.reshape(1, 1, -1)).reshape(-1)

    with plain_pass():
        try:
            projected = project(inner)
        except RuntimeError:  # it takes another width
            return Sublayer(project, 1.0, None, torch.inf)
    factor, gap = _factor(projected, written)
    if gap <= model.gap_limit or post is None:
        return Sublayer(project, factor, None, gap)
    try:
        norm = frozen(post, projected, "norm behind it", model.gap_limit)
    except UnsupportedModelError:
        return Sublayer(project, factor, None, gap)
    factor, gap = _factor((norm.of(projected) + norm.bias).to(written), written)
    return Sublayer(project, factor, norm, gap)


def _factor(given: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Return the factor that takes one vector to the other best, and the gap that is left."""
    given, wanted = given.double(), wanted.double()
    size = float(given @ given)
    factor = float(given @ wanted) / size if size else 1.0
    factor = 1.0 if abs(factor - 1.0) < 1e-6 else factor
    return factor, relative_gap(factor * given, wanted)
