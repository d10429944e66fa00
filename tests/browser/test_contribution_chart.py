"""Contributions in a real JupyterLab: bars open by mouse and by key, tell their numbers, are taken away, and stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.lab import Kernel, Server
from tests.browser.page import Notebook, watched
from tests.browser.view import View

pytestmark = pytest.mark.browser

CHART = 'w = rw.ContributionChart(run, rw.logit_diff(" Mary", " John"))\nw'
RUN = "from tests.browser.scenes import *\nrun = rw.run(rw.load_model(progress=False), SENTENCE)"
SHOTS = Path(__file__).parents[2] / "test-results"


@pytest.fixture(scope="module")
def opened(server: Server, browser: Browser, kernel: Kernel) -> Iterator[Notebook]:
    server.write("contributions.ipynb", CHART, "w")
    with watched(browser, width=1500, height=1100) as context:
        notebook = Notebook(server, context, "contributions.ipynb", kernel=kernel)
        notebook.run(0)
        notebook.run(1)
        notebook.page.evaluate("window.jupyterapp.shell.collapseLeft()")
        yield notebook
        notebook.kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()


@pytest.fixture
def lab(opened: Notebook) -> Iterator[Notebook]:
    """The notebook, the chart as it was made; nothing wrong on the page afterwards."""
    chart(opened).get_by_role("button", name="Reset").click()
    opened.kernel.wait("[w.opened, w.selection, w.by, w.shape]", [[], {}, "layer", "waterfall"])
    yield opened
    opened.check()


def chart(lab: Notebook, cell: int = 0) -> Locator:
    root = lab.views(cell)[0].root
    expect(root.get_by_role("treegrid")).to_be_visible()
    return root


def row(root: Locator, key: str) -> Locator:
    return root.locator(f"[role=row][data-key='{key}']")


def twist(root: Locator, key: str) -> None:
    row(root, key).locator(".rw-twist").click()


def box(found: Locator) -> dict[str, float]:
    return found.evaluate("el => el.getBoundingClientRect().toJSON()")


def keys(root: Locator) -> list[str]:
    return root.get_by_role("row").evaluate_all("rows => rows.map(row => row.dataset.key)")


def opened_head(root: Locator) -> None:
    for key in ("layer.2", "2.attn_out", "2.head.0"):
        twist(root, key)
    expect(row(root, "2.head.0.pos.10")).to_be_visible()


def test_bars_open_in_both_views_and_add_up_on_the_page(lab: Notebook) -> None:
    root, second = chart(lab), chart(lab, 1)
    opened_head(root)
    lab.kernel.wait("list(w.opened)", ["layer.2", "2.attn_out", "2.head.0"])
    expect(row(second, "2.head.0.pos.10")).to_be_visible()
    assert keys(root) == lab.kernel.value("[bar.part.key for bar in w.result.bars]")
    values = lab.kernel.value("{bar.part.key: bar.part.value for bar in w.result.bars}")
    sizes = {key: box(row(root, key).locator(".rw-fall-bar")) for key in values}
    unit = sizes["total"]["width"] / values["total"]
    for key, value in values.items():
        assert sizes[key]["width"] == pytest.approx(max(1.0, abs(value) * unit), abs=0.6), key
    # Each begins where the one before it ends, and the last one ends where the total does.
    assert sizes["layer.2"]["left"] == pytest.approx(sizes["layer.1"]["right"], abs=0.6)
    assert sizes["2.head.1"]["left"] == pytest.approx(sizes["2.head.0"]["right"], abs=0.6)
    assert sizes["2.attn_out"]["left"] == pytest.approx(sizes["layer.2"]["left"], abs=0.6)
    assert sizes["layer.3"]["right"] == pytest.approx(sizes["total"]["right"], abs=0.6)
    expect(row(root, "2.head.0")).to_have_attribute("aria-expanded", "true")
    expect(row(root, "2.head.0")).to_have_attribute("aria-level", "3")
    twist(root, "layer.2")
    expect(row(second, "2.attn_out")).to_have_count(0)
    lab.kernel.wait("list(w.opened)", ["2.attn_out", "2.head.0"])
    twist(root, "layer.2")
    expect(row(second, "2.head.0.pos.10")).to_be_visible()


def test_others_open_with_a_click(lab: Notebook) -> None:
    root = chart(lab)
    opened_head(root)
    row(root, "2.head.0.others").click()
    expect(row(root, "2.head.0.pos.3")).to_be_visible()
    row(root, "2.head.0.others").click()
    expect(row(root, "2.head.0.pos.3")).to_have_count(0)


def test_a_click_tells_direct_and_causal_effect_and_what_it_writes(lab: Notebook) -> None:
    root = chart(lab)
    opened_head(root)
    row(root, "2.head.0").locator(".rw-fall-told").click()
    lab.kernel.wait("w.selection", {"layer": 2, "head": 0})
    side = root.get_by_role("complementary")
    for text in ("direct effect", "effect when set to zero", "self-repair and indirect", "Writes at", "·Mary"):
        expect(side).to_contain_text(text)
    expect(row(root, "2.head.0")).to_have_attribute("aria-selected", "true")
    expect(row(chart(lab, 1), "2.head.0")).to_have_attribute("aria-selected", "true")
    row(root, "2.head.1").hover()
    expect(root.locator("[role=tooltip]")).to_contain_text("head 1")
    lab.page.mouse.move(1, 1)
    expect(root.locator("[role=tooltip]")).to_be_hidden()


def test_the_keyboard_alone_opens_selects_and_clears(lab: Notebook) -> None:
    root = chart(lab)
    page = lab.page
    root.get_by_role("row").first.focus()
    expect(row(root, "embed")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(row(root, "layer.2")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(row(root, "layer.2")).to_have_attribute("aria-expanded", "true")
    expect(row(root, "layer.2")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(row(root, "2.attn_out")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row(root, "2.head.0")).to_be_visible()
    expect(root.locator("[aria-live]", has_text="attention opened, 4 parts")).to_have_count(1)
    lab.kernel.wait("w.selection", {"layer": 2, "component": "attn_out"})
    expect(row(root, "2.attn_out")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    lab.kernel.wait("w.selection", {"layer": 2, "head": 0})
    page.keyboard.press("ArrowLeft")
    expect(row(root, "2.attn_out")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(row(root, "2.head.0")).to_have_count(0)
    page.keyboard.press("End")
    expect(row(root, "total")).to_be_focused()
    page.keyboard.press("Escape")
    lab.kernel.wait("w.selection", {})
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert lab.cells() == 2, "notebook shortcuts do not fire from here"
    tabs = root.get_by_role("row").evaluate_all("rows => rows.filter(row => row.tabIndex === 0).length")
    assert tabs == 1


def test_controls_change_what_bars_are_of_how_they_are_drawn_and_the_metric(lab: Notebook) -> None:
    root = chart(lab)
    root.get_by_role("button", name="head", exact=True).click()
    expect(row(root, "3.head.3")).to_be_visible()
    twist(root, "3.head.3")
    lab.kernel.wait("list(w.opened)", ["3.head.3"])
    expect(root.locator("[data-key^='3.head.3.pos.']").first).to_be_visible()
    root.get_by_role("button", name="bars", exact=True).click()
    lab.kernel.wait("w.shape", "bars")
    expect(root.locator(".rw-fall-joint")).to_have_count(0)
    field = root.locator("[name='answer']")
    field.fill(" Anna")
    field.press("Enter")
    expect(row(root, "total")).to_contain_text("·Anna − ·John")
    field.fill("nothing at all")
    field.press("Enter")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(row(root, "total")).to_contain_text("·Anna − ·John")


def test_what_is_selected_is_taken_away_below(lab: Notebook) -> None:
    root = chart(lab)
    button = root.get_by_role("button", name="Ablate it")
    expect(button).to_be_disabled()
    row(root, "layer.3").locator(".rw-fall-told").click()
    button.click()
    expect(root.locator(".rw-inner .rw-metric")).to_contain_text("was 8.25")
    assert lab.kernel.value("[item.op for item in w.explorer.interventions]") == ["zero", "zero"]
    root.locator(".rw-inner").get_by_role("button", name="Undo").click()
    lab.kernel.wait("list(w.explorer.interventions)", [])
    root.get_by_role("button", name="Close explorer").click()
    expect(root.locator(".rw-inner .rw")).to_have_count(0)


def test_every_text_can_be_read_in_light_and_dark_wide_and_narrow(lab: Notebook) -> None:
    SHOTS.mkdir(exist_ok=True)
    root = chart(lab)
    opened_head(root)
    row(root, "2.head.0").locator(".rw-fall-told").click()
    expect(root.get_by_role("complementary")).to_contain_text("Writes at")
    try:
        for theme in ("light", "dark"):
            lab.theme(theme)
            for width in (1700, 516):
                lab.page.set_viewport_size({"width": width, "height": 1100})
                lab.page.mouse.move(1, 1)
                lab.page.wait_for_timeout(300)
                for text in View(root).contrasts():
                    assert text["ratio"] >= 4.5, text
                    assert text["size"] >= 11, text
                assert root.evaluate("el => el.scrollWidth <= el.clientWidth")
                edge = box(root.get_by_role("treegrid"))["right"]
                for value in root.locator(".rw-fall-value").all():
                    assert box(value)["right"] <= edge + 0.5, "a number is never cut"
                root.screenshot(path=SHOTS / f"contributions-{theme}-{width}.png")
    finally:
        lab.page.set_viewport_size({"width": 1500, "height": 1100})
        lab.theme("light")


def test_after_a_reload_it_is_as_it_was(server: Server, browser: Browser) -> None:
    path = server.write("reloaded.ipynb", RUN, CHART)
    with watched(browser, width=1500) as context:
        notebook = Notebook(server, context, path)
        notebook.run(0, 1)
        root = chart(notebook, 1)
        opened_head(root)
        row(root, "2.head.1").locator(".rw-fall-told").click()
        notebook.kernel.wait("w.selection", {"layer": 2, "head": 1})
        notebook.save()
        notebook.open()
        root = chart(notebook, 1)
        expect(row(root, "2.head.0.pos.10")).to_be_visible()
        expect(row(root, "2.head.1")).to_have_attribute("aria-selected", "true")
        # With the kernel gone the picture stays; what is at hand opens, the rest says that it needs Python.
        server.api(f"kernels/{notebook.kernel.id}/restart", "POST")
        expect(root.locator(".rw-notice").first).to_contain_text("Not connected")
        expect(row(root, "2.head.0.pos.10")).to_be_visible()
        twist(root, "layer.1")
        expect(row(root, "1.attn_out")).to_be_visible()
        assert row(root, "1.attn_out").get_attribute("aria-expanded") is None
        row(root, "layer.3").locator(".rw-fall-told").click()
        expect(root.get_by_role("complementary")).to_contain_text("direct effect")
        notebook.close()


def test_a_saved_page_opens_bars_and_leaves_files(lab: Notebook, browser: Browser, tmp_path: Path) -> None:
    page_file = tmp_path / "contributions.html"
    lab.kernel.run(f"w.opened = ('layer.2', '2.attn_out'); w.to_html({str(page_file)!r})")
    with watched(browser, width=1200) as context:
        page = context.new_page()
        page.goto(page_file.as_uri())
        root = page.locator(".rw")
        row(root, "2.head.0").locator(".rw-fall-told").click()
        expect(root.get_by_role("complementary")).to_contain_text("self-repair and indirect")
        twist(root, "layer.0")
        expect(row(root, "0.mlp_out")).to_be_visible()
        root.get_by_role("button", name="Export").click()
        for name, ending in (("Picture", "png"), ("Vector picture", "svg"), ("Table", "csv")):
            if not root.get_by_role("menuitem").first.is_visible():
                root.get_by_role("button", name="Export").click()
            with page.expect_download() as download:
                root.get_by_role("menuitem").filter(has_text=name).filter(has_text=ending.upper()).click()
            path = tmp_path / f"file.{ending}"
            download.value.save_as(path)
            assert path.stat().st_size > 500
        assert path.read_text(encoding="utf-8").count("\n") == len(keys(root)) + 1


def test_over_many_prompts_there_are_whiskers(server: Server, browser: Browser, kernel: Kernel) -> None:
    cell = """\
