"""One server and one browser for all browser tests; a failed test leaves a picture of each page in test-results/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, sync_playwright

from tests.browser.lab import Kernel, Server
from tests.browser.page import Notebook, chromium, watched

RESULTS = Path(__file__).parents[2] / "test-results"


@pytest.fixture(scope="session")
def server(front_end_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server of our own."""
    with Server(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="session")
def kernel(server: Server) -> Iterator[Kernel]:
    """A kernel with the tiny model's `run`, for all notebooks that do not need one of their own."""
    kernel = server.start_kernel()
    kernel.run("from tests.browser.scenes import *\nrun = rw.run(rw.load_model(progress=False), SENTENCE)")
    yield kernel
    kernel.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A window for one test, watched."""
    with watched(browser) as context:
        yield context


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    """Keep a screenshot of every page that a failed test had open."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            pages = (
                value.pages
                if isinstance(value, BrowserContext)
                else [value.page]
                if isinstance(value, Notebook)
                else []
            )
            for n, page in enumerate(pages):
                RESULTS.mkdir(exist_ok=True)
                path = RESULTS / (re.sub(r"[^\w.-]+", "-", f"{item.name}-{name}-{n}") + ".png")
                try:
                    page.screenshot(path=path)
                    report.sections.append(("screenshot", str(path)))
                except Error as error:  # it is closed, or no longer answers: raised here, that would end the whole run
                    report.sections.append(("no screenshot", error.message))
    return report
