"""`make demo` serves JupyterLab with the lesson open and prints its address."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"http://localhost:\d+/\S+")


@pytest.fixture
def address() -> Iterator[str]:
    """The address that a headless demo prints; setting up is taken as done."""
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    command = ["make", "-o", "setup-demo", "demo", f"DEMO_ARGS=--no-browser --port={port}"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as demo:
        said = []
        assert demo.stdout is not None
        for line in demo.stdout:
            said.append(line)
            if found := ADDRESS.search(line):
                break
        else:
            pytest.fail("no address was printed:\n" + "".join(said))
        yield found[0]
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()


def fetch(url: str) -> dict:
    """Get JSON from a server that prints its address a moment before it listens."""
    for _ in range(120):
        try:
            with urlopen(url) as answer:
                return json.load(answer)
        except URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.25)
    pytest.fail(f"nobody listens at {url}")


@pytest.mark.kernel
@pytest.mark.slow
def test_the_demo_serves_the_lesson(address):
    url = urlsplit(address)
    assert url.path == "/lab/tree/01_first_look.ipynb"
    lesson = fetch(f"http://{url.netloc}/api/contents/01_first_look.ipynb?{url.query}")
    assert lesson["type"] == "notebook"
    kernels = fetch(f"http://{url.netloc}/api/kernelspecs?{url.query}")
    assert lesson["content"]["metadata"]["kernelspec"]["name"] in kernels["kernelspecs"]
