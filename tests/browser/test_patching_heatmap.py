"""Patching in a real JupyterLab: prompts edited in the picture, which fills, can be cancelled, and opens a cell."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.lab import Kernel, Server, until
from tests.browser.page import Notebook, watched
from tests.browser.view import View

pytestmark = pytest.mark.browser

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"
CELLS = (
    f"p = rw.PatchingHeatmap(run.model, {CLEAN!r}, {CORRUPT!r}, rw.logit_diff(' Mary', ' John'))\np",
    # Thirty layers and two prompts that part early: seconds of work on any machine.
    """deep = long_run(96, 30)
ids = list(deep.token_ids)
ids[4] = (ids[4] + 1) % 90
slow = rw.PatchingHeatmap(deep.model, list(deep.token_ids), ids, rw.logit_diff(20, 40), component='z')
slow""",
)
FIRST, SLOW = range(len(CELLS))


@pytest.fixture(scope="module")
def opened(server: Server, browser: Browser, kernel: Kernel) -> Iterator[Notebook]:
    server.write("patching.ipynb", *CELLS)
    with watched(browser) as context:
        notebook = Notebook(server, context, "patching.ipynb", kernel=kernel)
        notebook.run()
        yield notebook
        notebook.kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()


@pytest.fixture
def lab(opened: Notebook) -> Iterator[Notebook]:
    """The notebook, the picture as it was made; nothing wrong on the page afterwards."""
    opened.kernel.run("p.inner is None or p.inner.close()\np.reset()")
    yield opened
    opened.check()


def button(view: View, name: str) -> Locator:
    return view.root.get_by_role("button", name=name, exact=True)


def type_in(view: View, name: str, text: str) -> None:
    view.field(name).fill(text)
    view.field(name).press("Enter")


def test_the_picture_and_hover_have_normalised_and_raw_values(lab: Notebook) -> None:
    view = lab.view(FIRST)
    found = lab.kernel.value(
        "dict(values=p.result.values.values.tolist(), raw=p.result.raw.values.tolist(), metric=p.result.metric)"
    )
    ((layer, pos),) = np.argwhere(np.array(found["values"]) == np.max(found["values"]))[:1]
    for place in ((int(layer), int(pos)), (2, 10), (0, 3)):
        view.hover(*place)
        expect(view.tip).to_contain_text(f"layer {place[0]}")
        expect(view.tip).to_contain_text(found["metric"])
        numbers = [float(t.replace("\u2212", "-")) for t in view.tip.locator(".rw-number").all_inner_texts()]
        wanted = [found[name][place[0]][place[1]] for name in ("values", "raw")]
        assert numbers == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    expect(view.root.locator(".rw-foot")).to_contain_text("clean 8.25, corrupt −6.6")
    reds = view.colours()[..., 0] - view.colours()[..., 2]
    assert reds[layer, pos] > 60


def test_the_corrupt_prompt_is_edited_in_the_picture(lab: Notebook) -> None:
    view = lab.view(FIRST)
    before = lab.kernel.value("p.frame['id']")
    other = CORRUPT.replace("store", "park")
    type_in(view, "corrupt", other)
    lab.kernel.wait("p.corrupt", other)
    assert lab.kernel.value("p.frame['id']") != before
    lab.kernel.wait("p.status['state']", "ready")
    assert lab.kernel.value("p.frame['parts']['heatmap']['tokens'][8]") == "·store/·park"
    view.hover(1, 8)
    expect(view.tip).to_contain_text("·store/·park")
    view.field("direction").select_option(label="corrupt into clean")
    lab.kernel.wait("p.direction", "noise")
    view.field("component").select_option("z")
    lab.kernel.wait("p.component", "z")
    expect(view.grid).to_have_attribute("aria-colcount", str(lab.kernel.value("run.model.n_heads")))
    button(view, "Reset").click()
    lab.kernel.wait("[p.corrupt, p.direction, p.component]", [CORRUPT, "denoise", "resid_pre"])


def test_prompts_of_different_lengths_are_shown_aligned_and_both_can_be_changed(lab: Notebook) -> None:
    view = lab.view(FIRST)
    view.leave()
    before = view.colours()
    longer = [text.replace("went to", "and Kevin went to") for text in (CLEAN, CORRUPT)]
    type_in(view, "clean", longer[0])
    notice = view.notices.filter(has_text="The prompts have 17 and 15 tokens, and patching needs equal lengths")
    expect(notice).to_be_visible()
    expect(notice.locator("pre")).to_contain_text("·Kevin")
    expect(notice.locator("pre")).to_contain_text("^^^^")
    expect(notice.locator("pre")).to_contain_text("Change one of them so that each token has its counterpart.")
    assert (view.colours() == before).all()
    expect(view.field("clean")).to_have_value(longer[0])
    expect(view.field("clean")).to_have_attribute("aria-invalid", "true")
    type_in(view, "corrupt", longer[1])
    lab.kernel.wait("[p.clean, p.corrupt]", longer)
    expect(view.notices).to_have_count(0)
    expect(view.grid).to_have_attribute("aria-colcount", "17")
    type_in(view, "corrupt", longer[0])
    expect(view.notices.filter(has_text="the same tokens, so that there is nothing to patch")).to_be_visible()
    type_in(view, "foil", " Mary")
    expect(view.notices.filter(has_text="answer and foil are the same token")).to_be_visible()
    button(view, "Reset").click()
    expect(view.field("clean")).to_have_value(CLEAN)
    expect(view.field("foil")).to_have_value(" John")
    expect(view.notices).to_have_count(0)


def test_it_fills_while_it_runs_and_cancel_keeps_what_is_known(lab: Notebook) -> None:
    view = lab.view(SLOW)
    view.field("component").select_option("resid_post")
    bar = view.root.get_by_role("progressbar")
    expect(button(view, "Cancel")).to_be_visible()
    until(lambda: int(bar.get_attribute("aria-valuenow") or 0) > 0, "progress")
    expect(view.root.locator(".rw-doing")).to_have_text(re.compile(r"Patching: \d+ %"))
    expect(view.grid).to_have_attribute("aria-colcount", "96")  # the new picture, not yet Python's state
    button(view, "Cancel").click()
    lab.kernel.wait("slow.status['state']", "ready")
    expect(button(view, "Cancel")).to_be_hidden()
    known = lab.kernel.value("[int(__import__('numpy').isfinite(slow.result.values).sum()), slow.result.values.size]")
    assert 0 < known[0] < known[1]
    expect(view.root.locator(".rw-check.rw-amber")).to_contain_text(
        f"stopped: {known[0]} of {known[1]} cells are known, the others are empty"
    )
    button(view, "Finish").click()
    expect(button(view, "Cancel")).to_be_visible()
    button(view, "Reset").click()  # what runs is dropped
    lab.kernel.wait("[slow.component, slow.status['state']]", ["z", "ready"])
    expect(view.grid).to_have_attribute("aria-colcount", "2")


def test_a_cell_opens_in_the_explorer_below(lab: Notebook) -> None:
    view = lab.view(FIRST)
    expect(button(view, "Open cell in explorer")).to_be_disabled()
    view.click(1, 10)
    lab.kernel.wait("[p.layer, p.pos]", [1, 10])
    button(view, "Open cell in explorer").click()
    inner = view.root.locator(".rw-inner .rw")
    expect(inner).to_be_visible()
    explorer = View(inner).drawn()
    expect(inner.locator(".rw-chip")).to_have_text(re.compile("patch · L1 resid_pre ·Mary at 10"))
    number = lab.kernel.value("[p.explorer.result.after, float(p.result.raw[1, 10])]")
    assert number[0] == pytest.approx(number[1], abs=1e-4)
    explorer.click(2, 12)
    lab.kernel.wait("p.explorer.edited", [[1, 10], [2, 12]])
    expect(inner.locator(".rw-chip")).to_have_count(2)
    inner.get_by_role("button", name="Undo", exact=True).click()
    lab.kernel.wait("p.explorer.edited", [[1, 10]])
    lab.kernel.run("p.explorer.close()")
    expect(inner).to_have_count(0)
    lab.view(FIRST).click(2, 3)
    lab.kernel.wait("[p.layer, p.pos]", [2, 3])
