"""What a widget's front-end is told of its picture."""

from __future__ import annotations

from typing import Any

import numpy as np


def shown(widget: Any) -> dict[str, Any]:
    """Return a widget's heat map as it travels."""
    return widget.frame["parts"]["heatmap"]


def drawn(widget: Any) -> np.ndarray:
    """Return the numbers of a widget's heat map, ``[row, column]``."""
    return np.frombuffer(shown(widget)["data"], "<f4").reshape(shown(widget)["shape"])
