"""How a dashboard of probes leaves the page: figures, a table, and a page whose curves tell their numbers on hover."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resid_widgets.analysis.probing.series import Series
from resid_widgets.figures.series import draw_series, hovering
from resid_widgets.results import writable
from resid_widgets.widgets.shell.exports import Pictured, as_file
from resid_widgets.widgets.shell.page import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


class ProbeExports(Pictured):
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

    def _mime_(self) -> tuple[str, str]:
        """Give marimo, which shows no ipywidgets, the picture."""
        return "image/png", f"data:image/png;base64,{self._fallback()}"
