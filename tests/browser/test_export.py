"""Exported files in a browser: no kernel, no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

import resid_widgets as rw
from tests.browser.page import Watch
from tests.browser.scenes import SENTENCE
from tests.browser.view import View, expected

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def run(tiny: rw.ResidualModel, front_end_files: list[Path]) -> rw.Run:
    return rw.run(tiny, SENTENCE)


def opened(window: BrowserContext, path: Path) -> View:
    """Open a file with no network at all."""
    window.set_offline(True)
    page = window.new_page()
    page.goto(path.as_uri())
    return View(page.locator(".rw")).drawn()


def no_requests(window: BrowserContext) -> None:
    watch: Watch = window.watch  # type: ignore[attr-defined]
    assert watch.hosts == set()


def test_a_page_hovers_and_selects_with_no_kernel(run: rw.Run, tmp_path: Path, window: BrowserContext) -> None:
    widget = rw.ActivationHeatmap(run)
    view = opened(window, widget.to_html(tmp_path / "page.html"))
    result = widget.result
    values, scale = result.values.values, result.scale
    assert scale.low is not None
    assert scale.high is not None
    ordinary = (values >= scale.low) & (values <= scale.high)
    ordinary[:, list(result.marked)] = False
    gaps = np.abs(view.colours()[..., :3] - expected(values.tolist(), scale.low, scale.high)).max(axis=-1)
    assert gaps[ordinary].max() <= 6

    view.hover(2, 4)
    expect(view.tip).to_contain_text("layer 2")
    expect(view.tip).to_contain_text(result.tokens_visible[4])
    view.click(2, 4)
    view.outlines(2, 4)
    for label in ("norm", "cosine to final", "kurtosis"):
        expect(view.side).to_contain_text(label)
    online = rw.ActivationHeatmap(run, layer=2, pos=4).details
    assert online is not None
    for row in online["rows"]:
        expect(view.side).to_contain_text(row["value"])
    view.grid.press("ArrowRight")
    view.grid.press("Enter")
    view.outlines(2, 5)
    expect(view.field("stat")).to_be_disabled()
    expect(view.notices).to_contain_text("Saved page")
    no_requests(window)


def test_a_page_of_the_lens_tells_its_tokens(run: rw.Run, tmp_path: Path, window: BrowserContext) -> None:
    widget = rw.LogitLensHeatmap(run, layer=3, pos=14)
    view = opened(window, widget.to_html(tmp_path / "lens.html"))
    best = widget.details["top"][0]["token"]
    view.outlines(3, 14)
    expect(view.side).to_contain_text(best)
    view.hover(3, 14)
    expect(view.tip).to_contain_text(best)
    view.click(0, 1)
    expect(view.side).to_contain_text("layer 0")
    no_requests(window)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_follows_the_system(run: rw.Run, tmp_path: Path, browser: Browser, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(rw.ActivationHeatmap(run, layer=1, pos=1).to_html(tmp_path / "page.html").as_uri())
    view = View(page.locator(".rw")).drawn()
    expect(view.root).to_have_attribute("data-rw-theme", scheme)
    view.hover(1, 3)
    assert [text for text in view.contrasts() if text["ratio"] < 4.5] == []
    ground = view.base.evaluate("c => [...c.getContext('2d').getImageData(1, 1, 1, 1).data]")
    assert (max(ground[:3]) < 60) if scheme == "dark" else (min(ground[:3]) > 240)
    page.close()
