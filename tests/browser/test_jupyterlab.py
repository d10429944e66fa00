"""The widgets in a real JupyterLab: what is on the screen is what Python has, whoever moved last."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.lab import Kernel, Server, until
from tests.browser.page import Notebook, watched
from tests.browser.view import View, expected

pytestmark = pytest.mark.browser

CELLS = (
    "w = rw.ActivationHeatmap(run)\nw",
    "w",
    "lens = rw.LogitLensHeatmap(run)\nlens",
    (
        "import IPython.display\na, b = rw.ActivationHeatmap(run, 'mlp_out'), rw.LogitLensHeatmap(run)\n"
        "rw.link(a, b)\nIPython.display.display(a, b)"
    ),
    "rw.ActivationHeatmap(run)",
)
FIRST, SECOND, LENS, LINKED, UNNAMED = range(len(CELLS))


@pytest.fixture(scope="module")
def opened(server: Server, browser: Browser, kernel: Kernel) -> Iterator[Notebook]:
    server.write("lab.ipynb", *CELLS)
    with watched(browser) as context:
        notebook = Notebook(server, context, "lab.ipynb", kernel=kernel)
        notebook.run()
        yield notebook
        notebook.kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()


@pytest.fixture
def lab(opened: Notebook) -> Iterator[Notebook]:
    """The notebook, every widget as it was made; nothing wrong on the page afterwards."""
    opened.kernel.run("for widget in (w, lens, a, b): widget.reset()")
    yield opened
    opened.check()


def selection(lab: Notebook, widget: str = "w") -> list[int | None]:
    return lab.kernel.value(f"[{widget}.layer, {widget}.pos]")


def check_colours(lab: Notebook, view: View, widget: str = "w") -> None:
    """Compare every ordinary cell's colour with the value that Python has for it."""
    found = lab.kernel.value(
        f"dict(values={widget}.result.values.values.tolist(), low={widget}.result.scale.low,"
        f" high={widget}.result.scale.high, marked={widget}.result.marked)"
    )
    values = np.array(found["values"])
    ordinary = (values >= found["low"]) & (values <= found["high"])
    ordinary[:, found["marked"]] = False
    assert ordinary.sum() > values.size / 2
    wanted = expected(values.tolist(), found["low"], found["high"])
    gaps = np.abs(view.colours()[..., :3] - wanted).max(axis=-1)[ordinary]
    assert gaps.max() <= 6, f"{(gaps > 6).sum()} of {gaps.size} cells have another colour than their value"


def test_every_cell_has_the_colour_of_its_value(lab: Notebook) -> None:
    view = lab.view(FIRST)
    colours = view.colours()
    assert len(np.unique(colours.reshape(-1, 4), axis=0)) > 15
    assert (colours[..., 3] == 255).all()
    check_colours(lab, view)


def test_layer_0_is_at_the_bottom(lab: Notebook) -> None:
    view = lab.view(FIRST)
    assert view.at(0, 0)[1] > view.at(3, 0)[1]
    view.hover(0, 1)
    expect(view.tip).to_contain_text("layer 0")


@pytest.mark.parametrize("cell", [(0, 1), (3, 14), (2, 7)])
def test_a_click_reaches_python(lab: Notebook, cell: tuple[int, int]) -> None:
    lab.view(FIRST).click(*cell)
    lab.kernel.wait("[w.layer, w.pos]", list(cell))


def test_keys_reach_python(lab: Notebook) -> None:
    view = lab.view(FIRST)
    rows, cols = view.shape
    view.grid.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):  # the first one shows the upper left corner
        lab.page.keyboard.press(key)
    lab.kernel.wait("[w.layer, w.pos]", [rows - 2, 1])
    lab.page.keyboard.press("End")
    lab.page.keyboard.press(" ")
    lab.kernel.wait("[w.layer, w.pos]", [rows - 2, cols - 1])
    lab.page.keyboard.press("Escape")
    lab.kernel.wait("[w.layer, w.pos]", [None, None])


def test_python_moves_the_outline_in_every_view(lab: Notebook) -> None:
    lab.kernel.run("w.layer, w.pos = 2, 3")
    for cell in (FIRST, SECOND):
        view = lab.view(cell)
        view.outlines(2, 3)
        expect(view.side).to_contain_text("layer 2")
    lab.kernel.run("w.layer, w.pos = 0, 5")
    for cell in (FIRST, SECOND):
        lab.view(cell).outlines(0, 5)


def test_two_views_of_one_widget_stay_in_step(lab: Notebook) -> None:
    first, second = lab.view(FIRST), lab.view(SECOND)
    second.click(1, 4)
    first.outlines(1, 4)
    expect(first.side).to_contain_text("cosine to final")
    assert first.side.inner_text() == second.side.inner_text()
    first.field("stat").select_option("kurtosis")
    expect(second.field("stat").locator("option:checked")).to_have_text("kurtosis")
    expect(second.root.locator(".rw-title")).to_contain_text("kurtosis")
    lab.kernel.wait("w.stat", "kurtosis")
    check_colours(lab, second)