prompts = [SENTENCE, SENTENCE.replace("Mary", "Anna"), SENTENCE.replace("John", "Tom")]
metric = rw.logit_diff([" Mary", " Anna", " Mary"], [" John", " John", " Tom"])
m = rw.ContributionChart(run.model, metric, prompts=prompts)
m"""
    with watched(browser, width=1300) as context:
        notebook = Notebook(server, context, server.write("many-contributions.ipynb", cell), kernel=kernel)
        notebook.run()
        root = chart(notebook)
        twist(root, "layer.1")
        twist(root, "1.attn_out")
        expect(row(root, "1.head.2").locator(".rw-fall-whisker")).to_be_visible()
        found: Any = notebook.kernel.value("[list(bar.part.amount.interval) for bar in m.result.bars][-1]")
        total = notebook.kernel.value("m.result.first.total")
        unit = box(row(root, "total").locator(".rw-fall-bar"))["width"] / total
        whisker = box(row(root, "total").locator(".rw-fall-whisker"))
        assert whisker["width"] == pytest.approx((found[1] - found[0]) * unit, abs=1)
        SHOTS.mkdir(exist_ok=True)
        notebook.page.mouse.move(1, 1)
        root.screenshot(path=SHOTS / "contributions-many.png")
        notebook.kernel.run("m.close()")
        notebook.close()


def test_token_texts_are_text(server: Server, browser: Browser, kernel: Kernel) -> None:
    cell = """\
from tests.browser.scenes import *
h = rw.ContributionChart(hostile_run(), rw.logit_diff(0, 1))
h.opened = ("layer.1", "1.attn_out", "1.head.0", "1.head.0.others", "1.head.1")
h"""
    with watched(browser, width=1300, height=1300) as context:
        notebook = Notebook(server, context, server.write("hostile-contributions.ipynb", cell), kernel=kernel)
        notebook.run()
        root = chart(notebook)
        row(root, "1.head.0").locator(".rw-fall-told").click()
        expect(root.get_by_role("complementary")).to_contain_text("Writes at")
        assert root.locator("script, img").count() == 0
        assert root.evaluate("el => el.scrollWidth <= el.clientWidth")
        notebook.page.mouse.move(1, 1)
        root.screenshot(path=SHOTS / "contributions-hostile.png")
        notebook.kernel.run("h.close()")
        notebook.close()
