"""Attention in a real JupyterLab: all heads, one open, arcs and pins, why and what, ablation and undo, no kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.lab import Kernel, Server, until
from tests.browser.page import Notebook, watched
from tests.browser.view import View

pytestmark = pytest.mark.browser

SHOTS = Path(__file__).parents[2] / "test-results"
EXPLORER = 'w = rw.AttentionExplorer(run, rw.logit_diff(" Mary", " John"))\nw'


@pytest.fixture(scope="module")
def opened(server: Server, browser: Browser, kernel: Kernel) -> Iterator[Notebook]:
    server.write("attention.ipynb", EXPLORER, "w")
    with watched(browser, width=1500, height=1100) as context:
        notebook = Notebook(server, context, "attention.ipynb", kernel=kernel)
        notebook.run(0)
        notebook.run(1)
        yield notebook
        notebook.kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()


@pytest.fixture
def lab(opened: Notebook) -> Iterator[Notebook]:
    """The notebook, the explorer as it was made; nothing wrong on the page afterwards."""
    view = view_of(opened, 0)
    view.root.get_by_role("button", name="Reset").click()
    opened.kernel.wait("(dict(w.selection), w.interventions == (), w.sort)", [{"layer": 1, "head": 0}, True, False])
    yield opened
    opened.check()


def view_of(lab: Notebook, cell: int) -> View:
    (view,) = lab.views(cell)
    expect(heads(view)).to_be_visible()
    return view


def heads(view: View) -> Locator:
    return view.root.get_by_role("grid", name="Heads by layer")


def matrix(view: View) -> Locator:
    return view.root.locator(".rw-matrix-scroll")


def arcs(view: View) -> Locator:
    return view.root.locator(".rw-arc-scroll")


def cell(grid: Locator, row: int, col: int) -> tuple[float, float]:
    """The point of a cell on the page, row 0 at the top."""
    grid.scroll_into_view_if_needed()
    rows, cols = (int(str(grid.get_attribute(f"aria-{name}count"))) for name in ("row", "col"))
    box = grid.get_by_role("row").bounding_box()
    assert box is not None
    return box["x"] + (col + 0.5) * box["width"] / cols, box["y"] + (row + 0.4) * box["height"] / rows


def open_head(view: View, layer: int, head: int) -> None:
    view.page.mouse.click(*cell(heads(view), 3 - layer, head))


def selection(lab: Notebook) -> dict[str, int]:
    return lab.kernel.value("dict(w.selection)")


def test_a_click_opens_a_head_in_all_views(lab: Notebook) -> None:
    view = view_of(lab, 0)
    expect(view.root).to_contain_text("Head 1.0")  # the first in the order of induction
    open_head(view, 3, 2)
    lab.kernel.wait("dict(w.selection)", {"layer": 3, "head": 2})
    for each in (view, view_of(lab, 1)):
        expect(each.root).to_contain_text("Head 3.2")
        expect(matrix(each)).to_have_attribute("aria-label", "Head 3.2: pattern")
    expect(view.side).to_contain_text("previous token")
    expect(view.root.get_by_role("button", name="Ablate head 3.2")).to_be_enabled()


def test_hovering_asks_python_nothing(lab: Notebook) -> None:
    view = view_of(lab, 0)
    before = lab.comm_messages
    lab.page.mouse.move(*cell(heads(view), 1, 3))  # layer 2, head 3
    expect(view.tip.first).to_contain_text("head 3")
    expect(view.tip.first).to_contain_text("previous token")
    lab.page.mouse.move(*cell(matrix(view), 6, 3))
    tip = view.root.locator(".rw-matrix [role=tooltip]")
    expect(tip).to_contain_text("·to ← ·and")
    weight = lab.kernel.value("float(run.activation('pattern', 1)[0, 6, 3])")
    assert float(tip.locator("b.rw-number").inner_text().replace("e−", "e-")) == pytest.approx(weight, rel=0.01)
    box = matrix(view).bounding_box()
    assert box
    x, y = cell(matrix(view), 6, 0)
    lab.page.mouse.move(box["x"] - 20, y)  # the token's own label
    expect(tip).to_contain_text("position 6, which looks")
    x, y = cell(matrix(view), 14, 3)
    lab.page.mouse.move(x, box["y"] + box["height"] + 8)
    expect(tip).to_contain_text("position 3, which is looked at")
    lab.page.mouse.move(*cell(matrix(view), 2, 9))  # no token looks ahead
    expect(tip).to_be_hidden()
    assert lab.comm_messages == before


def test_a_cell_says_what_it_carries_and_what_its_cut_does(lab: Notebook) -> None:
    view = view_of(lab, 0)
    open_head(view, 2, 0)
    lab.kernel.wait("dict(w.selection)", {"layer": 2, "head": 0})
    lab.page.mouse.click(*cell(matrix(view), 14, 10))
    lab.kernel.wait("dict(w.selection)", {"layer": 2, "head": 0, "pos": 14, "key_pos": 10})
    found = lab.kernel.value(
        "(lambda h: [h.weight, h.norm, h.cut, str(h.values['text'].values[0])])"
        "(rw.head_writes(run, 2, 0, 14, 10, w.metric))"
    )
    expect(view.side).to_contain_text("·to ← ·John")
    expect(view.side).to_contain_text("carries, norm")
    for number in (f"{found[1]:.3g}", f"{found[2]:+.3g}".replace("-", "−")):
        expect(view.side).to_contain_text(number)
    expect(view.side.locator(".rw-signed").last).to_contain_text(found[3])
    expect(view.side).to_contain_text("Why it looks there")
    expect(view.side.locator(".rw-signed").first).to_contain_text("others")
    # Another head shows the same pair of tokens.
    open_head(view, 2, 1)
    lab.kernel.wait("dict(w.selection)", {"layer": 2, "head": 1, "pos": 14, "key_pos": 10})
    expect(view.side).to_contain_text("head 2.1")


def test_heads_are_sorted_by_any_number(lab: Notebook) -> None:
    view = view_of(lab, 0)
    view.field("score").select_option(label="effect when ablated")
    lab.kernel.wait("w.score", "causal")
    lab.page.mouse.move(*cell(heads(view), 3, 0))
    effect = lab.kernel.value("float(w.result.score('causal').sel(layer=0, head=0))")
    expect(view.tip.first).to_contain_text(f"{effect:.3g}".replace("-", "−"))
    view.field("sort").check()
    expect(view.root).to_contain_text("in order of effect when ablated")
    grid = view.root.get_by_role("grid", name="Heads by layer, effect when ablated")
    order = lab.kernel.value("[list(at) for at in w.result.order('causal')]")
    cols = int(str(grid.get_attribute("aria-colcount")))
    for place in (0, cols + 1):
        lab.page.mouse.click(*cell(grid, place // cols, place % cols))
        layer, head = order[place]
        lab.kernel.wait("[w.selection['layer'], w.selection['head']]", [layer, head])


def test_ablating_changes_what_is_downstream_and_undo_takes_it_back(lab: Notebook) -> None:
    view = view_of(lab, 0)
    open_head(view, 0, 0)
    button = view.root.get_by_role("button", name="Ablate head 0.0")
    expect(button).to_be_enabled()
    button.click()
    lab.kernel.wait("[str(item) for item in w.interventions]", ["mean z[layer 0, head 0]"])
    expect(view.side.locator(".rw-chip")).to_have_count(1)
    expect(view.side).to_contain_text("before / after")
    after = lab.kernel.value("rw.ablation(run, w.interventions, w.metric).after")
    expect(view.side.locator(".rw-now")).to_have_text(f"{after:.3g}".replace("-", "−"))
    view.field("score").select_option(label="change")
    lab.kernel.wait("w.score", "change")
    # What is drawn are the patterns of the changed run.
    open_head(view, 2, 1)
    lab.kernel.wait("dict(w.selection)", {"layer": 2, "head": 1})
    lab.page.mouse.move(*cell(matrix(view), 14, 10))
    changed = lab.kernel.value("float(rw.intervene(run, w.interventions).activation('pattern', 2)[1, 14, 10])")
    tip = view.root.locator(".rw-matrix [role=tooltip]")
    assert float(tip.locator("b.rw-number").inner_text().replace("e−", "e-")) == pytest.approx(changed, rel=0.02)
    open_head(view, 0, 0)
    expect(view.root.get_by_role("button", name="Restore head 0.0")).to_be_enabled()
    lab.page.keyboard.press("Control+z")
    lab.kernel.wait("w.interventions == ()")
    expect(view.side.locator(".rw-chip")).to_have_count(0)
    view.root.get_by_role("button", name="Redo").click()
    expect(view.side.locator(".rw-chip")).to_have_count(1)
    view.side.get_by_role("button", name="Take off").click()
    lab.kernel.wait("w.interventions == ()")


def test_arcs_tokens_are_pinned_and_summed(lab: Notebook) -> None:
    view = view_of(lab, 0)
    view.root.get_by_role("button", name="arcs").click()
    expect(arcs(view)).to_be_visible()
    expect(matrix(view)).to_be_hidden()
    before = lab.comm_messages
    lab.page.mouse.move(*token(view, 14))
    tip = view.root.locator(".rw-arcs [role=tooltip]")
    expect(tip).to_contain_text("position 14, which looks")
    assert lab.comm_messages == before
    pins = view.root.locator(".rw-pins")
    for place, pos in enumerate((14, 10)):
        lab.page.mouse.click(*token(view, pos))
        expect(pins.locator(".rw-chip")).to_have_count(place + 1)
    expect(pins).to_contain_text("Sum of 2 pinned")
    lab.page.mouse.move(*token(view, 4))
    both = lab.kernel.value("float(run.activation('pattern', 1)[0, [10, 14], 4].sum())")
    expect(tip).to_contain_text("the 2 pinned take")
    said = tip.locator(".rw-tip-note", has_text="the 2 pinned take").inner_text()
    assert float(said.split()[-3]) == pytest.approx(both, rel=0.01)
    view.side.scroll_into_view_if_needed()
    pins.get_by_role("button", name="Unpin ·John").click()
    expect(pins.locator(".rw-chip")).to_have_count(1)
    pins.get_by_role("button", name="Unpin all").click()
    expect(pins).to_be_hidden()
    view.root.get_by_role("button", name="grid", exact=True).click()
    expect(matrix(view)).to_be_visible()


def token(view: View, pos: int) -> tuple[float, float]:
    """The point just above a token's label among arcs."""
    arcs(view).scroll_into_view_if_needed()
    box = arcs(view).bounding_box()
    assert box is not None
    place = view.root.locator(".rw-arcs").evaluate("el => el.dataset")
    x = float(place["pad"]) + (pos + 0.5) * float(place["cell"])
    return box["x"] + x, box["y"] + float(place["tokens"]) + 6


