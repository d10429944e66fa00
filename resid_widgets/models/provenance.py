"""Where a run's numbers come from: what was fed, to which model, with which versions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from resid_widgets.models.model import ResidualModel
from resid_widgets.models.tokenize import Tokens
from resid_widgets.results import Provenance

_PACKAGES = ("resid-widgets", "transformer-lens", "transformers", "torch")


def provenance_of(model: ResidualModel, prompt: Tokens, options: Mapping[str, Any]) -> Provenance:
    """State what is run now: later the model may be moved, edited or folded."""
    return Provenance(
        model=model.name,
        weights_hash=model.weights_hash,
        token_ids=prompt.ids,
        bos=prompt.bos,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        versions={name: _version(name) for name in _PACKAGES},
        options={**options, "weights": "folded by TransformerLens" if model.folded else "raw"},
    )


@lru_cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
