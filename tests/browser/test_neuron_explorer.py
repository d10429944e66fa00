"""Neurons in a real JupyterLab: table and picture, contexts, the brush, a text of your own, no kernel, a saved page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.lab import Kernel, Server, until
from tests.browser.page import Notebook, watched
from tests.browser.view import View

pytestmark = pytest.mark.browser

EXPLORER = """\
prompts = [p for n in ("agreement", "ioi") for p in rw.tasks.load(n, run.model, n=40).prompts]
w = rw.NeuronExplorer(rw.neuron_patterns(run.model, prompts, labels=[p.label for p in prompts]))
w"""
RUN = "from tests.browser.scenes import *\nrun = rw.run(rw.load_model(progress=False), SENTENCE)"
SHOTS = Path(__file__).parents[2] / "test-results"


@pytest.fixture(scope="module")
def opened(server: Server, browser: Browser, kernel: Kernel) -> Iterator[Notebook]:
    server.write("neurons.ipynb", EXPLORER, "w")
    with watched(browser, width=1500, height=1100) as context:
        notebook = Notebook(server, context, "neurons.ipynb", kernel=kernel)
        notebook.run(0)
        notebook.run(1)
        yield notebook
        notebook.kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()


@pytest.fixture
def lab(opened: Notebook) -> Iterator[Notebook]:
    """The notebook, the explorer as it was made; nothing wrong on the page afterwards."""
    view = opened.view(0)
    view.field("search").fill("nothing")
    view.root.get_by_role("button", name="Reset").click()
    opened.kernel.wait("(w.layer, w.neuron) == w.patterns.largest", True)
    expect(view.field("search")).to_have_value("")
    expect(view.root.locator(".rw-hist .rw-out")).to_have_count(0)
    expect(rows(view).first).to_have_attribute("aria-selected", "true")
    yield opened
    opened.check()


def rows(view: View) -> Locator:
    return view.root.locator(".rw-table tbody tr")


def contexts(view: View) -> Locator:
    return view.root.get_by_role("list", name="Contexts").locator(".rw-context")


def told(lab: Notebook, widget: str = "w") -> dict[str, Any]:
    return lab.kernel.value(f"{widget}.details")


def numbers(items: Locator) -> list[float]:
    """The activations that contexts state."""
    return [float(text.replace("−", "-")) for text in items.locator("> .rw-number").all_inner_texts()]


def shades(items: Locator) -> list[float]:
    """How much colour each token of the first context has."""
    return items.first.locator(".rw-token").evaluate_all(
        """tokens => tokens.map(t => {
          const colour = getComputedStyle(t).backgroundColor;
          const alpha = colour.match(/\\/ ([\\d.]+)/) ?? colour.match(/rgba\\(.*, ([\\d.]+)\\)/);
          return alpha ? Number(alpha[1]) : 0;
        })"""
    )


def test_a_row_selects_and_everything_follows(lab: Notebook) -> None:
    view = lab.view(0)
    expect(rows(view).first).to_have_attribute("aria-selected", "true")
    third = rows(view).nth(2)
    name = third.locator("th").inner_text()
    third.click()
    lab.kernel.wait("f'{w.layer}.{w.neuron}'", name)
    expect(view.side).to_contain_text(f"neuron {name}")
    details = told(lab)
    expect(contexts(view)).to_have_count(10)
    top = [context for context in details["neuron"]["contexts"] if context["kind"] == "top"]
    assert numbers(contexts(view)) == pytest.approx([context["activation"] for context in top], rel=0.01)
    for effect in details["neuron"]["effects"]:
        expect(view.side).to_contain_text(effect["token"])
    # The token in the middle has the most colour, for it is the largest of all.
    found = shades(contexts(view))
    marked = (
        contexts(view)
        .first.locator(".rw-token")
        .evaluate_all("tokens => tokens.findIndex(t => t.classList.contains('rw-center'))")
    )
    assert found.index(max(found)) == marked
    expect(lab.view(1).side).to_contain_text(f"neuron {name}")  # the other view too


def test_a_click_on_the_picture_selects_the_row(lab: Notebook) -> None:
    view = lab.view(0)
    assert view.shape == (4, 336)
    view.click(1, 200)
    lab.kernel.wait("[w.layer, w.pos]", [1, 200])
    expect(view.side).to_contain_text("neuron 1.200")
    expect(view.root.locator("tr[aria-selected=true]")).to_have_count(0)  # it is further down
    view.field("search").fill("1.200")
    expect(rows(view)).to_have_count(1)
    expect(rows(view).first).to_have_attribute("aria-selected", "true")


def test_the_table_is_searched_and_sorted(lab: Notebook) -> None:
    view = lab.view(0)
    expect(rows(view)).to_have_count(100)
    view.root.get_by_role("button", name="More rows").click()
    expect(rows(view)).to_have_count(200)
    before = lab.comm_messages
    view.field("search").fill("2.1")
    names = rows(view).locator("th").all_inner_texts()
    assert len(names) > 90
    assert all(name.startswith("2.1") for name in names)
    view.field("search").fill(" the")
    assert all("·the" in text for text in rows(view).locator(".rw-words").all_inner_texts())
    view.field("search").fill("no such token")
    expect(rows(view)).to_have_count(0)
    view.field("search").press("Escape")
    expect(rows(view)).to_have_count(100)
    for column, expected in (("kurtosis", "descending"), ("kurtosis", "ascending"), ("mean", "descending")):
        view.root.get_by_role("button", name=column).click()
        heading = view.root.locator("th", has=view.root.page.get_by_role("button", name=column))
        expect(heading).to_have_attribute("aria-sort", expected)
    best = lab.kernel.value("[int(n) for n in w.patterns.top('mean', k=1)[['layer', 'neuron']].values[0]]")
    expect(rows(view).first.locator("th")).to_have_text(f"{best[0]}.{best[1]}")
    assert lab.comm_messages == before  # Python was not asked


def test_keys_walk_through_the_table(lab: Notebook) -> None:
    view = lab.view(0)
    count = lab.cells()
    view.field("search").press("ArrowDown")
    keyboard = lab.page.keyboard
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    name = rows(view).nth(2).locator("th").inner_text()
    expect(rows(view).nth(2)).to_be_focused()
    for key in ("d", "d"):  # would delete the cell
        keyboard.press(key)
    keyboard.press("Enter")
    lab.kernel.wait("f'{w.layer}.{w.neuron}'", name)
    expect(rows(view).nth(2)).to_be_focused()
    assert lab.cells() == count


def test_the_brush_filters_contexts(lab: Notebook) -> None:
    view, mouse = lab.view(0), lab.page.mouse
    details = told(lab)["neuron"]
    counts, edges = details["counts"], details["edges"]
    lane = view.root.locator(".rw-hist")
    lane.scroll_into_view_if_needed()
    expect(lane.locator(".rw-hist-bar")).to_have_count(len(counts))
    box = lane.bounding_box()
    assert box
    before = lab.comm_messages
    width = box["width"] / len(counts)
    last = len(counts) - 1
    mouse.move(box["x"] + (last - 3 + 0.5) * width, box["y"] + 30)
    mouse.down()
    mouse.move(box["x"] + (last + 0.5) * width, box["y"] + 30, steps=4)
    mouse.up()
    assert lane.locator(".rw-out").count() == len(counts) - 4
    low, high = edges[last - 3], edges[last + 1]
    inside = sum(counts[last - 3 :])
    expect(view.root.locator(".rw-context-head", has_text="Contexts")).to_contain_text(f"{inside} position")
    found = numbers(contexts(view))
    assert found
    assert all(low * 0.99 <= number <= high * 1.01 for number in found)
    kept = {
        (details["texts"][c["text"]]["prompt"], c["pos"]) for c in details["contexts"] if low <= c["activation"] < high
    }
    assert len(found) == min(20, len(kept))
    view.root.get_by_role("button", name="All activations").click()
    expect(lane.locator(".rw-out")).to_have_count(0)
    expect(contexts(view)).to_have_count(10)
    # The same with keys: the lowest bin, then one more.
    lane.press("ArrowRight")
    lane.press("Shift+ArrowRight")
    assert lane.locator(".rw-out").count() == len(counts) - 2
    lane.press("Escape")
    expect(lane.locator(".rw-out")).to_have_count(0)
    assert lab.comm_messages == before  # Python was not asked


def test_largest_smallest_and_random(lab: Notebook) -> None:
    view = lab.view(0)
    view.root.get_by_role("button", name="smallest").click()
    found = numbers(contexts(view))
    assert found == sorted(found)
    lowest = lab.kernel.value("float(w.patterns.stats['min'].sel(layer=w.layer, neuron=w.neuron))")
    assert found[0] == pytest.approx(lowest, rel=0.01)
    view.root.get_by_role("button", name="random").click()
    expect(contexts(view)).to_have_count(20)
    expect(view.root.locator(".rw-context-head", has_text="Contexts")).to_contain_text("drawn from 80")
    view.root.get_by_role("button", name="largest", exact=True).click()


def test_your_own_text(lab: Notebook) -> None:
    view = lab.view(0)
    field = view.field("text")
    field.fill("The dogs beside the car")
    field.press("Enter")
    own = view.root.get_by_role("list", name="Your text")
    expect(own.locator(".rw-token")).to_have_count(6)
    expected = lab.kernel.value("w.patterns.activations_of(w.text, w.layer, w.neuron).values.tolist()")
    assert numbers(own.locator(".rw-context"))[0] == pytest.approx(max(expected[1:]), rel=0.01)
    rows(view).nth(1).click()
    lab.kernel.wait("(w.layer, w.neuron) != w.patterns.largest", True)
    expected = lab.kernel.value("w.patterns.activations_of(w.text, w.layer, w.neuron).values.tolist()")
    until(lambda: numbers(own.locator(".rw-context"))[:1] == pytest.approx([max(expected[1:])], rel=0.01), "its number")
    field.fill("dogs " * 200)
    field.press("Enter")
    expect(view.notices).to_contain_text("context holds")
    expect(field).to_have_attribute("aria-invalid", "true")


def test_neurons_for_a_token(lab: Notebook) -> None:
    view = lab.view(0)
    view.field("stat").select_option(label="logit effect on a token")
    view.field("token").fill(" were")
    view.field("token").press("Enter")
    lab.kernel.wait("[w.stat, w.token]", ["token", " were"])
    best = lab.kernel.value("list(w.result.as_patterns().largest)")
    expect(rows(view).first.locator("th")).to_have_text(f"{best[0]}.{best[1]}")
    expect(view.root.locator(".rw-title")).to_contain_text("logit effect on ·were")


def test_every_text_can_be_read_in_light_and_dark_wide_and_narrow(lab: Notebook) -> None:
    SHOTS.mkdir(exist_ok=True)
    view = lab.view(0)
    try:
        for theme in ("light", "dark"):
            lab.theme(theme)
            for width in (1500, 760):
                lab.page.set_viewport_size({"width": width, "height": 1100})
                lab.page.wait_for_timeout(200)
                for text in view.contrasts():
                    assert text["ratio"] >= 4.5, text
                    assert text["size"] >= 11, text
                assert view.root.evaluate("el => el.scrollWidth <= el.clientWidth")
                view.root.screenshot(path=SHOTS / f"neurons-{theme}-{width}.png")
    finally:
        lab.page.set_viewport_size({"width": 1500, "height": 1100})
        lab.theme("light")


def test_without_a_kernel_the_last_neuron_stays(server: Server, browser: Browser) -> None:
    path = server.write("gone.ipynb", RUN, EXPLORER)
    with watched(browser, width=1500) as context:
        notebook = Notebook(server, context, path)
        notebook.run(0, 1)
        view = notebook.view(1)
        expect(contexts(view)).to_have_count(10)
        server.api(f"kernels/{notebook.kernel.id}/restart", "POST")
        expect(view.notices).to_contain_text("Not connected")
        expect(contexts(view)).to_have_count(10)
        view.root.locator(".rw-hist").press("ArrowRight")
        expect(view.root.get_by_role("button", name="All activations")).to_be_visible()
        view.field("search").fill("2.1")
        rows(view).first.click()
        expect(view.root.locator(".rw-neuron")).to_contain_text("need Python")
        expect(view.field("text")).to_be_disabled()
        notebook.close()


def test_a_saved_page_shows_other_neurons_too(lab: Notebook, browser: Browser, tmp_path: Path) -> None:
    page_file = tmp_path / "neurons.html"
    lab.kernel.run(f"w.to_html({str(page_file)!r})")
    with watched(browser, width=1500) as context:
        page = context.new_page()
        page.goto(page_file.as_uri())
        view = View(page.locator(".rw")).drawn()
        expect(contexts(view)).to_have_count(10)
        rows(view).nth(3).click()
        expect(view.side).to_contain_text(f"neuron {rows(view).nth(3).locator('th').inner_text()}")
        expect(contexts(view)).to_have_count(10)
        view.click(0, 5)
        expect(view.root.locator(".rw-neuron")).to_contain_text("need Python")
        expect(view.side).to_contain_text("kurtosis")


def test_token_texts_are_text(server: Server, browser: Browser, kernel: Kernel) -> None:
    cell = "from tests.browser.scenes import *\nh = rw.NeuronExplorer(hostile_run(), text=None)\nh"
    path = server.write("hostile-neurons.ipynb", cell)
    with watched(browser, width=1500) as context:
        notebook = Notebook(server, context, path, kernel=kernel)
        notebook.run(0)
        view = notebook.view(0)
        expect(contexts(view)).to_have_count(10)
        assert view.root.locator("script, img, svg").count() == 0
        shown = set(view.root.get_by_role("list", name="Contexts").locator(".rw-token").all_inner_texts())
        assert "<script>alert(1)</script>" in shown
        assert notebook.page.evaluate("document.querySelectorAll('.rw b, .rw i').length") < 10
        notebook.close()
