"""A widget is on the page before its picture: it says how far that is, can be cancelled, and is kept in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.lab import Kernel, Server, until
from tests.browser.page import Notebook
from tests.browser.test_kept import kept
from tests.browser.view import View

pytestmark = pytest.mark.browser

CELLS = (
    "slow = rw.ActivationHeatmap(run.model, SENTENCE)\nslow",
    "patching = rw.PatchingHeatmap(run.model, SENTENCE, OTHER, rw.logit_diff(' Mary', ' John'))\npatching",
    "read = rw.LogitLensHeatmap(run.model, SENTENCE)\nshape = read.result.values.shape\nread",
    "explorer = rw.AblationExplorer(run.model, SENTENCE)\nexplorer",
)
SLOW = """
import time
from resid_widgets.models import watch
from resid_widgets.models.runs import recorder
from resid_widgets.widgets.shell import awaited
OTHER = SENTENCE.replace("John gave", "Mary gave")
awaited.AT_ONCE = -1.0
def slowly(share):
    time.sleep(0.8)
    watch.passing(share)
"""


@pytest.fixture
def impatient(kernel: Kernel) -> Iterator[Kernel]:
    """A kernel that puts every first picture off."""
    kernel.run(SLOW)
    yield kernel
    kernel.run(
        "awaited.AT_ONCE, recorder.passing = 0.3, watch.passing\nimport ipywidgets; ipywidgets.Widget.close_all()"
    )


def test_widgets_appear_before_their_pictures(server: Server, impatient: Kernel, window: BrowserContext) -> None:
    server.write("at-once.ipynb", *CELLS)
    notebook = Notebook(server, window, "at-once.ipynb", kernel=impatient)

    impatient.run("recorder.passing = slowly")
    notebook.run(0)
    (view,) = notebook.views(0)
    expect(view.root.locator(".rw-doing")).to_contain_text("Running the model: ")
    view.root.get_by_role("button", name="Cancel").click()
    expect(view.notices).to_contain_text("Cancelled")
    impatient.run("recorder.passing = watch.passing")
    view.root.get_by_role("button", name="Run").click()
    view.drawn()
    expect(view.notices).to_have_count(0)

    notebook.run(1)
    (patching,) = notebook.views(1)
    patching.drawn()
    impatient.wait("patching.pending", False)
    expect(patching.field("clean")).to_have_value(impatient.value("SENTENCE"))

    notebook.run(2)
    assert impatient.value("shape") == [4, 15]
    notebook.view(2)

    notebook.run(3)
    expect(notebook.view(3).root.locator(".rw-title")).to_have_text("Ablation · preview")
    check_legend(notebook.view(0))

    def saved() -> bool:
        notebook.save()
        return [len(pictures) for pictures in kept(server, "at-once.ipynb")] == [1, 1, 1, 1]

    until(saved, "a picture of each in the saved notebook")
    notebook.close()


def check_legend(view: View) -> None:
    view.root.get_by_role("button", name="?").click()
    legend = view.root.get_by_role("dialog")
    expect(legend).to_contain_text("A space: it belongs to the token.")
    expect(legend).to_contain_text("hatched")
    legend.press("Escape")
    expect(legend).to_be_hidden()
