"""What every analysis returns: labelled values, the checks they passed, and where they came from."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from resid_widgets.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

MOST_IDS = 512  # that a table's header states

Level = Literal["green", "amber", "red"]


@dataclass(frozen=True)
class Check:
    """One statement about a result that was tested, with what was found.

    Attributes
    ----------
    name
        Short identifier, e.g. ``"residual identity"``.
    level
        ``"green"`` holds, ``"amber"`` worth knowing, ``"red"`` the numbers must not be trusted.
    value
        What was measured (a gap, a count), or None.
    limit
        The bound that `value` was held against, or None.
    text
        The sentence a person reads.
    """

    name: str
    level: Level
    value: float | None
    limit: float | None
    text: str

    @classmethod
    def gap(cls, name: str, value: float, limit: float, text: str) -> Check:
        """Build a green check if ``value <= limit``, a red one otherwise (NaN is red)."""
        return cls(name, "green" if value <= limit else "red", value, limit, f"{text}, gap {value:.1g}")


@dataclass(frozen=True)
class Provenance:
    """Enough to say how a number came about, and to make it again."""

    model: str
    weights_hash: str
    token_ids: tuple[int, ...]
    bos: str
    dtype: str
    device: str
    versions: Mapping[str, str]
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """One line for the foot of a picture."""
        n = len(self.token_ids)
        return f"{self.model} · {n} token{'' if n == 1 else 's'} · {self.bos} · {self.dtype}"


@dataclass(frozen=True)
class Scale:
    """How values become colours. Part of the result, so that figure and widget cannot disagree.

    Attributes
    ----------
    kind
        ``"sequential"`` (viridis) or ``"diverging"`` (red above zero, blue below, centred on zero).
    low, high
        Limits in the values' unit. Values outside are drawn as over-range.
    under, over
        Whether an unmarked value lies below `low` / above `high`.
    label, units
        What the colour bar says.
    """

    kind: Literal["sequential", "diverging"]
    low: float
    high: float
    under: bool
    over: bool
    label: str
    units: str = ""


class Files:
    """What a figure and a table leave as files."""

    def plot(self) -> Figure:
        """Draw as a matplotlib figure."""
        raise NotImplementedError

    def to_dataframe(self) -> pd.DataFrame:
        """Return the numbers as a table."""
        raise NotImplementedError

    def about(self) -> Sequence[str]:
        """Return what the numbers of the table are and where they come from, a line each."""
        return ()

    def csv_text(self) -> str:
        """Return `about` as lines that begin with ``#``, and `to_dataframe` as CSV, texts in quotes.

        ``pd.read_csv(path, comment="#")`` reads it: what stands in quotes is no comment.
        """
        lines = [f"# {' '.join(line.split())}\n" for line in self.about()]
        return "".join(lines) + self.to_dataframe().to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)

    def to_csv(self, path: str | Path) -> Path:
        """Write `csv_text` in UTF-8 and return the path."""
        path = writable(path)
        path.write_text(self.csv_text(), encoding="utf-8", newline="")
        return path

    def to_png(self, path: str | Path, dpi: int = 150) -> Path:
        """Write the figure as PNG and return the path."""
        path = writable(path)
        self.plot().savefig(path, format="png", dpi=dpi, bbox_inches="tight")
        return path

    def to_svg(self, path: str | Path) -> Path:
        """Write the figure as SVG and return the path."""
        path = writable(path)
        self.plot().savefig(path, format="svg", bbox_inches="tight")
        return path


@dataclass(frozen=True, eq=False)
class Result(Files):
    """Base of all results. Subclasses are frozen dataclasses that add fields.

    Attributes
    ----------
    values
        The main numbers, ``xarray.DataArray`` with named dims, coords, ``units`` and ``long_name`` attributes.
    checks
        What was tested; see `Check`.
    provenance
        Model, tokens, options, versions; see `Provenance`.
    """

    values: xr.DataArray
    checks: tuple[Check, ...]
    provenance: Provenance

    def plot(self) -> Figure:
        """Draw as a matplotlib figure (never through pyplot)."""
        from resid_widgets.figures.draw import draw  # the one upward reach, see tests/test_layers.py

        return draw(self)

    def show(self) -> Any:
        """Open as a widget."""
        from resid_widgets.widgets.show import show  # the one upward reach, see tests/test_layers.py

        return show(self)

    def _repr_mimebundle_(self, **_: Any) -> Any:
        """Draw itself at the end of a notebook's cell; `print` and a terminal have the text."""
        from resid_widgets.widgets.show import bundle  # the one upward reach, see tests/test_layers.py

        return bundle(self)

    def _display_(self) -> Any:
        """Draw itself in marimo."""
        from resid_widgets.widgets.show import drawn  # the one upward reach, see tests/test_layers.py

        return drawn(self)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a cell: the dims, the non-index coords and the value."""
        name = self.values.name or self.values.attrs.get("long_name", "value")
        return self.values.rename(str(name)).to_dataframe().reset_index()

    def about(self) -> Sequence[str]:
        """Return what the numbers of the table are and where they come from, a line each."""
        source, named = self.provenance, self.values.attrs
        units = f" ({named['units']})" if named.get("units") else ""
        said = [f"{name}={value}" for name, value in source.options.items() if value is not None]
        return (
            f"{type(self).__name__} of {source.describe()}",
            f"values: {named.get('long_name', self.values.name)}{units}",
            f"options: {', '.join(said)}" + ("" if source.seed is None else f", seed={source.seed}"),
            f"weights {source.weights_hash} on {source.device}, token ids {_stated(source.token_ids)}",
            f"made with {', '.join(f'{name} {version}' for name, version in source.versions.items())}",
            *(f"[{check.level}] {check.text}" for check in self.checks),
        )

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained HTML file that still hovers with no kernel and no network."""
        widget = self.show()
        try:
            return widget.to_html(path)
        finally:
            widget.close()

    def __str__(self) -> str:
        lines = [f"{type(self).__name__} of {self.provenance.describe()}"]
        lines += [f"  [{c.level}] {c.text}" for c in self.checks]
        lines.append(self.to_dataframe().to_string(max_rows=20))
        return "\n".join(lines)

    __repr__ = __str__


def _stated(ids: Sequence[int]) -> str:
    """Return token ids; of many only the first."""
    more = f" ... ({len(ids)} in all)" if len(ids) > MOST_IDS else ""
    return " ".join(map(str, ids[:MOST_IDS])) + more


def in_title(text: str, most: int = 48) -> str:
    """Return a text as a title has it: cut between two words where it is long."""
    if len(text) <= most:
        return text
    cut = text[:most]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut[most // 2 :] else cut} …"


def writable(path: str | Path) -> Path:
    """Return `path` as a Path after checking that its folder exists.

    Raises
    ------
    InputError
        If the folder does not exist or `path` is a folder.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise InputError.about("path", str(path), "a file name is needed, this is a folder", "Add a file name.")
    if not path.parent.is_dir():
        raise InputError.about(
            "path", str(path), f"the folder {str(path.parent)!r} does not exist", "Create it first or write elsewhere."
        )
    return path
