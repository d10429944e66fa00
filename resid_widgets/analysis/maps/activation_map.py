"""One number for each layer and token of the stream."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.code import layer_names, setup_code
from resid_widgets.analysis.grid import (
    WHAT,
    GridResult,
    carried_checks,
    check_component,
    grid_array,
    row_chunks,
    vectors_before,
    visible_tokens,
    with_options,
)
from resid_widgets.analysis.maps.statistics import STATS, Rows, Stat, stat_name
from resid_widgets.colour import robust_scale
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.runs.run import Run
from resid_widgets.whole import whole_number

CHUNK_BYTES = 32 * 2**20  # float32 copies of activations alive at once


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ActivationMap(GridResult):
    """One statistic of one component at each layer and token.

    Attributes
    ----------
    stat
        Key of `resid_widgets.analysis.maps.statistics.STATS`.
    raw
        ``[layer, pos]`` in the statistic's own unit; the same as `values` unless `per_layer`.
    per_layer
        Whether `values` are standard deviations from each layer's mean over unmarked positions.
    options
        The statistic's own options: dim, direction (unit length), top.
    """

    stat: str
    raw: xr.DataArray
    per_layer: bool
    options: dict[str, Any]


@plain_state()
def activation_map(
    run: Run,
    component: str = "resid_post",
    stat: str = "norm",
    *,
    dim: Any = None,
    direction: object = None,
    top: Any = 3,
    per_layer: bool = False,
) -> ActivationMap:
    """Reduce the stream's vectors to one number for each layer and token.

    Parameters
    ----------
    run
        From `resid_widgets.run`.
    component
        One of ``run.components``.
    stat
        ``norm``; ``update_norm`` (length of the change from the previous layer); ``cosine_final``;
        ``cosine_previous``; ``dimension`` (the value of `dim`); ``projection`` (on `direction`); ``kurtosis``
        (Pearson's, 3 = Gaussian); ``top_share`` (share of the squared norm in the `top` largest dimensions).
        Spaces and hyphens may stand for the underscores. "Previous" at layer 0 of ``resid_post`` is
        ``resid_pre[0]``; other components have none there (NaN). "Final" is ``resid_post[N-1]`` before ``ln_final``.
    dim
        Which dimension, for ``dimension``.
    direction
        ``[d_model]`` array or tensor in raw stream coordinates, for ``projection``. It is scaled to unit length.
    top
        How many dimensions, for ``top_share``.
    per_layer
        Show each layer in standard deviations from its own mean, both over unmarked positions.

    Returns
    -------
    ActivationMap
        ``.values`` is ``[layer, pos]`` float32.

    Raises
    ------
    InputError
        If an argument is unknown, out of range, of the wrong shape, not finite, or of no use to `stat`.
    """
    component = check_component(run, component)
    name = stat_name(stat)
    chosen = STATS[name]
    d_model = run.model.d_model
    options = check_options(name, d_model, dim=dim, direction=direction, top=top)
    unmarked = [pos for pos in range(run.n_pos) if pos not in run.marked]
    if per_layer and len(unmarked) < 2:
        raise InputError.about(
            "per_layer",
            per_layer,
            f"a spread needs at least two unmarked positions, this run has {len(unmarked)}",
            "Use a longer prompt or per_layer=False.",
        )

    raw, broken = _compute(run, component, chosen, options)
    defined = np.ones(raw.shape, dtype=bool)
    defined[0] = "previous" not in chosen.needs or vectors_before(run, component, 0) is not None
    values = _standardise(raw, unmarked) if per_layer else raw

    fields = {"what": WHAT[component], **options}
    label = chosen.label.format(**fields)
    units = "standard deviations from the layer's mean" if per_layer else chosen.units
    sentence = chosen.sentence.format(**fields)
    if per_layer:
        sentence += " Each layer has its own zero and unit here: compare within rows only."
    if not defined[0].any():
        lost = component == "resid_post"  # it would have one, had the run kept it
        sentence += " Layer 0 is crossed out: " + ("the run kept no resid_pre." if lost else "it has no layer before.")
    array = grid_array(raw, run, name=name, long_name=label, units=chosen.units)
    stated = {key: _short(value) for key, value in options.items()}
    return ActivationMap(
        values=grid_array(values, run, name=f"{name}_z", long_name=label, units=units) if per_layer else array,
        checks=carried_checks(run, component, values, broken, defined),
        provenance=with_options(run.provenance, component=component, stat=name, per_layer=per_layer, **stated),
        component=component,
        scale=robust_scale(
            values,
            run.marked,
            signed=chosen.signed or per_layer,
            label=label,
            units=units,
            bounds=(None, None) if per_layer else chosen.bounds,
        ),
        title=f"Residual stream · {label} · {component}",
        sentence=sentence,
        tokens_visible=visible_tokens(run),
        marked=run.marked,
        unknown=run.unknown,
        stat=name,
        raw=array,
        per_layer=per_layer,
        options=options,
        script=_script(run, component, chosen, options, unmarked if per_layer else None),
    )


def check_options(name: str, d_model: int, *, dim: object, direction: object, top: object) -> dict[str, Any]:
    """Return the options that the statistic reads, checked; refuse those given in vain."""
    options: dict[str, Any] = {}
    for option, value, needed_by in (("dim", dim, "dimension"), ("direction", direction, "projection")):
        if name == needed_by and value is None:
            raise InputError.about(option, value, f"stat={name!r} needs it", f"Pass {option}=...")
        if name != needed_by and value is not None:
            raise InputError.about(
                option, value, f"stat={name!r} does not use it", f"Leave it out, or use stat={needed_by!r}."
            )
    if name == "dimension":
        options["dim"] = whole_number("dim", dim, 0, d_model - 1, f"The model has d_model={d_model} dimensions.")
    if name == "projection":
        options["direction"] = _unit(direction, d_model)
    if name == "top_share":
        options["top"] = whole_number("top", top, 1, d_model, f"The model has d_model={d_model} dimensions.")
    return options


def _unit(direction: object, d_model: int) -> Float[NDArray, " d_model"]:
    """Return `direction` as a float32 array of unit length."""
    remedy = f"Pass {d_model} finite numbers, not all zero."
    try:
        if isinstance(direction, Tensor):
            direction = direction.detach().to("cpu", torch.float64)
        given = np.asarray(direction, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError.about("direction", direction, "an array of numbers is needed", remedy) from error
    if given.shape != (d_model,):
        raise InputError.about("direction", given, f"shape {given.shape} is not ({d_model},)", remedy)
    if not np.isfinite(given).all():
        count = int((~np.isfinite(given)).sum())
        raise InputError.about("direction", given, f"{count} of its numbers are not finite", remedy)
    size = np.abs(given).max()
    if size == 0:
        raise InputError.about("direction", given, "a direction cannot be the zero vector", remedy)
    given = given / size  # so that no square overflows or vanishes
    return (given / np.linalg.norm(given)).astype(np.float32)


@plain_state()
def _compute(
    run: Run, component: str, stat: Stat, options: dict[str, Any]
) -> tuple[Float[NDArray, "layer pos"], Bool[NDArray, "layer pos"]]:
    """Return the statistic, and which cells read activations that are not finite, layer by layer."""
    n_layers, n_pos, d_model = run.model.n_layers, run.n_pos, run.model.d_model
    # h, previous, final, and about three temporaries in the statistic
    chunks = row_chunks(n_pos, 6 * 4 * d_model, CHUNK_BYTES)
    values = np.full((n_layers, n_pos), np.nan, dtype=np.float32)
    broken = np.zeros((n_layers, n_pos), dtype=bool)
    final = run.tensor("resid_post", n_layers - 1) if "final" in stat.needs else None
    options = dict(options)
    for layer in run.layers:
        h = run.tensor(component, layer)
        previous = vectors_before(run, component, layer) if "previous" in stat.needs else None
        if "direction" in options:
            options["direction"] = torch.as_tensor(options["direction"], device=h.device)
        for rows in chunks:
            now = h[rows].float()
            before = None if previous is None else previous[rows].to(h.device, torch.float32)
            last = None if final is None else final[rows].to(h.device, torch.float32)
            finite = [torch.isfinite(x).all(dim=-1) for x in (now, before, last) if x is not None]
            broken[layer, rows] = (~torch.stack(finite).all(dim=0)).cpu().numpy()
            if "previous" not in stat.needs or before is not None:
                values[layer, rows] = stat.compute(Rows(now, before, last, **options)).cpu().numpy()
    return values, broken


def _standardise(values: Float[NDArray, "layer pos"], unmarked: list[int]) -> Float[NDArray, "layer pos"]:
    """Return each layer in standard deviations from its mean, both over finite unmarked positions."""
    kept = values[:, unmarked].astype(np.float64)
    finite = np.isfinite(kept)
    count = finite.sum(axis=1, keepdims=True)
    kept = np.where(finite, kept, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = kept.sum(axis=1, keepdims=True) / count
        spread = np.sqrt((np.where(finite, kept - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
        spread[spread <= 1e-6 * np.abs(mean)] = np.nan  # rounding, not spread
        return ((values - mean) / spread).astype(np.float32)


def _short(value: object) -> object:
    """Return an option as provenance states it: arrays by their content hash."""
    if isinstance(value, np.ndarray):
        return f"sha256:{hashlib.sha256(value.tobytes()).hexdigest()[:12]}"
    return value


def _script(run: Run, component: str, stat: Stat, options: dict[str, Any], unmarked: list[int] | None) -> str:
    """Return the code of a map; `unmarked` is None where layers were not standardised."""
    names = layer_names(run, component)
    read = [f"{option} = {_literal(value)}" for option, value in options.items()]
    read.append(f"h = torch.stack([cache[name][0].float() for name in {names}])  # [layer, pos, d_model]")
    used = list(names)
    if "previous" in stat.needs:
        first = "torch.full_like(h[:1], torch.nan)"
        if vectors_before(run, component, 0) is not None:
            embedded = run.model.hook_name("resid_pre", 0)
            used.append(embedded)
            first = f"cache[{embedded!r}].float()"
        read.append(f"previous = torch.cat([{first}, h[:-1]])")
    if "final" in stat.needs:
        used.append(last := run.model.hook_name("resid_post", run.model.n_layers - 1))
        read.append(f"final = cache[{last!r}].float()")
    read.append(f"values = {stat.code}")
    if unmarked is not None:
        read += [
            f"kept = values[:, {unmarked}]  # the unmarked positions",
            "mean, spread = kept.mean(1, keepdim=True), kept.std(1, keepdim=True, unbiased=False)",
            "spread[spread <= 1e-6 * mean.abs()] = torch.nan  # rounding, not spread",
            "values = (values - mean) / spread",
        ]
    return "\n".join([setup_code(run, used), *read, ""])


def _literal(value: object) -> str:
    """Return an option as Python source."""
    if isinstance(value, np.ndarray):
        return f"torch.tensor([{', '.join(f'{x:.9g}' for x in value)}])  # unit length"
    return repr(value)
