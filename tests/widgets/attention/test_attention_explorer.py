"""The explorer of attention: what travels, what is opened, sorted and ablated, what a page without Python keeps."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

SENTENCE = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture
def metric() -> Any:
    import resid_widgets as rw

    return rw.logit_diff(7, 8)


@pytest.fixture
def explorer(llama_run, metric) -> Any:
    import resid_widgets as rw

    return rw.AttentionExplorer(llama_run, metric)


@pytest.fixture
def front(explorer, page) -> Any:
    return page(explorer)


def heads(widget: Any) -> dict[str, Any]:
    return widget.frame["parts"]["heads"]


def opened(widget: Any) -> dict[str, Any]:
    return widget.frame["parts"]["head"]


def drawn(widget: Any) -> np.ndarray[Any, Any]:
    """The numbers of the open head, ``[pos, key_pos]``."""
    data = opened(widget)["data"] or widget._state.buffers["head.data"]
    return np.frombuffer(data, "<f4").reshape(opened(widget)["n"], -1)


def numbers(widget: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The scores of all heads, in the order in which they travel."""
    of = heads(widget)
    rows = np.frombuffer(of["numbers"], "<f4").reshape(len(of["labels"]), -1)
    return dict(zip(of["labels"], rows, strict=True))


def control(widget: Any, name: str) -> dict[str, Any]:
    return next(control for control in widget.controls if control["name"] == name)


def action(widget: Any, name: str) -> dict[str, Any]:
    return next(action for action in widget.actions if action["name"] == name)


def said(widget: Any) -> dict[str, str]:
    """The rows of the side panel."""
    return {row["label"]: row["value"] for row in widget.details["rows"]}


# --- making -----------------------------------------------------------------------------------------------------------


def test_it_starts_with_all_heads_and_one_open(explorer, llama_run, page):
    comm = page(explorer).comm
    assert explorer.score == "previous_token"  # no token repeats
    first = explorer.result.order("previous_token")[0]
    assert tuple(explorer.selection.values()) == first
    frame = comm.opened["data"]["state"]["frame"]
    assert frame["parts"]["heads"]["side"] == 7
    assert len(heads(explorer)["pictures"]) == 16 * 7 * 7
    assert frame["parts"]["heads"]["layers"] == [n for n in range(4) for _ in range(4)]
    pattern = llama_run.activation("pattern", first[0])[first[1]].numpy()
    np.testing.assert_allclose(drawn(explorer), pattern, rtol=1e-6)
    pictures = np.frombuffer(heads(explorer)["pictures"], np.uint8).reshape(16, 7, 7)
    np.testing.assert_allclose(pictures[4 * first[0] + first[1]] / 255, pattern, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(numbers(explorer)["entropy"], explorer.result.score("entropy").values.ravel(), rtol=1e-6)
    assert repr(explorer) == f"AttentionExplorer({llama_run.provenance.describe()} · Attention)"


def test_a_model_a_prompt_a_head_or_a_result_are_enough(worded, llama_run, metric):
    import resid_widgets as rw

    widget = rw.AttentionExplorer(worded, [3, 5, 9, 3, 5], layer=-1, head=2, score="entropy", sort=True, view="arcs")
    assert dict(widget.selection) == {"layer": 3, "head": 2}
    assert (widget.score, widget.sort, opened(widget)["view"]) == ("entropy", True, "arcs")
    assert widget.metric.kind == "logit"  # of the likeliest next token: linear, so that effects are direct ones too
    assert widget.prompt == (3, 5, 9, 3, 5) or isinstance(widget.prompt, str)
    assert rw.AttentionExplorer(worded.bridge, [3, 5]).run.token_ids == (3, 5)
    made = rw.attention_overview(llama_run, metric, effects="causal").show()
    assert isinstance(made, rw.AttentionExplorer)
    assert made.result.known[-1] == "causal"
    assert (made.controls, made.actions, made.edited, made.run) == ([], [], None, None)
    assert "needs the run" in opened(made)["blank"]
    made.select(layer=2, head=1)
    assert said(made)["effect when ablated"] == f"{float(made.result.score('causal')[2, 1]):.4g}".replace("-", "−")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "patern"}, "must be one of pattern"),
        ({"kind": "change"}, "nothing is changed yet"),
        ({"score": "size"}, "must be one of induction"),
        ({"scor": "entropy"}, "no option 'scor'. Did you mean 'score'"),
        ({"how": "noise"}, "must be one of mean, zero"),
        ({"view": "list"}, "must be one of grid, arcs"),
        ({"layer": 4, "head": 0}, "from 0 to 3"),
        ({"layer": 0, "head": 4}, "from 0 to 3"),
        ({"metric": 5}, "metric"),
    ],
)
def test_bad_arguments_open_nothing(llama_run, options, says):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match=says):
        rw.AttentionExplorer(llama_run, **options)


