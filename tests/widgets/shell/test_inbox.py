"""Messages and their answers, and the order in which a widget's thread takes what page and Python ask for."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from resid_widgets.widgets.shell.inbox import logged
from tests.widgets.pictures import shown

SOON = 120.0  # seconds that nothing here comes near, unless something hangs


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [None, [], "select", 3, {}, {"kind": "fly"}, {"kind": "select"}, {"kind": "set", "name": 3, "value": 1}]
)
def test_a_message_that_makes_no_sense_is_answered_with_an_error(heatmap, page, content):
    front = page(heatmap)
    front.post(content)
    (answer, _) = front.custom[-1]
    assert answer["kind"] == "error"
    assert "not understood" in answer["text"]
    assert heatmap.status["state"] == "error"


def test_an_unexpected_error_reaches_browser_and_log_and_the_next_click_works(heatmap, page, monkeypatch, caplog):
    front = page(heatmap)
    with monkeypatch.context() as patch:
        patch.setattr(type(heatmap), "_details", lambda *_: 1 / 0)
        answer, _ = front.ask("select", at={"layer": 0, "pos": 0})
    assert (answer["kind"], answer["text"]) == ("error", "ZeroDivisionError: division by zero")
    assert heatmap.status["state"] == "error"
    assert "Traceback" in heatmap.status["detail"]
    assert "ZeroDivisionError" in caplog.text
    answer, _ = front.ask("select", at={"layer": 0, "pos": 0})
    assert answer["kind"] == "done"
    assert heatmap.status["state"] == "ready"


def test_a_long_traceback_is_told_by_its_head_and_its_end():
    def deep(levels: int) -> float:
        return 1 / 0 if not levels else other(levels)

    def other(levels: int) -> float:  # two in turn: a single one's frames would be told as repeated
        return deep(levels - 1)

    with pytest.raises(ZeroDivisionError) as caught:
        deep(100)
    _, detail = logged(caught.value)
    assert len(detail) < 4300
    assert detail.startswith("Traceback (most recent call last):")
    assert detail.endswith("ZeroDivisionError: division by zero\n")


def test_an_observers_error_is_shown_and_the_other_observers_are_told(heatmap, page, caplog):
    told = []

    def broken(_: Any) -> None:
        raise RuntimeError("my own mistake")

    heatmap.observe(broken, "layer")
    heatmap.observe(lambda change: told.append(change["new"]), "pos")
    answer, _ = page(heatmap).ask("select", at={"layer": 1, "pos": 3})
    assert (answer["kind"], told) == ("error", [3])
    assert "my own mistake" in answer["text"]
    assert "my own mistake" in caplog.text
    with pytest.raises(RuntimeError, match="my own mistake"):
        heatmap.layer = 2
    assert heatmap.layer == 2


def test_only_python_writes_traits(heatmap):
    import traitlets

    for name, value in (
        ("frame", {}),
        ("details", {}),
        ("controls", []),
        ("status", {}),
        ("offline", True),
        ("planes", {}),
    ):
        with pytest.raises(traitlets.TraitError, match="read-only"):
            setattr(heatmap, name, value)


def test_state_from_the_browser_is_not_taken(heatmap, page):
    front, frame = page(heatmap), heatmap.frame
    state = {"selection": {"layer": 2}, "frame": {}, "offline": True, "status": {}, "_esm": "evil", "tooltip": "mine"}
    front.comm.callback({"content": {"data": {"method": "update", "state": state}}, "buffers": []})
    assert (heatmap.layer, heatmap.offline, heatmap.status["state"]) == (None, False, "ready")
    assert heatmap.frame is frame
    assert "evil" not in heatmap._esm
    assert heatmap.tooltip == "mine"


def test_a_large_picture_is_fetched_by_message(llama_run, page, monkeypatch):
    import resid_widgets as rw
    from resid_widgets.widgets.shell import frame

    monkeypatch.setattr(frame, "TRAIT_LIMIT", 16)
    widget = rw.LogitLensHeatmap(llama_run)
    front = page(widget)
    assert front.comm.opened["buffers"] == []
    assert shown(widget)["data"] is None
    answer, buffers = front.ask("frame", frame_id=widget.frame["id"])
    assert answer["names"] == widget.frame["buffers"]
    assert [len(buffer) for buffer in buffers] == [4 * 28, 4 * 28, 4 * 28 * 5, 4 * 28 * 5]
    assert np.array_equal(np.frombuffer(buffers[0], "<f4").reshape(4, 7), widget.result.values.values)

    old = widget.frame["id"]
    widget.quantity = "entropy"
    answer, buffers = front.ask("frame", frame_id=old)
    assert (answer["kind"], buffers) == ("done", [])  # the newer one is announced by its trait
    assert front.ask("frame", frame_id=widget.frame["id"])[0]["kind"] == "frame"


def test_a_file_is_made_on_request(heatmap, page):
    front = page(heatmap)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "csv": b"# ActivationMap of "}
    for form, start in starts.items():
        answer, (data,) = front.ask("export", format=form)
        assert answer["kind"] == "file"
        assert answer["name"] == f"residual-stream-norm-resid-post.{form}"
        assert data.startswith(start)
    answer, buffers = front.ask("export", format="exe")
    assert (answer["kind"], buffers) == ("error", [])


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch) -> Any:
    """Hold the worker inside a computation of a heat map until told to go on."""
    import resid_widgets as rw

    class Gate:
        def __init__(self) -> None:
            self.begun, self.go, self.computed = threading.Event(), threading.Event(), []

    held, plain = Gate(), rw.ActivationHeatmap._compute
    here = threading.get_ident()

    def compute(self: Any, options: Any) -> Any:
        held.computed.append(options["stat"])
        if threading.get_ident() != here:
            held.begun.set()
            assert held.go.wait(SOON)
        return plain(self, options)

    monkeypatch.setattr(rw.ActivationHeatmap, "_compute", compute)
    yield held
    held.go.set()


def test_messages_only_enqueue_and_the_latest_wins(gate, llama_run, page):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run)
    front = page(widget)
    started = time.monotonic()
    first = front.post({"kind": "set", "name": "stat", "value": "kurtosis"})
    assert gate.begun.wait(SOON)
    rest = [
        front.post({"kind": "set", "name": "stat", "value": stat})
        for stat in ("update_norm", "cosine_final", "top_share")
    ]
    assert time.monotonic() - started < 5
    gate.go.set()
    assert widget.wait(SOON)
    assert widget.stat == "top_share"
    assert gate.computed == ["norm", "kurtosis", "top_share"]
    assert [front.answer(number)[0]["kind"] for number in (first, *rest)] == ["done"] * 4
    assert sum("frame" in update for update in front.updates) == 1


def test_a_value_set_by_python_is_later_than_what_the_browser_still_waits_for(gate, llama_run, page):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run)
    number = page(widget).post({"kind": "set", "name": "stat", "value": "kurtosis"})
    assert gate.begun.wait(SOON)
    widget.stat = "top_share"
    assert widget.result.stat == "top_share"
    gate.go.set()
    assert widget.wait(SOON)
    assert widget.stat == "top_share"
    assert widget.status["state"] == "ready"
    assert page(widget).answer(number)[0]["kind"] == "done"


def test_a_selection_made_while_the_picture_is_computed_is_kept(gate, llama_run, page):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run)
    page(widget).post({"kind": "set", "name": "stat", "value": "kurtosis"})
    assert gate.begun.wait(SOON)
    widget.select(1, 4)
    gate.go.set()
    assert widget.wait(SOON)
    assert (widget.stat, widget.layer, widget.pos, widget.details["at"]["pos"]) == ("kurtosis", 1, 4, 4)


def test_wait_by_the_locks_holder_in_a_cell_does_not_deadlock(heatmap, page):
    front = page(heatmap)
    with heatmap.run.model.lock:
        number = front.post({"kind": "select", "at": {"layer": 2, "pos": 2}})
        assert heatmap.wait(SOON)
        assert (heatmap.layer, heatmap.pos) == (2, 2)
    assert heatmap.wait(SOON)
    assert front.answer(number)[0]["kind"] == "done"


def test_a_click_that_waits_for_a_cell_says_so(heatmap, page):
    front = page(heatmap)
    with heatmap.run.model.lock:
        number = front.post({"kind": "select", "at": {"layer": 2, "pos": 2}})
        deadline = time.monotonic() + SOON
        while heatmap.status["state"] != "busy" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "a cell is using it" in heatmap.status["text"]
    assert heatmap.wait(SOON)
    assert front.answer(number)[0]["kind"] == "done"
    assert heatmap.status == {"state": "ready", "text": ""}


def test_python_and_browser_at_once_never_leave_a_mixed_state(heatmap, page):
    front = page(heatmap)
    for turn in range(60):
        front.post({"kind": "select", "at": {"layer": turn % 4, "pos": turn % 4}})
        if turn % 3 == 0:
            heatmap.select((turn + 1) % 4, (turn + 1) % 4)
        if turn % 10 == 0:
            heatmap.stat = "kurtosis" if turn % 20 else "norm"
        selection, details = heatmap._state.selection, heatmap._state.details
        layer, pos = selection["layer"], selection["pos"]
        assert layer == pos == details["at"]["layer"] == details["at"]["pos"]
    assert heatmap.wait(SOON)
    assert len(front.custom) == 60
    assert {content["kind"] for content, _ in front.custom} == {"done"}


def test_two_widgets_of_one_bridge_share_lock_and_worker(heatmap, llama_run):
    import resid_widgets as rw

    other = rw.LogitLensHeatmap(llama_run.model.bridge, prompt=[1, 2, 3])
    assert other.run
    assert other.run.model is not llama_run.model
    assert other._lock is heatmap._lock
    assert other._worker is heatmap._worker


def test_close_does_not_wait_for_the_worker(gate, llama_run, page):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run)
    page(widget).post({"kind": "set", "name": "stat", "value": "kurtosis"})
    assert gate.begun.wait(SOON)
    worker, key = widget._worker, widget._name
    started = time.monotonic()
    widget.close()
    assert time.monotonic() - started < 5
    gate.go.set()
    assert worker.wait(lambda asked: asked[0] is key, SOON)
    assert widget.closed
