"""Which objects the user's variables still lead to."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import types
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import anywidget
from ipywidgets.widgets import widget as registry

MOST_OBJECTS = 200_000  # looked at in one search
LONGEST = 10_000  # nobody keeps widgets in a container this long

# What IPython itself keeps: input and output caches, under names that it makes.
_CACHES = re.compile(r"_+|_\d+|_i+|_i\d+|_[oid]h|In|Out|_exit_code|__\w+__")
_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), memoryview, range, slice)
_CLOSED_TYPES = (
    types.ModuleType,
    types.FrameType,
    types.TracebackType,
    types.CodeType,
    types.BuiltinFunctionType,
)
# Their objects lead to everything (a comm to its kernel, a kernel to all comms) or to very much (a model).
_CLOSED_PACKAGES = frozenset(
    """IPython ipykernel comm zmq tornado asyncio _asyncio _thread threading logging jupyter_client concurrent weakref
    torch numpy xarray pandas polars pyarrow matplotlib scipy sklearn transformers tokenizers transformer_lens
    safetensors""".split()
)

_MACHINERY = _CLOSED_PACKAGES | {"resid_widgets", "ipywidgets", "traitlets"}


def user_values(shell: Any) -> list[Any]:
    """Return the values of the variables that the user made, IPython's caches left out."""
    hidden = shell.user_ns_hidden
    absent = object()
    return [
        value
        for name, value in list(shell.user_ns.items())
        if not _CACHES.fullmatch(name) and value is not hidden.get(name, absent)
    ]


def running_values() -> Iterator[Any]:
    """Yield the locals of the functions that are at work on this thread, or wait in a task of its loop.

    A widget that a callback is about to show or to keep is in nobody's variable yet. The frames of other threads are
    left alone: reading the locals of one that runs can crash the interpreter (seen with CPython 3.11).
    """
    for task in _tasks():
        yield task.get_coro()
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_locals is not frame.f_globals and _package(frame) not in _MACHINERY:
            yield from list(frame.f_locals.values())
        frame = frame.f_back


def users_task() -> asyncio.Task[Any] | None:
    """Return the task of the user's that the calling code runs in, if it does."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs on this thread
        return None
    frame = None if task is None else getattr(task.get_coro(), "cr_frame", None)
    return task if frame is not None and _package(frame) not in _MACHINERY else None


def _package(frame: types.FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]


def _tasks() -> Collection[asyncio.Task[Any]]:
    try:
        return asyncio.all_tasks()
    except RuntimeError:  # no loop runs on this thread
        return ()


def reachable(
    roots: Iterable[Any], wanted: Collection[Any], inside: Callable[[Any], Iterable[Any]] = lambda item: ()
) -> set[int]:
    """Return the ids of those `wanted` objects that `roots` lead to, or what an object has `inside` for other reasons.

    Containers, instances, closures and the user's own classes are searched, nearest first. Where the search grows too
    large, everything counts as reachable: closing what a user holds is worse than keeping what they do not.
    """
    missing = {id(item) for item in wanted}
    found: set[int] = set()
    seen: set[int] = set()
    queue = deque(roots)
    while queue and missing:
        item = queue.popleft()
        if isinstance(item, _ATOMS) or id(item) in seen:
            continue
        seen.add(id(item))
        if len(seen) > MOST_OBJECTS:
            return found | missing
        if id(item) in missing:
            missing.remove(id(item))
            found.add(id(item))
        queue.extend(_leads_to(item))
        queue.extend(inside(item))
    return found


def _leads_to(item: Any) -> Iterator[Any]:
    """Yield what an object refers to, as far as a user could mean it."""
    if isinstance(item, anywidget.AnyWidget):
        yield from _user_observers(item)
        return
    if item is registry._instances:  # whoever looks into it does not keep all widgets
        return
    if isinstance(item, _CLOSED_TYPES):
        return
    if isinstance(item, types.GeneratorType | types.CoroutineType | types.AsyncGeneratorType):
        yield from _suspended(item)
        return
    if isinstance(item, type):
        if item.__module__ == "__main__":
            yield from list(vars(item).values())
        return
    if isinstance(item, types.FunctionType):  # not its globals: they are all variables, caches too
        yield from item.__closure__ or ()
        yield from item.__defaults__ or ()
        yield from (item.__kwdefaults__ or {}).values()
        yield item.__dict__
        return
    if (type(item).__module__ or "").partition(".")[0] in _CLOSED_PACKAGES:
        return
    if isinstance(item, list | tuple | dict | set | frozenset | deque) and len(item) > LONGEST:
        return
    yield from gc.get_referents(item)


def _user_observers(widget: anywidget.AnyWidget) -> Iterator[Any]:
    """Yield the functions of the user's that observe a widget; what a linked widget knows the user does not hold."""
    for by_type in list(widget._trait_notifiers.values()):
        for observer in [each for observers in list(by_type.values()) for each in observers]:
            if (getattr(observer, "__module__", None) or "").partition(".")[0] not in _MACHINERY:
                yield observer


def _suspended(item: Any) -> Iterator[Any]:
    """Yield the locals of a generator or coroutine that is not over, and what it waits for."""
    kind = {types.GeneratorType: "gi", types.CoroutineType: "cr"}.get(type(item), "ag")
    frame = None if getattr(item, f"{kind}_running", False) else getattr(item, f"{kind}_frame", None)
    if frame is not None and frame.f_locals is not frame.f_globals:
        yield from list(frame.f_locals.values())
        yield getattr(item, {"gi": "gi_yieldfrom"}.get(kind, f"{kind}_await"), None)
