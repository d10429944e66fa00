"""The layers of the package: imports only go downwards, and a few things are found nowhere at all.

Every module is parsed, so imports inside functions and under TYPE_CHECKING count as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "resid_widgets"

# From the bottom up. A module may import from its own layer and from those before it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "whole", "tokens", "attention_masks", "tables", "prompts"),
    ("sites", "held", "interventions", "colour", "results"),
    ("models",),
    ("spelling", "tasks"),
    ("analysis",),
    ("figures",),
    ("widgets",),
)
# A result finds its drawer and its widget by its type. These are the only reaches upwards, and only inside a function.
REACHES = {("results", "figures.draw"), ("results", "widgets.show")}
# Between two folders of a layer imports run one way (`circles`). Where it says so here, a folder may import no other
# folders of its layer but these; a file that stands directly in a layer is for all of them.
TOOLS = {"analysis": ("sweeps", "lens", "contributions"), "widgets": ("shell", "editing")}
# The most files that stand directly in a layer, `__init__` included.
MOST_FILES = {"analysis": 8, "models": 22, "widgets": 4}
LONGEST = 300  # lines of a source file or stylesheet
# The layers that may use the parts that draw. (Types for annotations are free: they are not imported at run time.)
DRAWING = {"matplotlib": "figures", "anywidget": "widgets", "ipywidgets": "widgets", "IPython": "widgets"}
BANNED_MODULES = (
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "matplotlib.pyplot",
    "pylab",
)
BANNED_CALLS = ("torch.load", "numpy.load", "np.load", "pandas.read_pickle", "pd.read_pickle", "eval", "exec")


@dataclass(frozen=True)
class Import:
    """One imported name. `module` imports `target`, a full dotted name."""

    module: str
    target: str
    line: int
    in_function: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def modules(root: Path) -> dict[str, Path]:
    """Return the modules of the package under `root`, by name relative to the package ("" is its ``__init__``)."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path) -> Iterator[Import]:
    """Yield every import of a module, wherever it stands."""

    def walk(node: ast.AST, in_function: bool, for_types: bool) -> Iterator[Import]:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(module, alias.name, node.lineno, in_function, for_types)
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    here = [PACKAGE, *module.split(".")] if module else [PACKAGE]
                    is_package = path.name == "__init__.py"
                    up = here[: len(here) - node.level + is_package]
                    base = ".".join([*up, base] if base else up)
                for alias in node.names:
                    yield Import(module, f"{base}.{alias.name}", node.lineno, in_function, for_types)
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for child in node.body:
                    yield from walk(child, in_function, True)
                for child in node.orelse:
                    yield from walk(child, in_function, for_types)
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                in_function = True
        for child in ast.iter_child_nodes(node):
            yield from walk(child, in_function, for_types)

    yield from walk(ast.parse(path.read_text(encoding="utf-8"), str(path)), False, False)


def own(target: str, known: dict[str, Path]) -> str | None:
    """Return the module of the package that an import target means, relative to the package; None if it is not ours."""
    if target != PACKAGE and not target.startswith(PACKAGE + "."):
        return None
    name = target.removeprefix(PACKAGE).removeprefix(".")
    while name and name not in known:  # `from resid_widgets.results import Check` means results
        name = name.rpartition(".")[0]
    return name


def top(module: str) -> str:
    """Return the first part of a dotted name."""
    return module.partition(".")[0]


def rank(module: str) -> int:
    """Return the layer of a module, counted from the bottom."""
    for n, names in enumerate(LAYERS):
        if top(module) in names:
            return n
    raise LookupError(f"{PACKAGE}/{top(module)} has no layer: name it in LAYERS of {Path(__file__).name}")


def upward(root: Path) -> list[Import]:
    """Return the imports that go to a higher layer and are not among the reaches named above."""
    known = modules(root)
    found = []
    for module, path in known.items():
        for item in imports(module, path):
            target = own(item.target, known)
            if target is None or module == "":
                continue
            if target == "":  # the package itself: only its version may be asked for
                if item.target != f"{PACKAGE}.__version__":
                    found.append(item)
            elif rank(target) > rank(module) and not (item.in_function and (module, target) in REACHES):
                found.append(item)
    return found


def cycles(root: Path) -> list[list[str]]:
    """Return the import cycles among the modules, the named reaches left out."""
    known = modules(root)
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        targets = {own(item.target, known) for item in imports(module, path)}
        graph[module] = {t for t in targets if t and t != module and (module, t) not in REACHES}
    return loops(graph)


