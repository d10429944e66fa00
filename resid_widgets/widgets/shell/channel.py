"""One comm stays open, so that JupyterLab's way to the widgets is never taken down while new widgets come.

JupyterLab (4.6) sends what widgets say over a subshell of ipykernel, which it deletes when the last widget is closed.
Where that happens before the kernel has told of the subshell, and the next widget opens meanwhile, the new widget is
given the one that is then deleted: all its clicks are lost. A cell that is run again closes and opens just so.
"""

from __future__ import annotations

from ipywidgets import Layout


class Channel:
    """Holds a widget open that has no picture and does nothing."""

    def __init__(self) -> None:
        self._open: Layout | None = None
        self.hold()

    def hold(self) -> None:
        """Open it, where that was not done yet or the user has closed all widgets since."""
        if self._open is None or self._open.comm is None:
            self._open = Layout()