def test_what_is_shown_of_a_head_can_be_chosen(lab: Notebook) -> None:
    view = view_of(lab, 0)
    open_head(view, 2, 0)
    lab.kernel.wait("dict(w.selection)", {"layer": 2, "head": 0})
    for label, kind in (("value-weighted", "value_weighted"), ("gradient", "gradient"), ("knockout", "knockout")):
        view.root.get_by_role("button", name=label, exact=True).click()
        lab.kernel.wait("w.opened.kind", kind)
        expect(matrix(view)).to_have_attribute("aria-label", f"Head 2.0: {kind}")
    lab.page.mouse.move(*cell(matrix(view), 14, 10))
    tip = view.root.locator(".rw-matrix [role=tooltip]")
    effect = lab.kernel.value("float(w.opened.values[14, 10])")
    assert float(tip.locator("b.rw-number").inner_text().replace("−", "-")) == pytest.approx(effect, rel=0.01)
    lab.page.mouse.move(*cell(matrix(view), 6, 2))  # nothing at 6 can reach the answer through this
    size = lab.kernel.value("abs(float(w.opened.values[6, 2]))")
    expect(tip).to_contain_text("no effect" if size <= lab.kernel.value("w.opened.rounding") else "effect of the cut")
    view.root.get_by_role("button", name="pattern", exact=True).click()
    lab.kernel.wait("w.kind", "pattern")


