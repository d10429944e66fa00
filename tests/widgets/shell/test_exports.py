"""What a widget leaves behind: files, and a picture in the cell's output for hosts without JavaScript."""

from __future__ import annotations

import base64
import json

import pytest


@pytest.fixture
def heatmap(llama_run):
    import resid_widgets as rw

    return rw.ActivationHeatmap(llama_run)


def test_the_output_has_the_widget_and_a_picture(heatmap):
    from resid_widgets.widgets.shell.cells import WIDGET_MIME

    data, _ = heatmap._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/png", WIDGET_MIME}
    assert data[WIDGET_MIME]["model_id"] == heatmap.model_id
    assert data["text/plain"].startswith("ActivationHeatmap(")
    assert "resid_post" in data["text/plain"]
    picture = base64.b64decode(data["image/png"], validate=True)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 100_000
    json.dumps(data)


def test_the_picture_is_drawn_when_asked_for_and_once_for_each_frame(heatmap, monkeypatch):
    from resid_widgets.widgets.shell import exports

    drawn, plain = [], exports.draw
    monkeypatch.setattr(exports, "draw", lambda *args, **more: (drawn.append(args[0]), plain(*args, **more))[1])
    assert drawn == []
    before = heatmap.result
    first = heatmap._repr_mimebundle_()[0]["image/png"]
    assert heatmap._repr_mimebundle_()[0]["image/png"] is first
    assert len(drawn) == 1
    heatmap.stat = "kurtosis"
    assert len(drawn) == 1
    assert heatmap._repr_mimebundle_()[0]["image/png"] != first
    assert len(drawn) == 2 and drawn[0] is before and drawn[1] is heatmap.result is not before


def test_a_picture_that_cannot_be_drawn_is_logged_and_the_widget_shows(heatmap, monkeypatch, caplog):
    from resid_widgets.widgets.shell import exports

    def broken(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(exports, "draw", broken)
    data, _ = heatmap._repr_mimebundle_()
    assert "image/png" not in data
    assert "no room" in caplog.text


def test_making_a_widget_draws_nothing(llama_run, monkeypatch):
    import resid_widgets as rw
    from resid_widgets.widgets.shell import exports

    monkeypatch.setattr(exports, "draw", None)
    rw.ActivationHeatmap(llama_run)
    rw.LogitLensHeatmap(llama_run)


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("csv", b"# ActivationMap of ")])
def test_files(heatmap, tmp_path, form, start):
    path = getattr(heatmap, f"to_{form}")(tmp_path / f"x.{form}")
    assert path.read_bytes().startswith(start)


def test_the_rest_is_the_results_own(heatmap):
    assert heatmap.to_dataframe().equals(heatmap.result.to_dataframe())
    assert heatmap.code() == heatmap.result.code()
    assert heatmap.plot().get_axes()
