"""One tab of Chromium, driven as a person would, with nothing of the debugger in the way.

Playwright's connection has the Network domain on, which copies every message of the kernel's socket; so it only sets
the page up, and a bare connection, with no domain on at all, takes the times.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import websocket
from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.lab import PATIENCE, running, say, until
from tests.browser.page import ARGUMENTS, Watch, executable

FRAME = 1000 / 60  # ms

# What takes the times, inside the page. Every event and every answer is seen there first.
IN_PAGE = """
window.rw = {
  picture: document.querySelector(".rw"),
  echo: document.querySelector(".echo"),
  // Milliseconds from the next event of a type to the state that `done` waits for, and to that state painted.
  timed(root, type, done) {
    let start = null;
    addEventListener(type, event => { start = event.timeStamp }, { capture: true, once: true });
    rw.answer = new Promise(resolve => {
      const watch = new MutationObserver(() => {
        if (start === null || !done()) return;
        watch.disconnect();
        const shown = performance.now() - start;
        requestAnimationFrame(() => requestAnimationFrame(() => resolve([shown, performance.now() - start])));
      });
      watch.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
    });
  },
  measures: name => performance.getEntriesByName(name).map(entry => entry.duration),
  async drawn(count) {
    while (rw.measures("rw:draw").length < count) await new Promise(next => setTimeout(next, 5));
  },
  box(el) {
    const { x, y, width, height } = el.getBoundingClientRect();
    return [x, y, width, height];
  },
  grid: () => rw.picture.querySelector("[role=grid]"),
  cells: () => rw.box(rw.picture.querySelector("[role=grid] [role=row]")),
  beginFrames() {
    rw.frames = [];
    const tick = now => { rw.frames.push(now); rw.ticking = requestAnimationFrame(tick) };
    rw.ticking = requestAnimationFrame(tick);
  },
  endFrames() {
    cancelAnimationFrame(rw.ticking);
    return rw.frames;
  },
};
"""


class Chromium:
    """The system's Chromium, in a profile of its own."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process = process
        self.address = address

    @classmethod
    @contextlib.contextmanager
    def started(cls, home: Path, env: dict[str, str]) -> Iterator[Self]:
        """Run a browser for as long as the block lasts."""
        home.mkdir()
        port, log = home / "DevToolsActivePort", home / "chromium.log"
        command = [
            *(executable(), *ARGUMENTS, "--headless=new", "--hide-scrollbars", "--window-size=1300,1100"),
            *(f"--user-data-dir={home}", "--remote-debugging-port=0", "about:blank"),
        ]
        with running(command, home, env, log) as process:
            until(lambda: process.poll() is not None or (port.exists() and port.read_text().strip()), "Chromium")
            if process.poll() is not None:
                raise RuntimeError(f"Chromium does not run: {say(process, log)}")
            yield cls(process, f"127.0.0.1:{port.read_text().split()[0]}")

    @contextlib.contextmanager
    def playwright(self) -> Iterator[BrowserContext]:
        """Let Playwright see the browser for as long as the block lasts; pages opened there stay."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.connect_over_cdp(f"http://{self.address}")
            context = browser.contexts[0]
            context.set_default_timeout(PATIENCE * 1000)
            context.watch = Watch()  # type: ignore[attr-defined]
            yield context
            browser.close()  # the connection only

    @contextlib.contextmanager
    def tab(self, part_of_url: str) -> Iterator[Tab]:
        """Attach to an open page, and close that page afterwards."""
        with urllib.request.urlopen(f"http://{self.address}/json/list") as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page" and part_of_url in page["url"]]
        socket = websocket.create_connection(
            pages[0]["webSocketDebuggerUrl"], suppress_origin=True, timeout=PATIENCE, enable_multithread=False
        )
        tab = Tab(socket)
        try:
            yield tab
        finally:
            tab.command("Target.closeTarget", targetId=pages[0]["id"])  # asks the page for no leave, as Page.close does
            socket.close()


class Tab:
    """A page over a bare connection."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._last = 0

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command of the protocol and return its answer."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        options = {"awaitPromise": True, "returnByValue": True}
        answer = self.command("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer)))
        return answer["result"].get("value")

    def move(self, x: float, y: float) -> None:
        """Move the pointer."""
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """Click where the pointer is."""
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def settle(self, seconds: float = 0.0) -> None:
        """Wait until the page has drawn two frames, and a while longer."""
        self.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
        time.sleep(seconds)
