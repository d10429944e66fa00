"""Tables that were written as CSV, read again as the documentation says."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd


def table(source: Path | bytes) -> pd.DataFrame:
    """Return the table of a file, or of its content; the lines about it are left out."""
    content = source if isinstance(source, bytes) else source.read_bytes()
    return pd.read_csv(io.BytesIO(content), comment="#", keep_default_na=False, na_values=[""])


def about(source: Path) -> list[str]:
    """Return the lines about the table."""
    return [line[2:] for line in source.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