def test_one_token_is_refused(worded):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match="one token"):
        rw.AttentionExplorer(worded, [5])


# --- opening ----------------------------------------------------------------------------------------------------------


def test_a_click_opens_a_head_and_sends_one_picture(explorer, front, llama_run):
    front.forget()
    answer, _ = front.ask("select", at={"layer": 2, "head": 3})
    assert answer["kind"] == "done"
    (update,) = [state for state in front.updates if "frame" in state]
    assert update["frame"]["parts"]["head"]["layer"] == 2
    np.testing.assert_allclose(drawn(explorer), llama_run.activation("pattern", 2)[3].numpy(), rtol=1e-6)
    assert said(explorer)["previous token"]
    front.forget()
    front.ask("select", at={"layer": 2, "head": 3, "pos": 5, "key_pos": 2})
    assert not [state for state in front.updates if "frame" in state]  # the same head: nothing is sent again
    front.ask("select", at={})
    assert opened(explorer)["open"] is False
    assert explorer.details is None


def test_a_cell_tells_what_it_carries(explorer, llama_run, metric):
    import resid_widgets as rw

    explorer.select(layer=1, head=2, pos=-1, key_pos=3)
    found = rw.head_writes(llama_run, 1, 2, -1, 3, metric)
    rows = said(explorer)
    assert rows["attention weight"] == f"{found.weight:.3g}"
    assert rows["carries, norm"] == f"{found.norm:.3g}"
    assert float(rows["direct effect"].replace("−", "-")) == pytest.approx(found.direct, rel=0.01)
    assert float(rows["effect when taken away"].replace("−", "-")) == pytest.approx(found.cut, rel=0.01)
    carried = next(each for each in explorer.details["sections"] if each["heading"] == "What it carries")
    assert [bar["name"] for bar in carried["bars"]] == rw.head_writes(llama_run, 1, 2, -1, 3, top_k=4).values[
        "text"
    ].values.tolist()
    assert max(abs(bar["share"]) for bar in carried["bars"]) == pytest.approx(1.0)
    explorer.select(key_pos=None)
    assert said(explorer)["writes, norm"] == f"{rw.head_writes(llama_run, 1, 2, -1).norm:.3g}"
    explorer.select(pos=2, key_pos=5)
    assert "cannot look ahead" in said(explorer)["weight"]


def test_a_cell_tells_why_the_head_looks_there(explorer, llama_run):
    import resid_widgets as rw

    found = rw.attention_scores(llama_run, 2, 1, 5, 3, by="head")
    explorer.select(layer=2, head=1, pos=5, key_pos=3)
    why, carried = explorer.details["sections"]
    assert (why["heading"], carried["heading"]) == ("Why it looks there", "What it carries")
    assert why["note"].startswith(f"score {found.total:.3g} = sum of, gap".replace("-", "−"))
    rows = found.top(5)
    assert len(why["bars"]) == len(rows)
    assert why["bars"][-1]["name"].endswith("others")
    for bar, value in zip(why["bars"], rows["score"], strict=True):
        assert float(bar["text"].replace("−", "-")) == pytest.approx(value, rel=0.01)
    explorer.select(key_pos=None)
    assert [section["heading"] for section in explorer.details["sections"]] == [f"Writes at {found.tokens[0]}"]


def test_what_is_only_rounding_is_no_effect_and_has_no_bars(explorer, monkeypatch):
    from resid_widgets.widgets.attention import side

    monkeypatch.setattr(side, "ROUNDING", 1e9)
    explorer.select(layer=1, head=2, pos=6, key_pos=3)
    assert said(explorer)["direct effect"] == said(explorer)["effect when taken away"] == "no effect"
    carried = explorer.details["sections"][-1]
    assert (carried["bars"], carried["none"]) == ([], "no effect on any logit")


