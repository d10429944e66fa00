"""What CONTRIBUTING.md and docs/architecture.md say is there, is there, and does what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TOUR = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```\w+ title="(.+?)"\n(.*?)^```', re.DOTALL | re.MULTILINE)
BLOCKS = dict(BLOCK.findall(PAGE))
FILES = {name: text for name, text in BLOCKS.items() if "/" in name and not name.endswith(".pyi")}

MADE = """
import pytest
import resid_widgets as rw

@pytest.fixture(scope="session")
def mediation():
    return made()

def made():
    model = rw.load_model(progress=False)
    clean = "When Mary and John went to the store, John gave a drink to"
    corrupt = "When Mary and John went to the store, Mary gave a drink to"
    return rw.causal_mediation(model, clean, corrupt, rw.logit_diff(" Mary", " John"), rw.Site("resid_post", 2, pos=-1))
"""


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory, front_end_files: list[Path]) -> Path:
    """A copy of the checkout with the widget of CONTRIBUTING in it, its front-end built."""
    copy = tmp_path_factory.mktemp("example")
    for name in ("resid_widgets", "js", "tests"):
        unwanted = shutil.ignore_patterns("node_modules", "dist", "__pycache__", "browser")
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", copy)
    (copy / "js" / "node_modules").symlink_to(ROOT / "js" / "node_modules")
    assert len(FILES) == 4
    for name, text in FILES.items():
        path = copy / name
        assert not path.exists(), "the example needs no change in a file that is there"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (copy / "tests/widgets/effects/conftest.py").write_text(MADE, encoding="utf-8")
    with (copy / "resid_widgets" / "__init__.pyi").open("a", encoding="utf-8") as stub:
        (line,) = BLOCKS["resid_widgets/__init__.pyi"].strip().splitlines()
        stub.write(line + "\n")
    subprocess.run(["node", "build.mjs"], cwd=copy / "js", check=True)
    return copy


@pytest.mark.slow
def test_the_example_widget_passes_its_own_test_and_the_house_s(example: Path) -> None:
    files = [
        *(name for name in FILES if name.startswith("tests/")),
        "tests/test_layers.py",
        "tests/widgets/shell/test_front_end.py",
    ]
    chosen = "not built and not carries and not no_html"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *files]
    done = subprocess.run(command, cwd=example, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    types = subprocess.run(
        ["node_modules/.bin/tsc", "--noEmit"], cwd=example / "js", capture_output=True, text=True, check=False
    )
    assert types.returncode == 0, types.stdout


def test_the_example_statistic_is_drawn_like_the_others(tiny: object) -> None:
    import numpy as np

    import resid_widgets as rw
    from resid_widgets.analysis.maps import statistics

    run = rw.run(tiny, "When Mary and John went to the store")
    exec(compile(BLOCKS["statistic"], "CONTRIBUTING.md", "exec"), vars(statistics))  # noqa: S102 - it is ours
    try:
        found = rw.activation_map(run, "resid_post", "l1")
        assert "l1" in [option["value"] for option in rw.ActivationHeatmap(run).controls[1]["options"]]
    finally:
        del statistics.STATS["l1"]
    np.testing.assert_allclose(found.values, np.abs(run.residual("resid_post")).sum("d_model"), rtol=1e-5)
    assert "sum of sizes" in found.scale.label


def named(text: str) -> list[tuple[str, str]]:
    """Return the (file, name in it or "") pairs that a page writes as ``file`` or ``file:name``."""
    pattern = r"`((?:resid_widgets|js|tests|benchmarks|scripts|docs)/[\w./]+?\.(?:py|ts|css|md|mjs|pyi))(?::(\w+))?`"
    return re.findall(pattern, text)


@pytest.mark.parametrize("text", [PAGE, TOUR], ids=["CONTRIBUTING", "architecture"])
def test_every_file_and_function_that_is_named_exists(text: str) -> None:
    found = named(text)
    assert len(found) >= 3
    for file, name in found:
        assert (ROOT / file).is_file(), file
        defined = rf"\b(?:class|def|function|const|interface|get)\s+{name}\b|^\s+(?:readonly )?#?{name}\b.*[({{=]"
        source = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(defined, source, re.MULTILINE), f"{file} defines no {name}"


def test_the_check_of_names_finds_what_is_not_there() -> None:
    assert named("`resid_widgets/models/bare.py:nothing`") == [("resid_widgets/models/bare.py", "nothing")]
    with pytest.raises(AssertionError, match="defines no nothing"):
        test_every_file_and_function_that_is_named_exists("`resid_widgets/models/bare.py:nothing` " * 4)
