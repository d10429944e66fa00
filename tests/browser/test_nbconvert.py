"""What nbconvert makes, as it comes, of a notebook that it has run itself: a page whose pictures need no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.lab import PATIENCE, isolated

pytestmark = pytest.mark.browser

CELLS = (
    "from tests.browser.scenes import *\nrun = rw.run(rw.load_model(progress=False), SENTENCE)",
    "rw.ActivationHeatmap(run)",
    "rw.LogitLensHeatmap(run)",
)


def test_nbconvert_shows_the_pictures(tmp_path: Path, front_end_files: list[Path], window: BrowserContext) -> None:
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "book.ipynb")
    subprocess.run(
        [sys.executable, "-m", "jupyter", "nbconvert", "--execute", "--to", "html", "book.ipynb"],
        cwd=tmp_path,
        env=isolated(tmp_path / "home"),
        check=True,
        capture_output=True,
        timeout=3 * PATIENCE,
    )
    page = window.new_page()
    page.goto((tmp_path / "book.html").as_uri())
    pictures = page.locator(".jp-OutputArea img")
    expect(pictures).to_have_count(2)
    for picture in pictures.all():
        expect(picture).to_be_visible()
        assert picture.evaluate("img => img.decode().then(() => img.naturalWidth)") > 400
    expect(page.locator("body")).not_to_contain_text("Error")
    # It asks for its own libraries, for live widgets among them; they would hide the pictures, and none is to be had.
    watch = window.watch  # type: ignore[attr-defined]
    assert all("ERR_NAME_NOT_RESOLVED" in error or "require" in error for error in watch.errors), watch.errors
    watch.hosts.clear()
    watch.errors.clear()
