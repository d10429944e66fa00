"""The exported page: one file, nothing from outside, and no token that could end its scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest


def script(text: str, name: str) -> str:
    (found,) = re.findall(rf'<script id="{name}" type="application/json">(.*?)</script>', text, re.DOTALL)
    return found


def state(text: str) -> dict[str, Any]:
    return json.loads(script(text, "rw-state"))


def floats(value: dict[str, str]) -> Any:
    return np.frombuffer(base64.b64decode(value["__buffer__"]), "<f4")


@pytest.fixture
def page_text(front_end_files, words, tmp_path) -> str:
    import resid_widgets as rw

    return rw.LogitLensHeatmap(words, layer=1, pos=3).to_html(tmp_path / "lens.html").read_text(encoding="utf-8")


def test_the_page_holds_the_whole_model(page_text, words):
    import resid_widgets as rw

    traits, lens = state(page_text), rw.logit_lens(words)
    assert traits["offline"] is True
    assert traits["selection"] == {"layer": 1, "pos": 3}
    assert np.array_equal(floats(traits["frame"]["parts"]["heatmap"]["data"]).reshape(4, 10), lens.values.values)
    assert traits["planes"]["labels"] == ["entropy, nats", "KL(final || lens), nats"]
    planes = floats(traits["planes"]["data"]).reshape(traits["planes"]["shape"])
    assert np.array_equal(planes[..., 0], lens.entropy.values)
    assert len(traits["planes"]["formats"]) == 2
    assert "render" in json.loads(script(page_text, "rw-esm"))


def test_nothing_comes_from_outside(page_text):
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'<)\\]*", page_text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses
    assert not re.search(r"<(script|link|img)[^>]*\b(src|href)=", page_text)
    assert "default-src 'none'" in page_text


def test_only_the_host_script_may_run(page_text):
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)' blob:", page_text)
    (host,) = re.findall(r"<script>(.*?)</script>", page_text, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(host.encode()).digest()).decode() == allowed


def test_a_hostile_token_stays_a_text(page_text):
    assert "<script>alert(1)</script>" in state(page_text)["frame"]["parts"]["heatmap"]["tokens"]
    assert page_text.count("<script") == page_text.count("</script") == 3
    assert "<" not in script(page_text, "rw-state")
    assert "alert(1)</" not in page_text


def test_a_hostile_title_is_escaped(front_end_files):
    from resid_widgets.widgets.shell.page import page

    text = page("activation_heatmap", "</title><script>alert(1)</script>", {"frame": None})
    assert "<title>&lt;/title&gt;&lt;script&gt;" in text


def test_a_large_picture_is_in_the_page_but_its_panels_are_not(front_end_files, llama_run, tmp_path, monkeypatch):
    import resid_widgets as rw
    from resid_widgets.widgets.shell import frame, panel

    monkeypatch.setattr(frame, "TRAIT_LIMIT", 16)
    monkeypatch.setattr(panel, "PLANES_LIMIT", 6 * 4 * 28 - 1)
    widget = rw.ActivationHeatmap(llama_run)
    traits = state(widget.to_html(tmp_path / "a.html").read_text(encoding="utf-8"))
    assert np.array_equal(
        floats(traits["frame"]["parts"]["heatmap"]["data"]).reshape(4, 7), widget.result.values.values
    )
    assert traits["planes"] is None
    monkeypatch.setattr(panel, "PLANES_LIMIT", 6 * 4 * 28)
    planes = state(widget.to_html(tmp_path / "a.html").read_text(encoding="utf-8"))["planes"]
    assert planes["shape"] == [4, 7, 6]
    norms = floats(planes["data"]).reshape(4, 7, 6)[..., planes["labels"].index("norm")]
    assert np.array_equal(norms, widget.result.values.values)


def test_a_result_writes_the_same_page_and_leaves_no_widget(front_end_files, llama_run, tmp_path):
    from ipywidgets.widgets.widget import _instances

    import resid_widgets as rw

    before = len(_instances)
    path = rw.activation_map(llama_run).to_html(tmp_path / "a.html")
    assert state(path.read_text(encoding="utf-8"))["planes"]["labels"] == ["norm"]
    assert len(_instances) == before


def test_a_bad_path_is_refused_before_any_work(llama_run, tmp_path, monkeypatch):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run)
    monkeypatch.setattr(type(widget), "_page", None)
    for path in (tmp_path / "none" / "a.html", tmp_path):
        with pytest.raises(rw.InputError, match="folder"):
            widget.to_html(path)


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    from pathlib import Path

    from resid_widgets.widgets.shell.page import write_whole

    target = tmp_path / "a.html"
    target.write_text("old")

    def broken(self: Path, *_: Any, **__: Any) -> None:
        self.touch()
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", broken)
        with pytest.raises(OSError, match="disk full"):
            write_whole(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    assert write_whole(target, "new").read_text() == "new"


def test_without_a_built_front_end_the_page_says_how_to_build(llama_run, tmp_path, monkeypatch):
    import resid_widgets as rw
    from resid_widgets.widgets.shell import page

    monkeypatch.setattr(page, "STATIC", tmp_path)
    with pytest.raises(FileNotFoundError, match="npm --prefix js run build"):
        rw.ActivationHeatmap(llama_run).to_html(tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []
