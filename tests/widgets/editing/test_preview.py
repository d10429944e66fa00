"""An explorer in which nothing is changed shows what a click would do: exactly, and only while it is true."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.widgets.editing import preview as module
from resid_widgets.widgets.shell import cells
from resid_widgets.widgets.shell.exports import FALLBACK_DPI, draw

SENTENCE = "The girl near the dogs"
METRIC = rw.logit_diff(" is", " are")


@pytest.fixture
def explorer(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cells, "attended", lambda: True)
    widget = rw.AblationExplorer(rw.run(tiny, SENTENCE), METRIC)
    idle(widget)
    return widget


def idle(widget: Any) -> None:
    """Return when nothing is asked of the model any more."""
    assert widget._worker.wait(lambda key: True, 120)


def drawn(widget: Any) -> np.ndarray:
    heatmap = widget.frame["parts"]["heatmap"]
    return np.frombuffer(heatmap["data"], "<f4").reshape(heatmap["shape"])


def test_it_is_what_the_click_then_does(explorer: Any, page: Any) -> None:
    assert explorer.frame["title"] == "Ablation · preview"
    assert "Nothing is changed yet" in explorer.frame["sentence"] and "by mean" in explorer.frame["sentence"]
    effects = drawn(explorer).copy()
    assert np.abs(effects).max() > 0.01
    front = page(explorer)
    for layer, pos in ((0, 2), (2, 4)):
        explorer.select(layer, pos)
        told = {row["label"]: row["value"] for row in explorer.details["rows"]}
        assert any("by this click alone" in label for label in told)
        front.ask("edit", on=[[layer, pos]], off=[], drop=[])
        assert explorer.frame["title"] == "Ablation"
        assert explorer.result.after - explorer.result.before == pytest.approx(float(effects[layer, pos]), abs=1e-4)
        explorer.undo()
        idle(explorer)
        assert explorer.frame["title"] == "Ablation · preview"
        np.testing.assert_array_equal(drawn(explorer), effects)
    assert explorer.result.interventions == () and (explorer.result.values.values == 0).all()


def test_what_leaves_the_page_is_what_it_shows(explorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = explorer._preview.effects
    assert effects.title == explorer.frame["title"] and effects.sentence == explorer.frame["sentence"]
    assert explorer._fallback() == base64.b64encode(draw(effects, "png", FALLBACK_DPI, tight=False)).decode()
    _, _, table = explorer._file("csv")
    assert table.decode() == effects.csv_text()
    explorer.interventions = rw.zero(rw.Site("resid_post", 1, 2))
    assert explorer._file("csv")[2].decode() == explorer.result.csv_text() != effects.csv_text()
    drawn_again: list[bool] = []
    monkeypatch.setattr(cells, "late_picture", lambda changed=False: drawn_again.append(changed))
    explorer.how = "zero"
    explorer.undo()
    idle(explorer)
    assert explorer.frame["title"] == "Ablation · preview" and drawn_again == [True]


def test_another_way_to_click_has_another_preview(explorer: Any) -> None:
    before = drawn(explorer).copy()
    explorer.how = "zero"
    assert explorer.frame["title"] == "Ablation"  # the old one would be wrong
    idle(explorer)
    assert explorer.frame["title"] == "Ablation · preview" and "by zero" in explorer.frame["sentence"]
    assert np.abs(drawn(explorer) - before).max() > 0.01
    np.testing.assert_allclose(
        drawn(explorer), rw.ablation_sweep(explorer.run, METRIC, "resid_post", "zero", progress=False).values, rtol=1e-5
    )
    explorer.mode = "heads"
    idle(explorer)
    assert drawn(explorer).shape == (4, 4)
    found = rw.ablation_sweep(explorer.run, METRIC, "z", "zero", progress=False)
    np.testing.assert_allclose(drawn(explorer), found.values, rtol=1e-5, atol=1e-6)


def test_where_a_click_lacks_something_there_is_none(explorer: Any) -> None:
    explorer.how = "patch"
    idle(explorer)
    assert explorer.frame["title"] == "Ablation"
    explorer.source_prompt = "The girls near the dogs"
    idle(explorer)
    assert explorer.frame["title"] == "Ablation · preview"


def test_one_that_would_take_long_is_not_made(explorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    explorer.how = "zero"
    idle(explorer)
    assert explorer.frame["title"] == "Ablation" and explorer.status["state"] == "ready"


def test_it_makes_way_for_what_is_asked(explorer: Any, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The click is done first; the preview is begun again when it is undone."""
    real, begun = module.ablation_sweep, []
    front = page(explorer)

    def slow(*args: Any, **options: Any) -> Any:
        begun.append(len(explorer.interventions))
        if len(begun) == 1:
            front.post({"kind": "edit", "on": [[1, 1]], "off": [], "drop": []})
        return real(*args, **options)

    monkeypatch.setattr(module, "ablation_sweep", slow)
    explorer.how = "zero"
    idle(explorer)
    assert len(explorer.interventions) == 1 and explorer.frame["title"] == "Ablation"
    explorer.undo()
    idle(explorer)
    assert begun == [0, 0] and explorer.frame["title"] == "Ablation · preview"


def test_where_nobody_watches_none_is_made(tiny: Any) -> None:
    widget = rw.AblationExplorer(rw.run(tiny, SENTENCE), METRIC)
    idle(widget)
    assert widget.frame["title"] == "Ablation" and widget._preview is None


def test_closed_it_computes_nothing_more(explorer: Any) -> None:
    explorer.how = "zero"
    explorer.close()
    idle(explorer)
    assert explorer.closed and explorer._preview is None
