"""How a widget leaves the page: everything its result can do, and the picture that a saved notebook keeps."""

from __future__ import annotations

import base64
import io
import logging
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from resid_widgets.errors import InputError
from resid_widgets.results import Files, writable
from resid_widgets.widgets.shell import cells
from resid_widgets.widgets.shell.page import write_whole
from resid_widgets.widgets.shell.widget import ShellWidget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FALLBACK_DPI = 80
MIME = {"png": "image/png", "svg": "image/svg+xml", "csv": "text/csv", "html": "text/html"}
_drawing = threading.Lock()  # matplotlib shares caches between figures


class Pictured(Files):
    """Has a picture for hosts that run no JavaScript, and for notebooks that are opened without a kernel."""

    _pictured: tuple[Any, str] | None = None

    def _shows(self) -> Any:
        """Return what is drawn: as long as it is equal, so is the picture."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Add the picture, where it does not get an output of its own."""
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if not bundle:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        drawn_later = cells.keeps_pictures() or getattr(self, "pending", False)
        picture = "" if drawn_later else self._fallback()
        return ({**data, "image/png": picture} if picture else data), metadata

    def _fallback(self) -> str:
        """Return the picture as base64 PNG, drawn when it is first asked for; "" if it cannot be drawn."""
        shows = self._shows()
        if self._pictured is None or self._pictured[0] != shows:
            drawn = shows if isinstance(shows, Files) else self
            try:
                picture = base64.b64encode(draw(drawn, "png", FALLBACK_DPI, tight=False)).decode("ascii")
            except Exception:
                log.exception("the picture for hosts without JavaScript could not be drawn")
                picture = ""
            self._pictured = (shows, picture)
        return self._pictured[1]


class Exports(Pictured, ShellWidget):
    """Delegates to the result that is drawn."""

    @property
    def result(self) -> Any:
        """The result that is drawn."""
        return self._open().result

    def plot(self) -> Figure:
        """Draw as a matplotlib figure."""
        return self.result.plot()

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a cell."""
        return self.result.to_dataframe()

    def code(self) -> str:
        """Return a short script that makes the same numbers with TransformerLens and PyTorch alone."""
        return self.result.code()

    def about(self) -> Sequence[str]:
        """Return what the numbers of the table are and where they come from, a line each."""
        return self.result.about()

    def to_png(self, path: str | Path, dpi: int = 150) -> Path:
        """Write the figure as PNG and return the path."""
        return self.result.to_png(path, dpi=dpi)

    def to_svg(self, path: str | Path) -> Path:
        """Write the figure as SVG and return the path."""
        return self.result.to_svg(path)

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained page that still hovers with no kernel and no network, and return the path.

        Raises
        ------
        InputError
            If the folder does not exist, or the widget is closed.
        """
        path = writable(path)
        return write_whole(path, self._page())

    def _file(self, form: str) -> tuple[str, str, bytes]:
        return as_file(form, self._open().frame["title"], self._shows(), self._page)

    def _shows(self) -> Files:
        return self.result


def as_file(form: str, title: str, shown: Files, page: Callable[[], str]) -> tuple[str, str, bytes]:
    """Return name, MIME type and content of an export of what is shown.

    Raises
    ------
    InputError
        If there is no such format.
    """
    if form not in MIME:
        raise InputError.about("format", form, "there is no such export", f"Use one of {', '.join(MIME)}.")
    if form == "html":
        data = page().encode("utf-8")
    elif form == "csv":
        data = shown.csv_text().encode("utf-8")
    else:
        data = draw(shown, form, 150)
    stem = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower()[:60] or "picture"
    return f"{stem}.{form}", MIME[form], data


def draw(shown: Files, form: str, dpi: int, *, tight: bool = True) -> bytes:
    """Return a figure as a file's content; not `tight` takes half the time."""
    buffer = io.BytesIO()
    with _drawing:
        shown.plot().savefig(buffer, format=form, dpi=dpi, bbox_inches="tight" if tight else None)
    return buffer.getvalue()
