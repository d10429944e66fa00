"""A widget made by a cell is closed when that cell runs again, unless a user variable still refers to it.

ipywidgets keeps every widget alive until it is closed, so without this each run of a cell would leave one more behind,
with its run of the model. Outside an IPython kernel nothing happens here.
"""

from __future__ import annotations

import hashlib
import sys
import weakref
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from resid_widgets.widgets.shell.gate import close_for_cells
from resid_widgets.widgets.shell.reach import reachable, user_values

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


class Execution(NamedTuple):
    """One run of one cell."""

    cell: str
    run: str


def adopt(widget: Any) -> None:
    """Note which run of which cell makes `widget`, so that the cell's next run can close it."""
    shell = _shell()
    now = execution(shell)
    if shell is not None and getattr(shell, "kernel", None) is not None:
        close_for_cells(shell, widget._lock, in_cell=now is not None)
    if shell is not None and now is not None:
        keeper = _keepers.get(shell)
        if keeper is None:
            keeper = _keepers[shell] = Keeper(weakref.ref(shell))
            shell.events.register("pre_run_cell", keeper.sweep)
            shell.events.register("post_run_cell", keeper.sweep)
        keeper.made.setdefault(now.cell, []).append((now.run, weakref.ref(widget), widget.model_id))


def release(widget: Any) -> None:
    """Forget which cell made `widget`: another widget owns it, and closes it with itself."""
    shell = _shell()
    keeper = None if shell is None else _keepers.get(shell)
    for made in [] if keeper is None else keeper.made.values():
        made[:] = [item for item in made if item[1]() is not widget]


def execution(shell: Any) -> Execution | None:
    """Return the run of a cell that the calling code belongs to; None in a callback, or where there is no kernel.

    The front-end names the cell in the request's metadata; for one that does not, the cell is its source.
    """
    kernel = getattr(shell, "kernel", None)
    parent = kernel.get_parent() if kernel is not None else None
    if not parent or parent.get("header", {}).get("msg_type") != "execute_request":
        return None
    source = parent.get("content", {}).get("code", "")
    named = parent.get("metadata", {}).get("cellId")
    cell = str(named) if named else hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
    return Execution(cell, parent["header"]["msg_id"])


@dataclass(eq=False)
class Keeper:
    """What each cell has made: the run that made it, the widget, and its model id."""

    shell: weakref.ref[Any]
    made: dict[str, list[tuple[str, weakref.ref[Any], str]]] = field(default_factory=dict)

    def sweep(self, _: Any = None) -> None:
        """Close what earlier runs of this cell made and no user variable holds.

        Called before a cell runs, so that two pictures never share the memory, and after it, for what an assignment
        in the cell has just replaced.
        """
        shell = self.shell()
        now = execution(shell)
        if shell is None or now is None:
            return
        made = self.made.pop(now.cell, [])
        old = [widget for run, ref, _ in made if run != now.run and (widget := ref()) is not None and not widget.closed]
        held = reachable(user_values(shell), old) if old else set()
        for widget in old:
            if id(widget) not in held:
                widget.close()
        alive = [item for item in made if (widget := item[1]()) is not None and not widget.closed]
        if alive:
            self.made[now.cell] = alive
        _forget_pictures(shell, {name for _, _, name in made} - {name for _, _, name in alive})


_keepers: weakref.WeakKeyDictionary[Any, Keeper] = weakref.WeakKeyDictionary()


def _shell() -> Any:
    """Return the running IPython shell without importing IPython."""
    ipython = sys.modules.get("IPython")
    get = getattr(ipython, "get_ipython", None)  # absent while IPython itself is being imported
    return get() if get is not None else None


def _forget_pictures(shell: Any, closed: set[str]) -> None:
    """Drop the pictures of closed widgets from IPython's record of outputs, which keeps every one that was shown."""
    outputs = getattr(getattr(shell, "history_manager", None), "outputs", None)
    if not closed or not outputs:
        return
    for shown in outputs.values():
        for output in shown:
            bundle = getattr(output, "bundle", None)
            if isinstance(bundle, dict) and bundle.get(WIDGET_MIME, {}).get("model_id") in closed:
                bundle.pop("image/png", None)
