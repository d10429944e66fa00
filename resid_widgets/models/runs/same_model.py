"""A run belongs to the model as it was: what is computed from it later comes from that model, or is refused.

The fingerprint sees what is on the model. What it cannot see (a function of a library replaced for all models, a global
that a ``forward`` reads) shows itself when the prompt is run again: the logits are not those of the run.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel, living
from resid_widgets.models.structure import relative_gap
from resid_widgets.results import Provenance

_REMEDY = "Run again: rw.run(model, prompt)."


def require_same_model(model: ResidualModel, made: Provenance) -> None:
    """Refuse a model that has changed since.

    Raises
    ------
    InputError
        If its fingerprint is not the one of `made`.
    """
    if model.weights_hash != made.weights_hash:
        rule = "a weight, buffer, setting or function of the model has changed since this run was made"
        raise InputError.about("run", made.model, rule, _REMEDY)


def model_of(made: Provenance) -> ResidualModel | None:
    """Return a model of this process that is, as it is now, the one that made something; None where there is none."""
    return next((m for m in map(ResidualModel, living()) if m.weights_hash == made.weights_hash), None)


def require_same_logits(
    model: ResidualModel, made: Provenance, before: Float[Tensor, " d_vocab"], again: Float[Tensor, " d_vocab"]
) -> None:
    """Refuse a model that gives other logits for the last position now than it did in the run.

    Raises
    ------
    InputError
        If the gap is above the limit of the model's dtype.
    """
    if not bool(torch.isfinite(before).all()):
        return  # there is nothing to compare, and the run says so in red
    gap = relative_gap(again.to(before), before)
    if not gap <= model.gap_limit:
        rule = (
            f"run again, the model gives other logits than it gave then (relative gap {gap:.1e}, limit "
            f"{model.gap_limit:.0e}): a hook, or a function that it calls, has changed or is random"
        )
        raise InputError.about("run", made.model, rule, _REMEDY)
