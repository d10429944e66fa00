"""What all widgets share: messages and their answers, atomic changes, selection, threads, closing."""

from __future__ import annotations

import gc
import inspect
import time
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# --- making -----------------------------------------------------------------------------------------------------------


def test_one_message_opens_a_widget_with_everything_in_it(heatmap, page):
    comm = page(heatmap).comm
    state = comm.opened["data"]["state"]
    assert set(state) >= {"frame", "selection", "details", "controls", "status", "offline", "planes", "_esm", "_css"}
    assert len(comm.opened["buffers"]) == 1  # the picture
    assert len(comm.opened["buffers"][0]) == 4 * 7 * 4
    assert page(heatmap).updates == []


def test_an_unknown_keyword_is_refused_with_the_nearest_one(llama_run):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match=r"no option 'stats'\. Did you mean 'stat'\?"):
        rw.ActivationHeatmap(llama_run, stats="norm")
    with pytest.raises(rw.InputError, match="Did you mean 'layer'"):
        rw.LogitLensHeatmap(llama_run, layre=3)


def test_nothing_is_opened_for_bad_arguments(llama_run):
    from ipywidgets.widgets.widget import _instances

    import resid_widgets as rw

    before = len(_instances)
    every: tuple[Any, ...] = (("stat", "nrom"), ("component", "z"), ("layer", 4), ("pos", 7), ("pos", 1.5), ("dim", 99))
    for name, value in every:
        with pytest.raises(rw.InputError):
            rw.ActivationHeatmap(llama_run, **{name: value})
    gc.collect()
    assert len(_instances) == before


def test_help_names_the_options():
    import resid_widgets as rw

    names = list(inspect.signature(rw.ActivationHeatmap).parameters)
    assert names[:4] == ["source", "positional", "component", "stat"]
    assert inspect.signature(rw.LogitLensHeatmap).parameters["top_k"].default == 5


def test_a_model_and_a_text_are_enough(worded):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(worded, " Mary gave", "mlp_out", stat="kurtosis")
    assert widget.run
    assert widget.run.model is worded
    assert (widget.component, widget.stat) == ("mlp_out", "kurtosis")
    bare = rw.LogitLensHeatmap(worded.bridge, prompt=[3, 5, 3])
    assert bare.run
    assert bare.run.token_ids == (3, 5, 3)


@pytest.mark.parametrize(
    ("arguments", "keywords", "says"),
    [
        (("model",), {}, "needs a text"),
        (("run",), {"prompt": "x"}, "the run has its own"),
        (("run", "mlp_out"), {"component": "mlp_out"}, "given twice"),
        (("run", "mlp_out", "norm", "more"), {}, "2 may follow the first"),
        (("result", "mlp_out"), {}, "has its options already"),
        (("result",), {"stat": "norm"}, "has its options already"),
        (("text",), {}, "ResidualModel or a TransformerBridge"),
    ],
)
def test_what_does_not_fit_together_is_said(arguments, keywords, says, worded, llama_run):
    import resid_widgets as rw

    sources = {"model": worded, "run": llama_run, "result": rw.activation_map(llama_run), "text": "gpt2"}
    with pytest.raises(rw.InputError, match=says):
        rw.ActivationHeatmap(sources[arguments[0]], *arguments[1:], **keywords)


# --- selection --------------------------------------------------------------------------------------------------------


def test_python_selects_and_reads_in_one_cell(heatmap, page):
    front = page(heatmap)
    heatmap.layer = 2
    assert (heatmap.layer, heatmap.pos, heatmap.details) == (2, None, None)
    heatmap.pos = -1
    assert (heatmap.layer, heatmap.pos) == (2, 6)
    assert heatmap.details["at"] == heatmap.selection == {"layer": 2, "pos": 6}
    assert front.updates[0] == {"selection": {"layer": 2}}
    assert set(front.updates[1]) == {"selection", "details"}  # one message, so that no view sees one without the other
    heatmap.select(None, None)
    assert heatmap.details is None


@pytest.mark.parametrize("bad", [4, -5, 1.0, "1", True, [1]])
def test_a_bad_selection_is_refused_and_changes_nothing(heatmap, page, bad):
    import resid_widgets as rw

    heatmap.select(1, 1)
    front = page(heatmap)
    front.forget()
    with pytest.raises(rw.InputError, match="layer="):
        heatmap.layer = bad
    assert (heatmap.layer, heatmap.pos) == (1, 1)
    assert front.updates == []


