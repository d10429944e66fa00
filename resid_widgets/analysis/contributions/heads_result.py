"""What each head adds to the stream and does for an answer, as a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.results import Result

if TYPE_CHECKING:
    import pandas as pd

ALIKE = 0.1
"""A difference below this share of the larger of direct and causal effect is none to speak of."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class HeadContributions(Result):
    """Heads and what they write. Made by `head_contributions`.

    Attributes
    ----------
    values
        ``[layer, head, pos]`` float64: the length of what a head adds to the stream.
    heads
        A dataset. ``[layer, head, pos]``: ``norm``; ``share``, its product with the stream that attention leaves over
        that stream's squared length; ``cosine`` with the stream that it is added to (below 0 it erases);
        ``source``, the position that most of it was read from (-1 where that cannot be told), and ``source_share``.
        With a metric ``[layer, head]``, in its unit: ``direct``; ``causal``, what the metric loses without the head;
        ``indirect``, causal minus direct; and in words ``reading``: ``"direct"`` where the two agree,
        ``"self-repair"`` where the loss is smaller than the direct effect, else ``"indirect"``.
    label
        The metric in words; "" without.
    how
        What takes a head's place: ``"zero"`` or ``"mean"``.
    base
        The metric of the run.
    tokens_visible
        One a position, drawable.
    title, sentence
        What a picture is called; what it shows and does not prove.
    script
        What `code` returns.
    """

    heads: xr.Dataset
    label: str
    how: str
    base: float | None
    tokens_visible: tuple[str, ...]
    title: str
    sentence: str
    script: str

    def code(self) -> str:
        """Return a short script that makes the same numbers with TransformerLens and PyTorch alone."""
        return self.script

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a head, the largest effect first (without a metric: the longest write); norm is the mean."""
        per_position = ["norm", "share", "cosine", "source", "source_share"]
        table = self.heads[["norm", "share", "cosine"]].mean("pos").to_dataframe()
        effects = [name for name in self.heads if name not in per_position]
        for name in effects:
            table[name] = self.heads[name].to_series()
        table = table.dropna(subset=["norm"])
        by = table["causal" if "causal" in table else "norm"].abs().to_numpy()
        return table.iloc[np.argsort(-by, kind="stable")].reset_index()

    def writes(self) -> pd.DataFrame:
        """Return one row a head and position: what it writes there, and from which token."""
        names = ["norm", "share", "cosine", "source", "source_share"]
        table = self.heads[names].to_dataframe().dropna(subset=["norm"]).reset_index()
        tokens = np.array([*self.tokens_visible, ""], dtype=object)
        return table.assign(source_token=tokens[table["source"].to_numpy()])


def told(direct: Float[NDArray, "layer head"], causal: Float[NDArray, "layer head"]) -> NDArray[np.object_]:
    """Return in a word how direct and causal effect go together."""
    larger = np.maximum(np.abs(direct), np.abs(causal))
    alike = np.abs(causal - direct) <= ALIKE * larger
    repaired = (np.abs(causal) < np.abs(direct)) & ~alike
    words = np.where(alike, "direct", np.where(repaired, "self-repair", "indirect"))
    return np.where(np.isnan(larger), "", words).astype(object)
