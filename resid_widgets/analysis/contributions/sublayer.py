"""From the heads or neurons of a sublayer to what it adds to the stream: a projection, and a factor or a held norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from resid_widgets.models.structure import blocks_path, relative_gap, worst_gap

INNER = {"attn_out": "z", "mlp_out": "mlp_post"}
_PROJECTIONS = {"attn_out": ("attn", "o"), "mlp_out": ("mlp", "out")}
POST_NORMS = {"attn_out": "ln1_post", "mlp_out": "ln2_post"}


@dataclass(frozen=True, eq=False)
class Sublayer:
    """How a sublayer writes at some rows: positions of one prompt or of several.

    Attributes
    ----------
    project
        From ``[row, d_in]`` to ``[row, d_model]``, the sublayer's last matrix with its bias.
    path
        What that matrix' module is called in the Hugging Face model.
    factor
        What its output is multiplied with.
    norm
        What that goes through before it is added (Gemma 2, OLMo 2), held at each row's scale; None as a rule.
    gap
        Largest relative difference from what the run has.
    """

    project: Callable[[Tensor], Tensor]
    path: str
    factor: float
    norm: FrozenNorm | None
    gap: float

    @plain_pass()
    def part(self, inner: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_model"]:
        """Return what some of the numbers inside, the others 0, add to the stream; the bias is no part of it."""
        projected = (self.project(inner) - self.project(torch.zeros_like(inner))).double()
        return self.factor * (projected if self.norm is None else self.norm.of(projected))

    def before(self, directions: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """Return what directions of the stream read of the matrix' output."""
        return self.factor * (directions if self.norm is None else self.norm.read(directions))

    def read(
        self, directions: Float[Tensor, "row d_model"], inner: Float[Tensor, "row d_in"]
    ) -> tuple[Float[Tensor, "row d_in"], Float[Tensor, " row"]]:
        """Return what directions of the stream read of each number inside, and of the biases."""
        before = self.before(directions)
        with plain_pass(), torch.enable_grad():
            leaf = inner.detach().clone().requires_grad_()
            (weights,) = torch.autograd.grad((self.project(leaf).double() * before).sum(), leaf)
        with plain_pass():
            bias = (self.project(torch.zeros_like(inner)).double() * before).sum(-1)
        own = 0.0 if self.norm is None else self.factor * (directions @ self.norm.bias)
        return weights.double(), bias + own


def sublayer(
    model: ResidualModel,
    component: str,
    layer: int,
    inner: Float[Tensor, "row d_in"],
    written: Float[Tensor, "row d_model"],
    modules: Sequence[Mapping[str, nn.Module]] | None = None,
) -> Sublayer:
    """Find out how a sublayer writes; the model's lock is held.

    Parameters
    ----------
    component
        ``attn_out`` or ``mlp_out``.
    inner, written
        What stands in its heads or neurons, and what it adds to the stream there.
    modules
        `block_modules`, for who asks for many layers.

    Raises
    ------
    UnsupportedModelError
        If it is no projection with a factor or norm behind it.
    """
    best = torch.inf
    post = getattr(model.bridge.blocks[layer], POST_NORMS[component], None)
    modules = block_modules(model) if modules is None else modules
    for path, module in _matrices(model, component, layer, inner.shape[-1], modules[layer]):
        found = _tried(model, path, module, post, inner, written)
        if found.gap <= model.gap_limit:
            return found
        best = min(best, found.gap)
    raise UnsupportedModelError(
        f"{component} of layer {layer} of {model.name} cannot be split into {INNER[component]}: no matrix of the "
        f"block, with a factor or norm behind it, gives it of these numbers (least gap {best:.1e})."
    )


def block_modules(model: ResidualModel) -> list[dict[str, nn.Module]]:
    """Return the modules of each block of the Hugging Face model by their own names."""
    path, found = f"{blocks_path(model)}.", [{} for _ in range(model.n_layers)]
    for name, module in plain_modules(model.bridge.original_model).own.items():
        layer = name.removeprefix(path).partition(".")[0]
        if name.startswith(path) and layer.isdigit():
            found[int(layer)][name] = module
    return found


def _matrices(
    model: ResidualModel, component: str, layer: int, width: int, modules: Mapping[str, nn.Module]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield what may be the sublayer's last matrix: as TransformerLens names it, or any of the block that fits."""
    part, name = _PROJECTIONS[component]
    paths = {id(module): path for path, module in modules.items()}
    original: Any = getattr(getattr(model.bridge.blocks[layer], part, None), name, None)
    while hasattr(original, "original_component"):
        original = original.original_component
    if id(original) in paths:
        yield paths[id(original)], original
    for path, module in modules.items():
        shape = tuple(getattr(module, "weight", torch.empty(0)).shape)
        if module is not original and shape in ((model.d_model, width), (width, model.d_model)):
            yield path, module


def _tried(model: ResidualModel, path: str, module: nn.Module, post: Any, inner: Tensor, written: Tensor) -> Sublayer:
    """Return how a sublayer writes if `module` is its last matrix; the gap tells whether it is."""

    def project(x: Tensor) -> Tensor:
        return module(x[None])[0]

    with plain_pass():
        try:
            projected = project(inner)
        except RuntimeError:  # it takes another width
            return Sublayer(project, path, 1.0, None, torch.inf)
    factor, gap = _factor(projected, written)
    if gap <= model.gap_limit or post is None:
        return Sublayer(project, path, factor, None, gap)
    try:
        norm = frozen(post, projected, "norm behind it", model.gap_limit)
    except UnsupportedModelError:
        return Sublayer(project, path, factor, None, gap)
    factor, gap = _factor((norm.of(projected) + norm.bias).to(written), written)
    return Sublayer(project, path, factor, norm, gap)


def _factor(given: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Return the factor that takes some rows to others best, and the largest gap of a row that is left."""
    given, wanted = given.double(), wanted.double()
    if given.shape != wanted.shape:
        return 1.0, torch.inf
    # Each row counts alike: one with a massive activation must not hide the others.
    weight = 1 / given.square().sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    factor = float((weight * given * wanted).sum() / (weight * given.square()).sum().clamp_min(1e-300))
    factor = 1.0 if abs(factor - 1.0) < 1e-6 or not given.any() else factor
    return factor, worst_gap(*(relative_gap(factor * a, b) for a, b in zip(given, wanted, strict=True)))
