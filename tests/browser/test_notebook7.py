"""The widgets in Notebook 7: what test_jupyterlab.py and test_lifetime.py ask of JupyterLab, in one go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.lab import Server
from tests.browser.page import Notebook
from tests.browser.view import View

pytestmark = pytest.mark.browser

CELLS = (
    "from tests.browser.scenes import *\nrun = rw.run(rw.load_model(progress=False), SENTENCE)",
    "w = rw.ActivationHeatmap(run)\nw",
    "w",
    "rw.LogitLensHeatmap(run)",
)

DASHBOARDS = (
    """import resid_widgets as rw
model = rw.load_model(progress=False)
task = rw.tasks.load("agreement", model, n=60)
w = rw.ProbeCurves(rw.probe((model, task.prompts), folds=3, progress=False), pairs=task.pairs)
w""",
    "n = rw.NeuronExplorer(rw.neuron_patterns(model, task.prompts))\nn",
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


def output(notebook: Notebook, cell: int) -> Locator:
    return notebook.page.locator(f".jp-Cell[data-windowed-list-index='{cell}'] .jp-OutputArea")


@pytest.fixture
def apart(front_end_files: list[Path], tmp_path: Path) -> Iterator[Server]:
    """A server of its own: Jupyter's remembers where it found an icon font, and then refuses it to JupyterLab."""
    with Server(tmp_path / "jupyter") as server:
        yield server


def test_dashboards_in_notebook_7(apart: Server, window: BrowserContext) -> None:
    apart.write("seven-dashboards.ipynb", *DASHBOARDS)
    notebook = Notebook(apart, window, "seven-dashboards.ipynb", host="notebook")
    notebook.run()

    probes = output(notebook, 0)
    expect(probes.locator(".bqplot .object_grp .dot")).to_have_count(4)
    probes.locator(".bqplot").scroll_into_view_if_needed()
    place = probes.locator(".bqplot .object_grp .dot").nth(2).bounding_box()
    assert place is not None
    notebook.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    notebook.kernel.wait("w.layer", 2)
    panel = probes.locator(".rw")
    expect(panel.locator(".rw-probe-heading")).to_contain_text("layer 2")
    counts = [float(text) for text in panel.locator("td.rw-number").all_inner_texts()]
    assert counts == pytest.approx(
        notebook.kernel.value("w.result.confusion(2).to_numpy().ravel().tolist()"), abs=0.051
    )
    for box in (probes.locator(".bqplot"), panel.locator(".rw-body")):
        assert box.evaluate("el => el.scrollWidth <= el.clientWidth + 1 && el.clientHeight > 100")

    view = notebook.view(1)
    view.field("search").fill("2.1")
    rows = view.root.locator(".rw-table tbody tr")
    table = view.root.locator(".rw-table-scroll")
    assert table.evaluate("el => el.scrollWidth <= el.clientWidth + 1")  # every column is in view
    rows.nth(3).click()
    name = rows.nth(3).locator("th").inner_text()
    notebook.kernel.wait("f'{n.layer}.{n.neuron}'", name)
    expect(view.side).to_contain_text(f"neuron {name}")
    bars = view.root.locator(".rw-hist-bar")
    counts = notebook.kernel.value("n.details['neuron']['counts']")
    expect(bars).to_have_count(len(counts))
    heights = bars.evaluate_all("els => els.map(el => parseFloat(getComputedStyle(el, '::before').height))")
    assert [height > 0.5 for height in heights] == [count > 0 for count in counts]
    expect(view.root.get_by_role("list", name="Contexts").locator(".rw-context")).not_to_have_count(0)

    notebook.theme("dark")
    expect(panel).to_have_attribute("data-rw-theme", "dark")
    expect(view.root).to_have_attribute("data-rw-theme", "dark")
    for shown in (View(panel), view):
        assert [text for text in shown.contrasts() if text["ratio"] < 4.5 or text["size"] < 11] == []
    notebook.close()
