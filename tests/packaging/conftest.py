"""The wheel and the sdist, each built once, and an environment that has nothing but the wheel and its dependencies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

import hatch_build

ROOT = Path(__file__).parents[2]

# Says what there is, in the words of the installed package: run by an interpreter that knows nothing of the checkout.
EACH_WIDGET = """
import json, shutil, sys
assert shutil.which("node") is None and shutil.which("npm") is None
import anywidget
import resid_widgets as rw
public = {name: getattr(rw, name) for name in rw.__all__}
widgets = {n: c for n, c in public.items() if isinstance(c, type) and issubclass(c, anywidget.AnyWidget)}
run = rw.run(rw.load_model(progress=False), [1, 2, 3, 4])
pair = {"corrupt": [*run.token_ids[:-1], 0], "metric": rw.logit_diff(1, 2)}
made = {n: c(run, **(pair if n == "PatchingHeatmap" else {})) for n, c in widgets.items()}
print(json.dumps({"file": rw.__file__, "esm": {n: str(w._esm) for n, w in made.items()}, "checks": len(run.checks)}))
"""


def call(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it printed; what it complained of becomes the failure's text."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def without_node(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose PATH has a shell and no Node, and in which Python sees no other folder than its own."""
    programs = tmp_path_factory.mktemp("programs")
    (programs / "sh").symlink_to(str(shutil.which("sh")))
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return env | {"PATH": str(programs)}


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of this checkout; packing it brings the front-end up to date."""
    if not hatch_build.is_fresh(ROOT) and not hatch_build.node_on_path():
        pytest.skip("the front-end is not built, or older than its sources: make front-end")
    folder = tmp_path_factory.mktemp("sdist")
    call(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, without_node: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the unpacked sdist on a machine without Node."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(sdist, folder, filter="data")
    (source,) = folder.iterdir()
    build = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, source)
    call(*build, cwd=folder, env=without_node)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def bare_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel, and borrows only the dependencies from the environment of the tests."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel)
    call(*pip, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    # After the wheel's own folder on the path; the .pth files in there (the checkout's) are not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="session")
def each_widget(without_node: dict[str, str]) -> Callable[[Path, Path], dict]:
    """Build every widget with the given interpreter, in the given folder."""

    def report(python: Path, cwd: Path) -> dict:
        return json.loads(call(python, "-c", EACH_WIDGET, cwd=cwd, env=without_node).splitlines()[-1])

    return report
