"""Where a neuron was active: positions with the tokens and activations around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.analysis.neurons.collect import Collection
from resid_widgets.models.model import ResidualModel
from resid_widgets.tokens import visible


@dataclass(frozen=True, eq=False)
class Context:
    """One position of one prompt, seen by one neuron.

    Attributes
    ----------
    kind
        Of which list: top (the largest), bottom (the smallest) or sample (prompts drawn at random).
    prompt, pos
        Number of the prompt, and position in it.
    activation
        At that position, in activation units.
    start
        Position of the first token shown.
    tokens
        The tokens shown, as text; the one at `pos` is ``tokens[pos - start]``.
    activations
        ``[token]`` float32, of the tokens shown.
    marked
        Which of the tokens shown are left out of the statistics, as places in `tokens`.
    """

    kind: str
    prompt: int
    pos: int
    activation: float
    start: int
    tokens: tuple[str, ...]
    activations: Float[NDArray, " token"]
    marked: tuple[int, ...]

    @property
    def center(self) -> int:
        """Place of the position in `tokens`."""
        return self.pos - self.start

    def __str__(self) -> str:
        words = [visible(token) for token in self.tokens]
        words[self.center] = f"[{words[self.center]}]"
        return f"{self.activation:8.3g}  prompt {self.prompt}, position {self.pos}: {' '.join(words)}"

    __repr__ = __str__


def contexts_of(kept: Collection, model: ResidualModel, row: int, which: str) -> list[Context]:
    """Return the contexts of one row, the most extreme first; a sample's in the order of the prompts."""
    if which == "sample":
        return _sampled(kept, model, row)
    extremes = kept.top if which == "top" else kept.bottom
    found = []
    for value, place, window in zip(extremes.values[row], extremes.places[row], extremes.windows[row], strict=True):
        if place >= 0:
            prompt, pos = kept.prompts.place(int(place))
            found.append(_context(kept, model, which, prompt, pos, float(value), window.numpy()))
    return found


def top_words(kept: Collection, model: ResidualModel, most: int = 3) -> list[str]:
    """Return, for each row, the different tokens at which it was most active, visible, the most active first."""
    ids = np.concatenate([tokens.ids for tokens in kept.prompts.tokens])
    used = np.unique(ids).tolist()
    texts = {i: visible(text) for i, text in zip(used, model.token_strings(used), strict=True)}
    places = kept.top.places.numpy()
    rows = np.where(places >= 0, ids[places], -1).tolist()
    return [" ".join(texts[i] for i in list(dict.fromkeys(i for i in row if i >= 0))[:most]) for row in rows]


def _sampled(kept: Collection, model: ResidualModel, row: int) -> list[Context]:
    """Return all counted positions of the prompts that were kept whole."""
    found = []
    width = kept.plan.context
    for prompt, whole in kept.sampled.items():
        x = whole[row].numpy()
        padded = np.pad(x, width, constant_values=np.nan)
        for pos in kept.sampled_at[prompt]:
            window = padded[pos : pos + 2 * width + 1]
            found.append(_context(kept, model, "sample", prompt, pos, float(x[pos]), window))
    return found


def _context(
    kept: Collection,
    model: ResidualModel,
    kind: str,
    prompt: int,
    pos: int,
    activation: float,
    window: Float[NDArray, " window"],
) -> Context:
    ids, width = kept.prompts.tokens[prompt].ids, kept.plan.context
    start, stop = max(0, pos - width), min(len(ids), pos + width + 1)
    return Context(
        kind=kind,
        prompt=prompt,
        pos=pos,
        activation=activation,
        start=start,
        tokens=tuple(model.token_strings(ids[start:stop])),
        activations=window[start - pos + width : stop - pos + width].copy(),
        marked=tuple(p - start for p in kept.marked[prompt] if start <= p < stop),
    )
