"""A notebook that was run and saved shows its pictures when it is opened again: trusted or not, and in every host."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from tests.browser.lab import Kernel, Server
from tests.browser.page import Notebook, watched

pytestmark = pytest.mark.browser

CELLS = (
    "saved = rw.ActivationHeatmap(run)\nsaved",
    "display(rw.LogitLensHeatmap(run))\nprint('below')",
    "import ipywidgets\nipywidgets.VBox([ipywidgets.IntSlider(), saved, rw.ActivationHeatmap(run, stat='kurtosis')])",
    "saved.stat = 'kurtosis'",
)
HOSTS = ("lab", "notebook")


@pytest.fixture(scope="module")
def saved(server: Server, browser: Browser, kernel: Kernel) -> str:
    """A notebook that was run and saved."""
    server.write("saved.ipynb", *CELLS)
    with watched(browser) as context:
        notebook = Notebook(server, context, "saved.ipynb", kernel=kernel)
        notebook.run()
        for cell in range(3):
            for view in notebook.views(cell):
                view.drawn()
            expect(outputs(notebook, cell).locator("[data-rw-kept] img").first).to_be_hidden()
        heights = [outputs(notebook, cell).bounding_box() for cell in range(2)]
        views = [notebook.view(cell).root.bounding_box() for cell in range(2)]
        for area, view in zip(heights, views, strict=True):
            assert area and view and area["height"] - view["height"] < 50  # the hidden picture takes no room
        notebook.save()
        notebook.close()
    kernel.run("ipywidgets.Widget.close_all()")
    return "saved.ipynb"


def outputs(notebook: Notebook, cell: int) -> Locator:
    return notebook.page.locator(f".jp-Cell[data-windowed-list-index='{cell}'] .jp-OutputArea").first


def kept(server: Server, path: str) -> list[list[str]]:
    """Return the pictures that each cell of a saved notebook keeps, as base64."""
    found = []
    for cell in json.loads((server.files / path).read_text())["cells"]:
        html = ["".join(each.get("data", {}).get("text/html", "")) for each in cell["outputs"]]
        found.append(re.findall(r"base64,([^\"]+)", "".join(html)))
    return found


def test_a_saved_notebook_has_pictures(server: Server, saved: str) -> None:
    found = kept(server, saved)
    assert [len(pictures) for pictures in found] == [1, 1, 2, 0]
    for picture in (*found[0], *found[1], *found[2]):
        assert base64.b64decode(picture).startswith(b"\x89PNG") and len(picture) > 5000
    assert found[0][0] == found[2][0] == found[2][1]  # as the last cell has left it
    assert found[1][0] != found[0][0]


@pytest.mark.parametrize("host", HOSTS)
def test_opened_where_it_was_run_it_shows_the_pictures(server: Server, saved: str, browser: Browser, host: str) -> None:
    """Jupyter trusts it there, and looks for the widgets, which are gone with their kernel."""
    with watched(browser) as context:
        notebook = Notebook(server, context, saved, host)
        shows_pictures(notebook)
        for cell in range(3):
            said = outputs(notebook, cell).get_by_text("model not found")
            expect(said).to_have_count(1)
            expect(said).to_be_hidden()
        missing = [error for error in notebook.watch.errors if "model not found" not in error]
        assert not missing
        notebook.watch.errors.clear()
        notebook.close()


@pytest.mark.parametrize("host", HOSTS)
def test_opened_elsewhere_it_shows_the_pictures(server: Server, saved: str, window: BrowserContext, host: str) -> None:
    book: Any = nbformat.read(server.files / saved, as_version=4)
    book.cells.append(nbformat.v4.new_markdown_cell("from elsewhere"))
    nbformat.write(book, server.files / f"copy-{host}.ipynb")
    notebook = Notebook(server, window, f"copy-{host}.ipynb", host)
    shows_pictures(notebook)
    notebook.close()


def shows_pictures(notebook: Notebook) -> None:
    for cell, n in enumerate((1, 1, 2)):
        area = outputs(notebook, cell)
        pictures = area.locator("img")
        expect(pictures).to_have_count(n)
        for picture in pictures.all():
            expect(picture).to_be_visible()
            assert picture.evaluate("img => img.decode().then(() => img.naturalWidth)") > 400
        assert area.locator(".rw").count() == 0


@pytest.mark.parametrize("template", ["lab", "classic", "basic"])  # nbviewer and its like take the last two
def test_a_static_page_made_of_it_shows_the_pictures(
    server: Server, saved: str, window: BrowserContext, tmp_path: Path, template: str
) -> None:
    from nbconvert.exporters import HTMLExporter

    text, _ = HTMLExporter(template_name=template).from_filename(str(server.files / saved))
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = window.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    pictures = page.locator("[data-rw-kept] img")
    expect(pictures).to_have_count(4)
    for picture in pictures.all():
        expect(picture).to_be_visible()
        assert picture.evaluate("img => img.decode().then(() => img.naturalWidth)") > 400
    watch = window.watch  # type: ignore[attr-defined]  # the page asks for libraries of its own, and none is to be had
    watch.hosts.clear()
    watch.errors.clear()