@pytest.mark.parametrize("kind", ["value_weighted", "gradient", "knockout"])
def test_kinds_are_those_of_attention(explorer, front, llama_run, metric, kind):
    import resid_widgets as rw

    asked = {} if kind == "value_weighted" else {"metric": metric}
    expected = rw.attention(llama_run, 2, 1, kind, **asked)
    explorer.select(layer=2, head=1, pos=6, key_pos=2)
    front.ask("set", name="kind", value=kind)
    assert explorer.kind == opened(explorer)["kind"] == kind
    np.testing.assert_allclose(drawn(explorer), expected.values.values.astype("f4"), rtol=1e-5, atol=1e-7)
    assert opened(explorer)["scale"]["high"] == pytest.approx(expected.scale.high)
    assert explorer.frame["sentence"] == expected.sentence
    assert {check.text for check in expected.checks} <= {check["text"] for check in explorer.frame["checks"]}
    assert dict(explorer.selection) == {"layer": 2, "head": 1, "pos": 6, "key_pos": 2}
    assert opened(explorer)["marked"] == ([0] if kind == "value_weighted" else [])


def test_in_a_long_prompt_a_knockout_cuts_the_edges_of_the_selected_token(explorer, monkeypatch):
    from resid_widgets.widgets.attention import opening

    monkeypatch.setattr(opening, "WHOLE", 3)
    explorer.select(layer=2, head=1)
    explorer.kind = "knockout"
    assert "only edges of" in opened(explorer)["note"]
    assert np.isfinite(drawn(explorer)[6, :7]).all()
    assert not np.isfinite(drawn(explorer)[4]).any()
    explorer.select(pos=4)
    assert np.isfinite(drawn(explorer)[4, :5]).all()


def test_a_large_head_travels_by_message(worded, page, monkeypatch):
    import resid_widgets as rw
    from resid_widgets.widgets.shell import frame

    monkeypatch.setattr(frame, "TRAIT_LIMIT", 100)
    widget = rw.AttentionExplorer(worded, [3, 5, 9, 3, 5])
    assert opened(widget)["data"] is None
    content, buffers = page(widget).ask("frame", frame_id=widget.frame["id"])
    sent = dict(zip(content["names"], buffers, strict=True))
    expected = widget.run.activation("pattern", widget.selection["layer"])[widget.selection["head"]]
    np.testing.assert_allclose(np.frombuffer(sent["head.data"], "<f4").reshape(5, 5), expected, rtol=1e-6)
    assert len(sent["heads.pictures"]) == 16 * 25


# --- sorting ----------------------------------------------------------------------------------------------------------


def test_an_effect_is_computed_when_it_is_chosen(explorer, front, llama_run, metric):
    import resid_widgets as rw

    assert "effect when ablated" not in numbers(explorer)
    assert {"value": "causal", "label": "effect when ablated"} in control(explorer, "score")["options"]
    front.ask("set", name="score", value="causal")
    expected = rw.ablation_sweep(llama_run, metric, "z", progress=False).values.values.ravel()
    np.testing.assert_allclose(numbers(explorer)["effect when ablated"], expected, rtol=1e-5)
    front.ask("set", name="sort", value=True)
    order = np.frombuffer(heads(explorer)["order"], "<u4")
    assert (np.diff(np.abs(expected)[order]) <= 1e-6).all()
    before = explorer.result
    front.ask("set", name="score", value="entropy")
    assert explorer.result is before  # nothing was computed again
    explorer.change(score="causal", how="zero")  # what was known was of another ablation
    by_zero = rw.ablation_sweep(llama_run, metric, "z", "zero", progress=False).values.values.ravel()
    np.testing.assert_allclose(numbers(explorer)["effect when ablated"], by_zero, rtol=1e-5)
    front.ask("set", name="metric", value="log_prob")
    of_it = rw.ablation_sweep(llama_run, explorer.metric, "z", "zero", progress=False).values.values.ravel()
    np.testing.assert_allclose(numbers(explorer)["effect when ablated"], of_it, rtol=1e-5)
    assert explorer.score == "causal"
    assert "direct" not in [option["value"] for option in control(explorer, "score")["options"]]  # it is not linear


