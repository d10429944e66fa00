"""Which widgets a user's variables still lead to."""

from __future__ import annotations

import asyncio
import functools
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Widget:
    """Stands for a widget."""


def reaches(root: Any, widget: Any) -> bool:
    from resid_widgets.widgets.shell.reach import reachable

    return reachable([root], [widget]) == {id(widget)}


def in_closure(widget: Any) -> Any:
    def callback() -> Any:
        return widget

    return callback


class Keeps:
    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def method(self) -> None: ...


def in_a_loop(widget: Any) -> Any:
    loop: list[Any] = [widget]
    loop.insert(0, loop)
    return loop


def awaiting(widget: Any) -> Any:
    async def inner() -> Any:
        await asyncio.sleep(0)
        return widget

    async def outer() -> None:
        await inner()

    waiting = outer()
    waiting.send(None)
    return waiting


@pytest.mark.parametrize(
    "hold",
    [
        lambda w: w,
        lambda w: [1, [2, (3, w)]],
        lambda w: {"a": {"b": w}},
        lambda w: {w: 1},
        lambda w: {w},
        lambda w: SimpleNamespace(a=SimpleNamespace(b=[w])),
        lambda w: Keeps(w),
        lambda w: Keeps(w).method,
        in_closure,
        in_a_loop,
        lambda w: functools.partial(print, w),
        lambda w: lambda x=w: x,
        lambda w: (x for x in [w]),
        awaiting,
    ],
)
def test_what_a_user_holds_is_found(hold):
    widget = Widget()
    assert reaches(hold(widget), widget)


def test_a_class_of_the_notebook_holds_what_it_names():
    widget = Widget()
    assert reaches(type("Settings", (), {"__module__": "__main__", "picture": widget}), widget)


def test_a_container_widget_holds_its_children(llama_run):
    import ipywidgets

    import resid_widgets as rw

    a, b = rw.ActivationHeatmap(llama_run), rw.LogitLensHeatmap(llama_run)
    box = ipywidgets.VBox([ipywidgets.HBox([a])])
    assert reaches(box, a)
    assert not reaches(box, b)


def test_what_is_linked_is_not_held_but_a_link_holds(llama_run):
    import resid_widgets as rw

    a, b = rw.ActivationHeatmap(llama_run), rw.LogitLensHeatmap(llama_run)
    bond = rw.link(a, b)
    assert not reaches(a, b)
    assert reaches(bond, b)


def test_everything_that_leads_everywhere_is_left_out():
    import logging
    import threading

    import torch

    widget = Widget()
    odd: list[Any] = [ModuleType("module"), torch.zeros(1), logging.getLogger("test_reach")]
    for root in odd:
        root.widget = widget
    thread = threading.Thread(target=in_closure(widget))
    for root in (*odd, thread, [0] * 20_000 + [widget], exec):
        assert not reaches(root, widget)


def test_the_globals_of_a_function_are_not_what_it_holds():
    space: dict[str, Any] = {"widget": Widget()}
    exec("def f(): return widget", space)  # noqa: S102
    assert not reaches(space["f"], space["widget"])


def test_where_the_search_grows_too_large_everything_counts_as_held(monkeypatch):
    from resid_widgets.widgets.shell import reach

    monkeypatch.setattr(reach, "MOST_OBJECTS", 50)
    widget = Widget()
    assert reach.reachable([[[n] for n in range(100)]], [widget]) == {id(widget)}


def test_the_users_variables_are_those_that_ipython_did_not_make():
    from resid_widgets.widgets.shell.reach import user_values

    made, shown = object(), object()
    space = {
        "x": made,
        "_mine": made,
        "_": shown,
        "__": shown,
        "_12": shown,
        "Out": {12: shown},
        "_oh": {},
        "In": [],
        "_i3": "",
    }
    shell = SimpleNamespace(
        user_ns={**space, "exit": shown, "quit": made}, user_ns_hidden={"exit": shown, "quit": shown}
    )
    assert user_values(shell) == [made, made, made]  # x, _mine, and a name of IPython's that the user took
