"""The widget that CONTRIBUTING.md builds in ten minutes works in a browser like all others."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.lab import Server, until
from tests.browser.page import Notebook
from tests.test_contributing import example  # noqa: F401  # a fixture

pytestmark = pytest.mark.browser

CELLS = (
    "import sys\nsys.path.insert(0, {!r})\nimport resid_widgets as rw\nfrom tests.widgets.effects.conftest import made",
    "w = rw.EffectBars(made())\nw",
)


def test_bars_are_clicked(server: Server, window: BrowserContext, example: Path) -> None:  # noqa: F811
    first, second = CELLS
    server.write("example.ipynb", first.format(str(example)), second)
    notebook = Notebook(server, window, "example.ipynb")
    notebook.run()
    (view,) = notebook.views(1)
    bars = view.root.get_by_role("option")
    expect(bars).to_have_count(5)
    bars.filter(has_text="NIE").click()
    notebook.kernel.wait("w.selection", {"effect": "NIE"})
    expect(view.side).to_contain_text("95 % from")
    expect(bars.filter(has_text="NIE")).to_have_attribute("aria-selected", "true")
    bars.filter(has_text="TIE").press("Enter")
    notebook.kernel.wait("w.selection", {"effect": "TIE"})
    notebook.kernel.run("w.select(effect=None)")
    expect(view.side).to_contain_text("Click a bar for its interval.")
    view.root.get_by_role("button", name="Enlarge").click()
    until(lambda: view.root.evaluate("el => el.matches(':fullscreen')"), "the whole screen")
    view.root.get_by_role("button", name="Shrink").click()
    view.root.get_by_role("button", name="Export").click()
    with notebook.page.expect_download() as download:
        view.root.get_by_role("menuitem", name="PNG").click()
    assert download.value.suggested_filename.endswith(".png")
    notebook.check()