# --- ablating ---------------------------------------------------------------------------------------------------------


def test_ablating_changes_patterns_downstream_and_can_be_taken_back(explorer, front, llama_run, metric):
    import resid_widgets as rw

    explorer.select(layer=1, head=2)
    assert action(explorer, "ablate")["label"] == "Ablate head 1.2"
    front.ask("act", name="ablate")
    assert explorer.interventions == (rw.mean(rw.Site("z", 1, head=2)),)
    edited = rw.intervene(llama_run, explorer.interventions)
    assert explorer.summary["chips"][0]["label"] == "mean · L1 z head 2"
    assert explorer.edited == heads(explorer)["ablated"] == [[1, 2]]
    assert action(explorer, "ablate")["label"] == "Restore head 1.2"
    explorer.select(layer=3, head=0)
    np.testing.assert_allclose(drawn(explorer), edited.activation("pattern", 3)[0].numpy(), atol=1e-6)
    difference = (edited.activation("pattern", 3) - llama_run.activation("pattern", 3)).abs().amax((1, 2))
    np.testing.assert_allclose(explorer.result.score("change").sel(layer=3), difference, atol=1e-6)
    front.ask("set", name="kind", value="change")
    np.testing.assert_allclose(
        drawn(explorer), (edited.activation("pattern", 3) - llama_run.activation("pattern", 3))[0].numpy(), atol=1e-6
    )
    explorer.score = "change"
    front.ask("act", name="undo")
    assert explorer.interventions == ()
    assert (explorer.kind, explorer.score) == ("pattern", "previous_token")  # there is no change any more
    np.testing.assert_allclose(drawn(explorer), llama_run.activation("pattern", 3)[0].numpy(), rtol=1e-6)
    front.ask("act", name="redo")
    assert len(explorer.interventions) == 1
    chip = explorer.summary["chips"][0]["id"]
    front.ask("edit", batch=0, on=[], off=[], drop=[chip])
    assert explorer.interventions == ()
    explorer.how = "zero"
    explorer.ablate(-1, 1)
    explorer.ablate(2, 0)
    assert explorer.interventions == (rw.zero(rw.Site("z", 3, head=1)), rw.zero(rw.Site("z", 2, head=0)))
    explorer.ablate(3, 1)
    assert explorer.interventions == (rw.zero(rw.Site("z", 2, head=0)),)
    after = rw.ablation(llama_run, explorer.interventions, metric).after
    assert explorer.summary["now"] == f"{float(f'{after:.3g}'):.4g}".replace("-", "−")


def test_an_intervened_run_brings_its_interventions_as_chips(llama_run, metric):
    import resid_widgets as rw

    edited = rw.intervene(llama_run, rw.zero(rw.Site("z", 0, head=3)))
    widget = rw.AttentionExplorer(edited, metric, layer=2, head=1)
    assert widget.interventions == edited.interventions
    np.testing.assert_allclose(drawn(widget), edited.activation("pattern", 2)[1].numpy(), atol=1e-6)
    widget.select(layer=0, head=3, pos=6, key_pos=2)  # what it writes is no sum over tokens now
    assert any("cannot be told" in section["none"] for section in widget.details["sections"])


def test_the_code_is_that_of_the_ablation(explorer):
    explorer.ablate(1, 2)
    assert "z" in action(explorer, "code")["copies"]
    assert "[1, " not in action(explorer, "undo")["label"]
    assert "run_with_hooks" in action(explorer, "code")["copies"]


# --- links, pages, the end --------------------------------------------------------------------------------------------


def test_a_link_carries_a_head_and_a_token(explorer, llama_run, metric):
    import resid_widgets as rw

    sweep = rw.ablation_sweep(llama_run, metric, "z", progress=False).show()
    link = rw.link(explorer, sweep)
    sweep.select(layer=2, head=3)
    assert (opened(explorer)["layer"], opened(explorer)["head"]) == (2, 3)
    explorer.select(layer=1, head=1)
    assert dict(sweep.selection) == {"layer": 1, "head": 1}
    link.unlink()
    stream = rw.ActivationHeatmap(llama_run)
    rw.link(explorer, stream)
    stream.select(layer=3, pos=4)
    assert dict(explorer.selection) == {"layer": 3, "head": 1, "pos": 4}


