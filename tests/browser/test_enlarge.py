"""Every widget has the whole screen at a press, and follows its container's width: JupyterLab, Notebook 7, marimo."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.lab import Kernel, Server, free_port, isolated, running, say, until
from tests.browser.page import Notebook
from tests.browser.test_marimo import answers

pytestmark = pytest.mark.browser

MADE = """
from tests.browser.scenes import SENTENCE, rw
model = rw.load_model(progress=False)
run = rw.run(model, SENTENCE)
metric, other = rw.logit_diff(" Mary", " John"), SENTENCE.replace("John gave", "Mary gave")
task = rw.tasks.load("agreement", model, n=40)
"""
WIDGETS = {
    "activations": "rw.ActivationHeatmap(run)",
    "lens": "rw.LogitLensHeatmap(run)",
    "sweep": "rw.ablation_sweep(run, metric, 'z', progress=False).show()",
    "ablation": "rw.AblationExplorer(run, metric)",
    "patching": "rw.PatchingHeatmap(model, SENTENCE, other, metric)",
    "neurons": "rw.NeuronExplorer(rw.neuron_patterns(model, task.prompts, progress=False))",
    "probes": "rw.ProbeCurves(rw.probe((model, task.prompts), folds=2, progress=False), layer=1)",
}
WIDTH, HEIGHT = 1300, 1000
SIZE = "el => { const { width, height } = el.getBoundingClientRect(); return [width, height] }"


def check(root: Locator) -> None:
    """Enlarge a widget, shrink it, and let its page become narrow and wide again."""
    page = root.page
    whole = root.locator("xpath=ancestor-or-self::*[contains(concat(' ', @class, ' '), ' rw-dashboard ')][1]")
    large = whole if whole.count() else root
    large.scroll_into_view_if_needed()
    before, grid = large.evaluate(SIZE), root.get_by_role("grid")
    height = grid.evaluate(SIZE)[1] if grid.count() else 0
    root.get_by_role("button", name="Enlarge").click()
    until(lambda: large.evaluate(SIZE) == [WIDTH, HEIGHT], "the widget to fill the screen")
    assert large.evaluate("el => el.matches(':fullscreen')")
    if grid.count():  # the picture uses the room
        until(lambda: grid.evaluate(SIZE)[1] > 1.3 * height, "the picture to grow")
        assert root.evaluate("el => el.scrollWidth <= el.clientWidth + 1")
    root.get_by_role("button", name="Shrink").click()
    until(lambda: large.evaluate(SIZE) == before, "the widget to be as it was")
    for width in (620, WIDTH):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        until(lambda width=width: fits(large, width), f"the widget to fit a page of {width} pixels")
    until(lambda: large.evaluate(SIZE) == before, "the widget to be as wide as it was")


def fits(el: Locator, width: int) -> bool:
    """Tell whether an element is as wide as its container, within a page of a width, and nothing sticks out of it."""
    script = """el => {
      const [own, around] = [el.getBoundingClientRect(), el.parentElement.getBoundingClientRect()];
      return [own.width, around.width, own.right, el.scrollWidth - el.clientWidth];
    }"""
    own, around, right, over = el.evaluate(script)
    return abs(own - around) < 3 and right <= width and over <= 1


@pytest.fixture(scope="module")
def ready(kernel: Kernel) -> Kernel:
    """The kernel, with everything made that the widgets show."""
    kernel.run(MADE)
    return kernel


@pytest.mark.parametrize("host", ["lab", "notebook"])
def test_in_jupyter(server: Server, ready: Kernel, window: BrowserContext, host: str) -> None:
    """One cell for all, which has another widget each time: pages take longer to open than widgets."""
    path = server.write(f"enlarge-{host}.ipynb", "shown()")
    notebook = Notebook(server, window, path, host=host, kernel=ready)
    if host == "lab":
        notebook.command("application:toggle-left-area")
    for name, code in WIDGETS.items():
        ready.run(f"shown = lambda: {code}")
        notebook.run()
        (view,) = notebook.views(0)
        expect(view.root.locator(".rw-title"), name).not_to_have_text("Loading")
        check(view.root)


def test_in_marimo(tmp_path: Path, front_end_files: list[Path], window: BrowserContext) -> None:
    """marimo shows `ProbeCurves` as a picture; all others are widgets there too."""
    shown = [code for name, code in WIDGETS.items() if name != "probes"]
    cells = ["\n    ".join(MADE.strip().splitlines()) + "\n    return SENTENCE, metric, model, other, run, rw, task"]
    cells += [f"{code}\n    return" for code in shown]
    takes = ["", *["SENTENCE, metric, model, other, run, rw, task"] * len(shown)]
    defined = [f"@app.cell\ndef _({names}):\n    {code}\n" for names, code in zip(takes, cells, strict=True)]
    app = "import marimo\n\napp = marimo.App(width='full')\n\n" + "\n".join(defined)
    (tmp_path / "app.py").write_text(app + '\nif __name__ == "__main__":\n    app.run()\n')
    port = free_port()
    options = ["--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "marimo", "run", "app.py", *options]
    log, url = tmp_path / "marimo.log", f"http://127.0.0.1:{port}/"
    with running(command, tmp_path, isolated(tmp_path / "home") | {"MARIMO_SKIP_UPDATE_CHECK": "1"}, log) as process:
        until(lambda: process.poll() is not None or answers(url), "the marimo server")
        assert process.poll() is None, say(process, log)
        page = window.new_page()
        page.goto(url)
        views = page.locator(".rw")
        expect(views).to_have_count(len(shown))
        for n in range(len(shown)):
            expect(views.nth(n).get_by_role("grid")).to_be_visible()
            check(views.nth(n))


def test_where_the_screen_is_refused_it_fills_the_window(server: Server, ready: Kernel, window: BrowserContext) -> None:
    path = server.write("enlarge-refused.ipynb", WIDGETS["activations"])
    notebook = Notebook(server, window, path, kernel=ready)
    notebook.run()
    (view,) = notebook.views(0)
    view.drawn()
    page = notebook.page
    page.evaluate("() => { Element.prototype.requestFullscreen = () => Promise.reject(new TypeError('refused')) }")
    view.root.get_by_role("button", name="Enlarge").click()
    until(lambda: view.root.evaluate(SIZE) == [WIDTH, HEIGHT], "the widget to fill the window")
    view.click(2, 5)
    expect(view.side).to_contain_text("layer 2")
    page.keyboard.press("Escape")  # first the selection ...
    expect(view.side).to_contain_text("Nothing selected")
    view.root.get_by_role("button", name="Shrink").press("Escape")  # ... then the size
    until(lambda: view.root.evaluate(SIZE)[1] < HEIGHT, "the widget to be as it was")
