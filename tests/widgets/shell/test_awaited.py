"""A widget appears at once: what takes longer follows, says how far it is, can be cancelled, and is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.widgets.editing.preview import Previewing
from resid_widgets.widgets.shell import awaited, cells

CLEAN, CORRUPT = "The girl near the dogs", "The girls near the dogs"
MAKES: dict[str, Callable[[Any], Any]] = {
    "activations": lambda model: rw.ActivationHeatmap(model, CLEAN, stat="kurtosis", layer=1, pos=2),
    "lens": lambda model: rw.LogitLensHeatmap(model, CLEAN, layer=1, pos=2),
    "ablation": lambda model: rw.AblationExplorer(model, CLEAN, layer=1, pos=2),
    "patching": lambda model: rw.PatchingHeatmap(model, CLEAN, CORRUPT, rw.logit_diff(" is", " are"), layer=1, pos=2),
    "neurons": lambda model: rw.NeuronExplorer(model, [CLEAN, CORRUPT], layer=1, neuron=3),
}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let somebody watch the page, who notices the smallest delay."""
    monkeypatch.setattr(cells, "attended", lambda: True)
    monkeypatch.setattr(awaited, "AT_ONCE", -1.0)


def until(ask: Callable[[], Any]) -> None:
    end = time.monotonic() + 120
    while not ask():
        assert time.monotonic() < end
        time.sleep(0.01)


def status(widget: Any) -> dict[str, Any]:
    return widget._trait_values["status"]


@pytest.mark.parametrize("name", MAKES)
def test_it_is_there_before_its_picture(
    name: str, tiny: Any, page: Any, watched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Previewing, "_on_the_page", lambda _: None)  # what a click would do may come at any time
    with tiny.lock:  # as a running cell has it
        widget = MAKES[name](tiny)
        assert widget.pending and not widget.closed and "on its way" in repr(widget)
        opened = page(widget).comm.opened["data"]["state"]
        assert opened["status"]["state"] == "busy" and opened["frame"] == {}
        assert opened["controls"] == opened["actions"] == [] and opened["selection"] == {}
        until(lambda: "Waiting for the model: a cell is using it" in status(widget)["text"])
    assert widget.wait(120) and not widget.pending
    assert status(widget) == {"state": "ready", "text": ""}
    monkeypatch.setattr(cells, "attended", lambda: False)
    at_once = MAKES[name](tiny)
    assert np.array_equal(widget.result.values.values, at_once.result.values.values, equal_nan=True)
    assert widget.selection == at_once.selection and len(widget.selection) == 2
    assert widget.controls == at_once.controls
    assert {**widget.frame, "id": 0} == {**at_once.frame, "id": 0}
    widget.select(layer=0)
    widget.reset()
    assert widget.selection == at_once.selection


@pytest.mark.parametrize("read", ["result", "frame", "details", "layer", "selection", "stat", "run", "controls"])
def test_whoever_reads_it_waits_for_the_picture(read: str, tiny: Any, watched: None) -> None:
    with tiny.lock:
        widget = MAKES["activations"](tiny)
        assert widget.pending
        assert getattr(widget, read)
        assert not widget.pending
    assert widget.wait(120)
    assert (widget.layer, widget.pos, widget.stat) == (1, 2, "kurtosis")


def test_what_is_set_in_the_same_cell_is_set(tiny: Any, watched: None) -> None:
    with tiny.lock:
        widget = MAKES["activations"](tiny)
        widget.stat = "norm"
        assert widget.result.stat == "norm"
        other = MAKES["ablation"](tiny)
        other.select(0, 1)
        assert (other.layer, other.pos) == (0, 1)


def test_cancelled_it_can_be_asked_for_again(tiny: Any, page: Any, watched: None) -> None:
    with tiny.lock:
        widget = MAKES["lens"](tiny)
        until(lambda: status(widget).get("progress") == 0.0)  # the worker is at it, and waits for the model
        page(widget).post({"kind": "cancel"})
    assert widget.wait(120) and widget.pending
    assert status(widget)["state"] == "cancelled"
    assert [action["name"] for action in widget._trait_values["actions"]] == ["again"]
    answer, _ = page(widget).ask("act", name="again")
    assert answer["kind"] == "done"
    assert widget.wait(120) and not widget.pending and status(widget)["state"] == "ready"
    assert widget.actions == [] and widget.result.values.shape[0] == tiny.n_layers


def test_what_is_asked_of_it_meanwhile_is_done_afterwards(tiny: Any, page: Any, watched: None) -> None:
    with tiny.lock:
        widget = MAKES["activations"](tiny)
        front = page(widget)
        chosen = front.post({"kind": "select", "at": {"layer": 0, "pos": 1}})
        unknown = front.post({"kind": "set", "name": "stat", "value": "norm"})  # not on offer yet
    assert widget.wait(120)
    assert front.answer(chosen)[0]["kind"] == "done" and (widget.layer, widget.pos) == (0, 1)
    assert front.answer(unknown)[0]["kind"] == "error"


def test_how_far_it_is_is_said(tiny: Any, page: Any, watched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited, "OFTEN", -1.0)
    widget = MAKES["activations"](tiny)
    assert widget.wait(120)
    told = [update["status"] for update in page(widget).updates if "status" in update]
    shares = [each["progress"] for each in told if "progress" in each]
    assert shares == sorted(shares) and {0.25, 0.5, 0.75} <= set(shares)
    assert any("50 %" in each["text"] for each in told) and told[-1] == {"state": "ready", "text": ""}


