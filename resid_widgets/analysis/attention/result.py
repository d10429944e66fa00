"""The attention of one layer as a result: for each head, from each token to each token."""

from __future__ import annotations

from dataclasses import dataclass

from resid_widgets.results import Result, Scale


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Attention(Result):
    """From each token (`pos`) to each token that it looks at (`key_pos`). Made by `attention`.

    Attributes
    ----------
    values
        ``[head, pos, key_pos]``; of one head, and of a rollout, ``[pos, key_pos]``. With the visible tokens as
        coords ``token`` on `pos` and ``key_token`` on `key_pos`. float32 of patterns and norms, float64 of effects.
    kind
        What is shown of it, see `attention`.
    layer
        Of a rollout the last one.
    heads
        Which are shown; of a rollout none.
    metric
        What the effects are effects on, in words; empty where the kind has no metric.
    base
        The metric of the run; None where the kind has none.
    rounding
        Values smaller than this are no more than rounding: there is no effect.
    scale
        Limits and kind of the colours; the columns of `marked` tokens are left out of the limits where that is said.
    marked, unknown
        Tokens that stand out (the first one, attention sinks), and words that the tokenizer did not know.
    tokens_visible
        One a position, drawable.
    title, sentence
        What the picture is called; what it shows and does not prove.
    script
        What `code` returns.
    """

    kind: str
    layer: int
    heads: tuple[int, ...]
    metric: str
    base: float | None
    rounding: float
    scale: Scale
    marked: tuple[int, ...]
    unknown: tuple[int, ...]
    tokens_visible: tuple[str, ...]
    title: str
    sentence: str
    script: str

    @property
    def units(self) -> str:
        """Of its numbers."""
        return str(self.values.attrs["units"])

    def code(self) -> str:
        """Return a short script that makes the same numbers with TransformerLens and PyTorch alone."""
        return self.script
