"""Widgets over a comm that only records, driven by the messages that a front-end sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tests.analysis.conftest import llama_run, make_model, tokenizer, worded  # noqa: F401  # fixtures

if TYPE_CHECKING:
    from resid_widgets.models.runs.run import Run


_numbers = count(1)


class FakeComm:
    """What a widget sends, in order, with its buffers apart as they travel."""

    def __init__(self, **opened: Any) -> None:
        self.comm_id = f"comm-{id(self)}"
        self.opened = opened
        self.messages: list[tuple[dict[str, Any], list[Any]]] = []
        self.closed = False

    def send(self, data: dict[str, Any], metadata: Any = None, buffers: Any = None) -> None:
        self.messages.append((data, list(buffers or [])))

    def on_msg(self, callback: Any) -> None:
        self.callback = callback

    def close(self, *_: Any, **__: Any) -> None:
        self.closed = True


class Page:
    """A front-end: what it was told of a widget, and what it asks."""

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        self.comm: FakeComm = widget.comm

    @property
    def updates(self) -> list[dict[str, Any]]:
        """The states sent since the last `forget`."""
        return [data["state"] for data, _ in self.comm.messages if data["method"] == "update"]

    @property
    def custom(self) -> list[tuple[dict[str, Any], list[Any]]]:
        """The messages sent since the last `forget`, with their buffers."""
        return [(data["content"], buffers) for data, buffers in self.comm.messages if data["method"] == "custom"]

    def forget(self) -> None:
        self.comm.messages.clear()

    def post(self, content: Any) -> int:
        """Send a message and do not wait."""
        number = next(_numbers)
        if isinstance(content, dict):
            content = {"id": number, **content}
        data = {"method": "custom", "content": content}
        self.comm.callback({"content": {"data": data}, "buffers": []})
        return number

    def ask(self, kind: str, **more: Any) -> tuple[dict[str, Any], list[Any]]:
        """Send a message and return its one answer with the buffers."""
        number = self.post({"kind": kind, **more})
        assert self.widget.wait(120)
        return self.answer(number)

    def answer(self, number: int) -> tuple[dict[str, Any], list[Any]]:
        found = [(content, buffers) for content, buffers in self.custom if content["id"] == number]
        assert len(found) == 1, f"{len(found)} answers to message {number}"
        return found[0]


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Open widgets on recording comms, and close them after the test."""
    import comm
    from ipywidgets.widgets.widget import _instances

    before = set(_instances)
    monkeypatch.setattr(comm, "create_comm", lambda **opened: FakeComm(**opened))
    yield
    for name in set(_instances) - before:
        if name in _instances:
            _instances[name].close()


@pytest.fixture
def page() -> Callable[[Any], Page]:
    """Return a function from a widget to its front-end."""
    return Page


@pytest.fixture(scope="session")
def words(worded: Any) -> Run:  # noqa: F811
    """Ten tokens with texts that break axes, tables and pages."""
    from resid_widgets.models.runs.run import run

    return run(worded, list(range(1, 11)))
