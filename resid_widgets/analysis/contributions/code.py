"""Contributions as a script: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.code import boot_code
from resid_widgets.analysis.contributions.direction import Weights
from resid_widgets.analysis.contributions.parts import BY, writers_before
from resid_widgets.analysis.contributions.sublayer import INNER, POST_NORMS, Sublayer
from resid_widgets.models.layers.shapes import site_shape
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import Site

FROZEN = '''\
def frozen(norm, x, centred):
    """Return a norm with its scale held at the value for x, as x -> gain * (x - mean) + bias."""
    def call(v):
        with torch.no_grad():
            return norm(v.to(dtype)[None, None])[0, 0].double()
    signs = torch.tensor([1.0, -1.0] * (len(x) // 2), dtype=torch.float64, device=x.device)
    bias = call(torch.zeros_like(x))
    weight = (call(1024 * signs) - bias) * signs  # so large that the epsilon is lost
    scaled = weight * (x - x.mean() if centred else x)
    return weight * ((call(x) - bias) @ scaled) / (scaled @ scaled), bias

def read(gain, centred, direction):
    """Return the direction before the norm that reads what `direction` reads behind it."""
    pulled = gain * direction
    return pulled - pulled.mean() if centred else pulled
'''


def logit_lines(weights: Weights, centred: bool) -> list[str]:
    """Return the lines that make ``direction`` of a ``stream``: what a weighted sum of logits reads.

    Parameters
    ----------
    centred
        Whether the final norm takes off the mean.
    """
    ids, counts = ([*column] for column in zip(*weights, strict=True))
    return [
        f"gain, bias = frozen(bridge.ln_final, stream, {centred})",
        "leaf = torch.zeros(1, 1, len(stream), dtype=dtype, device=stream.device, requires_grad=True)",
        "logits = bridge.adapter.apply_output_logits_transform(bridge.unembed(leaf))[0, 0].double()",
        f"asked = logits[{ids}] @ logits.new_tensor({counts})",
        f"direction = read(gain, {centred}, torch.autograd.grad(asked, leaf)[0].flatten().double())",
    ]


def vector_lines(vector: Float[NDArray, " d_model"]) -> list[str]:
    """Return the line that makes ``direction`` of numbers."""
    return [f"direction = torch.tensor([{', '.join(f'{x:.9g}' for x in vector)}], dtype=torch.float64)"]


def contributions_code(
    run: Run,
    site: Site,
    positions: Sequence[int],
    asked: Sequence[str],
    by: str,
    layers: Sequence[int],
    opened: Mapping[int, Sublayer],
) -> str:
    """Return a script that makes ``values``.

    Parameters
    ----------
    site, positions
        What is split; several positions are averaged over.
    asked
        `logit_lines` or `vector_lines`.
    opened
        How each layer's sublayer writes, where `by` opens them.
    """
    model = run.model
    if run.base is not None:
        return "# Of an intervened run: run it first with rw.intervene(run, ...), then ask the same of that.\n"
    if model.d_model % 2:
        return "# The script takes a norm's weights from vectors of mean 0 and one size, which need an even d_model.\n"
    lines = [
        boot_code(run),
        "dtype = next(bridge.parameters()).dtype",
        "with torch.no_grad():",
        "    _, cache = bridge.run_with_cache(tokens)",
        "",
        FROZEN,
        *([MODULES] if opened else []),
        f"positions = {list(positions)}",
        "values = 0",
        "for pos in positions:",
        f"    stream = cache[{model.hook_name(site.component, site.layer)!r}][0, pos].double()",
        *(f"    {line}" for line in asked),
        *(f"    {line}" for line in _split(run, site, by, layers, opened)),
        "    values = values + found / len(positions)",
        "",
    ]
    return "\n".join(lines)


MODULES = """\
def plain(name):
    return ".".join(part for part in name.split(".") if part != "_original_component")

modules = {plain(name): module for name, module in bridge.original_model.named_modules()}
"""


def sublayers_code(model: ResidualModel, component: str, opened: Mapping[int, Sublayer]) -> str:
    """Return by layer the last matrix' name, a factor, the norm behind it, and the shape of what is inside.

    Of the norm, whether it takes off the mean; None where there is none.
    """
    shapes = {layer: tuple(site_shape(model, INNER[component], layer)) for layer in opened}
    how = {layer: (of.path, of.factor, of.norm and of.norm.centred, shapes[layer]) for layer, of in opened.items()}
    return repr(how)


def _split(run: Run, site: Site, by: str, layers: Sequence[int], opened: Mapping[int, Sublayer]) -> list[str]:
    """Return the lines that make ``found`` of a ``direction`` at ``pos``."""
    model, writers = run.model, writers_before(run.model, site)
    if by == "component":
        names = [model.hook_name(*place) for place in [("resid_pre", 0), *writers]]
        return [f"names = {names}", "found = torch.stack([cache[name][0, pos].double() @ direction for name in names])"]
    if by == "layer":
        names = [[model.hook_name(*place) for place in writers if place[1] == layer] for layer in layers]
        return [
            f"layers = {names}",
            "along = [[cache[name][0, pos].double() @ direction for name in names] for names in layers]",
            "found = torch.stack([sum(of) for of in along])",
        ]
    component = str(BY[by])
    inner = model.hook_name(INNER[component], 0).replace(".0.", ".{layer}.")
    how = sublayers_code(model, component, opened)
    parts = {
        "neuron": "parts = weights * inner.double()",
        "head": "parts = (weights * inner.double()).sum(-1)",
        "source": "parts = pattern * torch.einsum('khd,hd->hk', v, weights)",
    }[by]
    sources = [
        "pattern = cache[f'blocks.{layer}.attn.hook_pattern'][0][:, pos].double()",
        "v = cache[f'blocks.{layer}.attn.hook_v'][0].double()",
        "v = v.reshape(len(v), -1, inner.shape[-1])",
        "v = v.repeat_interleave(len(pattern) // v.shape[1], dim=1)",
    ]
    return [
        "found = []",
        f"for layer, (path, factor, post, shape) in {how}.items():",
        f"    inner = cache[f'{inner}'][0, pos].reshape(shape)",
        "    project = modules[path]",
        "    before = factor * direction",
        "    if post is not None:  # it is written through a norm",
        "        with torch.no_grad():",
        "            written = project(inner.flatten()[None, None])[0, 0].double()",
        f"        norm = bridge.blocks[layer].{POST_NORMS[component]}",
        "        before = read(frozen(norm, written, post)[0], post, before)",
        "    leaf = inner.flatten().clone().requires_grad_()",
        "    weights = torch.autograd.grad(project(leaf[None, None])[0, 0].double() @ before, leaf)[0]",
        "    weights = weights.double().reshape(inner.shape)",
        *(f"    {line}" for line in (sources if by == "source" else [])),
        f"    {parts}",
        "    found.append(parts.detach())",
        "found = torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=torch.nan)",
    ]
