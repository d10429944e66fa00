"""What a click on the ablation explorer's picture means: from a cell to an intervention, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resid_widgets import interventions as ops
from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.sweeps.ablation import Ablation
from resid_widgets.errors import InputError
from resid_widgets.interventions import Intervention
from resid_widgets.models.layers.shapes import layers_with, site_shape
from resid_widgets.models.layers.writes import writable_layers, write_test
from resid_widgets.models.runs.run import Run
from resid_widgets.models.tokenize import tokenize
from resid_widgets.sites import Site

Place = list[int | None]
"""A cell as it travels: row and column; a column of None is the whole row."""


def intervention_of(run: Run, options: Mapping[str, Any], layer: int, column: int | None) -> Intervention:
    """Return what a click on a cell does.

    Raises
    ------
    InputError
        If something that it needs is not there yet: another prompt, a direction.
    """
    component = component_of(options)
    head = column if component == "z" else None
    site = Site(component, run.layer(layer), None if component == "z" else column, head)
    match options["how"]:
        case "noise":
            return ops.noise(site, options["sigma"], options["seed"])
        case "clamp":
            return ops.clamp(site, options["low"], options["high"])
        case "resample":
            return ops.resample(site, _needed_prompt(options), options["seed"])
        case "patch":
            return ops.patch(site, _needed_prompt(options))
        case "project_out":
            return ops.project_out(site, _direction(run, options, component))
        case how:
            return getattr(ops, how)(site)


def cell_of(item: Intervention, result: GridResult, options: Mapping[str, Any]) -> Place | None:
    """Return the cell of the picture that an intervention belongs to; None where it is not in this picture."""
    site = item.site
    if site.component != component_of(options):
        return None
    pos = None if site.pos is None else site.pos % len(result.provenance.token_ids)
    return [site.layer, site.head if site.component == "z" else pos]


def changed_cells(result: Ablation, options: Mapping[str, Any]) -> list[Place]:
    """Return the cells of the picture that are changed."""
    found = (cell_of(item, result, options) for item in result.interventions)
    return [cell for cell in found if cell is not None]


def checked_cells(cells: Any) -> list[Any]:
    """Return the cells of a message.

    Raises
    ------
    InputError
        If one is none.
    """
    for cell in cells:
        ok = isinstance(cell, list) and len(cell) == 2 and isinstance(cell[0], int)
        if not ok or not isinstance(cell[1], int | None):
            raise InputError.about("cells", cell, "a layer and a column are needed", "Reload the page.")
    return list(cells)


def require_writes(run: Run, site: str) -> None:
    """Refuse a state of the stream that no click could change, in any layer.

    Raises
    ------
    InputError
        With the reason.
    """
    if not writable_layers(run.model, site):
        outcome = write_test(run.model, site, 0)
        raise InputError.about("site", site, f"it cannot be written: {outcome.reason}", "Choose another one.")


def require_parameters(run: Run, options: Mapping[str, Any]) -> None:
    """Refuse what no click could use, before one does. Whether the bounds of clamp fit each other, a click says.

    Raises
    ------
    InputError
        For the first that is of no use.
    """
    model, anywhere = run.model, Site("resid_post", 0)
    ops.noise(anywhere, options["sigma"], options["seed"])
    for bound in ("low", "high"):
        if options[bound] is not None:
            ops.clamp(anywhere, **{bound: options[bound]})
    if options["direction"] is not None:
        size = len(ops.project_out(anywhere, options["direction"]).option("direction").array)
        heads = sorted({site_shape(model, "z", layer)[-1] for layer in layers_with(model, "z")})
        if size not in (model.d_model, *heads):
            told = " or ".join(map(str, heads))
            rule = f"a direction in the stream has {model.d_model} numbers, one in a head's output {told}"
            raise InputError.about("direction", f"{size} numbers", rule, "Give one of that length.")
    if options["source_prompt"] is not None:
        for prompt in ops.resample(anywhere, options["source_prompt"]).option("source"):
            given = list(prompt) if isinstance(prompt, tuple) else prompt
            tokenize(model.tokenizer, given, bos=None, d_vocab=model.d_vocab, n_ctx=model.n_ctx)


def component_of(options: Mapping[str, Any]) -> str:
    """Return what a click changes."""
    return str({"heads": "z", "mlps": "mlp_out"}.get(options["mode"], options["site"]))


def _needed_prompt(options: Mapping[str, Any]) -> Any:
    if options["source_prompt"] is None:
        raise InputError(f"{options['how']} takes values from another prompt: type one into 'other prompt' first.")
    return options["source_prompt"]


def _direction(run: Run, options: Mapping[str, Any], component: str) -> Any:
    """Return the direction that project_out removes: the user's, or what the metric reads."""
    if options["direction"] is not None:
        return options["direction"]
    metric = options["metric"]
    if component == "z":
        raise InputError("A head's output is not in the stream: set w.direction to d_head numbers.")
    ids = [run.model.token_id(token) for token in (*metric.answers, *metric.foils)]
    if not ids:
        raise InputError("This metric reads no one direction: set w.direction to a vector of length d_model first.")
    rows = run.model.bridge.W_U.detach().double()[:, ids].cpu().numpy()
    return rows[:, 0] - (rows[:, 1] if len(ids) > 1 else 0.0)
