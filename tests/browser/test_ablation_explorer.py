"""Click to ablate in a real JupyterLab: pointer and keyboard, undo, errors, and what a running cell does to it."""

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

CELLS = (
    "w = rw.AblationExplorer(run, rw.logit_diff(' Mary', ' John'))\nw",
    "w",
    "v = rw.AblationExplorer(run, rw.log_prob(' Mary'))\nv",
    "w.interventions = rw.zero(rw.Site('resid_post', 1, 10))\nread = [w.edited, w.result.after, w.summary['now']]",
    "import time\nbegan = True\ntime.sleep(1.5)\nw.wait()\nread = w.edited",
    "import time\nbegan = True\ntime.sleep(1.5)\nv.close()\nread = v.closed",
    "",
    "import time\nbegan = True\ntime.sleep(300)",
    "read = 'after'",
)
FIRST, SECOND, OTHER, SET, WAIT, CLOSE, BLANK, SLEEP, AFTER = range(len(CELLS))


@pytest.fixture(scope="module")
def opened(server: Server, browser: Browser, kernel: Kernel) -> Iterator[Notebook]:
    server.write("ablation.ipynb", *CELLS)
    with watched(browser, permissions=["clipboard-read", "clipboard-write"]) as context:
        notebook = Notebook(server, context, "ablation.ipynb", kernel=kernel)
        notebook.run(FIRST)
        notebook.run(SECOND)
        notebook.run(OTHER)
        yield notebook
        notebook.kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()


@pytest.fixture
def lab(opened: Notebook) -> Iterator[Notebook]:
    """The notebook, the explorer as it was made; nothing wrong on the page afterwards."""
    opened.kernel.run("w.reset(); w.change(how='mean', mode='cells', interventions=()); began = False; read = None")
    yield opened
    opened.check()


def edited(lab: Notebook, cells: list[list[int | None]], widget: str = "w") -> None:
    """Wait until Python has just these cells changed."""
    lab.kernel.wait(f"sorted({widget}.edited, key=str)", sorted(cells, key=str))


def button(view: View, name: str) -> Locator:
    return view.root.get_by_role("button", name=name, exact=True)


def chips(view: View) -> Locator:
    return view.root.locator(".rw-chip")


def start(lab: Notebook, cell: int) -> None:
    """Run a cell and do not wait for it, but for its first line."""
    lab.ask("(panel, n) => { panel.content.activeCellIndex = n }", cell)
    lab.page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-cell') }")
    lab.page.locator(f".jp-Cell[data-windowed-list-index='{cell}'] .jp-InputPrompt", has_text="[*]").wait_for()


def finished(lab: Notebook, cell: int) -> None:
    prompt = lab.page.locator(f".jp-Cell[data-windowed-list-index='{cell}'] .jp-InputPrompt")
    expect(prompt).to_have_text(re.compile(r"\[\d+\]:"))


def test_a_click_ablates_and_everything_follows_in_place(lab: Notebook) -> None:
    view = lab.view(FIRST)
    expect(button(lab.view(OTHER), "Undo")).to_be_disabled()
    expect(view.root.locator(".rw-title")).to_have_text("Ablation · preview")
    view.click(1, 10)
    edited(lab, [[1, 10]])
    expect(view.root.locator(".rw-title")).to_have_text("Ablation")
    expect(chips(view)).to_have_count(1)
    expect(chips(view)).to_contain_text("mean · L1 ·John at 10")
    summary = lab.kernel.value("w.summary")
    for part in ("now", "change", "before"):
        expect(view.side).to_contain_text(summary[part])
    for token in summary["compared"]:
        expect(view.side).to_contain_text(token["token"])
    view.leave()
    after = view.colours()
    changed = np.array(lab.kernel.value("w.result.values.values.tolist()"))
    calm = changed == 0
    calm[:, 0] = False  # hatched
    (neutral,) = np.unique(after[calm], axis=0)
    assert (after[np.abs(changed) > 0.1] != neutral).any(axis=-1).all()
    expect(lab.view(SECOND).side).to_contain_text(summary["now"])  # the other view too
    view.click(1, 10)
    edited(lab, [])
    expect(chips(view)).to_have_count(0)


