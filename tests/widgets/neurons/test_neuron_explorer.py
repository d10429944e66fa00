"""The explorer of neurons: what travels, what its controls mean, what a page without Python keeps."""

from __future__ import annotations

import base64
import inspect
import json
import re
from typing import Any

import numpy as np
import pytest

from tests.widgets.pictures import shown

PROMPTS = [[1, 5, 9, 20, 33], [4, 60, 2, 8], [7, 7, 11, 3, 5, 9], [20, 33, 1, 5]]
LABELS = ["a", "b", "a", "b"]


@pytest.fixture(scope="session")
def patterns(worded) -> Any:
    import resid_widgets as rw

    return rw.neuron_patterns(worded, PROMPTS, labels=LABELS, top_k=3, context=2, sample=12)


@pytest.fixture
def explorer(patterns) -> Any:
    import resid_widgets as rw

    return rw.NeuronExplorer(patterns)


@pytest.fixture
def front(explorer, page) -> Any:
    return page(explorer)


def floats(data: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(data, "<f4").reshape(4, 48)


def control(widget: Any, name: str) -> dict[str, Any]:
    return next(control for control in widget.controls if control["name"] == name)


# --- making -----------------------------------------------------------------------------------------------------------


def test_it_starts_at_the_largest_neuron_with_everything_in_one_message(explorer, patterns, page):
    comm = page(explorer).comm
    assert (explorer.layer, explorer.neuron) == patterns.largest
    assert explorer.patterns is patterns
    frame = comm.opened["data"]["state"]["frame"]
    assert frame["parts"]["heatmap"]["shape"] == [4, 48]
    assert frame["parts"]["heatmap"]["column_name"] == "neuron"
    assert frame["buffers"] == [
        *(f"heatmap.{name}" for name in ("data", "also.0", "also.1", "also.2")),
        "neurons.index",
    ]
    np.testing.assert_array_equal(floats(shown(explorer)["data"]), patterns.values.values)
    assert frame["parts"]["heatmap"]["also"]["labels"] == ["mean", "active", "kurtosis"]
    np.testing.assert_allclose(floats(shown(explorer)["also"]["1"]), patterns.stats["active"].values, rtol=1e-6)
    assert "NeuronExplorer(" in repr(explorer)


def test_each_row_of_the_table_has_its_most_active_tokens(explorer, patterns):
    words = explorer.frame["parts"]["neurons"]
    index = np.frombuffer(words["index"], "<u4")
    from resid_widgets.tokens import visible

    for layer, neuron in ((0, 0), (2, 31), (3, 47)):
        seen = [visible(c.tokens[c.center]) for c in patterns.contexts(layer, neuron)]
        assert words["strings"][index[layer * 48 + neuron]] == " ".join(dict.fromkeys(seen))
    assert words["column"] == "max"


def test_a_model_and_prompts_are_enough(worded, patterns):
    import resid_widgets as rw

    widget = rw.NeuronExplorer(worded, PROMPTS, component="resid_post", layers=[1, 3], stat="std", layer=3, neuron=7)
    assert widget.patterns.component == "resid_post"
    assert (widget.layer, widget.neuron, widget.stat) == (3, 7, "std")
    assert shown(widget)["rows"] == [1, 3]
    assert widget.details["at"]["layer"] == 3
    assert rw.NeuronExplorer(worded.bridge, PROMPTS).neuron is not None
    one = rw.NeuronExplorer(rw.run(worded, [3, 5, 9]))
    assert one.patterns.stats.attrs["n"] == 2
    made = patterns.show()
    assert isinstance(made, rw.NeuronExplorer)
    assert made.patterns is patterns
    names = list(inspect.signature(rw.NeuronExplorer).parameters)
    assert names == ["source", "prompts", "layer", "neuron", "layout", "stat", "token", "head", "reads", "text"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stat": "median"}, "no such order"),
        ({"sta": "max"}, "no option 'sta'. Did you mean 'stat'"),
        ({"stat": "token", "token": "nothing like it"}, "one is needed|does not know"),
        ({"stat": "head", "head": (0, 0)}, "in the stream before it"),
        ({"text": ""}, "it is empty"),
        ({"layer": 4}, "from 0 to 3"),
        ({"layer": 1, "neuron": 48}, "neurons 0 .. 47"),
        ({"prompts": PROMPTS}, "have their prompts"),
        ({"component": "resid_post"}, "have their prompts"),
    ],
)
def test_bad_arguments_open_nothing(patterns, options, says):
    from ipywidgets.widgets.widget import _instances

    import resid_widgets as rw

    before = len(_instances)
    with pytest.raises(rw.InputError, match=says):
        rw.NeuronExplorer(patterns, **options)
    assert len(_instances) == before


def test_what_is_no_source_is_said(worded):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match="needs prompts"):
        rw.NeuronExplorer(worded)
    with pytest.raises(rw.InputError, match="the run has its own"):
        rw.NeuronExplorer(rw.run(worded, [3, 5]), PROMPTS)
    with pytest.raises(rw.InputError, match="ResidualModel or a TransformerBridge"):
        rw.NeuronExplorer("gpt2", PROMPTS)


