"""A widget is one place on a page: it is neither copied nor pickled, and says what to do instead."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251  # what users, joblib and multiprocessing do to what we return
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from resid_widgets.models.model import ResidualModel


@pytest.mark.parametrize("do", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_stays(do: Callable[[Any], object], tiny: ResidualModel) -> None:
    import resid_widgets as rw

    recorded = rw.run(tiny, [1, 5, 9])
    for widget in (rw.ActivationHeatmap(recorded), rw.AblationExplorer(recorded, metric=rw.logit_diff(3, 4))):
        for holder in (widget, {"mine": [widget]}):
            if do is copy.copy and holder is not widget:
                continue
            with pytest.raises(rw.InputError, match=r"cannot be (copied|pickled)\. Make another from what it shows"):
                do(holder)
        widget.close()