def test_a_drag_ablates_a_region_as_one_step(lab: Notebook) -> None:
    view, mouse = lab.view(FIRST), lab.page.mouse
    mouse.move(*view.at(1, 5))
    mouse.down()
    mouse.move(*view.at(2, 6), steps=4)
    mouse.move(*view.at(2, 7), steps=4)
    mouse.up()
    region: list[list[int | None]] = [[layer, pos] for layer in (1, 2) for pos in (5, 6, 7)]
    edited(lab, region)
    expect(view.side).to_contain_text("6 interventions")
    button(view, "Undo").click()
    edited(lab, [])
    button(view, "Redo").click()
    edited(lab, region)
    # A drag that ends outside of the picture counts as far as it went.
    mouse.move(*view.at(0, 13))
    mouse.down()
    mouse.move(*view.at(0, 14), steps=3)
    mouse.move(view.at(0, 14)[0], view.at(0, 14)[1] + 200, steps=3)
    mouse.up()
    edited(lab, [*region, [0, 13], [0, 14]])


def test_shift_click_takes_a_whole_layer(lab: Notebook) -> None:
    view = lab.view(FIRST)
    x, y = view.at(2, 6)
    lab.page.keyboard.down("Shift")
    lab.page.mouse.click(x, y)
    lab.page.keyboard.up("Shift")
    edited(lab, [[2, None]])
    expect(chips(view)).to_have_text(re.compile("mean · L2"))


def test_undo_redo_and_reset(lab: Notebook) -> None:
    view = lab.view(FIRST)
    for n in range(3):
        view.click(n, n + 3)
        edited(lab, [[m, m + 3] for m in range(n + 1)])
    expect(button(view, "Redo")).to_be_disabled()
    for _ in range(2):
        button(view, "Undo").click()
    edited(lab, [[0, 3]])
    button(view, "Redo").click()
    edited(lab, [[0, 3], [1, 4]])
    button(view, "Reset").click()
    edited(lab, [])
    lab.kernel.wait("[w.layer, w.pos]", [None, None])
    button(view, "Undo").click()  # a reset can be taken back
    edited(lab, [[0, 3], [1, 4]])
    view.click(2, 5)  # by keys, with the focus on the picture; the notebook has its own undo
    edited(lab, [[0, 3], [1, 4], [2, 5]])
    for key, left in [("Control+z", 2), ("Control+z", 1), ("Control+Shift+z", 2), ("Meta+z", 1), ("Control+y", 2)]:
        lab.page.keyboard.press(key)
        edited(lab, [[n, n + 3] for n in range(left)])


def test_chips_are_taken_off(lab: Notebook) -> None:
    view = lab.view(FIRST)
    for pos in (3, 6, 12):
        view.click(1, pos)
    expect(chips(view)).to_have_count(3)
    view.root.get_by_role("button", name="Take off mean · L1 ·and").click()
    edited(lab, [[1, 6], [1, 12]])
    expect(chips(view)).to_have_count(2)
    # With the keyboard: the place in the list is kept.
    view.root.locator(".rw-off").nth(0).focus()
    lab.page.keyboard.press("Enter")
    edited(lab, [[1, 12]])
    expect(chips(view)).to_have_count(1)
    expect(view.root.locator(".rw-off")).to_be_focused()
    lab.page.keyboard.press("Enter")
    edited(lab, [])


def test_the_keyboard_alone_does_it_all(lab: Notebook) -> None:
    view, keys = lab.view(FIRST), lab.page.keyboard
    rows, cols = view.shape
    view.grid.focus()
    for key in ("Escape", "ArrowDown", "ArrowDown", "End", "Enter"):  # Escape: whatever was selected before
        keys.press(key)
    edited(lab, [[rows - 2, cols - 1]])
    keys.press("ArrowDown")
    keys.press("Shift+Enter")
    edited(lab, [[rows - 2, cols - 1], [rows - 3, None]])
    keys.press("Shift+Enter")
    edited(lab, [[rows - 2, cols - 1]])
    button(view, "Undo").focus()
    keys.press("Enter")
    edited(lab, [[rows - 2, cols - 1], [rows - 3, None]])
    expect(button(view, "Redo")).to_be_enabled()  # the kernel knows before the page does
    keys.press("Tab")
    expect(button(view, "Redo")).to_be_focused()
    keys.press("Enter")
    edited(lab, [[rows - 2, cols - 1]])
    button(view, "heads").focus()
    keys.press("Enter")
    lab.kernel.wait("w.mode", "heads")
    expect(button(view, "heads")).to_be_focused()
    assert lab.cells() == len(CELLS)


