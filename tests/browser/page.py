"""Chromium with a watch on it, and a notebook open in it."""

from __future__ import annotations

import contextlib
import shutil
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from tests.browser.lab import PATIENCE, Kernel, Server
from tests.browser.view import View

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--force-color-profile=srgb",
    # No name but the local machine's resolves, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
# What Notebook 7.6 throws at every start, with no widget on the page.
_HOSTS_OWN = ("reading 'schema'", "'filebrowser:open-path' not registered")


def executable() -> str:
    """Return the path of the system's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise RuntimeError("there is no chromium on this machine: scripts/system_packages.sh chromium installs it")
    return path


def chromium(playwright: Playwright) -> Browser:
    """Start the system's Chromium."""
    return playwright.chromium.launch(executable_path=executable(), args=list(ARGUMENTS), timeout=PATIENCE * 1000)


@dataclass
class Watch:
    """What pages did that they should not: errors, requests to others, dialogs."""

    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("console", lambda message: self._console(message.type, message.text, message.location.get("url", "")))
        page.on("pageerror", lambda error: self._uncaught(error.message, str(error.stack)))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self._request(request.url))
        page.on("websocket", self._socket)

    def _console(self, kind: str, text: str, url: str) -> None:
        font = url.endswith(".woff2") and "/static/" in url  # the host's own: now and then refused, with 403
        if kind == "error" and not font:
            self.errors.append(f"{text} ({url})")

    def _uncaught(self, message: str, stack: str) -> None:
        if not ("/static/notebook/" in stack and any(known in message for known in _HOSTS_OWN)):
            self.errors.append(f"uncaught: {message}\n{stack}")

    def _dialog(self, dialog: Any) -> None:
        if dialog.type == "beforeunload":
            dialog.accept()
        else:
            self.dialogs.append(dialog.message)
            dialog.dismiss()

    def _request(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss"):
            self.hosts.add(str(parts.hostname))

    def _socket(self, socket: Any) -> None:
        self._request(socket.url)
        socket.on("framesent", lambda data: self.sent.append(data.encode() if isinstance(data, str) else data))

    def check(self) -> None:
        """Fail, once, if anything was wrong since the last time."""
        hosts, dialogs, errors = self.hosts - {"127.0.0.1"}, [*self.dialogs], [*self.errors]
        for seen in (self.hosts, self.dialogs, self.errors):
            seen.clear()
        assert not hosts, f"requests went to {hosts}"
        assert not dialogs, f"dialogs opened: {dialogs}"
        assert not errors, "errors on the console:\n" + "\n".join(errors)


@contextlib.contextmanager
def watched(browser: Browser, width: int = 1300, height: int = 1000, **options: Any) -> Iterator[BrowserContext]:
    """Open a browser window that fails the test, at its end, if a page did what it should not."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(PATIENCE * 1000)
    watch = Watch()
    context.on("page", watch.follow)
    context.watch = watch  # type: ignore[attr-defined]
    try:
        yield context
        watch.check()
    finally:
        context.close()


class Notebook:
    """One notebook, open in JupyterLab or Notebook 7."""

    def __init__(
        self, server: Server, context: BrowserContext, path: str, host: str = "lab", kernel: Kernel | None = None
    ) -> None:
        self.server, self.path, self.host = server, path, host
        if kernel is not None:
            server.attach(path, kernel)
        self.watch: Watch = context.watch  # type: ignore[attr-defined]
        self.page = context.new_page()
        self._kernel = kernel
        self.open()

    def open(self) -> None:
        """Load the page (again) and wait until notebook and kernel are there."""
        self.page.goto(self.server.address(self.path, self.host))
        self.ready()

    def ready(self) -> None:
        """Wait until notebook and kernel are there."""
        self.page.wait_for_function(
            "path => window.jupyterapp?.shell?.currentWidget?.context?.path === path", arg=self.path
        )
        self.ask(
            """async panel => {
              await Promise.all([panel.context.ready, panel.revealed, panel.sessionContext.ready]);
              await panel.sessionContext.session.kernel.info;
            }"""
        )

    def hears(self) -> None:
        """Wait until the kernel answers and the page hears it: after a restart the server has to connect anew.

        What a kernel says to all before that is lost, also a picture.
        """
        self.ask(
            """async panel => {
              const { kernel } = panel.sessionContext.session;
              let heard = false;
              const slot = (_, { parent_header: asked }) => {
                heard ||= asked.msg_type === "kernel_info_request" && asked.session === kernel.clientId;
              };
              kernel.iopubMessage.connect(slot);
              while (!heard) {
                kernel.requestKernelInfo().catch(() => undefined);
                await new Promise(resolve => setTimeout(resolve, 300));
              }
              kernel.iopubMessage.disconnect(slot);
            }"""
        )

    @property
    def kernel(self) -> Kernel:
        """The notebook's kernel, through a connection of its own."""
        if self._kernel is None:
            self._kernel = self.server.kernel_of(self.path)
            self.page.on("close", lambda: self._kernel.close())
        return self._kernel

    def ask(self, script: str, *arguments: Any) -> Any:
        """Call a JavaScript function of the notebook's panel and further arguments."""
        return self.page.evaluate(
            f"([args]) => ({script})(window.jupyterapp.shell.currentWidget, ...args)", [list(arguments)]
        )

    def command(self, name: str, **arguments: Any) -> Any:
        """Run one of the host's commands, as its menus do."""
        return self.page.evaluate(
            "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args) }", [name, arguments]
        )

    def run(self, *cells: int) -> None:
        """Run the given cells, or all of them, and fail if one raises."""
        if cells:
            for cell in cells:
                self.ask("(panel, n) => { panel.content.activeCellIndex = n }", cell)
                self.command("notebook:run-cell")
        else:
            self.command("notebook:run-all-cells")
        errors = self.ask(
            """panel => panel.content.widgets.flatMap(cell => cell.model.toJSON().outputs ?? [])
              .filter(out => out.output_type === "error").map(out => out.traceback.join("\\n"))"""
        )
        assert not errors, "\n".join(errors)

    def save(self) -> Path:
        """Save the notebook and return its file."""
        self.command("docmanager:save")
        return self.server.files / self.path

    def theme(self, name: str) -> None:
        """Switch to "light" or "dark"."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name.title()}")
        self.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light", arg=str(name == "light").lower()
        )
        # JupyterLab takes its splash away twice, and fails, where the next switch comes before it is gone.
        self.page.wait_for_function("() => !document.getElementById('jupyterlab-splash')")

    def views(self, cell: int) -> Sequence[View]:
        """Return the widgets in a cell's output."""
        found = self.page.locator(f".jp-Cell[data-windowed-list-index='{cell}'] .rw")
        found.first.wait_for()
        return [View(found.nth(n)) for n in range(found.count())]

    def view(self, cell: int) -> View:
        """Return the one widget in a cell's output, when its picture is drawn."""
        (view,) = self.views(cell)
        return view.drawn()

    @property
    def comm_messages(self) -> int:
        """How many messages widgets have sent to Python so far."""
        self.page.evaluate("0")  # what Chromium has seen until now arrives before its answer
        return sum(b'"comm_msg"' in frame for frame in self.watch.sent)

    def check(self) -> None:
        """Fail if anything was wrong on the page so far."""
        self.page.evaluate("0")
        self.watch.check()

    def cells(self) -> int:
        """Return how many cells the notebook has."""
        return self.ask("panel => panel.content.widgets.length")

    def close(self) -> None:
        """Close the page; the kernel runs on."""
        self.page.close()
