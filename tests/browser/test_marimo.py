"""The widgets in marimo, which knows anywidgets and nothing else of Jupyter's."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.lab import free_port, isolated, running, say, until
from tests.browser.view import View

pytestmark = pytest.mark.browser

APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    from pathlib import Path

    import marimo as mo
    from tests.browser.scenes import SENTENCE, rw

    run = rw.run(rw.load_model(progress=False), SENTENCE)
    told = Path("told.txt")
    return Path, mo, run, rw, told


@app.cell
def _(mo, run, rw, told):
    w = rw.ActivationHeatmap(run)
    button = mo.ui.button(label="Python selects", on_change=lambda _: w.select(3, 1))
    w.observe(lambda _: told.write_text(f"{w.layer} {w.pos} {w.stat}"), names=["layer", "pos", "stat"])
    mo.vstack([w, button])
    return


@app.cell
def _(run, rw):
    rw.LogitLensHeatmap(run, layer=1, pos=2)
    return


@app.cell
def _(mo, run, rw):
    watched = mo.ui.anywidget(rw.ActivationHeatmap(run))
    watched
    return (watched,)


@app.cell
def _(Path, watched):
    ran = Path("ran.txt")
    ran.write_text(ran.read_text() + f"{watched.layer} {watched.pos} {watched.stat}\\n" if ran.exists() else "first\\n")
    return


if __name__ == "__main__":
    app.run()
"""


def test_marimo_draws_and_a_click_reaches_python(
    tmp_path: Path, front_end_files: list[Path], window: BrowserContext
) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    options = ["--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "marimo", "run", "app.py", *options]
    log = tmp_path / "marimo.log"
    with running(command, tmp_path, isolated(tmp_path / "home") | {"MARIMO_SKIP_UPDATE_CHECK": "1"}, log) as process:
        until(lambda: process.poll() is not None or answers(url), "the marimo server")
        assert process.poll() is None, say(process, log)
        page = window.new_page()
        page.goto(url)
        views = page.locator(".rw")
        expect(views).to_have_count(3)
        view, lens = (View(views.nth(n)).drawn() for n in range(2))
        assert len(np.unique(view.colours().reshape(-1, 4), axis=0)) > 15
        lens.outlines(1, 2)
        expect(lens.side).to_contain_text("layer 1")

        view.click(2, 5)
        told = tmp_path / "told.txt"
        until(lambda: told.exists() and told.read_text() == "2 5 norm", "Python to know of the click")
        expect(view.side).to_contain_text("cosine to final")
        view.outlines(2, 5)
        view.grid.press("ArrowRight")
        view.grid.press("Enter")
        until(lambda: told.read_text() == "2 6 norm", "Python to know of the keys")
        page.get_by_role("button", name="Python selects").click()
        view.outlines(3, 1)
        before = view.colours()
        view.field("stat").select_option("kurtosis")
        until(lambda: told.read_text() == "3 1 kurtosis", "Python to know of the other statistic")
        expect(view.root.locator(".rw-title")).to_contain_text("kurtosis")
        assert (view.colours() != before).any()
        view.hover(0, 3)
        expect(view.tip).to_contain_text("layer 0")

        # A cell that reads a widget runs again when a click changes it, and only then.
        reactive, ran = View(views.nth(2)).drawn(), tmp_path / "ran.txt"
        assert ran.read_text() == "first\n"
        reactive.click(2, 5)
        until(lambda: ran.read_text() == "first\n2 5 norm\n", "the cell that reads the widget to run again")
        reactive.field("stat").select_option("kurtosis")
        until(lambda: ran.read_text().endswith("2 5 kurtosis\n"), "the cell to run again for another statistic")
        assert len(ran.read_text().splitlines()) <= 4


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
