"""The built front-end as text: never missing at import, never a path that a host would have to reach."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import ClassVar

import anywidget
import traitlets as t

STATIC = Path(__file__).parents[2] / "static"
HOW_TO_BUILD = "The front-end is not built. Run: npm --prefix js ci && npm --prefix js run build"
_STUB = """export default {
  render({ el }) {
    const note = document.createElement("p");
    note.setAttribute("role", "alert");
    note.textContent = "%s";
    el.append(note);
  },
};
"""


class FrontEndWidget(anywidget.AnyWidget):
    """A widget that carries the built front-end of its name."""

    FRONT_END: ClassVar[str]

    _esm = t.Unicode().tag(sync=True)
    _css = t.Unicode().tag(sync=True)

    @t.default("_esm")
    def _script(self) -> str:
        return front_end(self.FRONT_END)[0]

    @t.default("_css")
    def _style(self) -> str:
        return front_end(self.FRONT_END)[1]


def front_end(name: str) -> tuple[str, str]:
    """Return script and stylesheet of a widget; a module that says how to build, where they are not built.

    Parameters
    ----------
    name
        File name of the widget in ``js/widgets``, without ending.

    Returns
    -------
    tuple of str
        An ES module with a default export for anywidget, and CSS.
    """
    script, style = STATIC / f"{name}.js", STATIC / f"{name}.css"
    if not (script.is_file() and style.is_file()):
        return _STUB % HOW_TO_BUILD, ""
    return built(script), built(style)


def built(path: Path) -> str:
    """Return the text of a built file: one string for all widgets, read again when the file changes.

    Raises
    ------
    FileNotFoundError
        Saying how to build it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: {HOW_TO_BUILD}")
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _read(path: Path, changed: int) -> str:
    return path.read_text(encoding="utf-8")