def test_a_sweep_fills_and_keeps_what_is_known(
    tiny: Any, page: Any, watched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    show, frames = rw.PatchingHeatmap._show_partial, []

    def shown(self: Any, *args: Any) -> None:
        show(self, *args)
        frames.append(self._trait_values["frame"])
        page(self).post({"kind": "cancel"})

    monkeypatch.setattr(rw.PatchingHeatmap, "_show_partial", shown)
    monkeypatch.setattr("resid_widgets.models.reuse.engine.MOST_WAVE_TOKENS", 8)
    monkeypatch.setattr("resid_widgets.models.reuse.engine.WAVE_TOKENS", {})  # small waves
    widget = MAKES["patching"](tiny)
    assert widget.wait(120) and not widget.pending
    assert frames and frames[0]["parts"]["heatmap"]["shape"]
    known = np.isfinite(widget.result.values.values)
    assert known.any() and not known.all()
    assert {check.name for check in widget.result.checks} >= {"complete"}
    assert next(action["name"] for action in widget.actions) == "again"
    monkeypatch.setattr(rw.PatchingHeatmap, "_show_partial", show)
    page(widget).ask("act", name="again")
    assert np.isfinite(widget.result.values.values).all()


def test_what_is_wrong_is_said_on_the_page_and_to_whoever_reads(
    tiny: Any, watched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = (CLEAN, "The girl near the dog")  # that they have one answer is known when both have been run
    with tiny.lock:
        widget = rw.PatchingHeatmap(tiny, *alike)
    assert widget.wait(120)
    assert status(widget)["state"] == "error" and "same likeliest next token" in status(widget)["text"]
    with pytest.raises(rw.InputError):
        _ = widget.result
    assert [action["name"] for action in widget._trait_values["actions"]] == ["again"]
    monkeypatch.setattr(awaited, "AT_ONCE", 60.0)
    with pytest.raises(rw.InputError):  # what is found out at once is said where it was written
        rw.PatchingHeatmap(tiny, *alike)


def test_closed_before_its_picture_it_computes_nothing(tiny: Any, watched: None) -> None:
    with tiny.lock:
        widget = MAKES["activations"](tiny)
        widget.close()
    assert widget.closed and not widget.pending and widget._state is None
    with pytest.raises(rw.InputError, match="closed"):
        _ = widget.result


def test_where_nobody_watches_nothing_is_put_off(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited, "AT_ONCE", -1.0)
    assert not cells.attended()
    assert not MAKES["activations"](tiny).pending


def test_no_site_is_tried_that_nobody_asked_for(make_model: Any, page: Any) -> None:
    model = make_model("llama")
    metric = rw.logit_diff(5, 6)
    widget = rw.PatchingHeatmap(model, [1, 2, 3], [1, 4, 3], metric)
    tried = {component for component, _ in model._shared.facts["writes"]}
    assert tried == {"resid_pre"}
    offered = next(control for control in widget.controls if control["name"] == "component")["options"]
    assert {each["value"] for each in offered} >= {"resid_pre", "attn_out", "mlp_out", "z", "pattern"}
    page(widget).ask("set", name="component", value="z")
    assert {component for component, _ in model._shared.facts["writes"]} == {"resid_pre", "z"}


PATCHED = ("The girl near the dogs", "The girls near the dog", rw.logit_diff(" is", " are"))
BAD: list[tuple[Callable[[Any], Any], str]] = [
    (lambda model: rw.ActivationHeatmap(model, "The girl", stat="nrm"), "stat"),
    (lambda model: rw.ActivationHeatmap(model, "The girl", component="resid"), "component"),
    (lambda model: rw.ActivationHeatmap(model, "The girl", stat="dimension", dim=10**6), "dim"),
    (lambda model: rw.ActivationHeatmap(model, "The girl", layer=40), "layer"),
    (lambda model: rw.LogitLensHeatmap(model, "The girl", quantity="surprise"), "quantity"),
    (lambda model: rw.LogitLensHeatmap(model, "The girl", targets="no such token"), "token"),
    (lambda model: rw.LogitLensHeatmap(model, "The girl", top_k=0), "top_k"),
    (lambda model: rw.AblationExplorer(model, "The girl", how="kill"), "how"),
    (lambda model: rw.AblationExplorer(model, "The girl", metric="logit"), "metric"),
    (lambda model: rw.AblationExplorer(model, "The girl", rw.logit_diff(" is", " is")), "foil"),
    (lambda model: rw.AblationExplorer(model, "The girl", interventions="zero"), "intervention"),
    (lambda model: rw.PatchingHeatmap(model, *PATCHED, component="resid"), "component"),
    (lambda model: rw.PatchingHeatmap(model, *PATCHED, direction="both"), "direction"),
    (lambda model: rw.PatchingHeatmap(model, *PATCHED[:1]), "second prompt"),
    (lambda model: rw.PatchingHeatmap(model, PATCHED[0], "The girls", PATCHED[2]), "equal lengths"),
]


@pytest.mark.parametrize("n", range(len(BAD)), ids=[said for _, said in BAD])
def test_what_is_bad_is_refused_before_anything_is_run(n: int, tiny: Any, watched: None) -> None:
    make, said = BAD[n]
    passes: list[Any] = []
    counting = tiny.bridge.original_model.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        with pytest.raises(rw.InputError, match=said):
            make(tiny)
    finally:
        counting.remove()
    assert not passes
