"""What every layer-by-token picture carries, and the checks that all of them make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.listing import listed
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check, Provenance, Result, Scale
from resid_widgets.tokens import visible

# What a component's vector is, in the words of the sentences under the pictures.
WHAT = {
    "resid_pre": "the stream's vector",
    "resid_mid": "the stream's vector",
    "resid_post": "the stream's vector",
    "attn_out": "the vector that attention writes",
    "mlp_out": "the vector that the MLP writes",
}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class GridResult(Result):
    """A result with one number a layer and token, ready to be drawn.

    Attributes
    ----------
    values
        ``[layer, pos]`` float32, with the visible token strings as non-index coord ``token`` on ``pos``.
    component
        Which vectors were read.
    scale
        Limits and kind of the colours.
    title, sentence
        What the picture is called; in one or two plain sentences, what it shows and does not prove.
    tokens_visible
        One a position, drawable (see `resid_widgets.tokens.visible`).
    marked
        Positions left out of the scale.
    unknown
        Positions whose word the tokenizer did not know.
    script
        What `code` returns.
    """

    component: str
    scale: Scale
    title: str
    sentence: str
    tokens_visible: tuple[str, ...]
    marked: tuple[int, ...]
    unknown: tuple[int, ...]
    script: str

    def code(self) -> str:
        """Return a short script that makes the same numbers with TransformerLens and PyTorch alone."""
        return self.script

    @property
    def finding(self) -> str:
        """What was done and what came of it, for a figure that stands alone; a widget says it elsewhere."""
        return ""

    @property
    def cell_text(self) -> NDArray[np.object_] | None:
        """Short visible text for each cell, ``[layer, pos]``, or None."""
        return None


def check_component(run: Run, component: object) -> str:
    """Return `component` if `run` has it and it is as wide as the stream.

    Raises
    ------
    InputError
        If `run` is no `Run`, or has no such component.
    """
    if not isinstance(run, Run):
        raise InputError.about(
            "run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt), then pass it."
        )
    component = named_component(component)
    run.tensor(component, 0)  # raises, with the remedy, where the run does not have it
    return component


def named_component(component: object) -> str:
    """Return `component` if there is such a one, whether or not a run has it; raises as `check_component`."""
    if not isinstance(component, str) or component not in WHAT:
        raise InputError.about("component", component, "there is no such component", f"Use one of {', '.join(WHAT)}.")
    return component


def grid_array(
    data: NDArray, run: Run, *extra: str, coords: Mapping[str, Any] | None = None, **attrs: str
) -> xr.DataArray:
    """Label ``[layer, pos, *extra]`` data with the run's layers, positions and visible tokens."""
    n_layers, n_pos = data.shape[:2]
    return xr.DataArray(
        data,
        dims=("layer", "pos", *extra),
        coords={
            "layer": np.arange(n_layers),
            "pos": np.arange(n_pos),
            "token": ("pos", np.array(visible_tokens(run), dtype=object)),
            **(coords or {}),
        },
        name=attrs.pop("name", None),
        attrs=attrs,
    )


def visible_tokens(run: Run) -> tuple[str, ...]:
    """Return the visible text of each position of `run`."""
    return tuple(visible(text) for text in run.tokens)


def with_options(provenance: Provenance, **options: Any) -> Provenance:
    """Return `provenance` with the analysis' own options added."""
    return replace(provenance, options={**provenance.options, **options})


def vectors_before(run: Run, component: str, layer: int) -> Float[Tensor, "pos d_model"] | None:
    """Return the vectors of "the previous layer", or None where there are none.

    Before ``resid_post[0]`` stands ``resid_pre[0]``, the embedded stream; other components start at layer 0.
    """
    if layer > 0:
        return run.tensor(component, layer - 1)
    if component == "resid_post" and "resid_pre" in run.components:
        return run.tensor("resid_pre", 0)
    return None


def row_chunks(n_rows: int, row_bytes: int, budget: int) -> list[slice]:
    """Cut ``range(n_rows)`` into slices whose rows fit `budget` bytes (one row at least)."""
    step = max(1, budget // max(1, row_bytes))
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def lengths(h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
    """Return the Euclidean length of each row; rows are scaled first, so that no square overflows float32."""
    size = h.abs().amax(dim=-1, keepdim=True)
    size = torch.where((size > 0) & torch.isfinite(size), size, torch.ones_like(size))
    return torch.linalg.vector_norm(h / size, dim=-1) * size[..., 0]


def carried_checks(
    run: Run,
    component: str,
    values: Float[NDArray, "layer pos"],
    broken: Bool[NDArray, "layer pos"],
    defined: Bool[NDArray, "layer pos"],
    *own: Check,
    scaled: bool = True,
) -> tuple[Check, ...]:
    """Return the run's checks and those that every layer-by-token picture adds.

    Parameters
    ----------
    run, component
        What was read.
    values
        The picture.
    broken
        Cells that read activations (or gave logits) that are not finite.
    defined
        Cells for which the definition gives a number (row 0 of "previous layer" has none, for one).
    own
        The analysis' own checks. One of the same name as a run's takes its place.
    scaled
        Whether the marked positions were left out of the colour limits.
    """
    checks = [*run.checks, *own]
    if broken.any():
        layer, pos = (int(i[0]) for i in np.nonzero(broken))
        count = int(broken.sum())
        more = f" and {count - 1} more" if count > 1 else ""
        text = f"{cells(count)} with numbers that are not finite: layer {layer}, position {pos}{more}"
        checks.append(Check("finite", "red", float(count), 0.0, text))
    lost = int((defined & ~broken & ~np.isfinite(values)).sum())
    if lost:
        text = f"{cells(lost)} have no value (a vector of zeros, or no spread) and are crossed out"
        checks.append(Check("undefined cells", "amber", float(lost), 0.0, text))
    if run.marked:
        checks.append(_marked_check(run, component, scaled))
    return _once(checks)


def cells(count: int) -> str:
    """Return e.g. ``3 cells``."""
    return f"{count} cell{'' if count == 1 else 's'}"


def _marked_check(run: Run, component: str, scaled: bool) -> Check:
    """Name the positions that stand out, with the stream's greatest norm there."""
    stream = next((c for c in ("resid_post", "resid_mid", "resid_pre") if c in run.components), component)
    rows = list(run.marked)
    norms = torch.stack([lengths(run.tensor(stream, layer)[rows].float()).cpu() for layer in run.layers]).amax(dim=0)
    many = "s" if len(rows) > 1 else ""
    named = f"position{many} {listed([str(pos) for pos in rows])}"
    sizes = f"norm{many} {listed([_size(norm) for norm in norms.tolist()])}"
    if not scaled:
        text = f"{named} marked ({sizes})"
    elif len(rows) == run.n_pos:
        text = f"{named} marked, and sets the scale alone ({sizes})"
    else:
        text = f"{named} left out of the scale ({sizes})"
    return Check("marked positions", "amber", float(len(rows)), None, text)


def _size(norm: float) -> str:
    """Return a length with three digits or, up to a million, as a whole number."""
    return f"{norm:,.0f}" if 1000 <= norm < 1e6 else f"{norm:.3g}"


def _once(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Drop checks of the same name, keeping the last (the one closest to the picture) in the first one's place."""
    return tuple({check.name: check for check in checks}.values())
