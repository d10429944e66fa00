"""What a widget shows when its kernel goes, and when its cell leaves the screen."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, WebSocketRoute, expect

from tests.browser.lab import Kernel, Server, until
from tests.browser.page import Notebook

pytestmark = pytest.mark.browser


def by_menu(notebook: Notebook) -> None:
    """Restart as a person does."""
    notebook.page.evaluate("void window.jupyterapp.commands.execute('kernelmenu:restart')")
    notebook.page.get_by_role("button", name="Confirm Kernel Restart").click()


def by_another_program(notebook: Notebook) -> None:
    """Restart from outside: JupyterLab is told no more than that a kernel starts."""
    notebook.server.api(f"kernels/{notebook.kernel.id}/restart", "POST")


class Deaf:
    """Loses messages of the kernels: what one says before the server has connected to it again reaches nobody."""

    def __init__(self, window: BrowserContext) -> None:
        self.lost, self.said = "", False
        window.route_web_socket(re.compile("/channels"), self._between)

    def lose(self, lost: str) -> None:
        """Lose so much of what the next process says; nothing, where that is empty."""
        self.lost, self.said = lost, False

    def _between(self, page: WebSocketRoute) -> None:
        kernel = page.connect_to_server()
        kernel.on_message(lambda message: None if self._loses(message) else page.send(message))

    def _loses(self, message: str | bytes) -> bool:
        found = message if isinstance(message, bytes) else message.encode()
        last = b'"shutdown_reply"' in found
        after = self.said
        self.said |= last
        lost = last or b'"starting"' in found if self.lost == "first and last word" else after
        return bool(self.lost) and lost


def test_a_restart_leaves_the_last_picture_and_says_so(server: Server, window: BrowserContext) -> None:
    """By JupyterLab's menu; by another program, of whose new process the page does not hear all."""
    deaf = Deaf(window)
    path = server.write(
        "restart.ipynb",
        "from tests.browser.scenes import *\nrun = rw.run(rw.load_model(progress=False), SENTENCE)",
        "rw.ActivationHeatmap(run, layer=1, pos=2)",
    )
    notebook = Notebook(server, window, path)
    notebook.run()
    before = notebook.view(1).colours()
    restarted(notebook, deaf, before, by_menu)
    restarted(notebook, deaf, before, by_another_program, "first and last word")
    restarted(notebook, deaf, before, by_another_program, "all but the last word")
    notebook.close()


def restarted(
    notebook: Notebook, deaf: Deaf, before: NDArray[np.uint8], restart: Callable[[Notebook], None], lost: str = ""
) -> None:
    view = notebook.view(1)
    view.outlines(1, 2)
    deaf.lose(lost)
    restart(notebook)
    if lost == "first and last word":
        notebook.hears()  # any other word of the new process will do, and it says one when it is asked something
    expect(view.notices).to_contain_text("Not connected")
    expect(view.notices).to_contain_text("run the cell again")
    assert (view.colours() == before).all()
    view.click(3, 4)  # the picture can still be looked at
    view.outlines(3, 4)
    view.hover(2, 5)
    expect(view.tip).to_contain_text("layer 2")
    expect(view.field("stat")).to_be_disabled()

    deaf.lose("")
    notebook.ready()
    notebook.hears()
    notebook.run()
    fresh = notebook.view(1)
    fresh.outlines(1, 2)
    expect(fresh.notices).to_have_count(0)
    assert (fresh.colours() == before).all()
    fresh.click(3, 4)
    expect(fresh.side).to_contain_text("cosine to final")
    fresh.click(1, 2)


@pytest.mark.parametrize("mode", ["full", "defer", "contentVisibility", "none"])
def test_a_picture_that_was_scrolled_away_is_there_again(
    server: Server, kernel: Kernel, window: BrowserContext, mode: str
) -> None:
    """JupyterLab takes cells that are out of sight off the page, each mode in its own way."""
    tall = "#! " + "\n\n".join(["a line of text"] * 30)
    server.write("long.ipynb", "scrolled = rw.ActivationHeatmap(run)\nscrolled", *[tall] * 25)
    server.set("@jupyterlab/notebook-extension:tracker", windowingMode=mode)
    try:
        notebook = Notebook(server, window, "long.ipynb", kernel=kernel)
        notebook.run(0)
        view = notebook.view(0)
        before = view.colours()
        assert len(np.unique(before.reshape(-1, 4), axis=0)) > 15
        for _ in range(2):
            notebook.ask("panel => panel.content.scrollToItem(25, 'end')")
            until(lambda: _away(notebook), "the picture out of sight")
            kernel.run("scrolled.select(2, 5)")  # what happens meanwhile is not lost
            notebook.ask("panel => panel.content.scrollToItem(0, 'start')")
            view.drawn().outlines(2, 5)
            assert (view.colours() == before).all()
        view.click(1, 3)
        kernel.wait("[scrolled.layer, scrolled.pos]", [1, 3])
        notebook.close()
    finally:
        server.set("@jupyterlab/notebook-extension:tracker")
        kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")


def _away(notebook: Notebook) -> bool:
    return notebook.page.evaluate(
        """() => {
          const canvas = document.querySelector(".rw canvas");
          const box = canvas?.getBoundingClientRect();
          return !box || !box.height || box.bottom < 0 || box.top > innerHeight;
        }"""
    )