def test_a_selection_is_an_address(heatmap):
    import resid_widgets as rw

    heatmap.selection = {"layer": 2, "pos": -1}
    assert (heatmap.selection, heatmap.layer, heatmap.pos) == ({"layer": 2, "pos": 6}, 2, 6)
    heatmap.selection = {"pos": 0}
    assert (heatmap.selection, heatmap.layer) == ({"pos": 0}, None)
    for bad, says in (({"head": 1}, "no head"), ("layer", "is a mapping"), ({"layer": 9}, "from 0 to 3")):
        with pytest.raises(rw.InputError, match=says):
            heatmap.selection = bad
        assert heatmap.selection == {"pos": 0}
    heatmap.selection = None
    assert heatmap.selection == {}


def test_numpy_integers_select(heatmap):
    heatmap.select(np.int64(1), np.int32(-7))
    assert (heatmap.layer, heatmap.pos) == (1, 0)
    assert type(heatmap.pos) is int


def test_a_click_reaches_python_as_one_change(heatmap, page):
    front, seen = page(heatmap), []
    heatmap.observe(
        lambda change: seen.append((change["name"], heatmap.layer, heatmap.pos, heatmap.details)), ["layer", "pos"]
    )
    answer, _ = front.ask("select", at={"layer": 3, "pos": 5})
    assert answer["kind"] == "done"
    assert [set(update) for update in front.updates] == [{"selection", "details"}]
    assert [item[:3] for item in seen] == [("layer", 3, 5), ("pos", 3, 5)]  # neither sees half of it
    assert all(item[3]["at"]["pos"] == 5 for item in seen)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"layer": 9, "pos": 0}, "whole number from 0"),
        ({"layer": "0", "pos": 0}, "whole number from 0"),
        ({"layer": 0, "pos": 2.5}, "whole number from 0"),
        ({"layer": 0, "head": 1}, "no head. It selects by layer, pos"),
        ([0, 1], "no address"),
    ],
)
def test_a_bad_selection_from_the_browser_is_answered_and_shown(heatmap, page, bad, says):
    front = page(heatmap)
    answer, _ = front.ask("select", at=bad)
    assert answer["kind"] == "error"
    assert says in answer["text"]
    assert heatmap.status["state"] == "error"
    assert heatmap.layer is None
    front.ask("select", at={"layer": 1, "pos": 1})
    assert heatmap.status == {"state": "ready", "text": ""}


# --- options ----------------------------------------------------------------------------------------------------------


def test_python_sets_an_option_and_reads_the_new_picture_at_once(heatmap, page):
    front = page(heatmap)
    heatmap.select(1, 2)
    first = heatmap.frame["id"]
    front.forget()
    heatmap.stat = "kurtosis"
    assert heatmap.result.stat == "kurtosis"
    assert heatmap.frame["id"] != first
    assert (heatmap.layer, heatmap.pos) == (1, 2)
    (update,) = front.updates
    assert set(update) == {"frame", "controls"}  # the side panel's numbers are the same
    heatmap.component = "mlp_out"
    assert set(front.updates[1]) == {"frame", "controls", "details"}


def test_several_options_are_one_picture(heatmap, page):
    front = page(heatmap)
    heatmap.change(stat="dimension", dim=7, component="attn_out")
    assert heatmap.result.options == {"dim": 7}
    assert len(front.updates) == 1


@pytest.mark.parametrize(
    "bad",
    [{"stat": "no"}, {"stat": 3}, {"component": "z"}, {"dim": -1}, {"top": 0}, {"stat": "projection"}, {"stats": 1}],
)
def test_a_bad_option_leaves_everything_as_it_was(heatmap, page, bad):
    import resid_widgets as rw

    heatmap.select(1, 2)
    front, before = page(heatmap), dict(heatmap.get_state(["frame", "controls", "layer", "pos", "details", "status"]))
    front.forget()
    with pytest.raises(rw.InputError):
        heatmap.change(stat=bad.get("stat", "top_share"), **{key: value for key, value in bad.items() if key != "stat"})
    assert front.updates == []
    assert heatmap.stat == "norm"
    assert heatmap.get_state(list(before)) == before


def test_the_same_value_again_computes_nothing(heatmap, page):
    frame = heatmap.frame
    heatmap.stat = "norm"
    heatmap.layer = None
    assert heatmap.frame is frame
    assert page(heatmap).updates == []