def loops(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return a path for each way around in a graph; empty if there is none."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            found.append([*trail[trail.index(module) :], module])
        elif module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return found


def rooms(root: Path) -> dict[str, dict[str, set[str]]]:
    """Return, for each layer that is a folder, which of its rooms imports which: a folder, or a file outside one."""
    known = modules(root)
    found: dict[str, dict[str, set[str]]] = {}
    for module, path in known.items():
        layer, _, inside = module.partition(".")
        if not inside:
            continue
        room = found.setdefault(layer, {}).setdefault(top(inside), set())
        targets = {own(item.target, known) or "" for item in imports(module, path)}
        room |= {top(t.partition(".")[2]) for t in targets if t.startswith(f"{layer}.")} - {top(inside)}
    return found


def circles(root: Path) -> list[str]:
    """Return the circles of rooms."""
    return [f"{layer}: {' -> '.join(loop)}" for layer, graph in rooms(root).items() for loop in loops(graph)]


def visits(root: Path) -> list[str]:
    """Return the imports of another folder of the same layer that is no tool for others."""
    found = []
    for layer, graph in rooms(root).items():
        folders = {room for room in graph if (root / PACKAGE / layer / room).is_dir()}
        for room in sorted(folders if layer in TOOLS else ()):
            found += [f"{layer}.{room} imports {layer}.{t}" for t in graph[room] & folders - {*TOOLS[layer]}]
    return found


def outside_their_layer(root: Path) -> list[Import]:
    """Return the imports of drawing parts by a layer that must not draw."""
    return [
        item
        for module, path in modules(root).items()
        for item in imports(module, path)
        if not item.for_types and top(item.target) in DRAWING and rank(module) != rank(DRAWING[top(item.target)])
    ]


def banned(root: Path) -> list[str]:
    """Return what must not be in the package at all: pickles, pyplot, and code made from text."""
    found = []
    for module, path in modules(root).items():
        for item in imports(module, path):
            if any(item.target == name or item.target.startswith(name + ".") for name in BANNED_MODULES):
                found.append(str(item))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in BANNED_CALLS:
                found.append(f"{module}:{node.lineno} calls {ast.unparse(node.func)}")
    return found


def test_every_module_has_a_layer():
    known = modules(ROOT)
    assert len(known) > 10
    for module in known:
        if module:
            rank(module)


def test_imports_only_go_downwards():
    assert not upward(ROOT), "\n".join(map(str, upward(ROOT)))


def test_the_package_itself_imports_nothing_of_its_own():
    known = modules(ROOT)
    assert [item.target for item in imports("", known[""])] == ["lazy_loader"]


def test_the_reaches_upwards_are_all_used():
    known = modules(ROOT)
    used = {(m, own(item.target, known)) for m, path in known.items() for item in imports(m, path) if item.in_function}
    assert used >= REACHES


def test_there_are_no_import_cycles():
    assert not cycles(ROOT), cycles(ROOT)


def test_folders_of_a_layer_form_no_circle():
    assert {"models", "analysis", "figures", "widgets"} <= rooms(ROOT).keys()
    assert not circles(ROOT), circles(ROOT)


def test_methods_and_widgets_leave_each_other_alone():
    assert not visits(ROOT), visits(ROOT)


@pytest.mark.parametrize("layer", MOST_FILES)
def test_a_layer_is_folders(layer):
    files = [path.name for path in (ROOT / PACKAGE / layer).glob("*.py")]
    assert len(files) <= MOST_FILES[layer], files


def test_no_file_is_long():
    sources = [*(ROOT / PACKAGE).rglob("*.py"), *(p for p in front_end() if p.suffix in (".ts", ".css"))]
    long = {str(p.relative_to(ROOT)): n for p in sources if (n := len(p.read_text("utf-8").splitlines())) > LONGEST}
    assert len(sources) > 100
    assert not long, long


def test_only_the_drawing_layers_draw():
    assert not outside_their_layer(ROOT), "\n".join(map(str, outside_their_layer(ROOT)))


def test_no_pickle_no_pyplot_no_code_from_text():
    assert not banned(ROOT), "\n".join(banned(ROOT))


# What the checks above must catch, each in a package of its own.
FAULTS = {
    "upward": ("models/runs/run.py", "from resid_widgets.widgets.link import link", upward),
    "upward for types": ("colour.py", "if TYPE_CHECKING:\n    from resid_widgets.analysis import x", upward),
    "upward in a function": ("analysis/x.py", "def f():\n    from resid_widgets import figures", upward),
    "upward, relative": ("models/runs/run.py", "from ...widgets.link import link", upward),
    "the reach, but not in a function": ("results.py", "from resid_widgets.figures.draw import draw", upward),
    "through the package": ("models/runs/run.py", "import resid_widgets as rw", upward),
    "cycle": ("models/model.py", "from resid_widgets.models.runs.run import run", cycles),
    "circle of folders": ("models/loading/name.py", "from resid_widgets.models.runs.run import run", circles),
    "circle with a file": ("models/model.py", "from resid_widgets.models.runs import pass_", circles),
    "another method": ("analysis/maps/m.py", "from resid_widgets.analysis.probing.probe import probe", visits),
    "another widget": ("widgets/shell/base.py", "from resid_widgets.widgets.heatmaps import h", visits),
    "drawing below": ("analysis/x.py", "def f():\n    from matplotlib.figure import Figure", outside_their_layer),
    "widgets below": ("figures/draw.py", "import anywidget", outside_their_layer),
    "pickle": ("models/runs/run.py", "import pickle", banned),
    "pyplot": ("figures/draw.py", "from matplotlib import pyplot as plt", banned),
    "torch.load": ("models/runs/run.py", "import torch\nx = torch.load('f')", banned),
    "eval": ("colour.py", "eval('1')", banned),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_checks_find_what_they_look_for(fault, tmp_path):
    sound = {
        "__init__.py": "import lazy_loader",
        "results.py": "def f():\n    from resid_widgets.figures.draw import draw",
        "colour.py": "from resid_widgets.results import Scale",
        "figures/__init__.py": "",
        "figures/draw.py": "from resid_widgets.colour import x\nfrom matplotlib.figure import Figure",
        "models/__init__.py": "",
        "models/model.py": "from resid_widgets import __version__",
        "models/loading/__init__.py": "",
        "models/loading/name.py": "from resid_widgets.models.model import ResidualModel",
        "models/runs/__init__.py": "",
        "models/runs/run.py": "import resid_widgets.models.model\nimport resid_widgets.models.loading.name",
        "analysis/__init__.py": "",
        "analysis/x.py": "import resid_widgets.models\nif TYPE_CHECKING:\n    from matplotlib.figure import Figure",
        "analysis/sweeps/s.py": "import resid_widgets.analysis.x",
        "analysis/probing/probe.py": "import resid_widgets.analysis.sweeps.s",
        "analysis/maps/m.py": "",
        "widgets/__init__.py": "",
        "widgets/link.py": "import anywidget\nfrom resid_widgets.figures.draw import draw",
        "widgets/shell/base.py": "",
        "widgets/heatmaps/h.py": "import resid_widgets.widgets.shell.base",
    }
    file, code, check = FAULTS[fault]
    for name, text in sound.items():
        path = tmp_path / PACKAGE / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert not check(tmp_path)
    with (tmp_path / PACKAGE / file).open("a", encoding="utf-8") as end:
        end.write(code + "\n")
    assert check(tmp_path)


# --- the front-end -----------------------------------------------------------------------------------------------

# From the bottom up, what stands in js/lib; host.ts and the entries in js/widgets may import all of it.
JS_FOLDERS = ("dom", "wire", "canvas", "page", "parts")


def front_end() -> list[Path]:
    """Return the sources of the front-end."""
    js = ROOT / "js"
    return [*js.glob("*.ts"), *(path for name in ("lib", "widgets") for path in (js / name).rglob("*.*"))]


def upward_in_js(folders: dict[str, dict[str, str]]) -> list[str]:
    """Return the imports of a higher folder: `folders` has the text of each file by folder and name."""
    found = []
    for folder, files in folders.items():
        for name, text in files.items():
            for spec in re.findall(r"""(?:from|import)\s*\(?["'](\.\.?/[^"']+)["']""", text):
                target = spec.split("/")[-2] if spec.startswith("../") else folder
                if target not in JS_FOLDERS or JS_FOLDERS.index(target) > JS_FOLDERS.index(folder):
                    found.append(f"{folder}/{name} imports {spec}")
    return found


def test_the_front_end_imports_downwards():
    lib = ROOT / "js" / "lib"
    assert {path.name for path in lib.iterdir()} == set(JS_FOLDERS)
    texts = {f: {p.name: p.read_text("utf-8") for p in (lib / f).glob("*.ts")} for f in JS_FOLDERS}
    assert sum(map(len, texts.values())) > 30
    assert not upward_in_js(texts), upward_in_js(texts)
    assert upward_in_js({"wire": {"x.ts": 'import type { Menu } from "../page/menu";'}})
    assert not upward_in_js({"page": {"x.ts": 'import { h } from "../dom/dom";\nimport "./menu.css";'}})


NEVER_IN_JS = {
    "text drawn as HTML": r"\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc)\b|document\.write",
    "code made from text": r"\beval\s*\(|\bnew\s+Function\s*\(",
    "an address": r"https?://(?!www\.w3\.org/)",
}


def faults_in_js(text: str) -> list[str]:
    """Return what a script or stylesheet has that it must not have."""
    return [f"{what}: {m[0]!r}" for what, pattern in NEVER_IN_JS.items() for m in re.finditer(pattern, text)]


def test_the_built_front_end_draws_no_html_and_calls_nobody(front_end_files):
    faults = {
        p.name: faults_in_js(p.read_text(encoding="utf-8")) for p in front_end_files if p.suffix in (".js", ".css")
    }
    assert len(faults) >= 5
    assert not any(faults.values()), faults


def test_the_front_end_sources_draw_no_html():
    faults = {p.name: faults_in_js(p.read_text(encoding="utf-8")) for p in front_end() if p.suffix == ".ts"}
    assert faults
    assert not any(faults.values()), faults


@pytest.mark.parametrize(
    "code",
    ["el.innerHTML = t", "eval (t)", "new Function(t)", "fetch('https://example.org/x.js')", "document.write(t)"],
)
def test_the_front_end_check_finds_what_it_looks_for(code):
    assert faults_in_js(code)
    assert not faults_in_js("const svg = 'http://www.w3.org/2000/svg'; model.evaluate(t); retrieval(x)")