def test_heads_have_a_picture_of_their_own(lab: Notebook) -> None:
    view = lab.view(FIRST)
    view.click(1, 10)
    edited(lab, [[1, 10]])
    button(view, "heads").click()
    expect(view.grid).to_have_attribute("aria-colcount", str(lab.kernel.value("run.model.n_heads")))
    expect(button(view, "heads")).to_have_attribute("aria-pressed", "true")
    view.click(2, 1)
    edited(lab, [[2, 1]])
    expect(chips(view).nth(1)).to_contain_text("mean · L2 z head 1")
    view.hover(2, 1)
    expect(view.tip).to_contain_text("layer 2 · head 1")
    expect(view.tip).not_to_contain_text("position")
    button(view, "MLPs").click()
    expect(view.grid).to_have_attribute("aria-colcount", "15")
    view.click(0, 4)
    edited(lab, [[0, 4]])
    lab.kernel.wait("[str(i) for i in w.interventions][2]", "mean mlp_out[layer 0, pos 4]")


def test_parameters_of_each_kind_are_there_when_it_is_chosen(lab: Notebook) -> None:
    view = lab.view(FIRST)
    fields = ("sigma", "seed", "low", "high", "source_prompt")
    for how, shown in [
        ("noise", {"sigma", "seed"}),
        ("clamp", {"low", "high"}),
        ("resample", {"seed", "source_prompt"}),
        ("patch", {"source_prompt"}),
        ("zero", set()),
    ]:
        view.field("how").select_option(label=how)
        lab.kernel.wait("w.how", how)
        for name in fields:
            expect(view.field(name)).to_be_visible(visible=name in shown)
    view.field("how").select_option("patch")
    view.click(2, 10)
    notice = view.notices.filter(has_text="type one into 'other prompt' first")
    expect(notice).to_be_visible()
    edited(lab, [])
    other = "When Mary and John went to the store, Mary gave a drink to"
    view.field("source_prompt").fill(other)
    view.field("source_prompt").press("Enter")
    lab.kernel.wait("w.source_prompt", other)
    view.click(2, 10)
    edited(lab, [[2, 10]])
    expect(view.notices).to_have_count(0)
    expect(chips(view)).to_contain_text("patch · L2 ·John at 10")


def test_errors_are_shown_and_nothing_on_screen_is_lost(lab: Notebook) -> None:
    view = lab.view(FIRST)
    view.click(1, 10)
    edited(lab, [[1, 10]])
    view.leave()
    before, now = view.colours(), lab.kernel.value("w.summary['now']")
    field = view.field("answer")
    field.fill(" not one token")
    field.press("Enter")
    expect(view.notices.filter(has_text="token=' not one token': it is 3 tokens")).to_be_visible()
    expect(field).to_have_value(" not one token")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert (view.colours() == before).all()
    expect(view.side).to_contain_text(now)
    field.fill(" Kevin")
    field.press("Enter")
    lab.kernel.wait("w.metric.answers", [" Kevin"])
    expect(view.notices).to_have_count(0)
    expect(field).not_to_have_attribute("aria-invalid", "true")
    view.field("foil").fill(" Kevin")
    view.field("foil").press("Enter")
    expect(view.notices.filter(has_text="answer and foil are the same token")).to_be_visible()
    view.field("how").select_option("clamp")
    for name, value in (("low", "2"), ("high", "1")):
        view.field(name).fill(value)
        view.field(name).press("Enter")
        lab.kernel.wait(f"w.{name}", int(value))
    view.click(2, 2)
    expect(view.notices.filter(has_text="low must not be above high")).to_be_visible()
    edited(lab, [[1, 10]])
    expect(chips(view)).to_have_count(1)


def test_copy_as_code_gives_the_script(lab: Notebook) -> None:
    view = lab.view(FIRST)
    view.click(1, 10)
    edited(lab, [[1, 10]])
    button(view, "Copy as code").click()
    expect(button(view, "Copied")).to_be_visible()
    copied = lab.page.evaluate("() => navigator.clipboard.readText()")
    assert copied == lab.kernel.value("w.code()")
    number = lab.kernel.run(f"names = {{}}\nexec({copied!r}, names)", value="[names['number'], w.result.after]")
    assert number[0] == pytest.approx(number[1], abs=1e-5)
    expect(button(view, "Copy as code")).to_be_visible()


def test_two_explorers_on_one_model_do_not_mix(lab: Notebook) -> None:
    one, two = lab.view(FIRST), lab.view(OTHER)
    for n in range(4):
        one.click(n, 3 + n)
        expect(chips(one)).to_have_count(n + 1)  # its chips move what stands below, and a click would miss it
        two.click(3 - n, 8 + n)
    edited(lab, [[n, 3 + n] for n in range(4)])
    edited(lab, [[3 - n, 8 + n] for n in range(4)], "v")
    for widget in "wv":
        assert lab.kernel.value(
            f"abs(rw.ablation(run, {widget}.interventions, {widget}.metric).after - {widget}.result.after) < 1e-6"
        )
    button(two, "Reset").click()
    edited(lab, [], "v")
    edited(lab, [[n, 3 + n] for n in range(4)])