def test_a_control_in_the_browser_changes_the_picture(heatmap, page):
    front = page(heatmap)
    answer, _ = front.ask("set", name="stat", value="kurtosis")
    assert answer["kind"] == "done"
    assert heatmap.stat == heatmap.result.stat == "kurtosis"
    assert [update["status"]["state"] for update in front.updates if "status" in update] == ["busy", "ready"]
    assert "frame" in front.updates[-1]
    last = [data["method"] for data, _ in front.comm.messages]
    assert last.index("custom") == len(last) - 1  # the answer comes after the picture


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"name": "stat", "value": "no"}, "no such statistic"),
        ({"name": "direction", "value": [1]}, "no such control"),
        ({"name": "_lock", "value": 1}, "no such control"),
        ({"name": "dim", "value": 1e9}, "whole number"),
    ],
)
def test_a_bad_control_is_answered_and_shown_and_the_picture_stays(heatmap, page, message, says):
    front, frame = page(heatmap), heatmap.frame
    answer, _ = front.ask("set", **message)
    assert answer["kind"] == "error"
    assert says in answer["text"]
    assert heatmap.status["state"] == "error"
    assert says in heatmap.status["text"]
    assert heatmap.frame is frame


def test_reset_returns_to_the_beginning(llama_run, page):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run, "mlp_out", layer=1, pos=2)
    for back in (widget.reset, lambda: page(widget).ask("reset")):
        widget.change(component="resid_post", stat="top_share", top=9)
        widget.select(3, 3)
        back()
        assert (widget.component, widget.stat, widget.top) == ("mlp_out", "norm", 3)
        assert (widget.layer, widget.pos, widget.details["at"]["pos"]) == (1, 2, 2)


places = st.none() | st.integers(-9, 9) | st.floats() | st.text(max_size=3) | st.booleans()
choices = st.fixed_dictionaries(
    {},
    optional={
        "component": st.sampled_from(["resid_pre", "mlp_out", "z", "resid post", ""]),
        "stat": st.sampled_from(["norm", "Update-Norm", "dimension", "projection", "kurtosis", "nrom"]) | st.integers(),
        "dim": st.integers(-2, 40) | st.floats() | st.none() | st.just("1"),
        "top": st.integers(-2, 40),
        "per_layer": st.booleans(),
        "direction": st.none() | st.lists(st.floats(), max_size=3) | st.just([1.0] * 32),
        "colour": st.just("red"),
    },
)


@given(places, places, choices)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_argument_is_shown_or_refused_with_everything_as_it_was(llama_run, layer, pos, options):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run)
    for act in (lambda: widget.select(layer, pos), lambda: widget.change(**options)):
        before = widget._state
        try:
            act()
        except rw.InputError:
            assert widget._state is before
    state = widget._state
    assert state
    assert (widget.selection, widget.frame) == (state.selection, state.frame)
    assert (state.details is None) is (set(state.selection) != {"layer", "pos"})
    assert widget.stat == state.result.stat  # type: ignore[attr-defined]
    widget.close()


# --- closing ----------------------------------------------------------------------------------------------------------


def test_a_closed_widget_is_gone_and_says_so(heatmap, page):
    from ipywidgets.widgets.widget import _instances

    import resid_widgets as rw

    front, name, layout = page(heatmap), heatmap.model_id, heatmap.layout.model_id
    heatmap.close()
    heatmap.close()
    assert front.comm.closed
    assert not {name, layout} & set(_instances)
    assert repr(heatmap) == "ActivationHeatmap, closed"
    for use in (
        lambda: heatmap.result,
        lambda: heatmap.run,
        lambda: setattr(heatmap, "stat", "norm"),
        lambda: setattr(heatmap, "layer", 1),
        lambda: heatmap.select(0, 0),
        heatmap.reset,
        heatmap.to_dataframe,
        heatmap.plot,
        heatmap.code,
        lambda: heatmap.to_html("x.html"),
    ):
        with pytest.raises(rw.InputError, match="is closed"):
            use()
    assert heatmap.wait(1)
    front.post({"kind": "select", "at": {"layer": 0, "pos": 0}})  # from a page that does not know yet
    assert front.custom == []


def test_a_closed_widget_frees_its_run_even_while_something_refers_to_it(worded):
    import resid_widgets as rw

    run = rw.run(worded, [3, 5, 3, 9])
    widget = rw.ActivationHeatmap(run, layer=1, pos=1)
    widget._fallback()
    gone = [weakref.ref(run), weakref.ref(widget.result)]
    widget.close()
    del run
    until = time.monotonic() + 120.0
    while any(ref() for ref in gone) and time.monotonic() < until:  # a worker may still hold what it did last
        gc.collect()
        time.sleep(0.01)
    assert [ref() for ref in gone] == [None, None]
    assert not widget.frame


def test_a_layout_that_the_user_made_is_not_closed(llama_run):
    import ipywidgets

    import resid_widgets as rw

    layout = ipywidgets.Layout(width="50%")
    widget = rw.ActivationHeatmap(llama_run, layout=layout)
    widget.close()
    assert layout.comm is not None
    layout.close()
