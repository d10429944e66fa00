"""Tiny random models for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from resid_widgets.models.model import ResidualModel


@pytest.fixture(scope="session")
def fresh() -> Callable[..., ResidualModel]:
    """Return a function from a family to a new tiny random model, that its test may spoil."""
    from resid_widgets.models.loading.load_model import load_model
    from tests.architectures import build

    def make(family: str = "llama", tokenizer: Any = None, **options: Any) -> ResidualModel:
        return load_model((build(family), tokenizer), copy=False, **options)

    return make


@pytest.fixture(scope="session")
def llama(fresh: Callable[..., ResidualModel]) -> ResidualModel:
    """A tiny random Llama without tokenizer: leave it as it was."""
    return fresh("llama")


@pytest.fixture(scope="session")
def gpt2(fresh: Callable[..., ResidualModel]) -> ResidualModel:
    """A tiny random GPT-2 without tokenizer: leave it as it was."""
    return fresh("gpt2")
