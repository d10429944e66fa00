"""How a dashboard of probes leaves the page: figures, a table, and a page whose curves tell their numbers on hover."""

from __future__ import annotations

import base64
import html
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resid_widgets.analysis.probing.series import Series
from resid_widgets.figures.series import draw_series, hovering
from resid_widgets.results import Files, writable
from resid_widgets.widgets.shell.exports import as_file
from resid_widgets.widgets.shell.page import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ color: #1b1f24; font: 13px/1.45 system-ui, sans-serif; margin: 16px; }}
svg {{ height: auto; max-width: 100%; }}
.points circle {{ fill: transparent; pointer-events: all; }}
.points circle:hover {{ fill: rgb(11 107 203 / 18%); }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ border: 0; border-bottom: 1px solid #d9dee4; padding: 2px 10px; text-align: right; }}
th {{ color: #5d6670; font-weight: 600; }}
</style>
</head>
<body>
{svg}
<p>Hover over a point for its number.</p>
{table}
</body>
</html>
"""


class ProbeExports(Files):
    """What is drawn, as files."""

    def _figure(self, series: Sequence[Series]) -> Figure:
        """Draw one result as it draws itself, several in one panel."""
        first = series[0].result
        return first.plot() if all(each.result is first for each in series) else draw_series(series)

    def _write_page(self, path: str | Path, series: Sequence[Series]) -> Path:
        path = writable(path)
        return write_whole(path, self._html(series))

    def _exported(self, form: str, series: Sequence[Series]) -> tuple[str, str, bytes]:
        """Return name, MIME type and content of an export of what is shown."""
        title = f"Probes {' '.join(each.name for each in series)}"
        return as_file(form, title, self, lambda: self._html(series))

    def _html(self, series: Sequence[Series]) -> str:
        """Return the page with the curves and the table."""
        table = self.to_dataframe().to_html(index=False, float_format=lambda value: f"{value:.3f}", na_rep="", border=0)
        title = html.escape(f"Probes · {', '.join(each.name for each in series)}")
        return _PAGE.format(title=title, svg=hovering(self._figure(series), series), table=table)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Add a picture for hosts that show no ipywidgets, and for notebooks that are opened without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        picture = self._picture()
        if not bundle or not picture:
            return bundle
        if isinstance(bundle, tuple):
            return {**bundle[0], "image/png": picture}, bundle[1]
        return {**bundle, "image/png": picture}

    def _mime_(self) -> tuple[str, str]:
        """Give marimo, which shows no ipywidgets, the picture."""
        return "image/png", f"data:image/png;base64,{self._picture()}"

    def _picture(self) -> str:
        """Return the figure as base64 PNG; "" if it cannot be drawn."""
        buffer = io.BytesIO()
        try:
            self.plot().savefig(buffer, format="png", dpi=80)
        except Exception:
            log.exception("the picture for hosts without widgets could not be drawn")
            return ""
        return base64.b64encode(buffer.getvalue()).decode("ascii")
