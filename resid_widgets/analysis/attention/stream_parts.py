"""What has been written into the stream at some positions, as vectors: by component, or with attention by head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.contributions.parts import writers_before
from resid_widgets.analysis.contributions.split import layers_inside
from resid_widgets.analysis.contributions.sublayer import Sublayer, block_modules, sublayer
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import Site

Vectors = Float[Tensor, "row d_model"]


def stream_parts(
    run: Run, layer: int, positions: tuple[int, ...], by: str
) -> tuple[dict[str, Vectors], dict[int, Sublayer]]:
    """Return what has been written into ``resid_pre`` of a layer, float64, the lowest first; it adds up to the stream.

    With it, how attention writes in each layer that is split into heads.

    Parameters
    ----------
    by
        ``"component"``: ``embed``, ``0.attn_out``, ``0.mlp_out`` ...; ``"head"``: attention as ``0.3`` (layer and head)
        and ``0.attn_bias``, which belongs to no head.

    Raises
    ------
    UnsupportedModelError
        If a layer's heads are not all of what its attention writes.
    """
    rows = list(positions)
    found: dict[str, Tensor] = {"embed": run.activation("resid_pre", 0)[rows].double()}
    named = layers_inside(run.model, "attn_out") if by == "head" else ()
    modules = block_modules(run.model) if named else None
    opened: dict[int, Sublayer] = {}
    for component, below in writers_before(run.model, Site("resid_pre", layer)):
        written = run.activation(component, below)[rows]
        if component == "mlp_out" or below not in named:
            found[f"{below}.{component}"] = written.double()
            continue
        z = run.activation("z", below)[rows]
        with run.model.lock, without_foreign_hooks(run.model):
            how = opened[below] = sublayer(run.model, component, below, z.flatten(1), written, modules)
            for head in range(z.shape[1]):
                alone = torch.zeros_like(z)
                alone[:, head] = z[:, head]
                found[f"{below}.{head}"] = how.part(alone.flatten(1))
        bias = written.double() - sum(found[f"{below}.{head}"] for head in range(z.shape[1]))
        if float(bias.abs().max()) > run.model.gap_limit * float(written.abs().max()):
            found[f"{below}.attn_bias"] = bias
    edited = any(item.site.component in ("resid_pre", "resid_mid", "resid_post") for item in run.interventions)
    left = run.activation("resid_pre", layer)[rows].double() - sum(found.values())
    if edited and float(left.abs().max()) > run.model.gap_limit * float(found["embed"].abs().max()):
        found["interventions"] = left
    return found, opened
