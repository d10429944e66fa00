"""A result at the end of a cell draws itself: its widget where there is one, else its figure with its table."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from resid_widgets.widgets.shell.shown import WIDGET_MIME
from tests.kernel.conftest import Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

START = """
def drawn(result):
    data, _ = get_ipython().display_formatter.format(result)
    return data
metric = rw.logit_diff(3, 4)
"""
WITH_WIDGETS = {
    "activation_map": ("rw.activation_map(run)", "ActivationHeatmap"),
    "logit_lens": ("rw.logit_lens(run)", "LogitLensHeatmap"),
    "ablation_sweep": ("rw.ablation_sweep(run, metric, progress=False)", "GridHeatmap"),
    "patch_sweep": (
        "rw.patch_sweep(model, [1, 5, 9, 20, 33, 4, 60], [2, 5, 9, 20, 33, 4, 60], metric, progress=False)",
        "PatchingHeatmap",
    ),
    "probe": (
        "rw.probe({0: [[0.0, 1.0], [1.0, 0.5], [0.2, 0.1]] * 12}, labels=[0, 1, 0] * 12, folds=2, progress=False)",
        "ProbeCurves",
    ),
}


@pytest.fixture(scope="module")
def started(kernel: Kernel) -> Kernel:
    kernel.run(START)
    return kernel


@pytest.mark.parametrize(("code", "widget"), WITH_WIDGETS.values(), ids=WITH_WIDGETS.keys())
def test_it_is_its_widget(started: Kernel, code: str, widget: str) -> None:
    started.run(f"data = drawn({code})", cell="result")
    told = started.run(
        f"tell(mimes=sorted(data), text=data['text/plain'], "
        f"widget=type(registry._instances[data[{WIDGET_MIME!r}]['model_id']]).__name__)"
    )
    found = json.loads(told)
    assert found["widget"] == widget
    assert found["mimes"] == sorted([WIDGET_MIME, "text/plain"])
    assert found["text"].startswith(code[3:].partition("(")[0].title().replace("_", ""))


def test_one_without_a_widget_is_its_figure_with_its_table(started: Kernel) -> None:
    pair = "model, [1, 5, 9, 20, 33, 4, 60], [2, 5, 9, 20, 33, 4, 60]"
    code = f"rw.causal_mediation({pair}, metric, rw.Site('attn_out', 1), progress=False)"
    started.run(f"data = drawn({code})", cell="result")
    found = json.loads(started.run("tell(mimes=sorted(data), page=data['text/html'])"))
    assert found["mimes"] == ["text/html", "text/plain"]
    assert found["page"].count("<img ") == 1 and "base64,iVBOR" in found["page"]
    assert "<summary>Table</summary><table" in found["page"]


def test_its_widget_is_closed_when_the_cell_runs_again(started: Kernel) -> None:
    count = "tell(open=sum(isinstance(w, rw.ActivationHeatmap) for w in registry._instances.values()))"
    started.run("rw.activation_map(run)", cell="again")
    before = json.loads(started.run(count))
    for _ in range(3):
        started.run("rw.activation_map(run)", cell="again")
    assert json.loads(started.run(count)) == before
    started.run("1", cell="again")
    assert json.loads(started.run(count))["open"] == before["open"] - 1


def test_print_is_text(started: Kernel) -> None:
    assert started.run("print(rw.activation_map(run))").startswith("ActivationMap of ")


def test_a_terminal_has_the_text() -> None:
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import resid_widgets as rw\n"
        "from tests.architectures import build\n"
        "run = rw.run(rw.load_model((build('llama'), None), progress=False), [1, 2, 3])\n"
        "print(sorted(InteractiveShell.instance().display_formatter.format(rw.activation_map(run))[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['text/plain']"
