"""What some contributions to one number say, by what each of them is of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.contributions.tree import Amount, total_of


@dataclass(frozen=True, eq=False)
class Known:
    """Amounts by component name, layer, layer and head, layer and neuron; of a head by the position it read from."""

    components: dict[str, Amount] = field(default_factory=dict)
    layers: dict[int, Amount] = field(default_factory=dict)
    heads: dict[tuple[int, int], Amount] = field(default_factory=dict)
    neurons: dict[tuple[int, int], Amount] = field(default_factory=dict)
    sources: dict[tuple[int, int], list[Amount]] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()

    @classmethod
    def of(cls, results: Sequence[Contributions]) -> Known:
        """Gather what results say; the first one's word counts where several say the same."""
        known = cls(tokens=next((each.tokens_visible for each in results if each.tokens_visible), ()))
        for result in results:
            known._take(result)
        return known

    def _take(self, result: Contributions) -> None:
        for name, value in zip(result.rest["component"].values.tolist(), result.rest.values, strict=True):
            self.components.setdefault(str(name), Amount(float(value)))
        values = result.values.values
        prompts = None if result.prompts is None else result.prompts.values
        places = [result.values.coords[str(dim)].values.tolist() for dim in result.values.dims[:2]]
        kind = result.by
        for place in np.ndindex(values.shape[: 1 if kind in ("component", "layer") else 2]):
            name: Any = tuple(labels[i] for labels, i in zip(places, place, strict=False))
            found, each = values[place], None if prompts is None else prompts[(slice(None), *place)]
            if not np.isfinite(found).all():  # a layer with fewer heads
                continue
            if kind == "source":
                parts = [Amount(float(x), None if each is None else each[:, n]) for n, x in enumerate(found)]
                self.sources.setdefault(name, parts)
                self.heads.setdefault(name, total_of(parts))
            else:
                kinds: dict[str, Any] = {"head": self.heads, "neuron": self.neurons}
                into = kinds.get(kind, self.components if kind == "component" else self.layers)
                into.setdefault(name if kind in kinds else name[0], Amount(float(found), each))

    def pieces(self, layer: int) -> Iterator[str]:
        """Yield what a layer has written, by name, as far as that is known."""
        inside = f"{layer}."
        names = [name for name in self.components if name.startswith(inside)]
        whole = {"attn_bias": "attn_out", "mlp_bias": "mlp_out"}
        told = {whole.get(name.removeprefix(inside), name.removeprefix(inside)) for name in names}
        told |= {"attn_out"} if any(of == layer for of, _ in self.heads) else set()
        told |= {"mlp_out"} if any(of == layer for of, _ in self.neurons) else set()
        yield from sorted(told, key=_ORDER.index)

    @property
    def written(self) -> list[int]:
        """The layers that have written something."""
        named = {int(name.partition(".")[0]) for name in self.components if "." in name}
        return sorted(named | set(self.layers) | {of for of, _ in (*self.heads, *self.neurons)})


_ORDER = ["edit_before", "attn_out", "mlp_out", "edit"]
"""In which order a layer writes."""
