"""A logit lens looked at through one of its other numbers: entropy, divergence, or how a token fares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from resid_widgets.analysis.grid import GridResult, with_options
from resid_widgets.analysis.lens.logit_lens import LogitLens
from resid_widgets.colour import robust_scale
from resid_widgets.errors import InputError
from resid_widgets.results import Scale
from resid_widgets.tokens import visible
from resid_widgets.whole import whole_number

QUANTITIES = {
    "probability": "The colour is the top token's probability.",
    "entropy": "The colour is the entropy of the next-token distribution: low means sure, not right.",
    "kl": "The colour is the divergence of the model's own answer from the lens': 0 means that they agree.",
    "rank": "The colour is the rank of {token} on a logarithmic scale: 0 means that it is the top token.",
    "target_probability": "The colour is the probability of {token}.",
}
OF_A_TARGET = ("rank", "target_probability")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LensView(GridResult):
    """One number of a lens at each layer and token.

    Attributes
    ----------
    lens
        The whole lens.
    quantity
        Key of `QUANTITIES`.
    target
        Which of the lens' targets, where the quantity is about one.
    """

    lens: LogitLens
    quantity: str
    target: int | None

    @property
    def cell_text(self) -> NDArray[np.object_]:
        """The top token of each cell, visible, ``[layer, pos]``."""
        return self.lens.cell_text

    def to_dataframe(self) -> pd.DataFrame:
        """Return the whole lens, one row a cell."""
        return self.lens.to_dataframe()


def lens_view(lens: LogitLens, quantity: str = "probability", target: int = 0) -> GridResult:
    """Return `lens` with another of its numbers as the one that is drawn.

    Parameters
    ----------
    lens
        From `resid_widgets.logit_lens`.
    quantity
        ``probability`` (of the top token: the lens itself), ``entropy`` and ``kl`` (nats), ``rank`` (drawn as
        log10(1 + rank)) and ``target_probability`` of a target.
    target
        Which of the lens' targets, counted from 0.

    Raises
    ------
    InputError
        If there is no such quantity or target.
    """
    require_quantity(quantity)
    if quantity == "probability":
        return lens
    token = ""
    if quantity in OF_A_TARGET:
        names = [visible(str(name)) for name in lens.rank.coords["target"].values]
        if not names:
            raise InputError.about("quantity", quantity, "this lens follows no token", "Name one: targets=' Paris'.")
        target = whole_number("target", target, 0, len(names) - 1, f"The targets are {', '.join(names)}.")
        token = names[target]
    values, scale = _drawn(lens, quantity, target, token)
    where = f" of {token}" if token else ""
    return LensView(
        values=values,
        checks=lens.checks,
        provenance=with_options(lens.provenance, quantity=quantity, **({"target": token} if token else {})),
        component=lens.component,
        scale=scale,
        title=f"{lens.title} · {quantity.replace('target_', '')}{where}",
        sentence=f"{lens.sentence} {QUANTITIES[quantity].format(token=token)}",
        tokens_visible=lens.tokens_visible,
        marked=lens.marked,
        unknown=lens.unknown,
        script=f"{lens.script}values = {_code(lens, quantity, target)}\n",
        lens=lens,
        quantity=quantity,
        target=target if token else None,
    )


def require_quantity(quantity: object) -> None:
    """Refuse what is no quantity of a lens.

    Raises
    ------
    InputError
        If there is no such quantity.
    """
    if quantity not in QUANTITIES:
        remedy = f"Use one of {', '.join(QUANTITIES)}."
        raise InputError.about("quantity", quantity, "there is no such quantity", remedy)


def _drawn(lens: LogitLens, quantity: str, target: int, token: str) -> tuple[xr.DataArray, Scale]:
    """Return what is drawn, ``[layer, pos]``, and its colours."""
    if quantity == "target_probability":
        label = f"probability of {token}"
        return lens.target_probs.isel(target=target, drop=True), Scale(
            "sequential", 0.0, 1.0, under=False, over=False, label=label, units="0 to 1"
        )
    if quantity == "rank":
        label, units = f"log10(1 + rank) of {token}", "0 = top"
        rank = lens.rank.isel(target=target, drop=True)
        values = rank.copy(data=np.log10(1 + rank.values)).assign_attrs(long_name=label, units=units)
        # every decade of the vocabulary is shown, and 0 always is the top token
        high = max(1.0, float(np.ceil(np.nanmax(values.values, initial=0.0))))
        return values, Scale("sequential", 0.0, high, under=False, over=False, label=label, units=units)
    values = {"entropy": lens.entropy, "kl": lens.kl}[quantity]
    label = str(values.attrs["long_name"])
    return values, robust_scale(values.values, lens.marked, signed=False, label=label, units="nats", bounds=(0.0, None))


def _code(lens: LogitLens, quantity: str, target: int) -> str:
    """Return what is drawn as an expression, after the lens' own script."""
    if quantity == "rank":
        return f"torch.log10(1 + rank[..., {target}])"
    if quantity == "target_probability":
        layers = f"names[:{lens.values.sizes['layer']}]"
        return f"torch.stack([lens(cache[name]).softmax(-1)[:, targets[{target}]] for name in {layers}])"
    return quantity
