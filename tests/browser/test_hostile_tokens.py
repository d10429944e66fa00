"""Token texts that are markup, quotes, white space or nothing at all: text everywhere, seen everywhere, never run."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from resid_widgets.tokens import visible
from tests.browser.lab import Kernel, Server
from tests.browser.page import Notebook, watched
from tests.browser.scenes import HOSTILE
from tests.browser.view import View
from tests.csv_tables import table

pytestmark = pytest.mark.browser

# Keeps every text that a canvas is asked to draw.
RECORD = """
window.drawn = new Set();
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
  window.drawn.add(text);
  return fillText.call(this, text, ...at);
};
"""
# What may reach no canvas and no element: it draws nothing, or turns its neighbours around.
UNSEEN = "\x00\x1b\t\r\n\u200b\u200d\u202c\u202e"


_COMMENTS = """() => {
  const walk = document.createTreeWalker(document, NodeFilter.SHOW_COMMENT);
  const found = [];
  while (walk.nextNode()) found.push(walk.currentNode.data);
  return found;
}"""


def drawn(page: Page) -> set[str]:
    return set(page.evaluate("[...window.drawn]"))


def check_axis(page: Page) -> None:
    """Every token stands on the axis."""
    check_labels(drawn(page), [visible(token) for token in HOSTILE])


def check_labels(texts: set[str], labels: Sequence[str]) -> None:
    """Every label is among the texts, whole or cut with an ellipsis, and nothing unseen is."""
    for shown in labels:
        assert any(text == shown or (text.endswith("…") and shown.startswith(text[:-1])) for text in texts), shown
    assert not [text for text in texts if any(char in text for char in UNSEEN)]


def check_cells(view: View) -> None:
    """Tooltip and side panel show each token's text."""
    for pos, token in enumerate(HOSTILE):
        view.click(1, pos)
        expect(view.root.locator("[aria-live]").filter(has_text=f"position {pos}")).to_contain_text(visible(token))
        expect(view.tip).to_contain_text(f"position {pos}")
        expect(view.side).to_contain_text(f"position {pos}")
        for place in (view.tip, view.side):
            heading = place.locator(".rw-token").first
            assert heading.text_content() == visible(token)
            assert heading.evaluate("el => el.children.length") == 0


def check_harmless(page: Page) -> None:
    """No element came out of a token: the widget makes no script, image or drawing of its own."""
    assert page.locator(".rw :is(script, img, svg, iframe, b:has(*))").count() == 0


@pytest.fixture(scope="module")
def notebook(server: Server, browser: Browser, kernel: Kernel) -> Iterator[Notebook]:
    server.write("hostile.ipynb", "odd = hostile_run()", "rw.ActivationHeatmap(odd)", "rw.LogitLensHeatmap(odd)")
    with watched(browser, width=1600) as context:
        context.add_init_script(RECORD)
        notebook = Notebook(server, context, "hostile.ipynb", kernel=kernel)
        notebook.run()
        yield notebook
        kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
        notebook.close()


@pytest.mark.parametrize("cell", [1, 2])
def test_in_jupyterlab(notebook: Notebook, cell: int) -> None:
    view = notebook.view(cell)
    notebook.page.evaluate("window.drawn.clear()")
    notebook.theme("dark")  # draws again
    notebook.theme("light")
    check_axis(notebook.page)
    check_cells(view)
    check_harmless(notebook.page)
    notebook.check()


def test_the_cells_of_the_lens_show_top_tokens(notebook: Notebook) -> None:
    tops = set(notebook.kernel.value("rw.logit_lens(odd).tokens.values[..., 0].ravel().tolist()"))
    assert tops & set(HOSTILE)
    texts = drawn(notebook.page)
    shown = [visible(top) for top in tops]
    assert all(any(text and full.startswith(text.removesuffix("…")) for text in texts) for full in shown)


@pytest.fixture(scope="module")
def odd(front_end_files: list[Path]) -> Any:
    from tests.browser.scenes import hostile_run

    return hostile_run()


@pytest.mark.parametrize("name", ["ActivationHeatmap", "LogitLensHeatmap"])
def test_in_an_exported_page(odd: Any, name: str, tmp_path: Path, window: BrowserContext) -> None:
    import resid_widgets as rw

    window.add_init_script(RECORD)
    page = window.new_page()
    page.goto(getattr(rw, name)(odd).to_html(tmp_path / "page.html").as_uri())
    view = View(page.locator(".rw")).drawn()
    check_axis(page)
    check_cells(view)
    check_harmless(page)


def test_in_a_drawing(odd: Any, tmp_path: Path, window: BrowserContext) -> None:
    """SVG is a document too: it must parse, run nothing, and hold the visible texts."""
    import resid_widgets as rw
    from resid_widgets.figures.text import drawable

    page = window.new_page()
    page.goto(rw.ActivationHeatmap(odd).to_svg(tmp_path / "drawing.svg").as_uri())
    assert page.evaluate("document.documentElement.tagName") == "svg"
    assert page.locator("parsererror, script, foreignObject, a").count() == 0
    links = page.evaluate(
        """[...document.querySelectorAll("*")].flatMap(el => [...el.attributes])
          .filter(at => at.localName === "href").map(at => at.value)"""
    )
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)  # cells are pixels, glyphs outlines
    assert not page.evaluate(
        "[...document.querySelectorAll('*')].some(el => [...el.attributes].some(at => at.name.startsWith('on')))"
    )
    # The text that the outlines draw stands beside them in comments; what no font draws, as its code point.
    texts = {html.unescape(text).strip() for text in page.evaluate(_COMMENTS)}
    check_labels(texts, [drawable(visible(token), "mono") for token in HOSTILE])


def test_in_a_table(odd: Any) -> None:
    import resid_widgets as rw

    _, _, data = rw.ActivationHeatmap(odd)._file("csv")
    found = table(data)
    assert found["token"][found["layer"] == 0].tolist() == [visible(token) for token in HOSTILE]
