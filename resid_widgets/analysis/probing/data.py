"""What a probe learns from: arrays or collected activations, with a label, a group and a unit for each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resid_widgets.analysis.probing.positions import kept_positions, last_positions
from resid_widgets.errors import InputError
from resid_widgets.results import Check, Provenance
from resid_widgets.whole import several_whole, whole

ARRAYS = "plain arrays"


@dataclass(frozen=True, eq=False)
class ProbeData:
    """Samples and the places in the model where each was read.

    Attributes
    ----------
    components, layers
        Names (``None`` where plain arrays came without one), and layer numbers.
    nested
        Whether results have a component dim.
    d_model
        Width of the rows.
    samples
        One row a sample: what is known of it, and ``label``.
    labels
        ``[sample]``.
    groups, units
        ``[sample]``, numbers; no units where none are known.
    provenance, model, checks
        Of the activations.
    read
        Returns the rows of a component and layer.
    tokens
        Returns the text of each token of a prompt, by its number; None where that is not known.
    token_ids
        Returns their ids.
    """

    components: tuple[str | None, ...]
    layers: tuple[int, ...]
    nested: bool
    d_model: int
    samples: pd.DataFrame
    labels: NDArray[Any]
    groups: NDArray[np.int64]
    units: NDArray[np.int64] | None
    provenance: Provenance
    model: Any
    checks: tuple[Check, ...]
    read: Callable[[str | None, int], NDArray[Any]]
    tokens: Callable[[int], tuple[str, ...]] | None = None
    token_ids: Callable[[int], tuple[int, ...]] | None = None

    def matrix(self, component: str | None, layer: int) -> NDArray[np.float64]:
        """Return the rows of a component and layer, ``[sample, d_model]``, float64.

        Raises
        ------
        InputError
            If a number is not finite.
        """
        rows = np.asarray(self.read(component, layer), dtype=np.float64)
        wrong = ~np.isfinite(rows).all(axis=1)
        if wrong.any():
            where = f"layer {layer}" if component is None else f"{component}, layer {layer}"
            rule = f"{int(wrong.sum())} samples have NaN or infinite activations, the first is number {wrong.argmax()}"
            raise InputError.about("activations", where, rule, "Leave those samples out, or run the model in float32.")
        return rows


def from_arrays(
    arrays: Mapping[Any, Any], labels: Any, groups: Any, units: Any, components: Any, layers: Any
) -> ProbeData:
    """Return plain arrays as data: ``{layer: X}`` or ``{component: {layer: X}}``, X ``[sample, d_model]``.

    Raises
    ------
    InputError
        If keys, shapes or lengths do not fit.
    """
    nested = any(isinstance(value, Mapping) for value in arrays.values())
    tables: dict[str | None, dict[int, NDArray[Any]]] = {}
    for name, table in (arrays if nested else {None: arrays}).items():
        if not isinstance(table, Mapping) or not table or (nested and not isinstance(name, str)):
            example = "Give {layer: X}, or {component: {layer: X}} with the same layers in each."
            raise InputError.about("data", list(arrays), "layers (and components) are needed as keys", example)
        tables[name] = {_layer_key(layer): _rows(layer, x) for layer, x in table.items()}
    first = next(iter(tables.values()))
    names = _chosen("components", components, tuple(tables))
    numbers = _chosen("layers", layers, tuple(sorted(first)))
    shapes = {table[layer].shape for table in tables.values() for layer in table}
    if any(set(table) != set(first) for table in tables.values()):
        raise InputError.about("data", list(tables), "components have different layers", "Give the same for each.")
    if len(shapes) > 1:
        rule = f"all arrays must have one shape [sample, d_model], and there are {sorted(shapes)}"
        raise InputError.about("data", list(first), rule, "Give the same samples at each layer.")
    n, d_model = next(iter(shapes))
    checks: tuple[Check, ...] = ()
    if groups is None:
        text = "no groups were given: each sample counts as a group of its own, and near copies may be on both sides"
        checks = (Check("groups", "amber", float(n), None, text),)
    label = _one_a_sample("labels", labels, n)
    group = np.arange(n) if groups is None else _one_a_sample("groups", groups, n)
    samples = pd.DataFrame({"label": label, "group": group})
    unit = None
    if units is not None:
        unit = _one_a_sample("control_units", units, n)
        samples["unit"] = unit
    versions = {name: version(name) for name in ("numpy", "scikit-learn")}
    dtype = str(first[numbers[0]].dtype)
    return ProbeData(
        names,
        numbers,
        nested,
        d_model,
        samples,
        label,
        numbered(group),
        None if unit is None else numbered(unit),
        Provenance(ARRAYS, "", (), "no tokens", dtype, "cpu", versions),
        None,
        checks,
        lambda component, layer: tables[component][layer],
    )


def from_activations(
    activations: Any, labels: Any, groups: Any, units: Any, components: Any, layers: Any, positions: Any
) -> ProbeData:
    """Return collected activations (`resid_widgets.collect`) as data.

    Raises
    ------
    InputError
        If something does not fit, or the position rule leaves no sample.
    """
    names = _chosen("components", components, tuple(activations.components))
    numbers = _chosen("layers", layers, tuple(int(layer) for layer in activations.layers))
    everything: pd.DataFrame = activations.samples
    keep = kept_positions(everything, positions, last_positions(activations))
    samples = everything.iloc[keep].reset_index(drop=True)
    whole = len(keep) == len(everything)

    def column(name: str, given: Any, *otherwise: str) -> NDArray[Any] | None:
        if given is None:
            found = next((other for other in otherwise if other in everything), None)
            return None if found is None else everything[found].to_numpy()[keep]
        if isinstance(given, str):
            if given not in everything:
                rule = f"the samples have no such column, but {list(map(str, everything.columns))}"
                raise InputError.about(name, given, rule, "Name one of them, or give a value for each sample.")
            return everything[given].to_numpy()[keep]
        return _spread(name, given, everything, keep)

    label = column("labels", labels, "label")
    if label is None or pd.isna(label).any():
        rule = "the samples have no labels" if label is None else f"{int(pd.isna(label).sum())} samples have no label"
        raise InputError.about("labels", labels, rule, "Give labels=, one for each sample or for each prompt.")
    group = column("groups", groups, "group", "prompt")
    unit = column("control_units", units, "token_id")
    if group is None or pd.isna(group).any():
        raise InputError.about("groups", groups, "a group is needed for each sample", "Give groups=.")
    samples["label"], samples["group"] = label, group
    if unit is not None:
        samples["unit"] = unit
    return ProbeData(
        names,
        numbers,
        len(names) > 1,
        int(activations.d_model),
        samples,
        label,
        numbered(group),
        None if unit is None else numbered(unit),
        activations.provenance,
        activations.model,
        tuple(activations.checks),
        lambda component, layer: _read(activations, component, layer, None if whole else keep),
        getattr(activations, "tokens", None),
        getattr(activations, "token_ids", None),
    )


def _read(activations: Any, component: str | None, layer: int, keep: NDArray[np.int64] | None) -> NDArray[Any]:
    rows = activations.matrix(layer, component)
    return rows if keep is None else rows[keep]


def numbered(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return values as numbers from 0, equal for equal values."""
    return np.asarray(pd.factorize(values)[0], dtype=np.int64)


