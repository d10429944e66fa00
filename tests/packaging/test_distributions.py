"""What is shipped is complete, and works where there is no Node."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import hatch_build

ROOT = Path(__file__).parents[2]
HOW_TO_BUILD = "npm --prefix js ci && npm --prefix js run build"

pytestmark = pytest.mark.packaging


def package_files() -> dict[str, bytes]:
    """Return every file of the package, the built front-end included, by its path in the checkout."""
    files = [p for p in (ROOT / "resid_widgets").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return {p.relative_to(ROOT).as_posix(): p.read_bytes() for p in files}


@pytest.mark.usefixtures("sdist")
def test_the_package_has_what_must_be_shipped():
    names = set(package_files())
    assert {p.relative_to(ROOT).as_posix() for p in hatch_build.outputs(ROOT)} <= names
    assert any(n.startswith("resid_widgets/models/tiny/") and n.endswith(".safetensors") for n in names)
    assert {"resid_widgets/py.typed", "resid_widgets/__init__.pyi"} <= names


def test_the_wheel_is_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {n: archive.read(n) for n in archive.namelist() if ".dist-info/" not in n}
        about = [n for n in archive.namelist() if ".dist-info/" in n]
    assert shipped == package_files()
    assert any(n.endswith("/licenses/LICENSE") for n in about)


def test_the_sdist_has_the_package_and_its_sources(sdist):
    with tarfile.open(sdist) as archive:
        files = {m.name.partition("/")[2]: archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
        shipped = {name: file.read() for name, file in files.items() if file is not None}
    assert package_files().items() <= shipped.items()
    sources = {p.relative_to(ROOT).as_posix() for p in hatch_build.sources(ROOT)}
    assert sources | {"hatch_build.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= set(shipped)
    assert not [n for n in shipped if "node_modules" in n or (n.startswith(".") and n != ".gitignore")]


@pytest.mark.usefixtures("sdist")
def test_the_licences_of_the_bundled_parts_are_shipped():
    text = (ROOT / "resid_widgets" / "static" / "THIRD_PARTY_LICENSES.txt").read_text(encoding="utf-8")
    for part in ("d3-scale", "d3-interpolate", "d3-color", "d3-scale-chromatic"):
        assert part in text
    assert "Permission to use, copy, modify, and/or distribute this software" in text  # ISC


def test_a_checkout_is_installed_where_there_is_no_node(without_node, tmp_path):
    """As `pip install .` does it: the build fetches a Node for itself and compiles the front-end."""
    ignore = shutil.ignore_patterns(".*", "static", "node_modules", "dist", "__pycache__", "*.safetensors")
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=ignore)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, tmp_path / "checkout"]
    done = subprocess.run(command, cwd=tmp_path, env=without_node, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode and re.search("No matching distribution found|npm error code E(NOTFOUND|AI_AGAIN|CONN)", said):
        pytest.skip("needs the package indexes of Python and of Node, and they are out of reach")
    assert done.returncode == 0, said
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        shipped = set(archive.namelist())
    assert {p.relative_to(ROOT).as_posix() for p in hatch_build.outputs(ROOT)} <= shipped


def test_the_installed_wheel_builds_every_widget_without_node(bare_python, each_widget, tmp_path):
    found = each_widget(bare_python, tmp_path)
    assert Path(found["file"]).is_relative_to(bare_python.parents[1])
    assert {"ActivationHeatmap", "LogitLensHeatmap"} <= set(found["esm"])
    for name, esm in found["esm"].items():
        assert HOW_TO_BUILD not in esm, name
        assert "export" in esm, name
    assert found["checks"] > 0


def test_a_checkout_that_is_not_built_imports_and_its_widgets_say_how_to_build(each_widget, tmp_path):
    ignore = shutil.ignore_patterns("static", "__pycache__")
    shutil.copytree(ROOT / "resid_widgets", tmp_path / "resid_widgets", ignore=ignore)
    found = each_widget(Path(sys.executable), tmp_path)  # `python -c` looks in its folder first
    assert Path(found["file"]).is_relative_to(tmp_path)
    assert {"ActivationHeatmap", "LogitLensHeatmap"} <= set(found["esm"])
    for name, esm in found["esm"].items():
        assert HOW_TO_BUILD in esm, name
