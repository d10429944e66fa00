"""Activations of many prompts: where they came from, one row a sample, and the numbers, held or read when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from resid_widgets.errors import InputError
from resid_widgets.models.collecting.activation_sources import Source
from resid_widgets.models.collecting.batch_plan import Plan
from resid_widgets.models.memory import CPU, human, require_memory
from resid_widgets.models.model import ResidualModel
from resid_widgets.results import Check, Provenance
from resid_widgets.tokens import visible
from resid_widgets.whole import whole


class Activations:
    """Activations of many prompts. Made by `collect` and `open_activations`.

    Attributes
    ----------
    components
        What was collected, e.g. ``("resid_post",)``.
    layers
        Which layers.
    d_model
        Width of the residual stream.
    widths
        Width of each component: `d_model`, or the number of neurons.
    samples
        One row a sample, a kept position of a prompt, by prompt and position. Columns: ``prompt`` (its index), ``pos``,
        ``token_id``, ``token`` (its text) and, where the prompts were labelled, ``label`` and ``group``.
    checks
        What was tested while they were collected.
    provenance
        Model, weights, tokens (of all prompts, one after the other) and options.
    model
        What they are of; None for a store that was opened without one.
    path
        Folder of the store, or None where they are held in memory.
    peak
        Bytes that the collection said it would use at most, beyond the model; 0 for a store that was only opened.
    """

    def __init__(
        self,
        source: Source,
        header: Mapping[str, Any],
        plans: Sequence[Plan],
        checks: tuple[Check, ...],
        *,
        model: ResidualModel | None = None,
        path: Path | None = None,
        peak: int = 0,
    ) -> None:
        self._source = source
        self.components: tuple[str, ...] = tuple(header["widths"])
        self.layers: tuple[int, ...] = tuple(header["layers"])
        self.widths: dict[str, int] = dict(header["widths"])
        self.d_model = int(header["d_model"])
        self.checks = checks
        self.model = model
        self.path = path
        self.peak = peak
        self.samples = _samples(plans)
        self._plans = tuple(plans)
        self.provenance = Provenance(
            model=header["model"],
            weights_hash=header["weights_hash"],
            token_ids=tuple(i for plan in plans for ids in plan.ids for i in ids),
            bos=", ".join(dict.fromkeys(plan.bos for plan in plans)),
            dtype=header["dtype"],
            device=header["device"],
            versions=header["versions"],
            options={**header["options"], "components": self.components, "layers": self.layers},
        )

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return int(self.samples["prompt"].iloc[-1]) + 1

    @property
    def memory(self) -> int:
        """Bytes that the activations hold in memory; 0 where they are in a store."""
        return self._source.memory

    def tokens(self, prompt: Any) -> tuple[str, ...]:
        """Return the text of each token of a prompt, by its number in `samples`.

        Raises
        ------
        InputError
            If there is no such prompt.
        """
        plan, number = self._planned(prompt)
        return tuple(plan.vocabulary[i] for i in plan.ids[number])

    def token_ids(self, prompt: Any) -> tuple[int, ...]:
        """Return the ids of a prompt's tokens, by its number in `samples`.

        Raises
        ------
        InputError
            If there is no such prompt.
        """
        plan, number = self._planned(prompt)
        return plan.ids[number]

    def _planned(self, prompt: Any) -> tuple[Plan, int]:
        """Return the plan of a prompt, and its number there."""
        number = whole(prompt)
        before = -1 if number is None else number
        for plan in self._plans:
            if 0 <= before < len(plan.ids):
                return plan, before
            before -= len(plan.ids)
        rule = f"there are {sum(len(plan.ids) for plan in self._plans)} prompts"
        raise InputError.about("prompt", prompt, rule, "Numbers are those of activations.samples['prompt'].")

    def matrix(self, layer: Any, component: str | None = None) -> Float[np.ndarray, "sample width"]:
        """Return all samples of one component at one layer.

        Parameters
        ----------
        layer
            One of `layers`.
        component
            One of `components`; may be left out where there is one.

        Returns
        -------
        ndarray
            ``[sample, width]`` float32, a new array each time: yours to change.

        Raises
        ------
        InputError
            If it was not collected, does not fit in memory, or its store is damaged.
        """
        place = self._component(component), self._layer(layer)
        needed = self.n_samples * self.widths[place[0]] * 4
        require_memory(needed, CPU, "memory of the matrix", "Take fewer samples: activations.array(...)[samples].")
        return self._source.read(place, np.arange(self.n_samples))

    def array(self, component: str | None = None) -> xr.DataArray:
        """Return one component at all layers as a labelled array that is read where it is looked at.

        Returns
        -------
        xarray.DataArray
            ``[layer, sample, d_model]`` (``neuron`` for mlp_post) of float32, with the samples' columns as coords.

        Raises
        ------
        InputError
            If it was not collected.
        """
        component = self._component(component)
        return self._labelled((component,)).isel(component=0)

    @cached_property
    def values(self) -> xr.DataArray:
        """All components as one labelled array, ``[component, layer, sample, d_model]``, read where it is looked at.

        Raises
        ------
        InputError
            If they differ in width.
        """
        if len(set(self.widths.values())) > 1:
            rule = "they differ in width, and are no one array"
            raise InputError.about("components", self.components, rule, "Use activations.array(component).")
        return self._labelled(self.components)

    def _labelled(self, components: tuple[str, ...]) -> xr.DataArray:
        last = "neuron" if components == ("mlp_post",) else "d_model"
        lazy = indexing.LazilyIndexedArray(_Lazy(self, components))
        columns = {name: ("sample", column.to_numpy()) for name, column in self.samples.items()}
        columns["token"] = ("sample", np.array([visible(text) for text in self.samples["token"]], dtype=object))
        return xr.DataArray(
            xr.Variable(("component", "layer", "sample", last), lazy),
            coords={
                "component": list(components),
                "layer": list(self.layers),
                "sample": np.arange(self.n_samples),
                **columns,
            },
            name="activation",
            attrs={"long_name": "activation", "units": ""},
        )

    def _component(self, component: object) -> str:
        if component is None and len(self.components) == 1:
            return self.components[0]
        if not isinstance(component, str) or component not in self.components:
            kept = f"{', '.join(self.components)} {'was' if len(self.components) == 1 else 'were'} collected"
            raise InputError.about("component", component, kept, "Choose one, or collect again with components=[...].")
        return component

    def _layer(self, layer: object) -> int:
        number = whole(layer)
        if number is None or number not in self.layers:
            rule = f"layers {', '.join(map(str, self.layers))} were collected"
            raise InputError.about("layer", layer, rule, "Choose one of them, or collect again with layers=[...].")
        return number

    def __repr__(self) -> str:
        layers = f"{len(self.layers)} layer{'' if len(self.layers) == 1 else 's'}"
        where = f"in {str(self.path)!r}" if self.path else f"{human(self.memory)} in memory"
        lines = [
            f"Activations of {self.provenance.model}: {self.n_samples} samples of {self.n_prompts} prompts",
            f"  {', '.join(self.components)} x {layers}, {where}",
        ]
        return "\n".join(lines + [f"  [{check.level}] {check.text}" for check in self.checks])


class _Lazy(BackendArray):
    """An array of xarray that is read from a source when, and as far as, it is looked at."""

    def __init__(self, activations: Activations, components: tuple[str, ...]) -> None:
        self._of, self._components = activations, components
        width = activations.widths[components[0]]
        self.shape = (len(components), len(activations.layers), activations.n_samples, width)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        picked = [np.atleast_1d(np.arange(n)[part]) for n, part in zip(self.shape, key, strict=True)]
        components, layers, samples, columns = picked
        values = np.empty(tuple(map(len, picked)), np.float32)
        for a, component in enumerate(components):
            for b, layer in enumerate(layers):
                place = self._components[component], self._of.layers[layer]
                values[a, b] = self._of._source.read(place, samples)[:, columns]
        # A whole number takes its dim away.
        return values[tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice) else slice(None) for part in key)]


def _samples(plans: Sequence[Plan]) -> pd.DataFrame:
    frames, before = [], 0
    for plan in plans:
        counts = [len(of) for of in plan.positions]
        prompt = np.repeat(np.arange(len(plan.ids)), counts)
        pos = np.array([pos for of in plan.positions for pos in of], dtype=np.int64)
        token_id = np.array([plan.ids[n][p] for n, p in zip(prompt, pos, strict=True)], dtype=np.int64)
        columns: dict[str, Any] = {"prompt": prompt + before, "pos": pos, "token_id": token_id}
        columns["token"] = [plan.vocabulary[i] for i in token_id.tolist()]
        for name, known in (("label", plan.labels), ("group", plan.groups)):
            if any(value is not None for value in known):
                columns[name] = pd.Series([known[n] for n in prompt], dtype=object).infer_objects()
        frames.append(pd.DataFrame(columns))
        before += len(plan.ids)
    return pd.concat(frames, ignore_index=True)
