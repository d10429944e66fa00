"""A real Jupyter server in folders of its own, and a second connection to its kernels, to ask Python what it knows."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import nbformat
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient

ROOT = Path(__file__).parents[2]
PATIENCE = float(os.environ.get("RESID_WIDGETS_PATIENCE", "90"))
"""Seconds that a test waits for something that should take one: a busy machine is slow, not wrong."""

_OPTIONS = (
    "--no-browser",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    "--LabApp.expose_app_in_browser=True",
    "--JupyterNotebookApp.expose_app_in_browser=True",
    # Nothing that would ask the network.
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
_OFFLINE_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/extensionmanager-extension:plugin": {"enabled": False},
}


def until(ask: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.1) -> Any:
    """Return the first answer of `ask` that counts as true."""
    end = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience:.0f} s for {what}; last answer {answer!r}")
        time.sleep(pause)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def isolated(home: Path) -> dict[str, str]:
    """Return an environment whose programs read and write no settings but those in `home`, and find the tests."""
    folders = {
        "HOME": home,
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_CONFIG_HOME": home / "xdg",
        "XDG_DATA_HOME": home / "xdg-data",
        "XDG_STATE_HOME": home / "xdg-state",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    more = {"PYTHONPATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONUNBUFFERED": "1"}
    return os.environ | {name: str(folder) for name, folder in folders.items()} | more


def say(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return what a program that ended too early has said."""
    return f"it ended with {process.poll()}:\n{log.read_text(errors='replace')[-4000:]}"


@contextlib.contextmanager
def running(command: Sequence[str], cwd: Path, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server program for as long as the block lasts."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Server:
    """A Jupyter server that serves JupyterLab under /lab and Notebook 7 under /notebooks."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.files = home / "files"
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.files.mkdir(parents=True)
        env = isolated(self.home)
        for plugin, values in _OFFLINE_SETTINGS.items():
            self._write_settings(plugin, values)
        command = [
            *(sys.executable, "-m", "jupyter", "lab", *_OPTIONS),
            f"--ServerApp.port={self.url.rpartition(':')[2]}",
            f"--ServerApp.root_dir={self.files}",
            f"--IdentityProvider.token={self.token}",
            *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
        ]
        log = self.home / "server.log"
        process = self._stack.enter_context(running(command, self.files, env, log))
        with self._stack:
            until(lambda: process.poll() is not None or self._is_up(), "the Jupyter server")
            if process.poll() is not None:
                raise RuntimeError(f"the Jupyter server does not run: {say(process, log)}")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for kernel in self.api("kernels"):
            self.api(f"kernels/{kernel['id']}", "DELETE")
        self._stack.close()

    def api(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ask the server's REST interface."""
        request = urllib.request.Request(
            f"{self.url}/{'lab/api' if path.startswith('settings') else 'api'}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            data = answer.read()
        return json.loads(data) if data else None

    def address(self, path: str, host: str = "lab") -> str:
        """Return where a file is opened: in JupyterLab ("lab") or in Notebook 7 ("notebook")."""
        folder = {"lab": "lab/tree", "notebook": "notebooks"}[host]
        reset = "reset&" if host == "lab" else ""
        return f"{self.url}/{folder}/{urllib.parse.quote(path)}?{reset}token={self.token}"

    def write(self, path: str, *cells: str) -> str:
        """Write a notebook, one code cell a text (Markdown where it starts with "#! ")."""
        made = [
            nbformat.v4.new_markdown_cell(text[3:]) if text.startswith("#! ") else nbformat.v4.new_code_cell(text)
            for text in cells
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel}), self.files / path)
        return path

    def set(self, plugin: str, **values: Any) -> None:
        """Change settings of JupyterLab for pages that are opened later."""
        self.api(f"settings/{plugin}", "PUT", {"raw": json.dumps(values)})

    def start_kernel(self) -> Kernel:
        """Start a kernel that no notebook has yet."""
        return self._connected(self.api("kernels", "POST", {"name": "python3"})["id"])

    def kernel_of(self, path: str) -> Kernel:
        """Return a connection to the kernel of an open notebook."""
        sessions = until(lambda: [s for s in self.api("sessions") if s["path"] == path], f"a kernel of {path}")
        return self._connected(sessions[0]["kernel"]["id"])

    def attach(self, path: str, kernel: Kernel) -> None:
        """Let a notebook use a kernel that runs already, with what is loaded there."""
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"id": kernel.id}}
        self.api("sessions", "POST", body)

    def _connected(self, kernel_id: str) -> Kernel:
        return Kernel(kernel_id, self.home / "runtime" / f"kernel-{kernel_id}.json")

    def _write_settings(self, plugin: str, values: dict[str, Any]) -> None:
        folder, _, name = plugin.partition(":")
        path = self.home / "settings" / folder / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def _is_up(self) -> bool:
        try:
            return bool(self.api("status"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


class Kernel:
    """A kernel seen from outside the browser. It has a thread of its own, apart from Playwright's event loop."""

    def __init__(self, kernel_id: str, connection: Path) -> None:
        self.id = kernel_id
        self._thread = ThreadPoolExecutor(1, "kernel client")
        self._runner = asyncio.Runner()
        self._await(self._connect, connection)

    def _await(self, work: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
        return self._thread.submit(lambda: self._runner.run(work(*arguments))).result()

    async def _connect(self, connection: Path) -> None:
        self._context = zmq.asyncio.Context()
        self._client = AsyncKernelClient(connection_file=str(connection), context=self._context)
        self._client.load_connection_file()
        self._client.start_channels(hb=False)
        try:
            await self._client.wait_for_ready(timeout=PATIENCE)
        except BaseException:
            await self._disconnect()
            raise

    async def _disconnect(self) -> None:
        self._client.stop_channels()
        self._context.destroy(linger=0)

    def run(self, code: str, *, value: str = "None") -> Any:
        """Run code and return the value of an expression after it, which JSON must be able to say."""
        return self._await(self._run, code, {"value": f"__import__('json').dumps({value})"})

    async def _run(self, code: str, expressions: dict[str, str]) -> Any:
        answer = await self._client.execute_interactive(
            code,
            store_history=False,
            user_expressions=expressions,
            output_hook=lambda _: None,
            timeout=3 * PATIENCE,
        )
        reply = answer["content"]
        for part in (reply, *reply.get("user_expressions", {}).values()):
            if part["status"] != "ok":
                raise RuntimeError("\n".join(part.get("traceback", [str(part)])))
        return json.loads(ast.literal_eval(reply["user_expressions"]["value"]["data"]["text/plain"]))

    def value(self, expression: str) -> Any:
        """Return the value of an expression."""
        return self.run("", value=expression)

    def wait(self, expression: str, wanted: Any = True) -> None:
        """Return when an expression has the wanted value."""
        seen: list[Any] = [None]

        def ask() -> bool:
            seen[0] = self.value(expression)
            return seen[0] == wanted

        try:
            until(ask, f"{expression} == {wanted!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {seen[0]!r}") from None

    def close(self) -> None:
        """End the connection; the kernel runs on."""
        self._await(self._disconnect)
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()
