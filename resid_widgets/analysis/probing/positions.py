"""Which of the positions that were collected a probe learns from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resid_widgets.errors import InputError
from resid_widgets.models.padding import trailing_pads
from resid_widgets.whole import whole

LastOf = Callable[[int], int]
"""From a prompt's number to its last position that is no pad token."""


def last_positions(activations: Any) -> LastOf | None:
    """Return what tells a prompt's last position that is no pad token; None where none can be one."""
    tokenizer, token_ids = getattr(activations.model, "tokenizer", None), getattr(activations, "token_ids", None)
    if tokenizer is None or token_ids is None or "ids as given" not in activations.provenance.bos:
        return None
    return lambda prompt: len(token_ids(prompt)) - 1 - trailing_pads(tokenizer, token_ids(prompt))


def kept_positions(samples: pd.DataFrame, positions: Any, last_of: LastOf | None = None) -> NDArray[np.int64]:
    """Return the rows that a rule keeps: None or ``"all"``, ``"last"``, ``"not_first"``, or a position.

    ``"last"`` and negative positions count from each prompt's last position that was collected; ``"last"`` is the last
    up to `last_of` of the prompt, so that it is no pad token.

    Raises
    ------
    InputError
        If there is no such rule, or it leaves nothing.
    """
    if positions is None or (isinstance(positions, str) and positions == "all"):
        return np.arange(len(samples))
    at = samples["pos"].to_numpy()
    place = whole(positions)
    if isinstance(positions, str) and positions == "not_first":
        keep = at > 0
    elif isinstance(positions, str) and positions == "last":
        keep = _from_end(samples, last_of) == 1
    elif place is not None:
        keep = at == place if place >= 0 else _from_end(samples) == -place
    else:
        remedy = "Use 'all', 'last', 'not_first' or a position; other rules are for rw.collect(positions=...)."
        raise InputError.about("positions", positions, "there is no such rule for collected activations", remedy)
    if not keep.any():
        rule = f"no sample is at such a position; collected are {sorted(set(at.tolist()))[:8]}"
        raise InputError.about("positions", positions, rule, "Collect with a rule that includes it.")
    return np.flatnonzero(keep)


def _from_end(samples: pd.DataFrame, last_of: LastOf | None = None) -> NDArray[np.float64]:
    """Count each prompt's samples from its end, from 1, without those after its last position (NaN)."""
    pos, prompt = samples["pos"], samples["prompt"]
    if last_of is not None:
        last = {number: last_of(int(number)) for number in prompt.unique()}
        before = pos <= prompt.map(last.get)
        pos = pos.where(before | ~before.groupby(prompt).transform("any"))  # where all are pads, all count
    return pos.groupby(prompt).rank(method="first", ascending=False).to_numpy()
