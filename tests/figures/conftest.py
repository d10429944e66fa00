"""The random models of the analysis' tests."""

from __future__ import annotations

from tests.analysis.conftest import make_model, tokenizer, worded  # noqa: F401  # fixtures