def _spread(name: str, given: Any, samples: pd.DataFrame, keep: NDArray[np.int64]) -> NDArray[Any]:
    """Return one value a kept sample, of one a sample (before or after the rule) or one a prompt."""
    values = _vector(name, given)
    if len(values) == len(samples):
        return values[keep]
    if len(values) == len(keep):
        return values
    prompts = int(samples["prompt"].to_numpy().max()) + 1
    if len(values) == prompts:
        return values[samples["prompt"].to_numpy()[keep]]
    rule = f"there are {len(samples)} samples of {prompts} prompts"
    raise InputError.about(name, f"{len(values)} values", rule, "Give one for each sample, or one for each prompt.")


def _one_a_sample(name: str, given: Any, n: int) -> NDArray[Any]:
    if given is None:
        raise InputError.about(name, given, "plain arrays need one for each sample", f"Give {name}=.")
    values = _vector(name, given)
    if len(values) != n:
        rule = f"there are {n} samples"
        raise InputError.about(name, f"{len(values)} values", rule, "Give one for each sample, in their order.")
    if pd.isna(values).any():
        rule = f"{int(pd.isna(values).sum())} of them are missing (NaN or None)"
        raise InputError.about(name, f"{n} values", rule, "Leave those samples out.")
    return values


def _vector(name: str, given: Any) -> NDArray[Any]:
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    items = list(given) if hasattr(given, "__array__") or isinstance(given, Sequence) else []
    if isinstance(given, str) or not items or not all(item is None or np.isscalar(item) for item in items):
        raise InputError.about(name, given, "a list of one value a sample is needed", "Give a list or an array.")
    values = np.asarray(items)
    if values.dtype.kind in "US" and not all(isinstance(item, str) for item in items):
        values = np.asarray(items, dtype=object)  # names beside numbers, which numpy would turn into names
    return values


def _layer_key(key: Any) -> int:
    number = whole(key)
    if number is None or number < 0:
        raise InputError.about("data", key, "a layer number from 0 is needed as key", "Give {layer: X}.")
    return number


def _rows(layer: Any, given: Any) -> NDArray[Any]:
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = (given.float() if given.dtype.itemsize < 4 else given).numpy()
    rows = np.asarray(given)
    if rows.ndim != 2 or rows.dtype.kind not in "fiub" or 0 in rows.shape:
        rule = f"an array of numbers [sample, d_model] is needed, this is {list(rows.shape)} of {rows.dtype}"
        raise InputError.about("data", f"layer {layer}", rule, "Give one row a sample.")
    return rows


def _chosen(name: str, given: Any, known: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return those that were asked for, in the order in which they are known."""
    if given is None:
        return known
    numbers = several_whole(given)
    items = [given] if isinstance(given, str) else list(given if numbers is None else numbers)
    missing = [item for item in items if item not in known]
    if missing or not items:
        rule = f"there are only {list(known)}" if missing else "none is named"
        raise InputError.about(name, missing or items, rule, "Name some of these, or leave it out for all.")
    return tuple(item for item in known if item in items)
