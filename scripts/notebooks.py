"""Run the lessons from top to bottom, each in a fresh kernel, and save their outputs (pictures, no widget state)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"


def execute(path: Path, timeout: int = 600, *, skip: str = "") -> nbformat.NotebookNode:
    """Return the notebook as it is after Run All in a fresh kernel; raises at the first cell that fails.

    `skip` is a tag: cells that bear it are left out.
    """
    notebook = nbformat.read(path, as_version=4)
    # Widget state would tie the file to a kernel that is gone, and large files are refused by hosts: pictures stay.
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        store_widget_state=False,
        skip_cells_with_tag=skip,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which change on every run
    return notebook


def main() -> None:
    """Run the named notebooks, or all of them."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    paths = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("[0-9]*.ipynb"))
    for path in paths:
        nbformat.write(execute(path.resolve()), path)
        print(f"ran {path}")


if __name__ == "__main__":
    main()
