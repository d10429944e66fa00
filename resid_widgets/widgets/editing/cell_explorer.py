"""The ablation explorer that a cell of a patching heat map opens, and what keeps it in view below the map."""

from __future__ import annotations

import weakref
from typing import Any

from resid_widgets import interventions as ops
from resid_widgets.analysis.metrics import Metric
from resid_widgets.analysis.sweeps.patch_result import PatchSweep
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import run
from resid_widgets.sites import Site
from resid_widgets.widgets.editing.ablation_explorer import STREAM_SITES, AblationExplorer
from resid_widgets.widgets.shell.traits import write
from resid_widgets.widgets.shell.widget import ShellWidget


def explorer_on(
    model: ResidualModel, result: PatchSweep, cell: tuple[int, int], metric: Metric, opened: AblationExplorer | None
) -> AblationExplorer:
    """Return an explorer with the patch of a cell.

    Parameters
    ----------
    cell
        Layer, and position or head.
    opened
        The explorer that is open already; it is used again where it is of the same run, and closed where it is not.
    """
    layer, column = cell
    heads = result.cells.dims[1] != "pos"
    site = Site(result.component, layer, None if heads else column, column if heads else None)
    items = (ops.patch(site, list(result.provenance.options["source_token_ids"])),)
    mode = "heads" if result.component == "z" else "mlps" if result.component == "mlp_out" else "cells"
    there: dict[str, Any] = {"mode": mode}
    if mode == "cells" and result.component in STREAM_SITES:
        there["site"] = result.component
    base = result.provenance.token_ids
    if opened is not None and not opened.closed:
        shown = opened.run
        if shown is not None and shown.token_ids == base:
            opened.change(interventions=items, metric=metric, **there)
            return opened
    if opened is not None:
        opened.close()
    return AblationExplorer(run(model, base), metric, interventions=items, **there)


class ShownBelow:
    """Keeps an explorer in view below its heat map until it is closed, as a link keeps a selection."""

    def __init__(self, owner: ShellWidget) -> None:
        self._owner = weakref.ref(owner)

    def drop(self, explorer: ShellWidget) -> None:
        """Take a closed explorer out of view."""
        owner = self._owner()
        if owner is not None and owner.inner is explorer:
            write(owner, "inner", None)
