"""A running cell holds the locks of all models between its passes, so that no widget runs one of them in the middle.

Hooks are global state on a model: while a cell has some on it, or measures without, a widget's pass on another thread
would change the cell's numbers, and the cell the widget's. Outside an IPython kernel nothing happens here: there each
pass takes the lock, and looks for hooks that are not ours before and after.

IPython's events do not balance. A blank cell fires only the second; an interrupt in the first still runs the cell. So
the gate notes what it has acquired, and lets go of just that.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

from resid_widgets.models.model import all_locks
from resid_widgets.models.worker import YIELD_SECONDS, owned


class Gate:
    """Holds locks for the cells of one shell, each on the thread that runs the cell."""

    def __init__(self) -> None:
        self._held: dict[int, list[Any]] = {}

    def enter(self, _: Any = None) -> None:
        """Take the locks of all models; called before a cell runs. Waits for a pass that is under way."""
        for lock in all_locks():
            self.hold(lock)

    def hold(self, lock: Any) -> None:
        """Take one lock until the cell of this thread ends, if it does not have it."""
        held = self._held.setdefault(threading.get_ident(), [])
        if lock not in held:
            lock.acquire()
            held.append(lock)

    def leave(self, _: Any = None) -> None:
        """Let go of what this thread has taken; called after a cell, also after one that did not run."""
        held = self._held.pop(threading.get_ident(), [])
        for lock in reversed(held):
            if owned(lock):
                lock.release()
        if held:
            time.sleep(YIELD_SECONDS)  # a lock is not fair: without a pause the next cell would have it again at once


_gates: weakref.WeakKeyDictionary[Any, Gate] = weakref.WeakKeyDictionary()


def close_for_cells(shell: Any, lock: Any, in_cell: bool) -> None:
    """Let the cells of a shell hold the models' locks from now on; the running one `lock`, too."""
    gate = _gates.get(shell)
    if gate is None:
        gate = _gates[shell] = Gate()
        shell.events.register("pre_run_cell", gate.enter)
        shell.events.register("post_run_cell", gate.leave)
    if in_cell:
        gate.hold(lock)
