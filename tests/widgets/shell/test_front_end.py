"""The two halves of a widget: file for file, trait for trait, and a stub where one half is not built."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
WIDGETS = sorted(path.stem for path in (ROOT / "js" / "widgets").glob("*.ts"))


def classes() -> dict[str, type]:
    """Return the widget classes by the name of their front-end."""
    import importlib

    import anywidget

    for path in (ROOT / "resid_widgets" / "widgets").rglob("[!_]*.py"):  # also in folders without an __init__.py
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found: dict[str, type] = {}
    waiting = [anywidget.AnyWidget]
    while waiting:
        each = waiting.pop()
        waiting += each.__subclasses__()
        if "FRONT_END" in vars(each):
            found[each.FRONT_END] = each
    return found


def model_keys() -> dict[str, bool]:
    """Return the keys of the `Model` that the front-end works with, and whether every widget must have each."""
    source = (ROOT / "js" / "lib" / "wire" / "model.ts").read_text(encoding="utf-8")
    body = re.search(r"export interface Model [^{]*\{(.*?)\n\}", source, re.DOTALL)
    assert body
    return {name: not mark for name, mark in re.findall(r"^  (\w+)(\??):", body[1], re.MULTILINE)}


def test_each_widget_has_both_halves():
    assert WIDGETS
    assert sorted(classes()) == WIDGETS


@pytest.mark.parametrize("widget", WIDGETS)
def test_the_synced_traits_are_the_keys_of_the_model_in_typescript(widget):
    import anywidget

    own = {name for name, trait in classes()[widget].class_traits(sync=True).items() if not name.startswith("_")}
    own -= set(anywidget.AnyWidget.class_traits(sync=True))
    assert own <= set(model_keys())
    assert own >= {name for name, needed in model_keys().items() if needed}


def test_a_missing_front_end_says_how_to_build_it(tmp_path, monkeypatch):
    from resid_widgets.widgets.shell import front_end

    monkeypatch.setattr(front_end, "STATIC", tmp_path)
    script, style = front_end.front_end("activation_heatmap")
    assert "npm --prefix js ci && npm --prefix js run build" in script
    assert "export default" in script
    assert "innerHTML" not in script
    assert style == ""
    with pytest.raises(FileNotFoundError, match="not built"):
        front_end.built(tmp_path / "host.js")


def test_a_rebuilt_front_end_is_read_again(tmp_path, monkeypatch):
    import os

    from resid_widgets.widgets.shell import front_end

    monkeypatch.setattr(front_end, "STATIC", tmp_path)
    (tmp_path / "x.css").write_text("")
    (tmp_path / "x.js").write_text("one")
    assert front_end.front_end("x")[0] == "one"
    assert front_end.front_end("x")[0] is front_end.front_end("x")[0]  # one string for all widgets
    (tmp_path / "x.js").write_text("two")
    os.utime(tmp_path / "x.js", ns=(1, 1))
    assert front_end.front_end("x")[0] == "two"


@pytest.mark.parametrize("widget", WIDGETS)
def test_a_widget_carries_its_front_end(widget, front_end_files, llama_run):
    import resid_widgets as rw

    metric = rw.logit_diff(1, 2)
    source, more = llama_run, {}
    if widget == "patching_heatmap":
        more = {"corrupt": [*llama_run.token_ids[:-1], 0], "metric": metric}
    elif widget == "grid_heatmap":
        source = rw.ablation_sweep(llama_run, metric, "attn_out", "mean", progress=False)
    if widget == "probe_panel":
        random, labels = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2
        made = rw.ProbeCurves(rw.probe({0: random}, labels=labels, groups=np.arange(40), folds=2))._panel
    else:
        made = classes()[widget](source, **more)
    static = ROOT / "resid_widgets" / "static"
    assert made._esm == (static / f"{widget}.js").read_text(encoding="utf-8")
    assert made._css == (static / f"{widget}.css").read_text(encoding="utf-8")
