"""Which objects the user's variables still lead to."""

from __future__ import annotations

import gc
import re
import types
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import anywidget

MOST_OBJECTS = 200_000  # looked at in one search
LONGEST = 10_000  # nobody keeps widgets in a container this long

# What IPython itself keeps: input and output caches, under names that it makes.
_CACHES = re.compile(r"_+|_\d+|_i+|_i\d+|_[oid]h|In|Out|_exit_code|__\w+__")
_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), memoryview, range, slice)
_CLOSED_TYPES = (
    anywidget.AnyWidget,  # what a linked widget knows is not what the user holds
    types.ModuleType,
    types.FrameType,
    types.TracebackType,
    types.CodeType,
    types.BuiltinFunctionType,
    types.GeneratorType,
    types.CoroutineType,
)
# Their objects lead to everything (a comm to its kernel, a kernel to all comms) or to very much (a model).
_CLOSED_PACKAGES = frozenset(
    """IPython ipykernel comm zmq tornado asyncio _asyncio _thread threading logging jupyter_client concurrent weakref
    torch numpy xarray pandas polars pyarrow matplotlib scipy sklearn transformers tokenizers transformer_lens
    safetensors""".split()
)


def user_values(shell: Any) -> list[Any]:
    """Return the values of the variables that the user made, IPython's caches left out."""
    hidden = shell.user_ns_hidden
    absent = object()
    return [
        value
        for name, value in list(shell.user_ns.items())
        if not _CACHES.fullmatch(name) and value is not hidden.get(name, absent)
    ]


def reachable(roots: Iterable[Any], wanted: Collection[Any]) -> set[int]:
    """Return the ids of those `wanted` objects that `roots` lead to.

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
    return found


def _leads_to(item: Any) -> Iterator[Any]:
    """Yield what an object refers to, as far as a user could mean it."""
    if isinstance(item, _CLOSED_TYPES):
        return
    if isinstance(item, type):
        if item.__module__ == "__main__":
            yield from vars(item).values()
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
