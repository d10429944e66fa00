"""Heads that were found by where they look, with what a model loses without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray

from resid_widgets.results import Result

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FoundHeads(Result):
    """Heads by kind. Made by `find_heads`.

    Attributes
    ----------
    values
        ``[kind, layer, head]`` float64: mean attention to what the kind means, over the rows that have such a place.
    detector
        The same by TransformerLens' detector: the share of all attention that goes there, over all rows.
    loss
        ``[layer, head]``: how much the loss rises without the head, in nats a token, where a repetition tells the next.
    base
        That loss with all heads.
    best
        By kind the heads with the largest scores, as layer and head; the largest first.
    together
        By kind how much the loss rises without all of `best`.
    random
        By kind the same without as many other heads of the same layers, drawn at random: one number a draw.
    how
        What takes a head's place: ``"mean"`` or ``"zero"``.
    title, sentence
        What a picture is called; what it shows and does not prove.
    script
        What `code` returns.
    """

    detector: xr.DataArray
    loss: xr.DataArray
    base: float
    best: Mapping[str, list[tuple[int, int]]]
    together: Mapping[str, float]
    random: Mapping[str, Float[NDArray, " draw"]]
    how: str
    title: str
    sentence: str
    script: str

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a kind and head, the largest scores of each kind first.

        ``others`` and ``others_spread`` are mean and standard deviation of ``loss`` over the other heads of the layer.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        order = [str(kind) for kind in self.values["kind"].values]
        for kind in order:
            for layer in self.values["layer"].values:
                losses = self.loss.sel(layer=layer).values
                for head in self.values["head"].values:
                    if np.isnan(losses[head]):
                        continue
                    beside = np.delete(losses, head)
                    beside = beside[np.isfinite(beside)]
                    place = {"kind": kind, "layer": layer, "head": head}
                    rows.append(
                        {
                            "kind": kind,
                            "layer": int(layer),
                            "head": int(head),
                            "score": float(self.values.sel(place)),
                            "detector": float(self.detector.sel(place)),
                            "loss": float(losses[head]),
                            "others": float(beside.mean()) if len(beside) else np.nan,
                            "others_spread": float(beside.std(ddof=1)) if len(beside) > 1 else np.nan,
                        }
                    )
        rows.sort(key=lambda row: (order.index(row["kind"]), -np.nan_to_num(row["score"], nan=-1.0)))
        return pd.DataFrame(rows)

    def groups(self) -> pd.DataFrame:
        """Return one row a kind: the best heads, the loss without all of them, and without random ones beside them."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "kind": kind,
                    "heads": ", ".join(f"{layer}.{head}" for layer, head in heads),
                    "loss": self.together[kind],
                    "random": float(np.mean(self.random[kind])),
                    "random_spread": float(np.std(self.random[kind], ddof=1)) if len(self.random[kind]) > 1 else np.nan,
                }
                for kind, heads in self.best.items()
            ]
        )

    def code(self) -> str:
        """Return a short script that makes the scores of the first prompt with TransformerLens and PyTorch alone."""
        return self.script