def test_the_open_head_leaves_as_a_file_beside_all_heads(lab: Notebook) -> None:
    view = view_of(lab, 0)
    view.root.get_by_role("button", name="Export").click()
    labels = view.root.get_by_role("menuitem").all_inner_texts()
    assert ["".join(label.split()) for label in labels[-3:]] == ["OpenheadPNG", "OpenheadSVG", "OpenheadCSV"]
    with lab.page.expect_download() as download:
        view.root.get_by_role("menuitem", name="Open head").nth(1).click()
    text = Path(download.value.path()).read_text()
    assert text.startswith("<svg")
    assert "Head 1.0" in text and "·John" in text
    with lab.page.expect_download() as download:
        view.root.get_by_role("button", name="Export").click()
        view.root.get_by_role("menuitem", name="Table").click()
    assert "induction" in Path(download.value.path()).read_text()


def test_all_of_it_by_keyboard(lab: Notebook) -> None:
    view, keyboard = view_of(lab, 0), lab.page.keyboard
    count = lab.cells()
    heads(view).focus()
    live = view.root.locator(".rw-heads [aria-live]")
    keyboard.press("ArrowUp")
    expect(live).to_contain_text("layer 2, head 0: induction")
    for key in ("ArrowRight", "d", "d"):
        keyboard.press(key)
    expect(live).to_contain_text("layer 2, head 1")
    keyboard.press("Enter")
    lab.kernel.wait("dict(w.selection)", {"layer": 2, "head": 1})
    matrix(view).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"):
        keyboard.press(key)
    spoken = view.root.locator(".rw-matrix [aria-live]")
    expect(spoken).to_contain_text("head 2.1")
    keyboard.press("Enter")
    until(lambda: "key_pos" in selection(lab), "a cell that is selected")
    at = selection(lab)
    assert at["key_pos"] <= at["pos"]
    keyboard.press("Escape")
    lab.kernel.wait("dict(w.selection)", {"layer": 2, "head": 1})
    view.root.get_by_role("button", name="arcs").click()
    arcs(view).focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        keyboard.press(key)
    expect(view.root.locator(".rw-pins .rw-chip")).to_have_count(1)
    keyboard.press("Escape")
    expect(view.root.locator(".rw-pins")).to_be_hidden()
    view.root.get_by_role("button", name="grid", exact=True).click()
    assert lab.cells() == count


