"""The prompt of a picture, edited in its header."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.lab import Kernel, Server
from tests.browser.page import Notebook

pytestmark = pytest.mark.browser

CELLS = (
    "lens = rw.LogitLensHeatmap(run.model, SENTENCE)\nlens",
    "explorer = rw.AblationExplorer(run.model, SENTENCE, how='zero')\nexplorer",
)


def test_another_prompt_is_typed(server: Server, kernel: Kernel, window: BrowserContext) -> None:
    server.write("prompted.ipynb", *CELLS)
    notebook = Notebook(server, window, "prompted.ipynb", kernel=kernel)
    notebook.run()
    for cell, name in enumerate(("lens", "explorer")):
        view = notebook.view(cell)
        expect(view.field("prompt")).to_have_value("When Mary and John went to the store, John gave a drink to")
        view.click(1, 3)
        kernel.wait(f"[{name}.layer, {name}.pos]", [1, 3])
        view.field("prompt").fill("When Mary and John went to the store, Mary gave a drink to")
        view.field("prompt").press("Enter")
        kernel.wait(f"[{name}.prompt, {name}.pos]", ["When Mary and John went to the store, Mary gave a drink to", 3])
        expect(view.root.locator(".rw-provenance")).to_contain_text("tiny · 15 tokens")
        view.field("prompt").fill("")
        view.field("prompt").press("Enter")
        expect(view.notices).to_contain_text("it is empty")
        kernel.wait(f"{name}.prompt", "When Mary and John went to the store, Mary gave a drink to")
    kernel.run("lens.close(); explorer.close()")
    notebook.close()
