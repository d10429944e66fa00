"""Why a head looks where it looks: one score as a sum over what wrote the query times what wrote the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.results import Result
from resid_widgets.whole import whole_number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AttentionScore(Result):
    """The parts of one attention score. Made by `attention_scores`.

    Attributes
    ----------
    values
        ``[query_component, key_component]`` float64: what the part of the query that one component has written gives
        together with the part of the key that another has written. ``bias`` is what the norm's and the projection's
        biases add to a query or a key whatever stands there.
    total
        ``values.sum() + position``.
    score
        The model's own, before softmax and before a soft-cap; None where it shows only what comes behind the softmax.
    position
        What position alone adds (ALiBi); 0 as a rule.
    weight
        The attention itself, behind the softmax.
    layer, head, q, k
        Which score: of the head at position `q`, which looks, for position `k`.
    tokens
        What stands at `q` and at `k`, drawable.
    query_direction, key_direction
        ``[d_model]`` float64: what the score reads of ``resid_pre[layer]`` at `q` (at `k`) with the other side as it
        is and norms held; for `resid_widgets.along`.
    title, sentence
        What a picture is called; what it shows and does not prove.
    script
        What `code` returns.
    """

    total: float
    score: float | None
    position: float
    weight: float
    layer: int
    head: int
    q: int
    k: int
    tokens: tuple[str, str]
    query_direction: Float[NDArray, " d_model"]
    key_direction: Float[NDArray, " d_model"]
    title: str
    sentence: str
    script: str

    @property
    def query_parts(self) -> xr.DataArray:
        """``[query_component]``: what each has given through the query, over all of the key; the largest first."""
        return _sorted(self.values.sum("key_component"))

    @property
    def key_parts(self) -> xr.DataArray:
        """``[key_component]``: what each has given through the key, over all of the query; the largest first."""
        return _sorted(self.values.sum("query_component"))

    def top(self, n: object = 10) -> pd.DataFrame:
        """Return the pairs of components that give most, whichever their sign; the last row is all others.

        Raises
        ------
        InputError
            If `n` is no whole number from 1.
        """
        import pandas as pd

        count = whole_number("n", n, 1, 10**9, "10, say.")
        table = self.to_dataframe()
        order = np.argsort(-np.abs(table["score"].to_numpy()), kind="stable")
        shown = table.iloc[order[:count]].reset_index(drop=True)
        left = self.total - float(shown["score"].sum())
        others = len(table) + bool(self.position) - len(shown)
        if others <= 0:
            return shown
        row = {"query_component": f"{others} others", "key_component": "", "score": left}
        return pd.concat([shown, pd.DataFrame([row])], ignore_index=True)

    def code(self) -> str:
        """Return a short script that makes the same numbers with TransformerLens and PyTorch alone."""
        return self.script


def _sorted(parts: xr.DataArray) -> xr.DataArray:
    return parts[np.argsort(-np.abs(parts.values), kind="stable")]
