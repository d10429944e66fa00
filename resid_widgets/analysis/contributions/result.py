"""What each part has written along a direction, as a result: parts, what is beside them, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from resid_widgets.results import Result
from resid_widgets.whole import whole_number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Contributions(Result):
    """A sum over parts of the stream. Made by `direct_logit_attribution` and `along`.

    ``values.sum() + rest.sum() + bias`` is `total`; one of the checks says how nearly.

    Attributes
    ----------
    values
        ``[component]``, ``[layer]``, ``[layer, head]``, ``[layer, neuron]`` or ``[layer, head, pos]`` float64, in the
        units of `total`; `pos` is the token that a head has read from. NaN where a layer has fewer heads or neurons.
        Of several prompts the mean.
    rest
        ``[component]``: what is in the stream and not in `values`, as ``embed`` or ``3.mlp_out``; ``3.attn_bias`` is
        the output bias of attention, which belongs to no head; ``3.edit`` what an intervention has put there.
    bias
        What is read where the stream is zero: the biases of the final norm and of the unembedding. 0 for `along`.
    total
        What the model itself gives, with no norm held.
    by
        ``"component"``, ``"layer"``, ``"head"``, ``"neuron"`` or ``"source"``.
    label
        What is read, in words.
    prompts
        ``[prompt, ...]``: `values` of each of several prompts; None for one.
    spread, low, high
        Over prompts: standard deviation, and 95 % confidence interval of the mean (Student's t); None for one.
    totals
        ``[prompt]``: `total` of each; of one prompt it alone.
    tokens_visible
        For ``by="source"`` the tokens, drawable; else empty.
    title, sentence
        What a picture is called; what it shows and does not prove.
    script
        What `code` returns.
    """

    rest: xr.DataArray
    bias: float
    total: float
    by: str
    label: str
    prompts: xr.DataArray | None
    spread: xr.DataArray | None
    low: xr.DataArray | None
    high: xr.DataArray | None
    totals: xr.DataArray
    tokens_visible: tuple[str, ...]
    title: str
    sentence: str
    script: str

    @property
    def units(self) -> str:
        """Of all its numbers."""
        return str(self.values.attrs["units"])

    def code(self) -> str:
        """Return a short script that makes the same numbers with TransformerLens and PyTorch alone."""
        return self.script

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a part, then one for each of the rest and the bias: the column of values adds up to `total`.

        The column ``part`` says which of them a row is; of several prompts there are ``spread``, ``low`` and ``high``.
        """
        import pandas as pd

        values = self.values.rename("value").to_dataframe().dropna(subset=["value"])
        for name in ("spread", "low", "high"):
            more = getattr(self, name)
            if more is not None:
                values[name] = more.to_series()
        rest = pd.DataFrame({"component": self.rest["component"].values.astype(str), "value": self.rest.values})
        tables = [values.reset_index().assign(part=self.by), rest.assign(part="rest")]
        if self.bias:
            tables.append(pd.DataFrame({"component": ["bias"], "value": [self.bias], "part": ["bias"]}))
        whole = pd.concat([table for table in tables if len(table)], ignore_index=True)
        numbers = [name for name in ("layer", "head", "neuron", "pos") if name in whole]
        return whole.astype(dict.fromkeys(numbers, "Int64"))

    def top(self, n: object = 10) -> pd.DataFrame:
        """Return the rows of `to_dataframe` with the largest contributions, whichever their sign.

        Raises
        ------
        InputError
            If `n` is no whole number from 1.
        """
        count = whole_number("n", n, 1, 10**9, "10, say.")
        table = self.to_dataframe()
        order = np.argsort(-np.abs(table["value"].to_numpy()), kind="stable")
        return table.iloc[order[:count]].reset_index(drop=True)