# --- one neuron -------------------------------------------------------------------------------------------------------


def test_details_are_what_the_functions_return(explorer, patterns):
    explorer.pick(2, 31)
    told = explorer.details
    neuron = told["neuron"]
    assert told["heading"] == "neuron 2.31"
    assert [row["label"] for row in told["rows"]][:2] == ["largest activation", "smallest activation"]
    assert "share of positions above the threshold" not in [row["label"] for row in told["rows"]]
    counts, edges = patterns.histogram(2, 31)
    assert (neuron["counts"], neuron["edges"]) == (counts.tolist(), edges.tolist())
    for which in ("top", "bottom", "sample"):
        sent = [context for context in neuron["contexts"] if context["kind"] == which]
        made = patterns.contexts(2, 31, which=which)
        assert len(sent) == len(made) > 0
        for a, b in zip(sent, made, strict=True):
            text = neuron["texts"][a["text"]]
            at = a["pos"] - text["start"]
            assert (text["prompt"], a["pos"]) == (b.prompt, b.pos)
            assert a["activation"] == pytest.approx(b.activation, rel=1e-7)
            assert text["activations"][at] == pytest.approx(b.activation, rel=1e-3)
            assert at in range(len(text["tokens"]))
    whole = {c["text"] for c in neuron["contexts"] if c["kind"] == "sample"}
    assert all(neuron["texts"][n]["start"] == 0 for n in whole)
    assert all(0 in neuron["texts"][n]["marked"] for n in whole)
    effect: Any = patterns.logit_effect(2, 31, 6)
    assert [e["value"] for e in neuron["effects"]] == pytest.approx(effect["effect"].tolist(), rel=1e-3)


def test_activations_fall_into_the_bins_that_count_them(explorer, patterns):
    """What a brush keeps agrees with what it counts, where all positions are at hand."""
    import resid_widgets as rw

    whole = rw.NeuronExplorer(rw.neuron_patterns(patterns.model, PROMPTS, sample=100))
    for layer, neuron in ((0, 3), (3, 30)):
        whole.pick(layer, neuron)
        told = whole.details["neuron"]
        x = [context["activation"] for context in told["contexts"] if context["kind"] == "sample"]
        assert np.histogram(x, told["edges"])[0].tolist() == told["counts"]


def test_a_click_selects_and_a_layer_is_named_by_its_number(patterns, worded, page):
    import resid_widgets as rw

    widget = rw.NeuronExplorer(rw.neuron_patterns(worded, PROMPTS, layers=[1, 3], neurons=[4, 9, 40]))
    answer, _ = page(widget).ask("select", at={"layer": 3, "neuron": 40})
    assert answer["kind"] == "done"
    assert (widget.layer, widget.pos, widget.neuron) == (3, 2, 40)
    assert widget.details["heading"] == "neuron 3.40"
    answer, _ = page(widget).ask("select", at={"layer": 0, "neuron": 40})
    assert answer["kind"] == "error"
    assert "layers [1, 3]" in answer["text"]
    assert (widget.layer, widget.neuron) == (3, 40)
    widget.select(None, None)
    assert widget.details is None
    assert widget.neuron is None


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stat", ["mean", "kurtosis", "correlation a", "auroc b"])
def test_the_picture_is_what_is_asked_for(explorer, patterns, stat):
    explorer.stat = stat
    kind, _, label = stat.partition(" ")
    expected = patterns.stats[kind] if not label else patterns.stats[kind].sel(label=label)
    np.testing.assert_allclose(floats(shown(explorer)["data"]), expected.values, rtol=1e-6)
    assert explorer.frame["parts"]["neurons"]["column"] == (stat if not label else explorer.result.scale.label)
    assert kind not in shown(explorer)["also"]["labels"]


def test_neurons_for_a_token_and_for_a_head(explorer, patterns, front):
    for name, value in (("stat", "token"), ("token", " Mary")):
        answer, _ = front.ask("set", name=name, value=value)
        assert answer["kind"] == "done", answer
    best: Any = patterns.top(token=" Mary", k=1)
    assert explorer.result.as_patterns().largest == (best["layer"][0], best["neuron"][0])
    assert control(explorer, "token")["visible"]
    assert not control(explorer, "head")["visible"]
    front.ask("set", name="stat", value="head")
    answer, _ = front.ask("set", name="head", value="2.1")
    assert answer["kind"] == "done"
    assert explorer.head == (2, 1)
    best = patterns.top(head=(2, 1), k=1)
    assert explorer.result.as_patterns().largest == (best["layer"][0], best["neuron"][0])
    assert np.isnan(floats(shown(explorer)["data"])[2:]).all()  # it cannot read what comes after it
    front.ask("set", name="reads", value="k")
    assert "K-composition" in explorer.frame["title"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("head", "two", "Write them as 3.1"), ("head", "9.0", "from 0 to 3"), ("token", "zzz zzz", "token")],
)
def test_what_is_mistyped_stays_in_its_field(explorer, front, name, value, says):
    explorer.stat = name
    before = explorer.frame
    answer, _ = front.ask("set", name=name, value=value)
    assert answer["kind"] == "error"
    assert says in answer["text"]
    assert control(explorer, name)["value"] == value
    assert says in control(explorer, name)["refused"]
    assert explorer.frame is before