def test_a_click_fills_the_side_panel_with_pythons_numbers(lab: Notebook) -> None:
    view = lab.view(FIRST)
    view.click(2, 4)
    expect(view.side).to_contain_text("kurtosis")
    details = lab.kernel.value("w.details")
    assert details["at"] == {"layer": 2, "pos": 4}
    text = view.side.inner_text()
    for row in details["rows"]:
        assert row["label"] in text
        assert row["value"] in text
    for top in details["top"]:
        assert top["token"] in text


def test_statistic_and_component_are_changed_in_the_widget(lab: Notebook) -> None:
    view = lab.view(FIRST)
    before = view.colours()
    view.field("stat").select_option(label="update norm")
    lab.kernel.wait("w.stat", "update_norm")
    expect(view.root.locator(".rw-title")).to_contain_text("update norm")
    check_colours(lab, view)
    view.field("component").select_option("mlp_out")
    lab.kernel.wait("w.component", "mlp_out")
    view.field("stat").select_option(label="norm")
    lab.kernel.wait("w.stat", "norm")
    expect(view.root.locator(".rw-title")).to_contain_text("mlp_out")
    check_colours(lab, view)
    assert (view.colours() != before).any()
    view.root.get_by_role("button", name="Reset").click()
    lab.kernel.wait("[w.component, w.stat]", ["resid_post", "norm"])
    expect(view.root.locator(".rw-title")).to_contain_text("resid_post")
    check_colours(lab, view)


def test_dimension_appears_with_its_statistic_and_reaches_python(lab: Notebook) -> None:
    view = lab.view(FIRST)
    expect(view.field("dim")).to_be_hidden()
    view.field("stat").select_option("dimension")
    field = view.field("dim")
    expect(field).to_be_visible()
    field.fill("7")
    field.press("Enter")
    lab.kernel.wait("[w.stat, w.dim]", ["dimension", 7])


@pytest.mark.parametrize("planted", ["w._details = None", "w.observe(fail, names='layer')"])
def test_an_exception_in_python_is_shown_and_the_next_click_works(lab: Notebook, planted: str) -> None:
    """What the host writes to a log that nobody opens stands in the widget."""
    view = lab.view(FIRST)
    lab.kernel.run(
        "def fail(*args):\n    raise RuntimeError('planted trouble')\n" + planted.replace("= None", "= fail")
    )
    try:
        view.click(2, 5)
        notice = view.notices.filter(has_text="planted trouble")
        expect(notice).to_be_visible()
        expect(notice).to_contain_text("RuntimeError")
        notice.locator("summary").click()
        expect(notice.locator("pre")).to_contain_text("Traceback")
    finally:
        lab.kernel.run("w.unobserve_all('layer'); w.__dict__.pop('_details', None)")
    view.click(1, 6)
    lab.kernel.wait("[w.layer, w.pos]", [1, 6])
    expect(view.notices).to_have_count(0)


def test_hover_tells_value_and_token_without_python(lab: Notebook) -> None:
    view = lab.view(FIRST)
    found = lab.kernel.value("dict(values=w.result.values.values.tolist(), tokens=w.result.tokens_visible)")
    view.leave()
    before = lab.comm_messages
    for layer, pos in [(0, 1), (3, 2), (1, 13), (2, 8)]:
        view.hover(layer, pos)
        expect(view.tip).to_be_visible()
        expect(view.tip).to_contain_text(f"layer {layer}")
        expect(view.tip).to_contain_text(f"position {pos}")
        expect(view.tip).to_contain_text(found["tokens"][pos])
        number = re.sub(r"[,\s]", "", view.tip.locator("b").inner_text())
        assert float(number.replace("\u2212", "-")) == pytest.approx(found["values"][layer][pos], rel=1e-3)
    view.leave()
    expect(view.tip).to_be_hidden()
    assert lab.comm_messages == before
    view.click(2, 8)  # and a click does send one
    lab.kernel.wait("[w.layer, w.pos]", [2, 8])
    assert lab.comm_messages > before


def test_the_lens_shows_tokens_and_answers(lab: Notebook) -> None:
    view = lab.view(LENS)
    view.click(3, 5)
    lab.kernel.wait("[lens.layer, lens.pos]", [3, 5])
    best = lab.kernel.value("lens.details['top'][0]['token']")
    expect(view.side).to_contain_text(best)
    view.hover(3, 5)
    expect(view.tip).to_contain_text(best)


