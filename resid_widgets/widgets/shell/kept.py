"""The pictures that a saved notebook keeps, each in an output of its own, right behind its widget's.

Once a notebook is trusted, Jupyter takes a widget's own MIME type before any picture in the same output, and where the
kernel is gone it says "model not found". So the picture is HTML beside the widget: the live view hides it
(``js/lib/page/kept.ts``), its style hides what a host says in place of a view, and pages without JavaScript show it.
It is drawn when the widget is on the screen already: at the end of the cell, and again at the end of a later cell where
the widget has changed since.
"""

from __future__ import annotations

import html
import uuid
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ipywidgets import Widget

ATTRIBUTE = "data-rw-kept"
# In place of a view that they do not have, JupyterLab and Notebook show a line of text, with no element around it.
_STYLE = (
    f"<style>.jp-OutputArea-child:has(+ .jp-OutputArea-child [{ATTRIBUTE}]) > .lm-Panel:not(:has(*)) {{display: none}}"
    f"[{ATTRIBUTE}] img {{max-width: 100%}}</style>"
)


@dataclass(eq=False)
class _Picture:
    """An output that stands for the live one of a widget."""

    display: str
    widget: weakref.ref[Widget]
    drawn: tuple[str, ...] | None = None


class Kept:
    """The pictures of one shell's page.

    Parameters
    ----------
    publish
        Sends a display, as IPython's ``DisplayPublisher.publish`` does.
    parts
        Returns a widget and all that are drawn with it.
    """

    def __init__(self, publish: Callable[..., None], parts: Callable[[Widget], Iterable[Any]]) -> None:
        self._publish, self._parts = publish, parts
        self._pictures: dict[str, _Picture] = {}

    def show(self, widget: Widget, display: str | None = None, update: bool = False) -> None:
        """Make the place for the picture of a widget that was displayed just now, or that another took the place of.

        Nothing is drawn yet; what has no picture, as a slider, gets no place.
        """
        name = f"rw-kept-{display or uuid.uuid4().hex}"
        if update and name not in self._pictures:
            return
        if not self._widgets(widget):
            if self._pictures.pop(name, None) is not None:
                self._send(name, "", update=True)
            return
        self._pictures[name] = _Picture(name, weakref.ref(widget))
        self._send(name, "", update=update)

    def draw(self, changed: bool = False) -> None:
        """Draw what is displayed and was not drawn; with `changed` also what looks different since."""
        for picture in list(self._pictures.values()):
            widget = picture.widget()
            widgets = [] if widget is None or widget.comm is None else self._widgets(widget)
            if not widgets:
                del self._pictures[picture.display]
            elif any(part.pending for part in widgets):
                continue  # drawn when it is there
            elif changed or picture.drawn is None:
                drawn = tuple(each._fallback() for each in widgets)
                if picture.drawn != drawn:
                    picture.drawn = drawn
                    self._send(picture.display, self._html(widget, widgets, drawn), update=True)

    def _widgets(self, widget: Widget) -> list[Any]:
        """Return what has a picture among a widget and all that are drawn with it."""
        return [part for part in self._parts(widget) if hasattr(part, "_fallback") and not part.closed]

    def _html(self, widget: Any, widgets: list[Any], drawn: tuple[str, ...]) -> str:
        names = " ".join(part.kept for part in self._parts(widget) if hasattr(part, "kept"))
        images = [
            f'<img alt="{html.escape(repr(each))}" src="data:image/png;base64,{picture}">'
            for each, picture in zip(widgets, drawn, strict=True)
            if picture
        ]
        return f'<div {ATTRIBUTE}="{names}">{"".join(images)}</div>{_STYLE}'

    def _send(self, display: str, text: str, update: bool) -> None:
        data = {"text/html": text}
        self._publish(data, transient={"display_id": display}, update=update)
        data.clear()  # IPython may keep a record of displays, which must not keep the pictures
