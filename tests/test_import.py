"""`import resid_widgets` is quick and pulls in none of the heavy parts; every public name can then be had."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import resid_widgets as rw

HEAVY = (
    "torch",
    "transformer_lens",
    "transformers",
    "matplotlib",
    "numpy",
    "pandas",
    "xarray",
    "anywidget",
    "ipywidgets",
)


def in_fresh_python(code: str) -> dict:
    """Run `code`, which leaves its findings in `found`, in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json\nfound = {{}}\n{code}\nprint(json.dumps(found))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_import_loads_none_of_the_heavy_packages():
    found = in_fresh_python("import sys, resid_widgets\nfound['loaded'] = sorted(sys.modules)")
    assert "resid_widgets" in found["loaded"]
    assert not set(HEAVY) & set(found["loaded"])


def test_the_import_is_quick():
    code = "import time\nt = time.process_time()\nimport resid_widgets\nfound['s'] = time.process_time() - t"
    seconds = min(in_fresh_python(code)["s"] for _ in range(3))
    assert seconds < 0.3, f"import took {seconds:.2f} s of processor time"


@pytest.mark.parametrize("name", rw.__all__)
def test_every_public_name_exists(name):
    assert getattr(rw, name) is not None
    assert name in dir(rw)


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    # `models/run.py` holds `run`, `widgets/link.py` holds `link`, and so on: the public name is the function
    for name in ("run", "link", "activation_map", "logit_lens", "load_model"):
        assert callable(getattr(rw, name)), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        rw.no_such_name  # noqa: B018


def test_the_version_is_the_one_in_the_citation():
    from pathlib import Path

    citation = (Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {rw.__version__}\n" in citation


def test_the_first_probe_draws_nothing_from_pythons_generator():
    """What scikit-learn brings with it draws when it is imported."""
    found = in_fresh_python(
        "import random, numpy as np, resid_widgets as rw\n"
        "x, labels = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2\n"
        "before = random.getstate()\n"
        "rw.probe({0: x}, labels, groups=np.arange(20), folds=2, seeds=(0,), progress=False)\n"
        "found['same'] = random.getstate() == before"
    )
    assert found == {"same": True}
