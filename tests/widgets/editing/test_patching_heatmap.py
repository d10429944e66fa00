"""Patching with both prompts editable: what is shown, what fills while it runs, what a cell opens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.csv_tables import table
from tests.widgets.pictures import drawn, shown

CLEAN, CORRUPT = [1, 5, 9, 20, 33, 4, 60], [1, 5, 10, 20, 33, 7, 60]
OTHER = [1, 6, 9, 20, 34, 4, 60]
TEXTS = " Mary gave w20 w21", " gave gave w20 w22"  # four words each
TOKENS = 7


@pytest.fixture(scope="session")
def llama(llama_run) -> Any:
    return llama_run.model


@pytest.fixture
def metric() -> Any:
    import resid_widgets as rw

    return rw.logit_diff(7, 8)


@pytest.fixture
def heatmap(llama, metric) -> Any:
    import resid_widgets as rw

    return rw.PatchingHeatmap(llama, CLEAN, CORRUPT, metric)


@pytest.fixture
def front(heatmap, page) -> Any:
    return page(heatmap)


@pytest.fixture
def worded_heatmap(worded) -> Any:
    import resid_widgets as rw

    return rw.PatchingHeatmap(worded, *TEXTS, rw.logit_diff(" Mary", "Mary"))


def control(widget: Any, name: str) -> dict[str, Any]:
    return next(control for control in widget.controls if control["name"] == name)


def action(widget: Any, name: str) -> dict[str, Any]:
    return next(action for action in widget.actions if action["name"] == name)


@pytest.fixture
def slow(monkeypatch) -> Iterator[Any]:
    """Make sweeps come in many waves, and stop after the first until told to go on."""
    from resid_widgets.widgets.editing import patching_heatmap as module

    real = module.patch_sweep

    class Gate:
        def __init__(self) -> None:
            self.reached, self.go = threading.Event(), threading.Event()
            self.bars: list[Any] = []

        def sweep(self, *arguments: Any, progress: Any, partial: Any = None, **options: Any) -> Any:
            self.bars.append(progress)

            def wait(result: Any, done: Any) -> None:
                if partial is not None:
                    partial(result, done)
                self.reached.set()
                assert self.go.wait(60)

            return real(*arguments, progress=progress, partial=wait, budget=1, **options)

    gate = Gate()
    monkeypatch.setattr(module, "patch_sweep", gate.sweep)
    yield gate
    gate.go.set()


# --- making -----------------------------------------------------------------------------------------------------------


def test_the_picture_is_what_the_function_returns(heatmap, llama, metric):
    import resid_widgets as rw

    found = rw.patch_sweep(llama, CLEAN, CORRUPT, metric)
    np.testing.assert_allclose(drawn(heatmap), found.values.values, rtol=1e-6, equal_nan=True)
    assert shown(heatmap)["also"]["labels"] == [found.metric]
    raw = np.frombuffer(shown(heatmap)["also"]["0"], "<f4").reshape(4, TOKENS)
    np.testing.assert_allclose(raw, found.raw.values, rtol=1e-6)
    assert (heatmap.component, heatmap.direction, heatmap.metric) == ("resid_pre", "denoise", metric)
    assert shown(heatmap)["tokens"][2] == "[9]/[10]"  # the prompts, aligned
    assert "clean stands before corrupt" in heatmap.frame["sentence"]
    assert (heatmap.edited, heatmap.summary, heatmap.inner) == (None, None, None)


def test_it_is_made_from_a_model_a_bridge_or_a_run(worded, llama, llama_run, metric):
    import resid_widgets as rw

    assert rw.PatchingHeatmap(llama_run, CORRUPT, metric).clean == llama_run.token_ids
    assert rw.PatchingHeatmap(llama.bridge, CLEAN, corrupt=CORRUPT, metric=metric).result.corrupt
    widget = rw.PatchingHeatmap(worded, *TEXTS, rw.log_prob(3), component="z", direction="noise", layer=1, pos=2)
    assert (widget.clean, widget.corrupt) == TEXTS
    assert [control(widget, name)["value"] for name in ("clean", "corrupt")] == list(TEXTS)
    assert (shown(widget)["column_name"], shown(widget)["shape"]) == (
        "head",
        [4, 4],
    )
    assert (widget.layer, widget.pos) == (1, 2)
    from_run = rw.PatchingHeatmap(rw.run(worded, TEXTS[0]), TEXTS[1], rw.log_prob(3))
    assert from_run.clean == TEXTS[0]


def test_the_metric_is_by_default_between_the_likeliest_tokens(llama):
    import resid_widgets as rw

    tops = [int(rw.run(llama, ids).final_logits.argmax()) for ids in (CLEAN, CORRUPT)]
    if tops[0] == tops[1]:
        with pytest.raises(rw.InputError, match=r"same likeliest next token.*metric=rw\.logit_diff\(answer, foil\)"):
            rw.PatchingHeatmap(llama, CLEAN, CORRUPT)
    ids = next(
        [1, 5, 9, 20, 33, 4, n]
        for n in range(61, 97)
        if int(rw.run(llama, [1, 5, 9, 20, 33, 4, n]).final_logits.argmax()) != tops[0]
    )
    widget = rw.PatchingHeatmap(llama, CLEAN, ids)
    assert widget.metric.answers == (tops[0],)
    assert widget.metric.kind == "logit_diff"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"corrupt": None}, r"corrupt=None: patching needs a second prompt\. rw\.PatchingHeatmap\("),
    ({"corrupt": CLEAN}, r"corrupt=.*the same tokens, so that there is nothing to patch\. Change a word"),
    ({"corrupt": [1, 2, 3]}, r"have 7 and 3 tokens, and patching needs equal lengths:\nclean .*\ncorrupt .*∅"),
    ({"corrupt": [1, 2, 3, 4, 5, 6, 97]}, r"corrupt prompt: .*97"),
    ({"component": "resid_psot"}, r"component='resid_psot': must be one of .*\. Did you mean 'resid_post'"),
    ({"metric": "logit_diff"}, r"metric='logit_diff': a metric is needed\. For example"),
    ({"metric": "same"}, r"foil=7: answer and foil are the same token.*Name another foil"),
]


@pytest.mark.parametrize(("bad", "says"), BAD)
def test_bad_input_says_value_rule_and_remedy_and_changes_nothing(heatmap, front, llama, metric, bad, says):
    import resid_widgets as rw

    if bad.get("metric") == "same":
        bad = {"metric": rw.logit_diff(7, 7)}
    with pytest.raises(rw.InputError, match=says):
        rw.PatchingHeatmap(llama, CLEAN, **{"corrupt": CORRUPT, "metric": metric, **bad})
    heatmap.select(1, 3)
    names = ["frame", "controls", "actions", "layer", "pos", "details", "status"]
    before, options = heatmap.get_state(names), heatmap._state.options
    front.forget()
    with pytest.raises(rw.InputError, match=says):
        heatmap.change(**bad)
    assert heatmap.get_state(names) == before
    assert heatmap._state.options is options
    assert front.updates == []


def test_prompts_whose_metrics_do_not_differ_are_refused(llama):
    import resid_widgets as rw

    ranks = [rw.run(llama, ids).final_logits.argsort(descending=True).argsort() for ids in (CLEAN, CORRUPT)]
    token = int((ranks[0] == ranks[1]).nonzero()[0])
    with pytest.raises(rw.InputError, match=r"rank of .* on both prompts, so that there is no scale") as caught:
        rw.PatchingHeatmap(llama, CLEAN, CORRUPT, rw.rank(token))
    assert "Choose a pair that gives different answers." in str(caught.value)


def test_an_edited_run_is_refused_with_the_way_out(llama_run, metric):
    import resid_widgets as rw

    run = rw.intervene(llama_run, rw.zero(rw.Site("resid_post", 1, 3)))
    with pytest.raises(rw.InputError, match=r"it has interventions, .*run\.base"):
        rw.PatchingHeatmap(run, CORRUPT, metric)


# --- options ----------------------------------------------------------------------------------------------------------


def test_set_then_read_is_never_stale(heatmap, front, llama, metric):
    import resid_widgets as rw

    heatmap.select(1, 3)
    front.forget()
    heatmap.direction = "noise"
    found = rw.patch_sweep(llama, CLEAN, CORRUPT, metric, direction="noise")
    np.testing.assert_allclose(drawn(heatmap), found.values.values, rtol=1e-6)
    assert (heatmap.layer, heatmap.pos) == (1, 3)  # the same cells
    assert len(front.updates) == 1
    heatmap.change(component="v", direction="denoise")
    assert (shown(heatmap)["shape"], heatmap.layer, heatmap.pos) == ([4, 2], None, None)
    assert shown(heatmap)["tokens"] == ["key-value head 0", "key-value head 1"]
    heatmap.corrupt = OTHER
    assert heatmap.result.provenance.token_ids == tuple(OTHER)


def test_the_same_again_computes_nothing(heatmap, front, monkeypatch):
    from resid_widgets.widgets.editing import patching_heatmap as module

    monkeypatch.setattr(module, "patch_sweep", lambda *a, **b: pytest.fail("computed again"))
    front.forget()
    heatmap.direction = "denoise"
    front.ask("set", name="component", value="resid_pre")
    heatmap.reset()
    assert [set(update) - {"status"} for update in front.updates if set(update) - {"status"}] == []


def test_everything_is_chosen_in_the_widget(worded_heatmap, page):
    import resid_widgets as rw

    front = page(worded_heatmap)
    assert [c["name"] for c in worded_heatmap.controls] == [
        *("clean", "corrupt", "direction", "component", "metric", "answer", "foil"),
    ]
    changes: list[tuple[str, Any]] = [
        ("direction", "noise"),
        ("component", "z"),
        ("foil", " gave"),
        ("metric", "log_prob"),
    ]
    for name, value in changes:
        assert front.ask("set", name=name, value=value)[0]["kind"] == "done", worded_heatmap.status
    assert worded_heatmap.metric == rw.log_prob(" Mary")
    assert worded_heatmap.result.component == "z"
    front.ask("set", name="corrupt", value=" gave gave w20 w30")
    assert worded_heatmap.corrupt == " gave gave w20 w30"
    assert worded_heatmap.status["state"] == "ready"
    front.ask("reset")
    assert (worded_heatmap.corrupt, worded_heatmap.component) == (TEXTS[1], "resid_pre")


def test_a_component_that_cannot_be_written_is_offered_until_it_is_tried(make_model, page):
    import resid_widgets as rw
    from resid_widgets.models.layers.writes import writable_layers

    model = make_model("opt")
    model._shared.facts.pop("writes", None)
    widget = rw.PatchingHeatmap(model, CLEAN, CORRUPT, rw.logit_diff(7, 8))
    before = widget.frame
    answer, _ = page(widget).ask("set", name="component", value="pattern")
    assert answer["kind"] == "error" and "pattern cannot be written" in answer["text"]
    assert widget.frame is before and widget.component == "resid_pre"
    offered = [option["value"] for option in control(widget, "component")["options"]]
    assert "pattern" not in offered and "z" in offered
    for name in offered:
        assert writable_layers(model, name) == (0, 1, 2, 3)


def test_token_ids_are_typed_where_there_is_no_tokenizer(heatmap, front):
    assert control(heatmap, "clean")["value"] == "1 5 9 20 33 4 60"
    front.ask("set", name="corrupt", value=" ".join(map(str, OTHER)))
    assert heatmap.corrupt == tuple(OTHER)
    answer, _ = front.ask("set", name="corrupt", value="When Mary")
    assert "corrupt='When Mary': the model has no tokenizer, and takes token ids" in answer["text"]
    assert heatmap.corrupt == tuple(OTHER)
    assert control(heatmap, "corrupt")["value"] == "When Mary"


def test_ids_that_no_text_gives_stay_ids(worded, page):
    import resid_widgets as rw

    widget = rw.PatchingHeatmap(worded, [3, 6, 5], [4, 6, 5], rw.logit_diff(3, 4))
    assert control(widget, "clean")["value"] == "3 6 5"
    page(widget).ask("set", name="corrupt", value="8 6 5")
    assert widget.corrupt == (8, 6, 5)


# --- prompts that do not fit ------------------------------------------------------------------------------------------


def test_prompts_of_different_lengths_are_shown_aligned_and_the_picture_stays(worded_heatmap, page):
    front, before = page(worded_heatmap), worded_heatmap.frame["id"]
    answer, _ = front.ask("set", name="corrupt", value=" gave gave w20 w22 w23")
    assert answer["kind"] == "error"
    assert answer["text"] == "The prompts have 4 and 5 tokens, and patching needs equal lengths:"
    lines = worded_heatmap.status["detail"].splitlines()
    assert lines[0].split() == ["clean", "·Mary", "·gave", "·w20", "·w21", "∅"]
    assert lines[1].split() == ["corrupt", "·gave", "·gave", "·w20", "·w22", "·w23"]
    assert set(lines[2]) == {" ", "^"}
    assert "Change one of them" in lines[3]
    assert worded_heatmap.frame["id"] == before
    assert worded_heatmap.corrupt == TEXTS[1]
    field = control(worded_heatmap, "corrupt")
    assert field["value"] == " gave gave w20 w22 w23"
    assert field["refused"] == answer["text"]


def test_both_prompts_can_be_changed_one_after_the_other(worded_heatmap, page):
    """The first of two longer prompts does not fit the old one; when the second comes, both are used."""
    front = page(worded_heatmap)
    longer = " Mary gave w20 w21 w23", " gave gave w20 w22 w23"
    assert front.ask("set", name="clean", value=longer[0])[0]["kind"] == "error"
    assert front.ask("select", at={"layer": 1, "pos": 1})[0]["kind"] == "done"  # looking around loses nothing
    assert control(worded_heatmap, "clean")["value"] == longer[0]
    assert front.ask("set", name="corrupt", value=longer[1])[0]["kind"] == "done"
    assert (worded_heatmap.clean, worded_heatmap.corrupt) == longer
    assert shown(worded_heatmap)["shape"] == [4, 5]
    assert all("refused" not in c for c in worded_heatmap.controls)
    assert front.ask("set", name="clean", value="Mary")[0]["kind"] == "error"
    front.ask("reset")
    assert control(worded_heatmap, "clean")["value"] == TEXTS[0]
    assert (worded_heatmap.clean, worded_heatmap.corrupt) == TEXTS


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("corrupt", TEXTS[0], "the same tokens, so that there is nothing to patch"),
        ("corrupt", "", "corrupt prompt: "),
        ("foil", " Mary", "answer and foil are the same token"),
        ("answer", " Mary Mary", "token"),
        ("component", "resid_psot", "Did you mean 'resid_post'"),
    ],
)
def test_what_does_not_fit_is_said_in_the_widget(worded_heatmap, page, name, value, says):
    front, before = page(worded_heatmap), worded_heatmap.frame["id"]
    answer, _ = front.ask("set", name=name, value=value)
    assert answer["kind"] == "error"
    assert says in answer["text"]
    assert worded_heatmap.status["state"] == "error"
    assert worded_heatmap.frame["id"] == before
    front.ask("set", name="direction", value="noise")
    assert worded_heatmap.status["state"] == "ready"
    assert all("refused" not in c for c in worded_heatmap.controls)  # fields show what is in use


# --- while it runs ----------------------------------------------------------------------------------------------------


def test_the_picture_fills_while_it_runs(heatmap, front, slow):
    before = heatmap.frame["id"]
    number = front.post({"kind": "set", "name": "component", "value": "resid_post"})
    assert slow.reached.wait(60)
    assert heatmap.status["state"] == "busy"
    assert heatmap.status["text"].startswith("Patching: ")
    assert 0 < heatmap.status["progress"] < 1
    part = drawn(heatmap)
    assert heatmap.frame["id"] != before
    assert 0 < np.isfinite(part).sum() < part.size
    assert heatmap.component == "resid_pre"  # until all is known
    slow.go.set()
    assert heatmap.wait(60)
    assert front.answer(number)[0]["kind"] == "done"
    assert np.isfinite(drawn(heatmap)).all()
    np.testing.assert_allclose(drawn(heatmap)[np.isfinite(part)], part[np.isfinite(part)], rtol=1e-5)
    assert heatmap.component == "resid_post"
    assert heatmap.status == {"state": "ready", "text": ""}
    shares = [u["status"]["progress"] for u in front.updates if "progress" in u.get("status", {})]
    assert shares == sorted(shares)
    assert len(shares) > 2
    assert slow.bars == [False]  # the widget's own bar, not a second one


def test_cancel_keeps_what_is_known_with_an_amber_check_and_can_be_finished(heatmap, front, slow):
    front.post({"kind": "set", "name": "component", "value": "resid_post"})
    assert slow.reached.wait(60)
    answer = front.post({"kind": "cancel"})
    assert front.answer(answer)[0]["kind"] == "done"  # at once
    slow.go.set()
    assert heatmap.wait(60)
    values = drawn(heatmap)
    known = int(np.isfinite(values).sum())
    assert 0 < known < values.size
    assert heatmap.component == "resid_post"
    (check,) = [c for c in heatmap.frame["checks"] if c["name"] == "complete"]
    assert check["level"] == "amber"
    assert check["text"] == f"stopped: {known} of {values.size} cells are known, the others are empty"
    assert heatmap.status["state"] == "ready"
    heatmap.select(0, 0)
    front.ask("act", name="again")
    assert np.isfinite(drawn(heatmap)).all()
    assert [a["name"] for a in heatmap.actions] == ["explore", "code"]
    assert not [c for c in heatmap.frame["checks"] if c["name"] == "complete"]
    assert (heatmap.layer, heatmap.pos) == (0, 0)


def test_a_stopped_sweep_is_finished_from_python_too(heatmap, front, slow):
    front.post({"kind": "set", "name": "direction", "value": "noise"})
    assert slow.reached.wait(60)
    front.post({"kind": "cancel"})
    slow.go.set()
    assert heatmap.wait(60)
    assert [a["name"] for a in heatmap.actions] == ["again", "explore", "code"]
    heatmap.direction = "noise"
    assert np.isfinite(drawn(heatmap)).all()


def test_cancel_with_nothing_under_way_does_nothing(heatmap, front):
    before = heatmap.frame["id"]
    assert front.ask("cancel")[0]["kind"] == "done"
    assert heatmap.frame["id"] == before
    front.ask("set", name="direction", value="noise")
    assert np.isfinite(drawn(heatmap)).all()


def test_a_later_wish_takes_the_place_of_a_running_sweep(heatmap, front, slow):
    before = heatmap.frame
    first = front.post({"kind": "set", "name": "component", "value": "resid_post"})
    assert slow.reached.wait(60)
    second = front.post({"kind": "set", "name": "component", "value": "resid_mid"})
    slow.go.set()
    assert heatmap.wait(60)
    assert [front.answer(number)[0]["kind"] for number in (first, second)] == ["done", "done"]
    assert heatmap.component == "resid_mid"
    assert np.isfinite(drawn(heatmap)).all()
    assert heatmap.frame["id"] != before["id"]


def test_a_sweep_that_python_overtakes_leaves_no_half_picture(heatmap, front, slow):
    front.post({"kind": "set", "name": "component", "value": "resid_post"})
    assert slow.reached.wait(60)
    heatmap.select(2, 2)
    slow.go.set()
    heatmap.direction = "noise"
    assert heatmap.wait(60)
    assert (heatmap.component, heatmap.direction) == ("resid_pre", "noise")
    assert heatmap.frame["id"] == heatmap._state.frame["id"]
    assert np.isfinite(drawn(heatmap)).all()
    assert heatmap.status["state"] == "ready"


def test_an_error_in_the_middle_brings_the_whole_picture_back(heatmap, front, slow, monkeypatch):
    before = heatmap.frame["id"]
    number = front.post({"kind": "set", "name": "component", "value": "resid_post"})
    assert slow.reached.wait(60)
    assert heatmap.frame["id"] != before

    def fail(*_: Any) -> None:
        raise RuntimeError("planted trouble")

    monkeypatch.setattr(heatmap, "_show_partial", fail, raising=False)
    monkeypatch.setattr("resid_widgets.analysis.sweeps.patch_sweep.patch_result", fail)
    slow.go.set()
    assert heatmap.wait(60)
    assert front.answer(number)[0]["text"] == "RuntimeError: planted trouble"
    assert heatmap.frame["id"] == before
    assert heatmap.component == "resid_pre"
    assert heatmap.status["state"] == "error"


def test_reset_and_enqueued_changes_show_progress_too(heatmap, front, slow):
    heatmap_options = {"component": "attn_out"}
    slow.go.set()
    heatmap.change(**heatmap_options)
    slow.go.clear()
    slow.reached.clear()
    front.post({"kind": "reset"})
    assert slow.reached.wait(60)
    assert "progress" in heatmap.status
    front.post({"kind": "cancel"})
    slow.go.set()
    assert heatmap.wait(60)
    assert not np.isfinite(drawn(heatmap)).all()
    assert slow.bars == [True, False]  # a bar in the cell for Python's own, none from the worker


def test_close_in_the_middle_of_a_sweep(heatmap, front, slow):
    front.post({"kind": "set", "name": "component", "value": "resid_post"})
    assert slow.reached.wait(60)
    heatmap.close()  # waits for nothing
    slow.go.set()
    assert heatmap.wait(60)
    assert heatmap.closed


# --- a cell -----------------------------------------------------------------------------------------------------------


def test_the_side_panel_has_normalised_and_raw_values(heatmap):
    heatmap.select(1, 2)
    result = heatmap.result
    told = {row["label"]: float(row["value"].replace("−", "-")) for row in heatmap.details["rows"]}
    assert told == {
        "effect, 1 = clean": pytest.approx(float(result.values[1, 2]), rel=1e-3),
        result.metric: pytest.approx(float(result.raw[1, 2]), rel=1e-3),
        "clean run": pytest.approx(result.clean, rel=1e-3),
        "corrupt run": pytest.approx(result.corrupt, rel=1e-3),
    }


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize(
    "component", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "v", "pattern"]
)
def test_a_cell_opens_in_the_explorer_with_its_own_number(heatmap, front, component, direction):
    heatmap.change(component=component, direction=direction)
    column = {"z": "head", "v": "kv_head", "pattern": "head"}.get(component, "pos")
    assert front.ask("select", at={"layer": 1, column: 1})[0]["kind"] == "done"
    assert front.ask("act", name="explore")[0]["kind"] == "done"
    explorer = heatmap.explorer
    assert explorer.result.after == pytest.approx(float(heatmap.result.raw[1, 1]), abs=1e-5)
    assert explorer.result.before == pytest.approx(
        heatmap.result.corrupt if direction == "denoise" else heatmap.result.clean, abs=1e-5
    )
    assert explorer.metric == heatmap.metric
    assert explorer.mode == {"z": "heads", "mlp_out": "mlps"}.get(component, "cells")
    if component not in ("v", "pattern"):
        assert explorer.edited == [[1, 1]]


def test_the_explorer_is_kept_for_further_cells_of_the_same_run(heatmap, front, llama):
    import resid_widgets as rw

    explorer = heatmap.explore(1, 2)
    assert heatmap.explorer is heatmap.inner is explorer
    assert next(u["inner"] for u in front.updates if "inner" in u).endswith(explorer.model_id)
    explorer.interventions = (*explorer.interventions, rw.zero(rw.Site("resid_post", 2, 3)))
    assert heatmap.explore(3, 4) is explorer
    assert [str(item) for item in explorer.interventions] == ["patch resid_pre[layer 3, pos 4]"]
    explorer.undo()
    assert len(explorer.interventions) == 2
    heatmap.corrupt = OTHER
    other = heatmap.explore(0, 1)
    assert other is not explorer
    assert explorer.closed
    assert other.run.token_ids == tuple(OTHER)
    other.close()
    assert heatmap.explorer is heatmap.inner is None  # and out of view
    assert not heatmap.explore(0, 1).closed


def test_a_cell_must_be_named_or_selected(heatmap, front):
    import resid_widgets as rw

    assert not action(heatmap, "explore")["enabled"]
    with pytest.raises(
        rw.InputError, match=r"No cell is selected: click one first, or name it: w\.explore\(layer, pos\)"
    ):
        heatmap.explore()
    with pytest.raises(rw.InputError, match="layer=4"):
        heatmap.explore(4, 0)
    answer, _ = front.ask("act", name="explore")
    assert answer["kind"] == "error"
    heatmap.select(2, 3)
    assert action(heatmap, "explore")["enabled"]
    assert [str(item) for item in heatmap.explore().interventions] == ["patch resid_pre[layer 2, pos 3]"]


# --- away from the page -----------------------------------------------------------------------------------------------


def test_the_script_gives_the_numbers(heatmap, llama):
    for options in ({}, {"component": "z", "direction": "noise"}):
        heatmap.change(**options)
        assert action(heatmap, "code")["copies"] == heatmap.code()
        names: dict[str, Any] = {"bridge": llama.bridge}
        exec(heatmap.code(), names)  # noqa: S102
        np.testing.assert_allclose(names["values"], heatmap.result.values.values, atol=1e-4)


def test_a_result_shows_itself(llama, metric, page):
    import resid_widgets as rw

    result = rw.patch_sweep(llama, CLEAN, CORRUPT, metric, direction="noise", progress=False)
    widget = result.show()
    assert isinstance(widget, rw.PatchingHeatmap)
    assert (widget.result, widget.run, widget.controls) == (result, None, [])
    assert [a["name"] for a in widget.actions] == ["explore"]
    assert (widget.component, widget.direction) == ("resid_pre", "noise")
    widget.select(1, 1)
    assert len(widget.details["rows"]) == 4
    with pytest.raises(rw.InputError, match=r"Make it from the run: rw\.PatchingHeatmap\(run\)"):
        widget.direction = "denoise"
    by_head = rw.patch_sweep(llama, CLEAN, CORRUPT, metric, component="z", by="head_pos", progress=False).show()
    assert shown(by_head)["shape"] == [4, TOKENS]
    assert "the head with the largest effect" in by_head.frame["title"]
    batch = rw.patch_sweep(llama, [CLEAN, OTHER], [CORRUPT, CLEAN], metric, progress=False).show()
    assert shown(batch)["shape"] == [4, TOKENS]


def test_it_leaves_as_files(heatmap, front, tmp_path):
    heatmap.to_html(tmp_path / "a.html")
    assert heatmap.to_png(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    found = table(heatmap.to_csv(tmp_path / "a.csv"))
    assert list(found) == ["layer", "pos", "token", "token_clean", "token_corrupt", "effect"]
    assert len(found) == 4 * TOKENS
    heatmap.explore(1, 1)
    for form in ("png", "svg", "csv", "html"):
        answer, _ = front.ask("export", format=form)
        assert answer["kind"] == "file"
    heatmap.component = "k"
    heatmap.to_html(tmp_path / "b.html")
    assert list(table(heatmap.to_csv(tmp_path / "b.csv")))[:3] == ["layer", "kv_head", "effect"]


def test_close_frees_the_run_and_closes_the_explorer(llama, metric):
    import gc
    import weakref

    import resid_widgets as rw

    widget = rw.PatchingHeatmap(llama, OTHER, CORRUPT, metric)
    explorer = widget.explore(1, 1)
    gone = [weakref.ref(widget.run), weakref.ref(explorer.run)]
    widget.close()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert explorer.closed
    with pytest.raises(rw.InputError, match="is closed"):
        widget.explore(1, 1)


def test_an_open_explorer_follows_the_prompts_names_them_and_closes(tiny, page):
    import resid_widgets as rw

    first, second = "The girl near the dogs", "The girls near the dogs"
    other = "The boys near the dogs"
    widget = rw.PatchingHeatmap(tiny, first, second, rw.logit_diff(" is", " are"))
    front = page(widget)
    widget.select(2, 2)
    assert [a["name"] for a in widget.actions] == ["explore", "code"]
    front.ask("act", name="explore")
    explorer = widget.explorer
    assert [a["name"] for a in widget.actions] == ["explore", "close", "code"]
    sentence = explorer.frame["sentence"]
    assert f"In the corrupt prompt “{second}”" in sentence and f"the clean prompt “{first}”" in sentence
    front.ask("set", name="corrupt", value=other)
    assert explorer.closed and not widget.explorer.closed
    assert f"In the corrupt prompt “{other}”" in widget.explorer.frame["sentence"]
    assert widget.explorer.result.after == pytest.approx(float(widget.result.raw[2, 2]), abs=1e-4)
    front.ask("set", name="direction", value="noise")
    assert f"In the clean prompt “{first}”" in widget.explorer.frame["sentence"]
    assert widget.explorer.result.after == pytest.approx(float(widget.result.raw[2, 2]), abs=1e-4)
    last = widget.explorer
    front.ask("act", name="close")
    assert last.closed and widget.explorer is widget.inner is None
    assert [a["name"] for a in widget.actions] == ["explore", "code"]
    widget.explore(3, 4)
    widget.change(clean="The girl", corrupt="The girls")
    assert widget.inner is None  # its cell is no longer there