def test_fifty_rapid_clicks_all_count_and_the_last_state_is_right(lab: Notebook) -> None:
    view = lab.view(FIRST)
    cells = [[n % 4, n // 4 + 1] for n in range(50)]
    click = """(grid, points) => {
      for (const [clientX, clientY] of points)
        grid.dispatchEvent(new MouseEvent("click", { clientX, clientY, bubbles: true }));
    }"""

    def points() -> list[tuple[float, float]]:
        (x, y), (right, _), (_, up) = view.at(0, 0), view.at(0, 1), view.at(1, 0)
        return [(x + pos * (right - x), y + layer * (up - y)) for layer, pos in cells]

    sent = lab.comm_messages
    view.grid.evaluate(click, points())
    edited(lab, [list(cell) for cell in cells])
    assert lab.comm_messages - sent >= 50
    expect(view.side).to_contain_text("50 interventions")
    lab.kernel.wait("[w.layer, w.pos]", cells[-1])
    lab.kernel.wait("w.status['state']", "ready")
    assert lab.kernel.value("abs(rw.ablation(run, w.interventions, w.metric).after - w.result.after) < 1e-6")
    # Odd numbers of clicks on one cell change it, even ones do not.
    again = points()  # fifty chips have moved the picture
    view.grid.evaluate(click, [again[n % 3] for n in range(50)])  # 17, 17 and 16 times
    edited(lab, [list(cell) for cell in cells[2:]])


def test_set_then_read_in_one_cell(lab: Notebook) -> None:
    lab.run(SET)
    read = lab.kernel.value("read")
    after = lab.kernel.value("rw.ablation(run, rw.zero(rw.Site('resid_post', 1, 10)), w.metric).after")
    assert read[0] == [[1, 10]]
    assert read[1] == pytest.approx(after, abs=1e-6)
    expect(lab.view(FIRST).side).to_contain_text(read[2])


def test_a_click_during_a_cell_is_done_after_it_or_in_its_wait(lab: Notebook) -> None:
    view = lab.view(FIRST)
    start(lab, WAIT)
    view.click(2, 5)
    expect(view.root).to_have_attribute("data-rw-state", "busy")
    finished(lab, WAIT)
    edited(lab, [[2, 5]])
    # Some versions of ipykernel hand messages over during a cell, then wait() runs them; others only after it.
    assert lab.kernel.value("read") in ([], [[2, 5]])
    expect(chips(view)).to_have_count(1)


def test_close_in_a_cell_with_a_click_on_its_way(lab: Notebook) -> None:
    view = lab.view(OTHER)
    start(lab, CLOSE)
    view.click(2, 5)
    finished(lab, CLOSE)
    assert lab.kernel.value("read") is True
    expect(lab.page.locator(f".jp-Cell[data-windowed-list-index='{OTHER}'] .rw")).to_have_count(0)
    lab.view(FIRST).click(1, 1)  # the model is free, and the other explorer works
    edited(lab, [[1, 1]])
    lab.run(OTHER)
    lab.view(OTHER).click(0, 1)
    edited(lab, [[0, 1]], "v")


def test_a_blank_and_an_interrupted_cell_in_between(lab: Notebook) -> None:
    view = lab.view(FIRST)
    lab.run(BLANK)
    view.click(0, 1)
    edited(lab, [[0, 1]])
    lab.run(BLANK)
    start(lab, SLEEP)
    view.click(0, 2)
    expect(view.root.locator(".rw-doing")).to_have_text(re.compile("a cell is using it|waiting for Python"))
    lab.server.api(f"kernels/{lab.kernel.id}/interrupt", "POST")
    finished(lab, SLEEP)
    edited(lab, [[0, 1], [0, 2]])
    expect(view.root).to_have_attribute("data-rw-state", "ready")
    lab.ask("(panel, n) => { panel.content.activeCellIndex = n }", SLEEP)
    lab.command("notebook:clear-cell-output")
    lab.run(AFTER)
    assert lab.kernel.value("read") == "after"
    view.click(0, 3)
    edited(lab, [[0, 1], [0, 2], [0, 3]])


def test_a_reload_with_the_kernel_alive_brings_everything_back(lab: Notebook) -> None:
    lab.view(FIRST).click(1, 10)
    edited(lab, [[1, 10]])
    lab.save()
    lab.open()
    view = lab.view(FIRST)
    expect(chips(view)).to_have_count(1)
    button(view, "Undo").click()
    edited(lab, [])
    until(lambda: chips(view).count() == 0, "the chip gone")