def test_every_text_can_be_read_in_light_and_dark_wide_and_narrow(lab: Notebook) -> None:
    SHOTS.mkdir(exist_ok=True)
    view = view_of(lab, 0)
    lab.kernel.run("w.select(layer=2, head=0, pos=14, key_pos=10); w.ablate(1, 0)")
    try:
        for theme in ("light", "dark"):
            lab.theme(theme)
            for width in (1600, 760):
                lab.page.set_viewport_size({"width": width, "height": 1100})
                lab.page.wait_for_timeout(200)
                for text in view.contrasts():
                    assert text["ratio"] >= 4.5, text
                    assert text["size"] >= 11, text
                assert view.root.evaluate("el => el.scrollWidth <= el.clientWidth")
                view.root.screenshot(path=SHOTS / f"attention-{theme}-{width}.png")
    finally:
        lab.page.set_viewport_size({"width": 1500, "height": 1100})
        lab.theme("light")


def test_a_saved_page_still_hovers_and_shows_arcs(lab: Notebook, browser: Browser, tmp_path: Path) -> None:
    page_file = tmp_path / "attention.html"
    lab.kernel.run(f"w.select(layer=2, head=0); w.to_html({str(page_file)!r})")
    with watched(browser, width=1400) as context:
        page = context.new_page()
        page.goto(page_file.as_uri())
        view = View(page.locator(".rw"))
        expect(view.root).to_contain_text("Head 2.0")
        page.mouse.move(*cell(matrix(view), 14, 10))
        expect(view.root.locator(".rw-matrix [role=tooltip]")).to_contain_text("·to ← ·John")
        view.root.get_by_role("button", name="arcs").click()
        expect(arcs(view)).to_be_visible()
        page.mouse.click(*cell(heads(view), 0, 0))  # another head: there is no Python to open it
        expect(view.side).to_contain_text("head 0")
        expect(view.root.locator(".rw-part-heading").last).to_contain_text("Head 2.0")
        with page.expect_download() as download:
            view.root.get_by_role("button", name="Export").click()
            view.root.get_by_role("menuitem", name="Open head").last.click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert lines[0] == "pos,key_pos,token,key_token,value"
        assert len(lines) == 1 + 15 * 16 // 2


def test_a_thousand_tokens_travel_by_message_and_are_pooled(server: Server, browser: Browser, kernel: Kernel) -> None:
    made = "from tests.browser.scenes import *\nl = rw.AttentionExplorer(long_run(1024), layer=2, head=1)\nl"
    path = server.write("long-attention.ipynb", made)
    with watched(browser, width=1500, height=1000) as context:
        notebook = Notebook(server, context, path, kernel=kernel)
        notebook.run(0)
        (view,) = notebook.views(0)
        expect(matrix(view)).to_have_attribute("aria-rowcount", "1024")
        assert notebook.kernel.value("l.frame['parts']['head']['data']") is None  # not in the trait
        expect(view.root.locator(".rw-zoom")).to_contain_text("all 1024 positions; a pixel shows the largest")
        matrix(view).focus()
        for _ in range(12):
            notebook.page.keyboard.press("+")
        expect(view.root.locator(".rw-zoom")).to_contain_text("of 1024")
        notebook.page.keyboard.press("Control+End")
        notebook.page.keyboard.press("Enter")
        notebook.kernel.wait("'key_pos' in l.selection")
        view.root.get_by_role("button", name="arcs").click()
        expect(view.root.locator(".rw-arcs")).to_contain_text("not drawn")
        notebook.kernel.run("l.close()")
        notebook.close()


def test_token_texts_are_text(server: Server, browser: Browser, kernel: Kernel) -> None:
    made = "from tests.browser.scenes import *\nh = rw.AttentionExplorer(hostile_run(), layer=1, head=0)\nh"
    path = server.write("hostile-attention.ipynb", made)
    with watched(browser, width=1500) as context:
        notebook = Notebook(server, context, path, kernel=kernel)
        notebook.run(0)
        (view,) = notebook.views(0)
        expect(matrix(view)).to_be_visible()
        notebook.page.mouse.move(*cell(matrix(view), 12, 0))
        expect(view.root.locator(".rw-matrix [role=tooltip]")).to_contain_text("<script>alert(1)</script>")
        assert view.root.locator("script, img, svg").count() == 0
        notebook.kernel.run("h.close()")
        notebook.close()
