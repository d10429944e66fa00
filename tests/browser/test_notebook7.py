"""The widgets in Notebook 7."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.lab import Kernel, Server
from tests.browser.page import Notebook, watched

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_notebook_7_draws_and_a_click_reaches_python(server: Server, browser: Browser, kernel: Kernel) -> None:
    server.write("seven.ipynb", "seven = rw.ActivationHeatmap(run)\nseven", "rw.LogitLensHeatmap(run)")
    with watched(browser) as context:
        notebook = Notebook(server, context, "seven.ipynb", host="notebook", kernel=kernel)
        assert notebook.page.evaluate("window.jupyterapp.name") == "Jupyter Notebook"
        notebook.run()
        view = notebook.view(0)
        assert len(np.unique(view.colours().reshape(-1, 4), axis=0)) > 15
        view.click(2, 6)
        notebook.kernel.wait("[seven.layer, seven.pos]", [2, 6])
        expect(view.side).to_contain_text("cosine to final")
        view.grid.press("ArrowUp")
        view.grid.press("Enter")
        notebook.kernel.wait("[seven.layer, seven.pos]", [3, 6])
        notebook.kernel.run("seven.select(0, 1)")
        view.outlines(0, 1)
        notebook.view(1).click(1, 1)
        expect(notebook.view(1).side).to_contain_text("layer 1")
        notebook.kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()