# --- a text of your own -----------------------------------------------------------------------------------------------


def test_your_own_text_is_read_by_the_selected_neuron_and_the_next(explorer, patterns, front):
    explorer.pick(1, 5)
    before = explorer.frame
    answer, _ = front.ask("set", name="text", value=" Mary gave Mary")
    assert answer["kind"] == "done"
    assert explorer.frame is before  # the picture does not depend on it
    own = explorer.details["neuron"]["own"]
    expected = patterns.activations_of(" Mary gave Mary", 1, 5)
    assert own["activations"] == pytest.approx(expected.values.tolist(), rel=1e-3)
    assert own["tokens"] == expected.coords["token"].values.tolist()
    assert own["marked"] == list(expected.attrs["marked"])
    explorer.pick(3, 40)
    expected = patterns.activations_of(" Mary gave Mary", 3, 40)
    assert explorer.details["neuron"]["own"]["activations"] == pytest.approx(expected.values.tolist(), rel=1e-3)
    front.ask("set", name="text", value="")
    assert explorer.text is None
    assert explorer.details["neuron"]["own"] is None


def test_a_text_too_long_stays_in_its_field(explorer, front):
    answer, _ = front.ask("set", name="text", value=" Mary" * 100)
    assert answer["kind"] == "error"
    assert "context holds" in answer["text"]
    assert control(explorer, "text")["value"] == " Mary" * 100
    assert explorer.text is None


def test_reset_returns_to_the_first_state(patterns, page):
    import resid_widgets as rw

    widget = rw.NeuronExplorer(patterns, stat="std", layer=1, neuron=2, text=" gave")
    widget.change(stat="mean", text=None)
    widget.pick(0, 0)
    page(widget).ask("reset")
    assert (widget.stat, widget.text, widget.layer, widget.neuron) == ("std", " gave", 1, 2)
    assert widget.details["neuron"]["own"]["tokens"][-1] == "·gave"


# --- leaving ----------------------------------------------------------------------------------------------------------


def test_a_large_picture_comes_by_message(worded, page):
    import resid_widgets as rw
    from resid_widgets.widgets.shell import frame as wire

    widget = rw.NeuronExplorer(worded, PROMPTS)
    small = widget.frame
    assert small["parts"]["heatmap"]["data"] is not None
    original = wire.TRAIT_LIMIT
    try:
        wire.TRAIT_LIMIT = 1000
        widget.stat = "mean"
    finally:
        wire.TRAIT_LIMIT = original
    frame = widget.frame
    assert frame["parts"]["heatmap"]["data"] is None
    assert frame["parts"]["neurons"]["index"] is None
    answer, buffers = page(widget).ask("frame", frame_id=frame["id"])
    assert answer["names"] == frame["buffers"]
    np.testing.assert_allclose(floats(buffers[0]), widget.patterns.stats["mean"].values, rtol=1e-6)
    assert buffers[-1] == small["parts"]["neurons"]["index"]


def test_a_saved_page_knows_the_first_neurons_whole(explorer, patterns, tmp_path):
    text = explorer.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    found = re.search(r'<script id="rw-state" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    state = json.loads(found[1])
    known = state["planes"]["known"]
    assert len(known) == 60
    order = np.argsort(-patterns.values.values.ravel(), kind="stable")[:60]
    assert [(k["at"]["layer"], k["at"]["neuron"]) for k in known] == [(int(n) // 48, int(n) % 48) for n in order]
    assert known[0]["neuron"]["counts"] == patterns.histogram(*known[0]["at"].values()).counts.tolist()
    assert {context["kind"] for context in known[0]["neuron"]["contexts"]} == {"top", "bottom"}
    data = base64.b64decode(state["frame"]["parts"]["heatmap"]["data"]["__buffer__"])
    np.testing.assert_array_equal(floats(data), patterns.values.values)
    assert state["details"]["neuron"]["contexts"]


def test_it_leaves_as_table_picture_and_code(explorer, patterns, front, tmp_path):
    explorer.stat = "token"
    frame = explorer.to_dataframe()
    assert len(frame) == 4 * 48
    assert any("logit effect" in name for name in frame.columns)
    assert explorer.code() == patterns.code()
    for form in ("png", "csv", "html"):
        answer, buffers = front.ask("export", format=form)
        assert answer["kind"] == "file"
        assert len(buffers[0]) > 1000
    assert explorer._fallback()


def test_a_closed_explorer_lets_go(patterns):
    import resid_widgets as rw

    widget = rw.NeuronExplorer(patterns, text=" gave")
    widget.close()
    assert widget._patterns is None
    assert widget._read is None
    with pytest.raises(rw.InputError, match="closed"):
        widget.pick(0, 0)
    with pytest.raises(rw.InputError, match="closed"):
        widget.patterns  # noqa: B018