def test_linked_widgets_share_a_selection(lab: Notebook) -> None:
    one, two = lab.views(LINKED)
    one.click(1, 9)
    two.outlines(1, 9)
    lab.kernel.wait("[b.layer, b.pos]", [1, 9])
    two.click(3, 2)
    one.outlines(3, 2)
    lab.kernel.wait("[a.layer, a.pos]", [3, 2])
    assert selection(lab) == [None, None]


def test_a_cell_that_runs_again_replaces_its_widget(lab: Notebook) -> None:
    instances = "__import__('ipywidgets').widgets.widget._instances"
    alive = f"sorted(k for k, v in {instances}.items() if 'Heatmap' in type(v).__name__)"
    lab.view(UNNAMED)
    before = lab.kernel.value(alive)
    for _ in range(3):
        lab.run(UNNAMED)
    view = lab.view(UNNAMED)
    after = lab.kernel.value(alive)
    assert len(after) == len(before)
    assert len(set(before) - set(after)) == 1  # only the unnamed one is new: variables hold the others
    view.click(2, 2)
    expect(view.side).to_contain_text("cosine to final")


def test_keys_of_the_grid_are_not_shortcuts_of_the_notebook(lab: Notebook) -> None:
    cells = lab.cells()
    lab.page.locator(".jp-Cell .jp-InputArea-editor").nth(UNNAMED).click()
    lab.page.keyboard.press("Escape")
    lab.page.keyboard.press("b")  # outside, "b" makes a cell and "d d" removes it: the keys do work here
    until(lambda: lab.cells() == cells + 1, "a new cell")
    lab.page.keyboard.press("d")
    lab.page.keyboard.press("d")
    until(lambda: lab.cells() == cells, "the cell gone")
    view = lab.view(FIRST)
    view.click(1, 1)
    for target in (view.grid, view.root.get_by_role("button", name="Reset"), view.field("stat")):
        target.focus()
        for key in ("d", "d", "a", "b", "x", "m", "Shift+M", "0", "0", "c", "v", "z"):
            lab.page.keyboard.press(key)
    assert lab.cells() == cells
    assert lab.ask("panel => panel.content.widgets.every(cell => cell.model.type === 'code')")
    assert not lab.page.locator(".jp-Dialog").count()


def test_a_widget_made_under_the_dark_theme_is_dark(lab: Notebook) -> None:
    """JupyterLab makes the view before it puts it on the page, where there is no theme to be read yet."""
    lab.theme("dark")
    try:
        lab.run(UNNAMED)
        base = lab.view(UNNAMED).base
        until(
            lambda: max(base.evaluate("c => [...c.getContext('2d').getImageData(1, 1, 1, 1).data].slice(0, 3)")) < 60,
            "a dark picture",
        )
    finally:
        lab.theme("light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_are_readable(lab: Notebook, theme: str) -> None:
    lab.kernel.run("w.select(2, 4); lens.select(1, 3)")
    before = lab.view(FIRST).colours(dx=-0.02)  # between cells: the ground
    lab.theme(theme)
    try:
        for cell in (FIRST, LENS):
            view = lab.view(cell)
            view.hover(1, 3)
            expect(view.root).to_have_attribute("data-rw-theme", theme)
            expect(view.side.get_by_role("list")).to_be_visible()
            texts = view.contrasts()
            assert len(texts) > 20
            assert [text for text in texts if text["ratio"] < 4.5] == []
            assert [text for text in texts if text["size"] < 11] == []
        ground = view.base.evaluate("c => [...c.getContext('2d').getImageData(1, 1, 1, 1).data]")
        assert (max(ground[:3]) < 60) if theme == "dark" else (min(ground[:3]) > 240)
        if theme == "dark":
            assert (lab.view(FIRST).colours(dx=-0.02)[1, 5] != before[1, 5]).any()
        check_colours(lab, lab.view(FIRST))
    finally:
        lab.theme("light")


def test_exports_come_down(lab: Notebook) -> None:
    view = lab.view(FIRST)
    for label, start in [("Picture", b"\x89PNG"), ("Vector picture", b"<?xml"), ("Table", b"# ActivationMap of ")]:
        view.root.get_by_role("button", name="Export").click()
        with lab.page.expect_download() as started:
            view.root.get_by_role("menuitem", name=re.compile(f"^{label}")).click()
        assert started.value.path().read_bytes().startswith(start)


def test_a_reload_with_the_kernel_alive_brings_everything_back(lab: Notebook) -> None:
    lab.kernel.run("w.change(stat='kurtosis'); w.select(1, 2)")
    lab.view(FIRST).outlines(1, 2)
    lab.save()
    lab.open()
    view = lab.view(FIRST)
    view.outlines(1, 2)
    expect(view.side).to_contain_text("cosine to final")
    check_colours(lab, view)
    view.click(3, 3)
    lab.kernel.wait("[w.layer, w.pos]", [3, 3])
    expect(view.notices).to_have_count(0)
