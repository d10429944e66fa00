"""What a cell of a causal trace puts back: the clean values of one token, over a window of layers."""

from __future__ import annotations

from dataclasses import replace

import torch

from resid_widgets import interventions as ops
from resid_widgets.analysis.sweeps.cells import Cells
from resid_widgets.analysis.sweeps.opening import Index
from resid_widgets.analysis.sweeps.sweep import fixed
from resid_widgets.interventions import Intervention
from resid_widgets.models.reuse.edits import Edit, constant
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import Site


def window_layers(middle: int, width: int, n_layers: int) -> range:
    """Return the layers of a window, cut off at the ends (as Meng et al. 2022 do)."""
    return range(max(0, middle - width // 2), min(n_layers, middle + (width + 1) // 2))


def restoring(clean: Run, noised: Run, site: Site, width: int) -> tuple[Edit, ...]:
    """Return the edits that put the clean values of a window of layers back, without those that change nothing."""
    assert site.pos is not None, "cells of the stream have positions"
    lo, hi = site.pos, site.pos + 1
    edits: list[Edit] = []
    for layer in window_layers(site.layer, width, clean.model.n_layers):
        value = clean.activation(site.component, layer)[lo:hi]
        # Until something was restored below, what stands there is known: the same value changes nothing.
        if edits or not torch.equal(value, noised.activation(site.component, layer)[lo:hi]):
            edits.append(Edit(site.component, layer, lo, hi, None, None, constant(value)))
    return fixed(noised, edits[0]) if len(edits) == 1 else tuple(edits)


def restored_in(clean: Run, cells: Cells, width: int) -> dict[Index, tuple[Intervention, ...]]:
    """Return the same for each cell as interventions, for whoever builds upon one."""
    patched = ops.patch(Site(cells.component, 0), list(clean.token_ids))
    layers = {layer: window_layers(layer, width, clean.model.n_layers) for layer in range(clean.model.n_layers)}
    return {
        index: tuple(replace(patched, site=replace(site, layer=layer)) for layer in layers[site.layer])
        for index, site in cells
    }
