"""Clicks that change the stream: what they mean, how they are taken back, what the picture then says."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.csv_tables import table
from tests.widgets.pictures import drawn, shown

OTHER = [2, 6, 10, 21, 34, 5, 61]  # another prompt of seven tokens
SHORT = [2, 6, 10, 21]
METRIC_WORDS = "logit difference [7] − [8]"


@pytest.fixture
def metric() -> Any:
    import resid_widgets as rw

    return rw.logit_diff(7, 8)


@pytest.fixture
def explorer(llama_run, metric) -> Any:
    import resid_widgets as rw

    return rw.AblationExplorer(llama_run, metric)


@pytest.fixture
def front(explorer, page) -> Any:
    return page(explorer)


def edit(front: Any, *on: Any, off: Any = (), drop: Any = (), batch: int = 0) -> dict[str, Any]:
    """Send what clicks send; the answer."""
    answer, _ = front.ask("edit", batch=batch, on=list(map(list, on)), off=list(map(list, off)), drop=list(drop))
    return answer


def active(widget: Any) -> list[str]:
    return [str(item) for item in widget.interventions]


def control(widget: Any, name: str) -> dict[str, Any]:
    return next(control for control in widget.controls if control["name"] == name)


def action(widget: Any, name: str) -> dict[str, Any]:
    return next(action for action in widget.actions if action["name"] == name)


def chips(widget: Any) -> list[str]:
    """What the chips say."""
    said = [(chip["label"], chip["token"], chip["place"]) for chip in widget.summary["chips"]]
    return [" ".join(filter(None, parts)) for parts in said]


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


# --- making -----------------------------------------------------------------------------------------------------------


def test_it_is_made_from_a_run_a_model_or_a_bridge(worded, llama_run, metric):
    import resid_widgets as rw

    assert rw.AblationExplorer(llama_run).metric.kind == "log_prob"  # of the likeliest next token
    assert rw.AblationExplorer(llama_run, metric).metric == metric
    widget = rw.AblationExplorer(worded, " Mary gave", rw.logit_diff(" Mary", "Mary"), mode="mlps", how="zero")
    assert (widget.mode, widget.how, widget.result.metric) == ("mlps", "zero", "logit difference ·Mary − Mary")
    assert rw.AblationExplorer(worded.bridge, prompt=[3, 5]).run.token_ids == (3, 5)


def test_it_starts_with_nothing_changed(explorer, llama_run):
    import resid_widgets as rw

    assert (explorer.interventions, explorer.edited, explorer.layer, explorer.pos) == ((), [], None, None)
    assert not np.frombuffer(shown(explorer)["data"], "<f4").any()
    assert explorer.summary["name"] == METRIC_WORDS
    assert explorer.summary["change"] == ""
    assert explorer.summary["chips"] == []
    assert [token["before"] for token in explorer.summary["compared"]] == pytest.approx(
        sorted(llama_run.final_logits.softmax(-1).tolist(), reverse=True)[:5], rel=1e-5
    )
    assert [a["enabled"] for a in explorer.actions] == [False, False, True]
    assert "AblationExplorer(" in repr(explorer)
    with pytest.raises(rw.InputError, match=r"no option 'hwo'\. Did you mean 'how'"):
        rw.AblationExplorer(llama_run, hwo="mean")


def test_it_can_start_with_something_changed(llama_run, metric):
    import resid_widgets as rw

    item = rw.zero(rw.Site("resid_post", 1, 3))
    widget = rw.AblationExplorer(llama_run, metric, interventions=item, layer=1, pos=3)
    assert widget.interventions == (item,)
    assert widget.edited == [[1, 3]]
    assert not action(widget, "undo")["enabled"]  # the first state is where undo ends
    widget.interventions = ()
    widget.reset()
    assert widget.interventions == (item,)
    assert (widget.layer, widget.pos) == (1, 3)


def test_an_edited_run_gives_its_interventions_as_chips(llama_run, metric, page):
    import resid_widgets as rw

    first, second = rw.zero(rw.Site("resid_post", 0, 2)), rw.mean(rw.Site("resid_post", 2, 4))
    widget = rw.AblationExplorer(rw.intervene(llama_run, first), metric)
    assert widget.interventions == (first,)
    assert widget.run.base is None
    edit(page(widget), [2, 4])
    assert widget.interventions == (first, second)
    edit(page(widget), off=[[0, 2]], batch=1)
    assert widget.interventions == (second,)
    assert widget.result.before == pytest.approx(rw.ablation(llama_run, [], metric).before)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"how": "delete"}, r"how='delete': must be one of mean, zero, .*\. Choose one"),
    ({"mode": "neurons"}, r"mode='neurons': must be one of cells, heads, mlps\. Choose one"),
    ({"site": "mlp_out"}, r"site='mlp_out': must be one of resid_pre"),
    ({"metric": "logit_diff"}, r"metric='logit_diff': a metric is needed\. For example rw\.logit_diff"),
    ({"sigma": -1.0}, r"sigma=-1\.0: a standard deviation is 0 or more\. Use 1\.0"),
    ({"sigma": float("inf")}, r"sigma=inf: a finite number is needed\. For example"),
    ({"seed": -1}, r"seed=-1: a whole number from 0 is needed\. seed=0"),
    ({"low": float("nan")}, r"low=nan: a finite number is needed"),
    ({"high": float("inf")}, r"high=inf: a finite number is needed"),
    ({"direction": [1.0, 2.0]}, r"direction='2 numbers': a direction in the stream has 32 numbers.*head's output 8\."),
    ({"direction": [0.0] * 32}, r"direction=.*all zeros, and points nowhere\. Give one with a length"),
    ({"source_prompt": [1, 999]}, r"999"),
    ({"source_prompt": "words"}, r"tokenizer"),
    ({"source_prompt": 1.5}, r"source=1\.5: a prompt or several are needed"),
    ({"interventions": "zero"}, r"interventions='zero': interventions are needed\. For example rw\.zero"),
    ({"interventions": 3}, r"interventions=3"),
]


@pytest.mark.parametrize(("bad", "says"), BAD)
def test_bad_input_says_value_rule_and_remedy_and_changes_nothing(explorer, front, llama_run, metric, bad, says):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match=says):
        rw.AblationExplorer(llama_run, **{"metric": metric, **bad})
    edit(front, [1, 3])
    explorer.select(1, 3)
    names = ["frame", "controls", "summary", "actions", "edited", "layer", "pos", "details", "status"]
    before, options = explorer.get_state(names), explorer._state.options
    front.forget()
    with pytest.raises(rw.InputError, match=says):
        explorer.change(**bad)
    assert explorer.get_state(names) == before
    assert explorer._state.options is options
    assert front.updates == []


@pytest.mark.parametrize(
    ("site", "says"),
    [
        (("resid_post", 9), "layer=9"),
        (("resid_post", 1, 7), "pos=7"),
        (("z", 1, None, 4), r"head=4: layer 1 has heads 0 \.\. 3\. Choose"),
        (("mlp_post", 1, None, None, 48), r"neuron=48: the MLP of layer 1 has neurons 0 \.\. 47\. Choose"),
    ],
)
def test_interventions_out_of_range_are_refused(explorer, site, says):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match=says):
        explorer.interventions = [rw.zero(rw.Site(*site))]
    assert explorer.interventions == ()


def test_a_source_run_of_another_model_is_refused(explorer, make_model):
    import resid_widgets as rw

    other = rw.run(make_model("qwen2"), OTHER)
    with pytest.raises(rw.InputError, match="of another model, or of other weights"):
        explorer.interventions = [rw.patch(rw.Site("resid_post", 1), other)]
    assert (explorer.interventions, explorer.edited) == ((), [])


# --- the trait --------------------------------------------------------------------------------------------------------


def test_set_then_read_is_never_stale(explorer, front, llama_run, metric):
    import resid_widgets as rw

    items = [rw.zero(rw.Site("resid_post", 1, 3)), rw.mean(rw.Site("mlp_out", 2, -1))]
    seen = []
    explorer.observe(
        lambda change: seen.append((change["new"], explorer.edited, explorer.result.after)), "interventions"
    )
    front.forget()
    explorer.interventions = items
    found = rw.ablation(llama_run, items, metric)
    assert explorer.interventions == tuple(items)
    assert (explorer.result.before, explorer.result.after) == (found.before, found.after)
    np.testing.assert_array_equal(drawn(explorer), found.values.values)
    assert number(explorer.summary["now"]) == pytest.approx(found.after, rel=0.01)
    assert number(explorer.summary["change"]) == pytest.approx(found.after - found.before, rel=0.01)
    (update,) = front.updates  # one message
    assert {"frame", "summary", "actions", "edited"} <= set(update)
    assert seen == [(tuple(items), [[1, 3]], found.after)]


def test_one_intervention_needs_no_list(explorer):
    import resid_widgets as rw

    item = rw.zero(rw.Site("resid_post", 1, 3))
    explorer.interventions = item
    assert explorer.interventions == (item,)
    explorer.interventions = [item]  # the same again is no change
    explorer.undo()
    assert explorer.interventions == ()


def test_positions_from_the_end_are_the_same_cells(explorer, front):
    import resid_widgets as rw

    explorer.interventions = [rw.zero(rw.Site("resid_post", 1, -1))]
    assert explorer.edited == [[1, 6]]
    edit(front, [1, 6])  # is so already
    assert len(explorer.interventions) == 1
    edit(front, off=[[1, 6]], batch=1)
    assert explorer.interventions == ()


# --- clicks -----------------------------------------------------------------------------------------------------------


def test_a_click_ablates_and_the_next_one_takes_it_back(explorer, front, llama_run, metric):
    import resid_widgets as rw

    front.forget()
    assert edit(front, [2, 4])["kind"] == "done"
    assert active(explorer) == ["mean resid_post[layer 2, pos 4]"]
    assert explorer.edited == [[2, 4]]
    wanted = rw.ablation(llama_run, rw.mean(rw.Site("resid_post", 2, 4)), metric)
    assert explorer.result.after == wanted.after
    assert len(front.updates) == 1
    edit(front, off=[[2, 4]])
    assert explorer.interventions == ()
    assert explorer.summary["change"] == ""


def test_a_region_is_one_change_and_one_step_of_undo(explorer, front):
    cells = [[layer, pos] for layer in (1, 2) for pos in (3, 4, 5)]
    edit(front, *cells)
    assert explorer.edited == cells
    assert explorer.summary["count"] == 6
    explorer.undo()
    assert explorer.edited == []


def test_a_whole_layer_is_an_intervention_of_its_own(explorer, front):
    edit(front, [2, 4], [2, None])
    assert active(explorer) == ["mean resid_post[layer 2, pos 4]", "mean resid_post[layer 2]"]
    edit(front, off=[[2, None]])
    assert explorer.edited == [[2, 4]]


def test_a_message_that_comes_late_does_not_take_the_place_of_a_later_one(llama_run, page):
    """ipykernel 7.4 hands messages over on two threads, now and then in another order."""
    import resid_widgets as rw

    widget = rw.AblationExplorer(llama_run)
    shown, first = page(widget), 7 << 20
    both, one = [[1, 2], [2, 3]], [[1, 2]]
    for number, on in ((first + 3, both), (first + 1, one)):
        shown.post({"id": number, "kind": "edit", "batch": 0, "on": on, "off": [], "drop": []})
        shown.post({"id": number + 1, "kind": "select", "at": {"layer": on[-1][0], "pos": on[-1][1]}})
    assert widget.wait(120)
    assert sorted(widget.edited) == both
    assert (widget.layer, widget.pos) == (2, 3)
    assert all(shown.answer(first + n)[0]["kind"] == "done" for n in range(1, 5))
    # Another page counts anew.
    shown.post({"id": 3 << 20, "kind": "edit", "batch": 0, "on": [], "off": [[1, 2]], "drop": []})
    assert widget.wait(120)
    assert widget.edited == [[2, 3]]


def test_the_same_message_twice_is_the_same_state(explorer, front):
    edit(front, [2, 4], [0, 1])
    before = explorer.interventions
    front.forget()
    edit(front, [2, 4], [0, 1])
    assert explorer.interventions == before
    assert [set(update) for update in front.updates] == []
    edit(front, off=[[3, 3]], drop=["no such chip"])
    assert explorer.interventions == before
    explorer.undo()
    assert explorer.interventions == ()  # the repetitions were no steps


def test_the_latest_message_of_a_batch_wins_and_has_all_clicks(explorer, front, llama_run):
    cells = [[n % 4, n // 4] for n in range(28)]
    with llama_run.model.lock:  # as a running cell has it: nothing is computed before the last click
        numbers = [
            front.post({"kind": "edit", "batch": 0, "on": cells[: n + 1], "off": [], "drop": []}) for n in range(28)
        ]
    assert explorer.wait(120)
    assert explorer.edited == cells
    assert all(front.answer(number)[0]["kind"] == "done" for number in numbers)
    assert explorer.status["state"] == "ready"


def test_what_was_clicked_before_a_choice_means_the_choice_before(explorer, front, llama_run):
    with llama_run.model.lock:
        front.post({"kind": "edit", "batch": 0, "on": [[1, 1]], "off": [], "drop": []})
        front.post({"kind": "set", "name": "how", "value": "zero"})
        front.post({"kind": "edit", "batch": 1, "on": [[2, 2]], "off": [], "drop": []})
    assert explorer.wait(120)
    assert active(explorer) == ["mean resid_post[layer 1, pos 1]", "zero resid_post[layer 2, pos 2]"]


def test_chips_are_taken_off_by_name(explorer, front):
    edit(front, [2, 4], [0, 1], [3, None])
    assert chips(explorer) == ["mean · L2 [33]", "mean · L0 [5]", "mean · L3"]
    edit(front, drop=[explorer.summary["chips"][1]["id"]], batch=1)
    assert explorer.edited == [[2, 4], [3, None]]
    explorer.undo()
    assert explorer.edited == [[2, 4], [0, 1], [3, None]]


def test_chips_say_what_an_intervention_depends_on(explorer):
    import resid_widgets as rw

    site = rw.Site("z", 1, None, 2)
    explorer.interventions = [
        rw.noise(site, 0.5, 3),
        rw.clamp(site, high=1.0),
        rw.add(rw.Site("resid_pre", 2, 1), np.ones(32), -2.0),
        rw.zero(rw.Site("mlp_post", 0, None, None, 7)),
    ]
    assert chips(explorer) == [
        "noise 0.5σ · L1 z head 2",
        "clamp −∞ to 1 · L1 z head 2",
        "add × −2 · L2 resid_pre [5]",
        "zero · L0 mlp_post neuron 7",
    ]


def test_a_token_that_comes_twice_is_told_by_its_place(worded, metric):
    import resid_widgets as rw

    run = rw.run(worded, [3, 5, 3])
    widget = rw.AblationExplorer(run, metric, interventions=[rw.zero(rw.Site("resid_post", 0, p)) for p in (1, -1)])
    assert chips(widget) == ["zero · L0 ·gave", "zero · L0 ·Mary at 2"]


def test_a_long_list_of_chips_says_how_many_more(explorer, front):
    cells = [[layer, pos] for layer in range(4) for pos in range(7)]
    edit(front, *cells)
    assert len(explorer.summary["chips"]) == 24
    assert (explorer.summary["left"], explorer.summary["count"]) == (4, 28)
    edit(front, off=cells[-1:], batch=1)
    assert explorer.summary["left"] == 3


@pytest.mark.parametrize(
    "bad",
    [{"on": [[9, 0]]}, {"on": [[0, 7]]}, {"on": [["0", 0]]}, {"on": [[0]]}, {"on": [3]}, {"off": [[0, 1.5]]}],
)
def test_a_bad_click_is_answered_shown_and_changes_nothing(explorer, front, bad):
    edit(front, [1, 1])
    answer, _ = front.ask("edit", **bad)
    assert answer["kind"] == "error"
    assert explorer.status["state"] == "error"
    assert explorer.status["text"] == answer["text"]
    assert explorer.edited == [[1, 1]]
    edit(front, [1, 2])
    assert explorer.status["state"] == "ready"
    assert explorer.edited == [[1, 1], [1, 2]]


# --- undo, redo, reset ------------------------------------------------------------------------------------------------


def test_undo_and_redo_walk_the_history(explorer, front):
    for n in range(3):
        edit(front, [n, n], batch=n)
    enabled = lambda: [action(explorer, name)["enabled"] for name in ("undo", "redo")]  # noqa: E731
    assert enabled() == [True, False]
    front.ask("act", name="undo")
    assert explorer.edited == [[0, 0], [1, 1]]
    assert enabled() == [True, True]
    front.ask("act", name="undo")
    front.ask("act", name="undo")
    assert (explorer.edited, enabled()) == ([], [False, True])
    explorer.undo()  # nothing left: nothing happens
    assert explorer.edited == []
    front.ask("act", name="redo")
    explorer.redo()
    assert explorer.edited == [[0, 0], [1, 1]]
    edit(front, [3, 3], batch=9)  # a new branch: what was taken back is gone
    assert enabled() == [True, False]
    explorer.redo()
    assert explorer.edited == [[0, 0], [1, 1], [3, 3]]


def test_undo_takes_back_interventions_and_nothing_else(explorer, front):
    edit(front, [1, 1])
    front.ask("set", name="how", value="zero")
    explorer.mode = "mlps"
    explorer.select(2, 2)
    explorer.undo()
    assert (explorer.interventions, explorer.how, explorer.mode, explorer.layer) == ((), "zero", "mlps", 2)
    explorer.redo()
    assert explorer.edited == []  # in the picture of MLPs it has no cell
    assert active(explorer) == ["mean resid_post[layer 1, pos 1]"]


def test_every_press_of_undo_counts(explorer, front, llama_run):
    for n in range(4):
        edit(front, [n, n], batch=n)
    with llama_run.model.lock:
        for _ in range(3):
            front.post({"kind": "act", "name": "undo"})
    assert explorer.wait(120)
    assert explorer.edited == [[0, 0]]


def test_reset_goes_back_and_can_be_taken_back(llama_run, metric, page):
    import resid_widgets as rw

    widget = rw.AblationExplorer(llama_run, metric, how="zero", layer=1, pos=1)
    front = page(widget)
    edit(front, [2, 2])
    widget.change(how="noise", mode="heads", sigma=2.0)
    answer, _ = front.ask("reset")
    assert answer["kind"] == "done"
    assert (widget.how, widget.mode, widget.sigma) == ("zero", "cells", 1.0)
    assert (widget.layer, widget.pos, widget.interventions) == (1, 1, ())
    widget.undo()
    assert widget.edited == [[2, 2]]


def test_a_button_that_is_not_there_is_refused(front, explorer):
    answer, _ = front.ask("act", name="explode")
    assert answer["kind"] == "error"
    assert "no such button" in answer["text"]


# --- what a click means -----------------------------------------------------------------------------------------------

HOWS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("mean", {}, []),
    ("zero", {}, []),
    ("noise", {"sigma": 0.5, "seed": 3}, ["sigma", "seed"]),
    ("clamp", {"low": -0.1, "high": None}, ["low", "high"]),
    ("resample", {"source_prompt": SHORT, "seed": 2}, ["seed", "source_prompt"]),
    ("patch", {"source_prompt": OTHER}, ["source_prompt"]),
    ("project_out", {}, []),
    ("project_out", {"direction": np.arange(1.0, 33.0)}, []),
]
PARAMETERS = ("sigma", "seed", "low", "high", "source_prompt")


@pytest.mark.parametrize(("how", "options", "fields"), HOWS)
def test_a_click_does_what_is_chosen(explorer, front, llama_run, metric, how, options, fields):
    import resid_widgets as rw

    front.ask("set", name="how", value=how)
    explorer.change(**options)
    visible = {c["name"] for c in explorer.controls if c["visible"]}
    assert [name for name in PARAMETERS if name in visible] == fields
    assert edit(front, [1, 3])["kind"] == "done"
    site, given = rw.Site("resid_post", 1, 3), dict(options)
    rows = llama_run.model.bridge.W_U.detach().double().numpy()
    wanted = {
        "mean": lambda: rw.mean(site),
        "zero": lambda: rw.zero(site),
        "noise": lambda: rw.noise(site, 0.5, 3),
        "clamp": lambda: rw.clamp(site, -0.1),
        "resample": lambda: rw.resample(site, SHORT, 2),
        "patch": lambda: rw.patch(site, OTHER),
        "project_out": lambda: rw.project_out(site, given.get("direction", rows[:, 7] - rows[:, 8])),
    }[how]()
    assert explorer.interventions == (wanted,)
    assert explorer.result.after == rw.ablation(llama_run, wanted, metric).after


def test_parameters_are_typed_in_the_widget(explorer, front):
    for name, value in [("how", "noise"), ("sigma", 0.25), ("seed", 4), ("low", None), ("high", 2.5)]:
        assert front.ask("set", name=name, value=value)[0]["kind"] == "done"
    assert (explorer.sigma, explorer.seed, explorer.low, explorer.high) == (0.25, 4, None, 2.5)
    front.ask("set", name="source_prompt", value="2 6 10")  # a model without tokenizer takes ids
    assert explorer.source_prompt == (2, 6, 10)
    assert control(explorer, "source_prompt")["value"] == "2 6 10"
    front.ask("set", name="source_prompt", value="")
    assert explorer.source_prompt is None
    edit(front, [1, 1])
    assert active(explorer) == ["noise resid_post[layer 1, pos 1], seed=4, sigma=0.25"]


def test_a_source_prompt_may_be_text_ids_or_a_run(worded, page):
    import resid_widgets as rw

    run = rw.run(worded, " Mary gave")
    widget = rw.AblationExplorer(run, how="patch", source_prompt="Mary gave")
    assert control(widget, "source_prompt")["value"] == "Mary gave"
    source = rw.run(worded, "Mary gave")
    widget.source_prompt = source
    assert control(widget, "source_prompt")["value"] == "Mary gave"
    edit(page(widget), [1, -1 % run.n_pos])
    assert widget.interventions == (rw.patch(rw.Site("resid_post", 1, run.n_pos - 1), source),)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"how": "resample"}, "resample takes values from another prompt: type one into 'other prompt' first"),
        ({"how": "patch"}, "patch takes values from another prompt: type one into 'other prompt' first"),
        ({"how": "patch", "source_prompt": SHORT}, "the run has 7, and values are taken at the same positions"),
        ({"how": "clamp", "low": 2.0, "high": 1.0}, "low must not be above high"),
        ({"how": "clamp", "low": None, "high": None}, "at least one bound is needed"),
        ({"how": "project_out", "direction": np.ones(8)}, "a direction in resid_post has 32 numbers"),
        ({"how": "project_out", "mode": "heads"}, r"A head's output is not in the stream: set w\.direction to d_head"),
    ],
)
def test_a_click_that_cannot_be_says_why_and_loses_nothing(explorer, front, options, says):
    edit(front, [0, 1])
    explorer.change(**options)
    before = explorer.frame["id"], explorer.summary, explorer.interventions
    answer = edit(front, [1, 6 if options.get("mode") is None else 2], batch=1)
    assert answer["kind"] == "error"
    assert re.search(says, answer["text"])
    assert explorer.status["state"] == "error"
    assert (explorer.frame["id"], explorer.summary, explorer.interventions) == before
    explorer.change(how="zero")
    assert edit(front, [1, 2], batch=2)["kind"] == "done"
    assert explorer.status["state"] == "ready"


def test_a_metric_that_reads_no_direction_asks_for_one(explorer, front):
    import resid_widgets as rw

    explorer.change(metric=rw.kl_to_base(), how="project_out")
    answer = edit(front, [1, 2])
    assert "This metric reads no one direction: set w.direction to a vector of length d_model first." in answer["text"]
    explorer.direction = np.ones(32)
    assert edit(front, [1, 2])["kind"] == "done"


# --- modes ------------------------------------------------------------------------------------------------------------


def test_heads_are_columns_in_mode_heads(explorer, front, llama_run, metric):
    import resid_widgets as rw

    explorer.select(2, 6)
    front.ask("set", name="mode", value="heads")
    assert (shown(explorer)["shape"], shown(explorer)["column_name"]) == (
        [4, 4],
        "head",
    )
    assert shown(explorer)["tokens"] == ["head 0", "head 1", "head 2", "head 3"]
    assert (explorer.layer, explorer.pos) == (2, None)  # a position is no head
    assert not control(explorer, "site")["visible"]
    edit(front, [2, 3])
    assert active(explorer) == ["mean z[layer 2, head 3]"]
    assert chips(explorer)[0] == "mean · L2 z head 3"
    found = rw.ablation(llama_run, rw.mean(rw.Site("z", 2, None, 3)), metric, shown="heads")
    np.testing.assert_array_equal(explorer.result.values, found.values)
    edit(front, [1, None], batch=1)
    assert active(explorer)[1] == "mean z[layer 1]"
    explorer.mode = "cells"
    assert explorer.edited == []
    assert "column_name" not in shown(explorer)
    assert shown(explorer)["shape"] == [4, 7]
    assert len(explorer.interventions) == 2


def test_mlps_and_other_sites_of_the_stream(explorer, front):
    explorer.mode = "mlps"
    edit(front, [2, 3])
    explorer.change(mode="cells", site="attn_out")
    edit(front, [1, 2], batch=1)
    assert active(explorer) == ["mean mlp_out[layer 2, pos 3]", "mean attn_out[layer 1, pos 2]"]
    assert explorer.edited == [[1, 2]]
    explorer.site = "resid_post"
    assert explorer.edited == []


def test_only_sites_that_can_be_written_are_offered(make_model):
    import resid_widgets as rw
    from resid_widgets.models.layers.writes import writable_layers

    for family in ("gpt2", "gemma2", "bloom"):
        run = rw.run(make_model(family), [1, 2, 3])
        widget = rw.AblationExplorer(run)
        for name in ("resid_pre", "resid_mid", "resid_post", "attn_out"):
            works = bool(writable_layers(run.model, name))
            assert works == (name in [option["value"] for option in control(widget, "site")["options"]])
            if not works:
                with pytest.raises(rw.InputError, match=f"site='{name}': it cannot be written: "):
                    widget.site = name


# --- the metric -------------------------------------------------------------------------------------------------------


def test_the_metric_is_chosen_in_the_widget(worded, page):
    import resid_widgets as rw

    widget = rw.AblationExplorer(worded, " Mary gave", rw.logit_diff(" Mary", " gave"))
    front = page(widget)
    edit(front, [1, 0])
    for kind, words in [
        ("log_prob", "log-probability of"),
        ("prob", "probability of"),
        ("rank", "rank of"),
        ("kl_to_base", "KL("),
    ]:
        front.ask("set", name="metric", value=kind)
        assert widget.summary["name"].startswith(words)
        assert control(widget, "metric")["value"] == kind
        shown = [control(widget, name)["visible"] for name in ("answer", "foil")]
        assert shown == [kind != "kl_to_base", False]
        assert widget.edited == [[1, 0]]
    front.ask("set", name="metric", value="logit_diff")  # the likeliest two: kl_to_base has no tokens
    assert len({widget.run.model.token_id(t) for t in (*widget.metric.answers, *widget.metric.foils)}) == 2
    front.ask("set", name="answer", value="Mary")
    front.ask("set", name="foil", value=" Mary")
    assert widget.metric == rw.logit_diff("Mary", " Mary")
    assert widget.summary["name"] == "logit difference Mary − ·Mary"
    assert number(widget.summary["before"]) == pytest.approx(widget.result.before, rel=0.01)
    widget.undo()
    assert widget.metric == rw.logit_diff("Mary", " Mary")  # the metric is no step


def test_what_is_typed_wrong_stays_in_its_field_until_it_is_mended(worded, page):
    import resid_widgets as rw

    widget = rw.AblationExplorer(worded, " Mary gave", rw.logit_diff(" Mary", " gave"))
    front = page(widget)
    before = widget.frame["id"]
    answer, _ = front.ask("set", name="answer", value=" Mary gave")
    assert answer["kind"] == "error"
    assert "answer" in answer["text"] or "token" in answer["text"]
    field = control(widget, "answer")
    assert (field["value"], field["refused"]) == (" Mary gave", answer["text"])
    assert widget.metric == rw.logit_diff(" Mary", " gave")
    assert widget.frame["id"] == before
    front.ask("set", name="answer", value="")
    assert control(widget, "answer")["value"] == ""
    assert "A token is needed" in widget.status["text"] or "a token is needed" in widget.status["text"]
    front.ask("set", name="answer", value="Mary")
    field = control(widget, "answer")
    assert field["value"] == "Mary"
    assert "refused" not in field
    front.ask("set", name="foil", value="Mary")
    assert "answer and foil are the same token" in widget.status["text"]
    assert control(widget, "foil")["refused"]
    front.ask("set", name="foil", value=" gave")  # what is in use already
    assert "refused" not in control(widget, "foil")
    assert widget.status["state"] == "ready"


# --- the script -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["cells", "heads", "mlps"])
@pytest.mark.parametrize(("how", "options", "fields"), HOWS)
def test_the_script_of_every_kind_of_state_gives_the_number(
    explorer, front, mode, how, options, fields, tmp_path, monkeypatch
):
    if mode == "heads" and how == "project_out":
        options = {"direction": np.arange(1.0, 9.0)}
    explorer.change(mode=mode, how=how, **options)
    assert edit(front, [1, 3], [2, 1], [0, None])["kind"] == "done"
    check_script(explorer, tmp_path, monkeypatch)
    edit(front, off=[[1, 3]], batch=1)
    check_script(explorer, tmp_path, monkeypatch)
    explorer.undo()
    check_script(explorer, tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", ["logit_diff", "log_prob", "prob", "rank", "kl_to_base"])
def test_the_script_of_every_metric_gives_the_number(explorer, front, kind, tmp_path, monkeypatch):
    front.ask("set", name="metric", value=kind)
    check_script(explorer, tmp_path, monkeypatch)
    edit(front, [1, 3])
    check_script(explorer, tmp_path, monkeypatch)


def check_script(widget: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = widget.save_code(folder / "ablation.py")
    script = path.read_text(encoding="utf-8")
    assert script == widget.code() == action(widget, "code")["copies"]
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"bridge": widget.run.model.bridge}
    exec(compile(script, str(path), "exec"), names)  # noqa: S102
    assert names["number"] == pytest.approx(widget.result.after, abs=1e-5)


# --- without a run, and away from the page ----------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["stream", "heads"])
def test_a_result_shows_itself(llama_run, metric, page, shown):
    import resid_widgets as rw

    result = rw.ablation(llama_run, rw.zero(rw.Site("resid_post", 1, 3)), metric, shown=shown)
    widget = result.show()
    assert isinstance(widget, rw.AblationExplorer)
    assert (widget.result, widget.run, widget.controls, widget.actions, widget.edited) == (result, None, [], [], None)
    label = {"stream": "zero · L1 [20]", "heads": "zero · L1 at 3"}[shown]
    assert chips(widget) == [label]
    assert widget.interventions == result.interventions
    assert widget.code() == result.code()
    widget.select(1, 2)
    assert widget.details["rows"][0]["label"] == "relative change"
    answer, _ = page(widget).ask("edit", on=[[0, 0]])
    assert answer["kind"] == "error"
    with pytest.raises(rw.InputError, match=r"Make it from the run: rw\.AblationExplorer\(run\)"):
        widget.interventions = ()
    widget.undo()
    assert widget.result is result


def test_it_leaves_as_files(explorer, front, tmp_path):
    edit(front, [1, 3])
    html = explorer.to_html(tmp_path / "a.html").read_text()
    assert "mean \u00b7 L1" in html or "mean \\u00b7 L1" in html
    assert explorer.to_png(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    found = table(explorer.to_csv(tmp_path / "a.csv"))
    assert list(found) == ["layer", "pos", "token", "change"]
    assert len(found) == 28
    for form, start in [("png", b"\x89PNG"), ("svg", b"<?xml"), ("csv", b"# Ablation of "), ("html", b"<!doctype")]:
        answer, (data,) = front.ask("export", format=form)
        assert bytes(data).startswith(start)
        assert answer["name"] == f"ablation.{form}"
    explorer.mode = "heads"
    assert list(table(explorer.to_csv(tmp_path / "b.csv")))[:3] == ["layer", "head", "change"]
    explorer.to_html(tmp_path / "b.html")
    explorer.to_svg(tmp_path / "b.svg")


def test_close_frees_run_pictures_and_history(llama_run, metric, page):
    import gc
    import weakref

    import resid_widgets as rw

    run = rw.run(llama_run.model, OTHER)
    widget, gone = rw.AblationExplorer(run, metric), weakref.ref(run)
    edit(page(widget), [1, 3])
    page(widget).forget()
    widget.close()
    del run
    gc.collect()
    assert gone() is None
    assert widget.closed
    for use in (
        widget.undo,
        widget.redo,
        lambda: widget.save_code("x.py"),
        lambda: setattr(widget, "interventions", ()),
    ):
        with pytest.raises(rw.InputError, match="is closed"):
            use()


# --- threads ----------------------------------------------------------------------------------------------------------


def test_python_and_clicks_at_once_end_in_a_state_that_somebody_asked_for(explorer, front, llama_run):
    import resid_widgets as rw

    failed: list[BaseException] = []

    def cell() -> None:
        try:
            for n in range(15):
                explorer.interventions = [rw.zero(rw.Site("resid_post", n % 4, n % 7))]
                assert len(explorer.interventions) >= 1
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=cell)
    thread.start()
    for n in range(15):
        front.post({"kind": "edit", "batch": n, "on": [[n % 4, (n + 1) % 7]], "off": [], "drop": []})
    thread.join(120)
    assert explorer.wait(120)
    assert failed == []
    found = rw.ablation(llama_run, explorer.interventions, explorer.metric)
    assert explorer.result.after == pytest.approx(found.after, abs=1e-6)
    assert sorted(explorer.edited) == sorted([i.site.layer, i.site.pos] for i in explorer.interventions)


def test_what_python_sets_drops_clicks_that_still_wait(explorer, front, llama_run):
    import resid_widgets as rw

    item = rw.zero(rw.Site("resid_post", 3, 3))
    with llama_run.model.lock:
        number = front.post({"kind": "edit", "batch": 0, "on": [[1, 1]], "off": [], "drop": []})
        explorer.interventions = [item]
        assert explorer.interventions == (item,)
    assert explorer.wait(120)
    assert explorer.interventions == (item,)
    assert front.answer(number)[0]["kind"] == "done"


def test_the_holder_of_the_lock_can_wait_for_a_click(explorer, front, llama_run):
    with llama_run.model.lock:
        front.post({"kind": "edit", "batch": 0, "on": [[1, 1]], "off": [], "drop": []})
        assert explorer.wait(120)
        assert explorer.edited == [[1, 1]]


def test_an_error_in_the_worker_is_shown_and_logged(explorer, front, monkeypatch, caplog):
    from resid_widgets.widgets.editing import ablation_explorer as module

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("planted trouble")

    with monkeypatch.context() as patched:
        patched.setattr(module, "ablation", fail)
        answer = edit(front, [1, 1])
    assert answer["text"] == "RuntimeError: planted trouble"
    assert "planted trouble" in explorer.status["detail"]  # the traceback, or its end
    assert any("planted trouble" in str(record.exc_info) for record in caplog.records)
    assert edit(front, [1, 1], batch=1)["kind"] == "done"
    assert explorer.edited == [[1, 1]]
