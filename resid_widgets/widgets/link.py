"""Widgets that share one selection, whoever moves it: a program, or a person in any of the views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.widgets.shell.base import ResidWidget

AXES = ("layer", "pos")


class Link:
    """Widgets with one selection. Made by `link`; ends with `unlink`, or for one of them when it is closed."""

    def __init__(self, widgets: Sequence[ResidWidget], on: tuple[str, ...]) -> None:
        self.widgets = list(widgets)
        self.on = on
        first = self.widgets[0]
        for widget in self.widgets:
            widget._links.append(self)
            widget.observe(self._follow, names=list(on))
        self._spread(first)

    def unlink(self) -> None:
        """Let each widget have its own selection again. What is selected stays."""
        for widget in list(self.widgets):
            self.drop(widget)

    def drop(self, widget: ResidWidget) -> None:
        """Let one widget go; the others stay linked."""
        if widget in self.widgets:
            self.widgets.remove(widget)
            widget._links.remove(self)
            widget.unobserve(self._follow, names=list(self.on))

    def _follow(self, change: Any) -> None:
        self._spread(change["owner"])

    def _spread(self, source: ResidWidget) -> None:
        """Give the others the selection of `source`. One that has it already does nothing, so that this ends.

        A widget whose columns are heads for now, or positions of another prompt, shares only the layer.
        """
        for other in list(self.widgets):
            alike = [axis for axis in self.on if _size(other, axis) == _size(source, axis) is not None]
            wanted = {axis: getattr(source, axis) for axis in alike}
            if other is not source and any(getattr(other, axis) != value for axis, value in wanted.items()):
                other.select(**wanted)

    def __repr__(self) -> str:
        return f"Link({len(self.widgets)} widgets share {' and '.join(self.on)})"


def _size(widget: ResidWidget, axis: str) -> int | None:
    """Return how many layers or positions a picture has; None where its columns are something else."""
    return widget.result.values.sizes.get(axis)


def link(*widgets: Any, on: str | Sequence[str] = AXES) -> Link:
    """Let two or more widgets share one selection, from Python and in the browser. The first one's counts at first.

    Parameters
    ----------
    *widgets
        Two or more, open.
    on
        What is shared: ``"layer"``, ``"pos"`` or both. With one of them, only that axis must be equally long.

    Returns
    -------
    Link
        ``.unlink()`` ends it.

    Raises
    ------
    InputError
        If something is no widget, one is given twice or closed, or their numbers of layers or positions differ.
    """
    axes = (on,) if isinstance(on, str) else tuple(on)
    if not axes or set(axes) - set(AXES):
        raise InputError.about("on", on, "'layer', 'pos' or both are needed", "Leave it out for both.")
    for widget in widgets:
        if not isinstance(widget, ResidWidget):
            raise InputError.about(
                "widgets", type(widget).__name__, "widgets of this package are needed", "rw.link(a, b)"
            )
    if len({id(widget) for widget in widgets}) != len(widgets) or len(widgets) < 2:
        raise InputError.about("widgets", widgets, "two or more different ones are needed", "rw.link(a, b).")
    for axis in axes:
        sizes = [size for widget in widgets if (size := _size(widget, axis)) is not None]
        if len(set(sizes)) > 1:
            what = {"layer": "layers", "pos": "positions"}[axis]
            other = AXES[1 - AXES.index(axis)]
            raise InputError(
                f"These widgets have {', '.join(map(str, sizes[:-1]))} and {sizes[-1]} {what}, so that no selection "
                f"means the same in all. Link what they share: rw.link(..., on={other!r})."
            )
    return Link(widgets, tuple(axis for axis in AXES if axis in axes))
