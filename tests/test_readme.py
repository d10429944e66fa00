"""What the README says can be typed, can be typed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import resid_widgets as rw

README = Path(__file__).parents[1] / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_its_snippets_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    names: dict[str, Any] = {}
    for snippet in SNIPPETS:
        if "smollm2" not in snippet:  # a package of its own
            exec(compile(snippet, str(README), "exec"), names)  # noqa: S102 - it is ours
    assert len(SNIPPETS) > 4
    assert {type(value) for value in names.values()} > {
        rw.Run,
        rw.LogitLens,
        rw.Probe,
        rw.NeuronPatterns,
        rw.Activations,
    }
    assert (tmp_path / "lens.html").is_file() and (tmp_path / "activations" / "manifest.json").is_file()
