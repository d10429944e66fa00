"""Widgets that share one selection, whoever moves it: a program, or a person in any of the views."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from resid_widgets.errors import InputError


@runtime_checkable
class Linkable(Protocol):
    """What `link` needs of a widget: an address that is selected, and what it can be."""

    selection: Any
    _links: list[Any]

    def select(self, **address: Any) -> None: ...  # noqa: D102
    def observe(self, handler: Any, names: Any = ...) -> None: ...  # noqa: D102
    def unobserve(self, handler: Any, names: Any = ...) -> None: ...  # noqa: D102
    def _places(self) -> Mapping[str, Sequence[int | str]]: ...


class Link:
    """Widgets with one selection. Made by `link`; ends with `unlink`, or for one of them when it is closed."""

    def __init__(self, widgets: Sequence[Linkable], on: tuple[str, ...] | None) -> None:
        self.widgets = list(widgets)
        self.on = on
        self._spreading = threading.local()
        for widget in self.widgets:
            widget._links.append(self)
            widget.observe(self._follow, names="selection")
        self._spread(self.widgets[0])

    def unlink(self) -> None:
        """Let each widget have its own selection again. What is selected stays."""
        for widget in list(self.widgets):
            self.drop(widget)

    def drop(self, widget: Linkable) -> None:
        """Let one widget go; the others stay linked."""
        if widget in self.widgets:
            self.widgets.remove(widget)
            widget._links.remove(self)
            widget.unobserve(self._follow, names="selection")

    def _follow(self, change: Any) -> None:
        """Spread what one widget selects; not again what it has spread, of which another may show only a part."""
        if getattr(self._spreading, "now", False):
            return
        self._spreading.now = True
        try:
            self._spread(change["owner"])
        finally:
            self._spreading.now = False

    def _spread(self, source: Linkable) -> None:
        """Give the others the selection of `source`, as far as they can show it. One that has it does nothing.

        A widget whose columns are heads for now, or positions of another prompt, shares only the layer.
        """
        for other in list(self.widgets):
            if other is source:
                continue
            wanted = {name: source.selection.get(name) for name in _shared(source, other, self.on)}
            if any(other.selection.get(name) != value for name, value in wanted.items()):
                other.select(**wanted)

    def __repr__(self) -> str:
        what = "what they have in common" if self.on is None else " and ".join(self.on)
        return f"Link({len(self.widgets)} widgets share {what})"


def _shared(a: Linkable, b: Linkable, on: tuple[str, ...] | None = None) -> list[str]:
    """Return the names of an address that mean the same in two pictures."""
    there, here = b._places(), a._places()
    return [
        name for name in here if (on is None or name in on) and name in there and list(here[name]) == list(there[name])
    ]


def link(*widgets: Any, on: str | Sequence[str] | None = None) -> Link:
    """Let two or more widgets share one selection, from Python and in the browser. The first one's counts at first.

    Parameters
    ----------
    *widgets
        Two or more, open. Their pictures may differ in shape: a head that is selected in one is selected in each that
        shows heads; what a picture cannot show, it ignores.
    on
        What is shared: ``"layer"``, ``"pos"``, ``"head"`` and the like, one or several; by default all that pictures
        have in common.

    Returns
    -------
    Link
        ``.unlink()`` ends it.

    Raises
    ------
    InputError
        If something is no widget, one is given twice or closed, their numbers of layers or positions differ, or no
        two of them have what `on` says.
    """
    for widget in widgets:
        if not isinstance(widget, Linkable):
            raise InputError.about(
                "widgets", type(widget).__name__, "widgets of this package are needed", "rw.link(a, b)"
            )
    if len({id(widget) for widget in widgets}) != len(widgets) or len(widgets) < 2:
        raise InputError.about("widgets", widgets, "two or more different ones are needed", "rw.link(a, b).")
    axes = [widget._places() for widget in widgets]
    known = list(dict.fromkeys(name for each in axes for name in each))
    common = [name for name in known if sum(name in each for each in axes) > 1]
    asked = common if on is None else [on] if isinstance(on, str) else list(on)
    if not asked or set(asked) - set(common):
        rule = f"{', '.join(common)} can be shared here" if common else "these pictures have nothing in common"
        raise InputError.about("on", on, rule, "Leave it out to share all that they have in common.")
    for name in asked:
        _refuse_other_sizes(name, [each[name] for each in axes if name in each], [n for n in common if n != name])
    return Link(widgets, None if on is None else tuple(asked))


def _refuse_other_sizes(name: str, axes: Sequence[Sequence[int | str]], others: Sequence[str]) -> None:
    """Refuse to share layers or positions of which pictures have other numbers: no selection means the same in all."""
    sizes = [len(axis) for axis in axes]
    if name in COUNTED and len(set(sizes)) > 1:
        share = f" Link what they share: rw.link(..., on={others[0]!r})." if others else ""
        raise InputError(
            f"These widgets have {', '.join(map(str, sizes[:-1]))} and {sizes[-1]} {COUNTED[name]}, so that no "
            f"selection means the same in all.{share}"
        )


COUNTED = {"layer": "layers", "pos": "positions"}
