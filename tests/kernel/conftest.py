"""A real Jupyter kernel, driven over its sockets as a front-end does."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
VERSIONS = ["6.31.0", "7.3.0", "newest"]
PATIENCE = 300  # seconds; a cell imports torch
SLEEPER = 45  # seconds of silence after which an ipykernel 7.0 to 7.3 has gone to sleep
LOST = "this ipykernel lost the wake-up of a request and sleeps for good (ipykernel issue 1554), with no part of ours"

SETUP = """
import gc, json, os, threading, weakref
import psutil, torch
torch.set_num_threads(1)
import resid_widgets as rw
from tests.architectures import build
from ipywidgets.widgets import widget as registry  # not its dict: a variable that holds it would hold every widget
model = rw.load_model((build("llama"), None), progress=False)
run = rw.run(model, [1, 5, 9, 20, 33, 4, 60])
def tell(**found): print(json.dumps(found))
"""


class Kernel:
    """One kernel and its front-end."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self.client = manager, client
        self.comms: dict[str, list[dict[str, Any]]] = {}  # what each comm sent, oldest first
        self.subshell: str | None = None
        self.loses_requests = False  # ipykernel 7.0 to 7.3 does, now and then
        self.asleep = False

    def run(self, code: str, cell: str | None = None) -> str:
        """Run a cell, named as JupyterLab names it, and return what it printed; its error is raised."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        printed = []
        for answer in self._until_idle(message["header"]["msg_id"]):
            if answer["msg_type"] == "stream" and answer["content"]["name"] == "stdout":
                printed.append(answer["content"]["text"])
            if answer["msg_type"] == "error":
                raise AssertionError("\n".join(answer["content"]["traceback"]))
        return "".join(printed)

    def post(self, comm: str, content: dict[str, Any]) -> str:
        """Send a widget's message as a browser does, on the subshell if there is one."""
        return self._send(comm, {"method": "custom", "content": content})

    def _send(self, comm: str, data: dict[str, Any]) -> str:
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if self.subshell:
            message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def move(self, comm: str, **state: Any) -> None:
        """Change traits of a widget as a browser does, and return when its callbacks are done."""
        self.touch(comm, {"method": "update", "state": state, "buffer_paths": []})

    def click(self, comm: str) -> None:
        """Click an ipywidgets button, and return when its callbacks are done."""
        self.touch(comm, {"method": "custom", "content": {"event": "click"}})

    def touch(self, comm: str, data: dict[str, Any]) -> None:
        """Send a message to a widget's comm, and wait until it was handled."""
        for _ in self._until_idle(self._send(comm, data)):
            pass

    def answer(self, comm: str, number: int, timeout: float = 60) -> dict[str, Any]:
        """Wait for the answer to a widget's message, and return it with its buffers."""
        while True:
            for message in self.comms.get(comm, ()):
                content = message["content"]["data"].get("content") or {}
                if content.get("id") == number:
                    return {**content, "buffers": message["buffers"]}
            self._take(timeout)

    def state(self, comm: str) -> dict[str, Any]:
        """Return what the widget's updates amount to."""
        self.drain()
        found: dict[str, Any] = {}
        for message in self.comms.get(comm, ()):
            if message["content"]["data"].get("method") == "update":
                found |= message["content"]["data"]["state"]
        return found

    def drain(self) -> None:
        """Take what has come."""
        while True:
            try:
                self._take(0.2)
            except Empty:
                return

    def open_subshell(self) -> None:
        """Ask for a subshell, as JupyterLab does for its widgets, and use it for messages from now on."""
        message = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(message)
        reply = self.client.get_control_msg(timeout=PATIENCE)
        self.subshell = reply["content"]["subshell_id"]

    def _take(self, timeout: float) -> dict[str, Any]:
        if self.asleep:
            pytest.skip(LOST)
        try:
            message = self.client.get_iopub_msg(timeout=min(timeout, SLEEPER) if self.loses_requests else timeout)
        except Empty:
            if not self.loses_requests or timeout < SLEEPER:
                raise
            self.asleep = True
            pytest.skip(LOST)
        if message["msg_type"].startswith("comm_"):
            self.comms.setdefault(message["content"]["comm_id"], []).append(message)
        return message

    def _until_idle(self, request: str) -> Iterator[dict[str, Any]]:
        while True:
            message = self._take(PATIENCE)
            if message["parent_header"].get("msg_id") == request:
                yield message
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    return


@contextlib.contextmanager
def started(before: Sequence[Path] = ()) -> Iterator[Kernel]:
    """Start a kernel with a small model and a run of it; modules in the folders `before` take the place of others."""
    from jupyter_client.manager import start_new_kernel

    path = os.pathsep.join([*map(str, before), str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path}
    manager, client = start_new_kernel(startup_timeout=PATIENCE, kernel_name="python3", env=env, cwd=str(ROOT))
    try:
        made = Kernel(manager, client)
        made.run(SETUP)
        yield made
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """One kernel a file, with a small model and a run of it."""
    with started() as made:
        yield made


@pytest.fixture(scope="module", params=VERSIONS)
def shared(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """A kernel of each generation; the older ones come from folders that `make setup-test` fills."""
    older = Path(sys.prefix) / "ipykernels" / request.param
    if request.param != "newest" and not older.is_dir():
        pytest.skip(f"ipykernel {request.param} is not installed beside the newest: make setup-test")
    with started([] if request.param == "newest" else [older]) as kernel:
        version = json.loads(kernel.run("import ipykernel; tell(v=ipykernel.__version__)"))["v"]
        assert request.param in ("newest", version)
        kernel.loses_requests = version.startswith(("7.0", "7.1", "7.2", "7.3"))
        if version >= "7":
            kernel.open_subshell()
        yield kernel
