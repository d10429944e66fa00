"""The widgets in Notebook 7: what test_jupyterlab.py and test_lifetime.py ask of JupyterLab, in one go."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.lab import Server
from tests.browser.page import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

CELLS = (
    "from tests.browser.scenes import *\nrun = rw.run(rw.load_model(progress=False), SENTENCE)",
    "w = rw.ActivationHeatmap(run)\nw",
    "w",
    "rw.LogitLensHeatmap(run)",
)


def test_notebook_7(server: Server, window: BrowserContext) -> None:
    server.write("seven.ipynb", *CELLS)
    notebook = Notebook(server, window, "seven.ipynb", host="notebook")
    assert notebook.page.evaluate("window.jupyterapp.name") == "Jupyter Notebook"
    notebook.run()
    first, second, lens = (notebook.view(cell) for cell in (1, 2, 3))
    assert len(np.unique(first.colours().reshape(-1, 4), axis=0)) > 15

    # Mouse, keys and Python move the selection, in both views.
    first.click(2, 6)
    notebook.kernel.wait("[w.layer, w.pos]", [2, 6])
    expect(first.side).to_contain_text("cosine to final")
    second.outlines(2, 6)
    second.grid.press("ArrowUp")
    second.grid.press("Enter")
    notebook.kernel.wait("[w.layer, w.pos]", [3, 6])
    notebook.kernel.run("w.select(0, 1)")
    for view in (first, second):
        view.outlines(0, 1)
    first.field("stat").select_option("kurtosis")
    expect(second.root.locator(".rw-title")).to_contain_text("kurtosis")
    assert (first.colours() == second.colours()).all()
    lens.click(1, 1)
    expect(lens.side).to_contain_text("layer 1")

    notebook.theme("dark")
    for view in (first, lens):
        expect(view.root).to_have_attribute("data-rw-theme", "dark")
        view.hover(1, 3)
        assert [text for text in view.contrasts() if text["ratio"] < 4.5 or text["size"] < 11] == []
    notebook.theme("light")

    before = first.colours()
    server.api(f"kernels/{notebook.kernel.id}/restart", "POST")
    expect(first.notices).to_contain_text("Not connected")
    assert (first.colours() == before).all()
    first.click(3, 4)  # the picture can still be looked at
    first.outlines(3, 4)
    notebook.close()
