"""The widget that what all widgets share is tested with."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def heatmap(llama_run) -> Any:
    import resid_widgets as rw

    return rw.ActivationHeatmap(llama_run)