def test_a_saved_page_has_the_open_head(explorer, tmp_path):
    explorer.select(layer=2, head=1)
    text = explorer.to_html(tmp_path / "attention.html").read_text()
    state = json.loads(re.search(r'<script id="rw-state"[^>]*>(.*?)</script>', text, re.DOTALL).group(1))
    assert state["frame"]["parts"]["head"]["layer"] == 2
    assert state["frame"]["parts"]["head"]["data"]["__buffer__"]
    assert state["offline"] is True


def test_it_leaves_as_files(explorer, tmp_path):
    assert explorer.to_png(tmp_path / "a.png").stat().st_size > 1000
    assert len(explorer.to_dataframe()) == 16
    assert "run_with_hooks" in explorer.code()
    name, mime, data = explorer._file("csv")
    assert (name, mime) == ("attention.csv", "text/csv")
    assert len([line for line in data.decode().splitlines() if not line.startswith("#")]) == 17


def test_another_prompt_is_run_in_place(worded):
    import resid_widgets as rw

    widget = rw.AttentionExplorer(worded, [3, 5, 9, 3, 5], layer=1, head=1)
    widget.select(pos=4)
    widget.prompt = [3, 5, 9]
    assert widget.run.token_ids == (3, 5, 9)
    assert opened(widget)["n"] == 3
    assert dict(widget.selection) == {"layer": 1, "head": 1}  # there is no position 4
    with pytest.raises(rw.InputError, match="one token"):
        widget.prompt = [3]
    assert widget.run.token_ids == (3, 5, 9)


def test_it_returns_to_how_it_was_made(explorer):
    first = dict(explorer.selection)
    explorer.select(layer=3, head=3)
    explorer.ablate(0, 1)
    explorer.sort = True
    explorer.reset()
    assert (dict(explorer.selection), explorer.interventions, explorer.sort) == (first, (), False)


def test_a_closed_one_holds_nothing(explorer):
    import resid_widgets as rw

    explorer.close()
    assert explorer._run is None
    with pytest.raises(rw.InputError, match="closed"):
        explorer.select(layer=1)


def test_the_tiny_models_induction_head_is_open_and_first(tiny):
    import resid_widgets as rw

    widget = rw.AttentionExplorer(rw.run(tiny, SENTENCE), rw.logit_diff(" Mary", " John"), sort=True)
    assert widget.score == "induction"
    assert dict(widget.selection) == {"layer": 1, "head": 0}
    order = np.frombuffer(heads(widget)["order"], "<u4")
    assert int(order[0]) == 4
    assert "“<bos>” at position 0, which takes 0.21" in heads(widget)["note"]


def test_a_kind_that_an_ablation_rules_out_gives_way_to_the_pattern(explorer):
    import resid_widgets as rw

    explorer.kind = "gradient"
    explorer.ablate(0, 1)
    assert explorer.kind == "pattern"
    assert "gradient" not in [option["value"] for option in control(explorer, "kind")["options"]]
    with pytest.raises(rw.InputError, match="a run without interventions"):
        explorer.kind = "gradient"
    explorer.undo()
    explorer.kind = "gradient"
    explorer.metric = rw.rank(7)
    assert explorer.kind == "pattern"


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("deepseek_v2", "What it carries"),  # no values that can be told apart
        ("gemma2", "What it carries"),  # it caps its logits
        ("olmo_hybrid", "Why it looks there"),  # heads in one layer only, normed before they are shown
    ],
)
def test_what_a_family_cannot_tell_is_said_and_the_rest_is_there(make_model, family, told):
    import resid_widgets as rw

    widget = rw.AttentionExplorer(rw.run(make_model(family), [1, 5, 9, 20, 5, 9]), rw.logit_diff(7, 8))
    layer, head = widget.result.heads[-1]
    widget.select(layer=layer, head=head, pos=5, key_pos=4)
    assert said(widget)["attention weight"]
    sections = {section["heading"]: section["none"] for section in widget.details["sections"]}
    assert sections[told]
    widget.score = "causal"
    assert np.isfinite(widget.result.score("causal").sel(layer=layer, head=head))
    assert opened(widget)["layer"] == layer
