"""A widget is closed when the cell or the callback that made it is over, and nothing leads to it any more.

What leads to it: a variable of the user's (a list, dict, attribute, closure or container widget in it, too), the locals
of a function that runs or waits, and the page (`resid_widgets.widgets.shell.shown`), with the observers of what is on
it. So a widget that `ipywidgets.interact` or a loop has replaced by the next one is closed, and one that is still shown
is not. What a cell has made and never displayed is kept until it runs again.

ipywidgets keeps every widget alive until it is closed, so without this each run of a cell, and each move of a slider,
would leave one more behind, with its run of the model. Outside IPython, as in marimo, a host that closes the comms
of what a cell had made says so by that; then ipywidgets lets go of the widget, and Python of what nobody refers to.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple

from ipywidgets import Widget
from ipywidgets.widgets import widget as registry

from resid_widgets.widgets.shell.channel import Channel
from resid_widgets.widgets.shell.gate import close_for_cells
from resid_widgets.widgets.shell.kept import Kept
from resid_widgets.widgets.shell.reach import reachable, running_values, user_values, users_task
from resid_widgets.widgets.shell.shown import COMM, WIDGET_MIME, Shown, parts


class Execution(NamedTuple):
    """One run of one cell, or one message to the callbacks of one comm."""

    of: str
    run: str
    in_cell: bool


def adopt(widget: Any) -> None:
    """Note which run of which cell or callback makes `widget`, so that it can be closed when nothing leads to it."""
    shell = _shell()
    now = execution(shell)
    if in_kernel():
        close_for_cells(shell, widget._lock, in_cell=now is not None and now.in_cell)
    if shell is not None and now is not None:
        keeper = _keepers.get(shell)
        if keeper is None:
            keeper = _keepers[shell] = Keeper(shell)
        keeper.add(widget, now)
    if shell is None:
        _let_go_of_closed(widget)


def release(widget: Any) -> None:
    """Forget who made `widget`: another widget owns it, and closes it with itself."""
    keeper = _keeper()
    if keeper is not None:
        keeper.made[:] = [made for made in keeper.made if made.widget() is not widget]


def in_kernel() -> bool:
    """Whether this is a Jupyter kernel."""
    return getattr(_shell(), "kernel", None) is not None


def attended() -> bool:
    """Whether somebody watches a page while the calling code runs: then a widget may fill after it has appeared.

    Nobody does in a script, nor where a program runs a notebook (`nbclient` lets no cell ask for input).
    """
    kernel = getattr(_shell(), "kernel", None)
    if kernel is not None:
        parent = kernel.get_parent() or {}
        asks = parent.get("content", {}).get("allow_stdin", False)
        return bool(asks) or parent.get("header", {}).get("msg_type") == "comm_msg"
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


def late_picture(changed: bool = False) -> None:
    """Draw what a saved notebook keeps of a widget whose picture came, or `changed`, when its cell was over."""
    keeper = _keeper()
    if keeper is not None and keeper.page.listens:
        keeper.kept.draw(changed)


def keeps_pictures() -> bool:
    """Whether what is displayed now gets a picture in an output of its own; see `resid_widgets.widgets.shell.kept`."""
    keeper = _keeper()
    return keeper is not None and keeper.page.listens


def execution(shell: Any) -> Execution | None:
    """Return what the calling code belongs to: the run of a cell, or the message that a callback answers.

    The front-end names the cell in the request's metadata; for one that does not, the cell is its source.
    """
    kernel = getattr(shell, "kernel", None)
    parent = (kernel.get_parent() if kernel is not None else None) or {}
    kind, content = parent.get("header", {}).get("msg_type"), parent.get("content", {})
    if kind == "comm_msg":
        return Execution(f"{COMM}{content.get('comm_id')}", parent["header"]["msg_id"], False)
    if kind != "execute_request":
        return None
    named = parent.get("metadata", {}).get("cellId")
    source = content.get("code", "").encode("utf-8", "surrogatepass")
    cell = str(named) if named else hashlib.sha256(source).hexdigest()
    return Execution(cell, parent["header"]["msg_id"], True)


@dataclass(eq=False)
class Made:
    """A widget, who made it, on which thread and in which task, and whether it was displayed at any time."""

    by: Execution
    widget: weakref.ref[Any]
    model_id: str
    thread: int
    task: weakref.ref[Any] | None
    displayed: bool = False

    def may_yet_show(self) -> bool:
        """Whether a task of another thread made it and is not over: what its locals hold cannot be looked at here."""
        task = None if self.task is None or self.thread == threading.get_ident() else self.task()
        return task is not None and not task.done()


class Keeper:
    """Knows who made each widget of a shell, and closes those that nothing leads to."""

    def __init__(self, shell: Any) -> None:
        self.shell = weakref.ref(shell)
        self.made: list[Made] = []
        self.kept = Kept(shell.display_pub.publish, lambda widget: parts(widget).values())
        self.page = Shown(shell, self._displayed)
        self.channel = Channel() if in_kernel() else None
        self.now: dict[int, list[str]] = {}  # thread to the requests that it is at
        shell.events.register("pre_execute", self.callback_begins)
        shell.events.register("post_execute", self.callback_ends)
        shell.events.register("pre_run_cell", self.cell_begins)
        shell.events.register("post_run_cell", self.cell_ends)

    def add(self, widget: Any, now: Execution) -> None:
        """Take a new widget, and close what it replaces."""
        with self.page.lock:
            self.page.known(widget)
            self.page.ran(now.of, now.run)
            task = users_task()
            made_in = None if task is None else weakref.ref(task)
            self.made.append(Made(now, weakref.ref(widget), widget.model_id, threading.get_ident(), made_in))
        self.sweep(now)

    def cell_begins(self, _: Any = None) -> None:
        """Empty the cell's output, and close what is gone with it: two pictures shall never share the memory."""
        if self.channel is not None:
            self.channel.hold()
        self._begins(execution(self.shell()), in_cell=True)

    def cell_ends(self, _: Any = None) -> None:
        """Close what the cell has replaced, and draw what a saved notebook keeps of the rest."""
        self._ends(execution(self.shell()), in_cell=True)
        self.kept.draw(changed=True)

    def callback_begins(self) -> None:
        """Listen to what a callback displays; called before cells, too, which are not meant."""
        self._begins(execution(self.shell()), in_cell=False)

    def callback_ends(self) -> None:
        """Close what the callback has replaced."""
        self._ends(execution(self.shell()), in_cell=False)
        self.kept.draw()

    def sweep(self, now: Execution | None = None) -> None:
        """Close the widgets that nothing leads to; not those of a run that is not over, which may yet be kept.

        While another thread is at a request, whose functions may hold any, none is closed: its end does it.
        """
        shell = self.shell()
        with self.page.lock:
            alive = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
            if alive & self.now.keys():
                return
            drawn = set() if all(made.displayed for made in self.made) else self.page.drawn()
            for made in self.made:
                made.displayed |= made.model_id in drawn
            running = {now and now.run, *(run for runs in self.now.values() for run in runs)}
            old = [
                widget
                for made in self.made
                if made.by.run not in running
                and (made.displayed or not made.by.in_cell or self.page.runs.get(made.by.of) != made.by.run)
                and (widget := made.widget()) is not None
                and not widget.closed
                and not made.may_yet_show()
            ]
            roots = [*self.page.roots(), *user_values(shell), *running_values()] if old else []
            held = reachable(roots, old, self.page.inside)
        for widget in old:
            if id(widget) not in held:
                widget.close()
        self._forget_closed(shell)

    def _forget_closed(self, shell: Any) -> None:
        with self.page.lock:
            closed = {made.model_id for made in self.made if (widget := made.widget()) is None or widget.closed}
            self.made[:] = [made for made in self.made if made.model_id not in closed]
            self.page.forget({made.by.of for made in self.made})
        _forget_pictures(shell, closed)

    def _begins(self, now: Execution | None, in_cell: bool) -> None:
        if now is None or now.in_cell != in_cell:
            return
        with self.page.lock:
            if in_cell:
                self.page.ran(now.of, now.run)
            self.now[threading.get_ident()] = [*([] if in_cell else self._here()), now.run]
        if in_cell:
            self.sweep(now)

    def _ends(self, now: Execution | None, in_cell: bool) -> None:
        """Close what is no longer needed. With a cell all ends that its thread was at: events do not balance."""
        if not in_cell and (now is None or now.in_cell):
            return
        with self.page.lock:
            left = [] if in_cell or now is None else [run for run in self._here() if run != now.run]
            self.now.pop(threading.get_ident(), None)
            if left:
                self.now[threading.get_ident()] = left
        self.sweep()

    def _here(self) -> list[str]:
        return self.now.get(threading.get_ident(), [])

    def _displayed(self, widget: Widget, display: str | None, update: bool) -> None:
        shown = parts(widget)
        for made in self.made:
            made.displayed |= made.model_id in shown
        if self.page.listens:
            self.kept.show(widget, display, update)
            if not self._here():  # no end of a cell or callback is going to
                self.kept.draw()


_keepers: weakref.WeakKeyDictionary[Any, Keeper] = weakref.WeakKeyDictionary()
_without_shell: weakref.WeakSet[Any] = weakref.WeakSet()


def _let_go_of_closed(widget: Any) -> None:
    """Take widgets whose comm the host has closed out of ipywidgets' registry, which would keep them alive."""
    for other in list(_without_shell):
        if getattr(other.comm, "_closed", False):
            registry._instances.pop(other.model_id, None)
            _without_shell.discard(other)
    _without_shell.add(widget)


def _shell() -> Any:
    """Return the running IPython shell without importing IPython."""
    ipython = sys.modules.get("IPython")
    get = getattr(ipython, "get_ipython", None)  # absent while IPython itself is being imported
    return get() if get is not None else None


def _keeper() -> Keeper | None:
    """Return what knows the widgets of the running shell, if one has made any."""
    shell = _shell()
    return None if shell is None else _keepers.get(shell)


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
