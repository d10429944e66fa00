"""The probe dashboard in a real JupyterLab: legend, a click on a layer, the causal test, a live fit and its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.lab import Kernel, Server, until
from tests.browser.page import Notebook, watched

pytestmark = pytest.mark.browser

CELLS = (
    """model = run.model
task = rw.tasks.load("agreement", model, n=100)
found = rw.probe((model, task.prompts), components=["resid_post", "attn_out"], folds=3, progress=False)
w = rw.ProbeCurves(found, pairs=task.pairs)
w""",
)

PILE = """import numpy as np, resid_widgets as rw
random, y = np.random.default_rng(0), np.arange(60) % 2
x = {layer: random.normal(size=(60, 4)) + y[:, None] for layer in range(2)}
once = rw.probe(x, y, groups=np.arange(60), folds=3, seeds=(0,), progress=False)
v = rw.ProbeCurves({"first": once, "second": once, "third": once}, layer=0)
v"""


@pytest.fixture(scope="module")
def opened(server: Server, browser: Browser, kernel: Kernel) -> Iterator[Notebook]:
    server.write("probes.ipynb", *CELLS)
    with watched(browser) as context:
        notebook = Notebook(server, context, "probes.ipynb", kernel=kernel)
        notebook.run()
        notebook.page.locator(".bqplot .object_grp").first.wait_for()
        yield notebook
        notebook.kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()


@pytest.fixture
def lab(opened: Notebook) -> Iterator[Notebook]:
    """The dashboard with nothing selected; nothing wrong on the page afterwards."""
    opened.kernel.run("w.layer = None")
    yield opened
    opened.check()


def output(lab: Notebook) -> Locator:
    return lab.page.locator(".jp-Cell[data-windowed-list-index='0'] .jp-OutputArea")


def panel(lab: Notebook) -> Locator:
    return output(lab).locator(".rw")


def hover_until(page: Page, at: tuple[float, float], name: str) -> None:
    """Move the mouse there until the tooltip says so: a picture that is drawn again under the mouse takes it away."""

    def told() -> bool:
        page.mouse.move(2, 2)
        page.mouse.move(*at)
        page.wait_for_timeout(300)
        return page.get_by_role("cell", name=name, exact=True).is_visible()

    until(told, f"the tooltip {name!r}")


def test_a_click_on_a_point_tells_what_stands_behind_it(lab: Notebook) -> None:
    place = output(lab).locator(".bqplot .object_grp .dot").nth(1).bounding_box()
    assert place is not None
    lab.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    until(lambda: lab.kernel.value("w.layer") == 1, "the layer")
    expect(panel(lab)).to_contain_text("resid_post, layer 1")
    expect(panel(lab)).to_contain_text("selectivity")
    counts = [float(text) for text in panel(lab).locator("td.rw-number").all_inner_texts()]
    wanted = lab.kernel.value("found.confusion(1, component='resid_post').to_numpy().ravel().tolist()")
    assert counts == pytest.approx(wanted, abs=0.051)
    hardest = lab.kernel.value("found.hardest(1, 8, component='resid_post')['token'].tolist()")
    shown = panel(lab).locator(".rw-sample .rw-center").all_inner_texts()
    assert [text.replace("·", " ") for text in shown] == hardest


def test_a_point_under_others_is_reached_by_clicking_again(server: Server, browser: Browser, kernel: Kernel) -> None:
    path = server.write("pile.ipynb", PILE)
    with watched(browser) as context:
        notebook = Notebook(server, context, path, kernel=kernel)
        notebook.run()
        dots = notebook.page.locator(".bqplot .object_grp .dot")
        expect(dots).to_have_count(7)  # two of each curve, and the ring
        place = dots.last.bounding_box()
        assert place is not None
        middle = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        hover_until(notebook.page, middle, "third; also here: second, first")
        for wanted in ("third", "second", "first", "third"):
            notebook.page.mouse.click(*middle)
            notebook.kernel.wait("[v.selected, v.layer]", [wanted, 1])
            expect(notebook.page.locator(".rw")).to_contain_text(f"{wanted}, layer 1")
        # What is toggled off is neither named nor taken.
        notebook.page.get_by_label("second", exact=True).uncheck()
        notebook.kernel.wait("[mark.visible for name, _, mark in v._chart._marks if name == 'second'][0]", False)
        hover_until(notebook.page, middle, "third; also here: first")
        notebook.page.mouse.click(*middle)
        notebook.kernel.wait("v.selected", "first")
        notebook.kernel.run("v.close()")
        notebook.close()


def test_checks_say_which_curve_they_are_about(lab: Notebook) -> None:
    expect(panel(lab).locator(".rw-check-of")).to_have_text(["all curves"])
    names = panel(lab).get_by_role("list", name="Checks of all curves").get_by_role("listitem").all_inner_texts()
    assert any("no group is both in training and test" in name for name in names)


def test_layers_and_curves_are_chosen_without_a_mouse(lab: Notebook) -> None:
    chooser, which = output(lab).get_by_label("layer", exact=True), output(lab).get_by_label("curve", exact=True)
    which.select_option("attn_out")
    chooser.select_option("1")
    expect(panel(lab)).to_contain_text("attn_out, layer 1")
    assert lab.kernel.value("[w.selected, w.layer]") == ["attn_out", 1]
    lab.kernel.run("w.select(3, 'resid_post')")
    expect(panel(lab)).to_contain_text("resid_post, layer 3")
    expect(chooser).to_have_value("3")


def test_the_legend_toggles_curves(lab: Notebook) -> None:
    shown = "[mark.visible for name, what, mark in w._chart._marks if what == 'shuffled']"
    assert lab.kernel.value(shown) == [True, True]
    box = output(lab).get_by_label("shuffled labels", exact=True)
    box.uncheck()
    until(lambda: lab.kernel.value(shown) == [False, False], "the curves to go")
    box.check()
    until(lambda: lab.kernel.value(shown) == [True, True], "the curves to come back")


def test_erasing_the_direction_tells_in_place_whether_it_is_used(lab: Notebook) -> None:
    lab.kernel.run("w.select(3, 'resid_post')")
    panel(lab).get_by_role("button", name="Erase this direction").click()
    expect(panel(lab).locator(".rw-verdict")).to_contain_text("layer 3, and used")
    wanted = lab.kernel.value("found.causal_test(3, model, task.pairs, component='resid_post').verdict")
    expect(panel(lab).locator(".rw-verdict")).to_have_text(wanted)
    assert lab.kernel.value("w.causal.verdict") == wanted


def test_a_live_fit_is_drawn_beside_the_others(lab: Notebook) -> None:
    lab.kernel.run("w._fields.beside.value = False")
    output(lab).get_by_label("task", exact=True).select_option("sentiment")
    beside = output(lab).get_by_label("beside the others", exact=True)
    expect(beside).not_to_be_checked()
    beside.check()
    output(lab).get_by_label("prompts", exact=True).fill("40")
    output(lab).get_by_label("prompts", exact=True).press("Enter")
    output(lab).get_by_role("button", name="Fit", exact=True).click()
    until(lambda: len(lab.kernel.value("list(w.results)")) == 2, "the fit")
    assert lab.kernel.value("w.results['sentiment · resid_post'].samples['prompt'].nunique()") == 40
    expect(output(lab).get_by_label("sentiment · resid_post", exact=True)).to_be_checked()
    expect(output(lab).get_by_role("button", name="Fit", exact=True)).to_be_visible()


def test_a_fit_is_cancelled_and_the_picture_stays(lab: Notebook) -> None:
    before = lab.kernel.value("list(w.results)")
    output(lab).get_by_label("task", exact=True).select_option("facts")
    output(lab).get_by_label("prompts", exact=True).fill("400")
    output(lab).get_by_label("prompts", exact=True).press("Enter")
    lab.kernel.run(
        "import resid_widgets.widgets.probing.live as live, threading\n"
        "gate, collect = threading.Event(), live.collect\n"
        "def slow(*args, **kwargs):\n    gate.wait(60)\n    return collect(*args, **kwargs)\n"
        "live.collect = slow"
    )
    try:
        output(lab).get_by_role("button", name="Fit", exact=True).click()
        output(lab).get_by_role("button", name="Cancel").click()
        until(lambda: lab.kernel.value("w._requests.stop.is_set()"), "the wish to stop")
    finally:
        lab.kernel.run("gate.set(); live.collect = collect")
    expect(output(lab).get_by_text("Cancelled.")).to_be_visible()
    assert lab.kernel.value("list(w.results)") == before


def test_what_cannot_be_fitted_is_said_and_the_picture_stays(lab: Notebook) -> None:
    before = lab.kernel.value("list(w.results)")
    lab.kernel.run("w._options['kind'] = 'wrong'")
    output(lab).get_by_role("button", name="Fit", exact=True).click()
    expect(panel(lab)).to_contain_text("kind='wrong': must be one or several of")
    lab.kernel.run("w._options.pop('kind')")
    assert lab.kernel.value("list(w.results)") == before
    lab.kernel.run("w._panel._say('ready')")
