"""The lessons run from top to bottom in a fresh kernel, and their saved pictures are in the files."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def pictures(notebook: nbformat.NotebookNode) -> list[str]:
    """What stands behind every output that is a widget's view, as HTML."""
    found = []
    for cell in notebook.cells:
        data = [output.get("data", {}) for output in cell.get("outputs", [])]
        behind = [*data[1:], {}]
        found += [after.get("text/html", "") for each, after in zip(data, behind, strict=False) if WIDGET_VIEW in each]
    return found


def test_there_are_lessons() -> None:
    assert [path.name for path in LESSONS][:1] == ["01_first_look.ipynb"]


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_runs(path: Path) -> None:
    from scripts.notebooks import execute

    notebook = execute(path, skip="smollm2")  # `make docs` runs those cells, too
    shown = pictures(notebook)
    assert shown
    assert all('src="data:image/png;base64,iVBOR' in picture for picture in shown)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_is_saved_with_its_pictures(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    shown = pictures(notebook)
    assert shown, "run scripts/notebooks.py"
    assert all('src="data:image/png;base64,iVBOR' in picture for picture in shown)
    # Hosts such as GitHub refuse a file with widgets but without their state, and state would be stale at once.
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < 2_000_000
    text = path.read_text(encoding="utf-8")
    assert str(ROOT) not in text and str(Path.home()) not in text
