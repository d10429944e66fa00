"""From what is known of a sum to a tree of its parts: which bars there are, and what each is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from resid_widgets.analysis.contributions.known import Known
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.contributions.tree import SMALL, Amount, Part, folded, total_of

VIEWS = ("component", "layer", "head", "neuron")
"""What the bars are of, before any is opened."""

AXES = ("layer", "head", "neuron", "pos", "component", "part")
"""Names of an address, see `Part.at`."""

WORDS = {"attn_out": "attention", "mlp_out": "MLP"}

EDITS = {"edit_before": "put in before", "edit": "put in"}
"""What interventions have put into the stream itself."""


@dataclass(frozen=True, eq=False)
class Tree:
    """Bars that add up to a number.

    Attributes
    ----------
    parts
        From the embedding to the bias, each with what it consists of.
    total
        What they add up to, as the model itself gives it.
    limit
        Size below which bars are summed as others.
    """

    parts: tuple[Part, ...]
    total: Part
    limit: float

    def __iter__(self) -> Iterator[Part]:
        """Yield every part, each before what it consists of, the total last."""
        waiting = [self.total, *reversed(self.parts)]
        while waiting:
            part = waiting.pop()
            yield part
            waiting += reversed(part.parts)

    @cached_property
    def axes(self) -> dict[str, list[int | str]]:
        """The names of an address here, with what each can be."""
        found: dict[str, dict[int | str, None]] = {name: {} for name in AXES}
        for part in self:
            for name, value in part.at.items():
                found[name][value] = None
        numbers = ("layer", "head", "neuron", "pos")
        return {name: sorted(of) if name in numbers else list(of) for name, of in found.items()}  # type: ignore[type-var]

    def at(self, address: Mapping[str, int | str]) -> Part | None:
        """Return the part that an address names; None where it is not known."""
        best: Part | None = None
        for part in self:
            named = part.at.items() <= address.items()
            if named and (best is None or len(part.at) >= len(best.at)):
                best = part
        return best


def tree_of(results: Sequence[Contributions], by: str, asks: Mapping[str, Sequence[int]] | None = None) -> Tree:
    """Return the tree of some contributions to one number.

    Parameters
    ----------
    results
        The first says what is read; others open layers of it.
    by
        One of `VIEWS`. What the results do not tell apart stays together.
    asks
        ``"attn_out"``, ``"mlp_out"`` and ``"head"`` to the layers in which these could be opened by another result.
    """
    first = results[0]
    grower = _Grower(Known.of(results), SMALL * abs(first.total), asks or {})
    totals = first.totals.values if len(first.totals) > 1 else None
    name = first.label.removeprefix("logit difference ")
    total = Part("total", name, ("total", first.label, ""), {"part": "total"}, Amount(first.total, totals))
    return Tree(grower.top(by, first.bias), total, grower.limit)


@dataclass(frozen=True, eq=False)
class _Grower:
    known: Known
    limit: float
    asks: Mapping[str, Sequence[int]]

    def top(self, by: str, bias: float) -> tuple[Part, ...]:
        known = self.known
        beneath = [self._whole(name, known.components[name]) for name in known.components if "." not in name]
        layers = [part for layer in known.written for part in self._layer(layer, by)]
        ends = [Part("bias", "bias", ("bias", "final norm and unembedding", ""), {"part": "bias"}, Amount(bias))]
        return (*folded([*beneath, *layers], self.limit, "", ""), *(ends if bias else []))

    def _whole(self, name: str, amount: Amount) -> Part:
        words = {"embed": "embedding"}.get(name, name)
        return Part(name, words, ("stream", words, ""), {"component": name}, amount)

    def _layer(self, layer: int, by: str) -> list[Part]:
        """Return a layer as one bar, or as the bars that `by` asks for."""
        names = list(self.known.pieces(layer))
        if by == "layer" or not names:
            inside = [self._piece(layer, name, alone=False) for name in names]
            amount = self.known.layers.get(layer) or total_of([part.amount for part in inside])
            told = (f"layer {layer}", "attention and MLP", "")
            return [Part(f"layer.{layer}", f"layer {layer}", told, {"layer": layer}, amount, tuple(inside))]
        flat = {"head": "attn_out", "neuron": "mlp_out"}.get(by)
        found = [(self._inside(layer, name) if name == flat else []) or [self._piece(layer, name)] for name in names]
        return [part for parts in found for part in parts]

    def _piece(self, layer: int, name: str, *, alone: bool = True) -> Part:
        """Return attention or MLP of a layer, or what was put in there."""
        key = f"{layer}.{name}"
        at = {"layer": layer, "component": name}
        if name in EDITS:
            words = f"{EDITS[name]}{f' {layer}' if alone else ''}"
            return Part(key, words, (f"layer {layer}", EDITS[name], "by interventions"), at, self.known.components[key])
        words = WORDS[name]
        parts = self._inside(layer, name)
        amount = self.known.components.get(key) or total_of([part.amount for part in parts])
        asks = {"attn_out": "source", "mlp_out": "neuron"}[name]
        asks = "" if parts or layer not in self.asks.get(name, ()) else asks
        parts = folded(parts, self.limit, key, f"{words} of layer {layer}")
        told = (f"layer {layer}", words, "")
        return Part(key, f"{words} {layer}" if alone else words, told, at, amount, tuple(parts), asks)

    def _inside(self, layer: int, name: str) -> list[Part]:
        """Return all heads or neurons of a layer that are known, and the bias that belongs to none of them."""
        heads = name == "attn_out"
        of = self.known.heads if heads else self.known.neurons
        parts = [self._head(*place) if heads else self._neuron(*place) for place in of if place[0] == layer]
        bias = f"{layer}.{name.removesuffix('_out')}_bias"
        if parts and bias in self.known.components:
            told = (f"layer {layer}", f"bias of {WORDS[name]}", "")
            parts.append(Part(bias, f"bias of {WORDS[name]}", told, {"part": bias}, self.known.components[bias]))
        return parts

    def _neuron(self, layer: int, neuron: int) -> Part:
        told = (f"layer {layer}", f"neuron {neuron}", "")
        name = f"neuron {layer}.{neuron}"
        at = {"layer": layer, "neuron": neuron}
        return Part(f"{layer}.neuron.{neuron}", name, told, at, self.known.neurons[layer, neuron])

    def _head(self, layer: int, head: int) -> Part:
        key, tokens = f"{layer}.head.{head}", self.known.tokens
        parts = []
        for pos, amount in enumerate(self.known.sources.get((layer, head), ())):
            token = tokens[pos] if tokens else f"position {pos}"
            again = f" {pos}" if tokens and tokens.count(token) > 1 else ""
            told = (f"head {layer}.{head} reads", token, f"position {pos}" if tokens else "")
            at = {"layer": layer, "head": head, "pos": pos}
            parts.append(Part(f"{key}.pos.{pos}", f"← {token}{again}", told, at, amount))
        asks = "" if parts or layer not in self.asks.get("head", ()) else "source"
        return Part(
            key,
            f"head {layer}.{head}",
            (f"layer {layer}", f"head {head}", ""),
            {"layer": layer, "head": head},
            self.known.heads[layer, head],
            folded(parts, self.limit, key, f"head {layer}.{head}"),
            asks,
        )
