"""Contributions as bars: what is on show, how bars are opened, what is told of one, and how it is taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.csv_tables import table

SENTENCE = "When Mary and John went to the store, John gave a drink to"
PROMPTS = [SENTENCE, "When Anna and John went to the store, John gave a drink to"]


@pytest.fixture
def metric() -> Any:
    import resid_widgets as rw

    return rw.logit_diff(" Mary", " John")


@pytest.fixture(scope="module")
def ioi(tiny) -> Any:
    import resid_widgets as rw

    return rw.run(tiny, SENTENCE)


@pytest.fixture
def chart(ioi, metric) -> Any:
    import resid_widgets as rw

    return rw.ContributionChart(ioi, metric)


@pytest.fixture
def front(chart, page) -> Any:
    return page(chart)


def bars(widget: Any) -> dict[str, dict[str, Any]]:
    return {bar["key"]: bar for bar in widget.frame["parts"]["waterfall"]["bars"]}


def control(widget: Any, name: str) -> dict[str, Any]:
    return next(control for control in widget.controls if control["name"] == name)


def told(widget: Any) -> dict[str, str]:
    return {row["label"]: row["value"] for row in widget.details["rows"]}


# --- making -----------------------------------------------------------------------------------------------------------


def test_it_shows_layers_that_add_up_to_the_metric(chart, ioi, metric) -> None:
    found = bars(chart)
    assert next(iter(found)) == "embed" and list(found)[-1] == "total"
    shown = [found[key]["value"] for key in found if found[key]["depth"] == 0 and key != "total"]
    assert sum(shown) == pytest.approx(metric.bound(ioi).of_base(), abs=1e-5)
    assert found["layer.2"]["opens"] == "known", "attention and MLP are at hand"
    assert found["2.attn_out"]["opens"] == "ask"
    assert "Direct effect only" in chart.frame["sentence"]
    assert all(check["level"] == "green" for check in chart.frame["checks"])
    assert (chart.by, chart.shape, chart.opened, chart.metric) == ("layer", "waterfall", (), metric)


def test_by_default_it_is_of_the_two_likeliest_next_tokens(tiny, ioi) -> None:
    import resid_widgets as rw

    first, second = ioi.final_logits.topk(2).indices.tolist()
    chart = rw.ContributionChart(tiny, SENTENCE)
    assert chart.metric == rw.logit_diff(first, second)
    chart.prompt = "The dogs beside the red car"
    top = chart.run.final_logits.topk(2).indices.tolist()
    assert chart.metric == rw.logit_diff(*top), "a metric that nobody chose follows the prompt"
    chart.metric = rw.logit(" are")
    chart.prompt = SENTENCE
    assert chart.metric == rw.logit(" are")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "token"}, "must be one of component, layer, head, neuron"),
        ({"shape": "pie"}, "must be one of waterfall, bars"),
        ({"opened": 3}, "keys of bars"),
        ({"opened": (3,)}, "keys of bars"),
        ({"opened": ("layer3",)}, "'layer3'"),
        ({"opened": "layer.4"}, "4 layers"),
        ({"metrik": 3}, "Did you mean 'metric'"),
    ],
)
def test_what_is_of_no_use_is_refused(ioi, options: Any, words: str) -> None:
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match=words):
        rw.ContributionChart(ioi, **options)


def test_a_metric_that_is_not_linear_is_refused_before_anything_is_run(tiny) -> None:
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match="not linear in the logits"):
        rw.ContributionChart(tiny, SENTENCE, rw.prob(" Mary"))
    with pytest.raises(rw.InputError, match="one metric is needed"):
        rw.ContributionChart(tiny, prompts=PROMPTS)
    with pytest.raises(rw.InputError, match="list of Runs"):
        rw.ContributionChart([1, 2], rw.logit(" Mary"))


# --- opening ----------------------------------------------------------------------------------------------------------


def test_bars_open_into_heads_and_tokens_and_neurons(front, chart, ioi, metric) -> None:
    import resid_widgets as rw

    answer, _ = front.ask("set", name="opened", value="layer.2 2.attn_out 2.head.0 2.mlp_out")
    assert answer["kind"] == "done"
    found = bars(chart)
    heads = rw.direct_logit_attribution(ioi, metric, "head", layers=[2]).values[0]
    assert [found[f"2.head.{n}"]["value"] for n in range(4)] == pytest.approx(heads.values.tolist(), abs=1e-6)
    assert found["2.head.0.pos.10"]["name"] == "← ·John 10"
    assert found["2.head.0.pos.10"]["at"] == {"layer": 2, "head": 0, "pos": 10}
    assert any(key.startswith("2.neuron.") for key in found)
    assert chart.opened == ("layer.2", "2.attn_out", "2.head.0", "2.mlp_out")
    assert control(chart, "opened")["value"] == "layer.2 2.attn_out 2.head.0 2.mlp_out"
    assert not control(chart, "opened")["visible"]
    assert len(chart.result.contributions) == 3
    front.ask("set", name="opened", value="layer.2")
    assert chart.opened == ("layer.2",)
    front.ask("reset")
    assert chart.opened == ()


def test_each_split_is_made_once(chart, monkeypatch: pytest.MonkeyPatch) -> None:
    from resid_widgets.widgets.contributions import opening

    made: list[Any] = []
    whole = opening.direct_logit_attribution
    monkeypatch.setattr(
        opening, "direct_logit_attribution", lambda *a, **k: made.append((a[2], k["layers"])) or whole(*a, **k)
    )
    chart.expand("layer.2", "2.attn_out")
    chart.expand("2.head.0", "2.head.1")
    chart.opened = ()
    chart.opened = ("layer.2", "2.attn_out")
    assert made == [("source", [2])]
    chart.shape = "bars"
    chart.by = "head"
    assert made == [("source", [2]), ("head", None)]


def test_a_head_among_all_opens_into_tokens(chart) -> None:
    chart.by = "head"
    assert bars(chart)["3.head.3"]["opens"] == "ask"
    chart.expand("3.head.3")
    found = bars(chart)
    inside = [bar["value"] for bar in found.values() if bar["key"].startswith("3.head.3.") and bar["depth"] == 1]
    assert sum(inside) == pytest.approx(found["3.head.3"]["value"], abs=1e-5)


def test_heads_whose_sources_cannot_be_told_open_as_heads_alone(chart, monkeypatch: pytest.MonkeyPatch) -> None:
    import resid_widgets as rw
    from resid_widgets.widgets.contributions import opening

    whole = opening.direct_logit_attribution

    def refusing(run: Any, metric: Any, by: str, **more: Any) -> Any:
        if by == "source":
            raise rw.UnsupportedModelError("a gate stands between")
        return whole(run, metric, by, **more)

    monkeypatch.setattr(opening, "direct_logit_attribution", refusing)
    chart.opened = ("layer.1", "1.attn_out")
    assert bars(chart)["1.head.2"]["opens"] == ""


def test_families_with_biases_norms_and_experts_open(make_model) -> None:
    import resid_widgets as rw

    ids = [5, 9, 33, 2, 8, 60, 7]
    for family in ("gpt2", "gemma3_text", "gptj", "mixtral"):
        run = rw.run(make_model(family), ids)
        chart = rw.ContributionChart(run, rw.logit_diff(11, 40))
        chart.expand("layer.0", "0.attn_out")
        if family == "mixtral":
            assert bars(chart)["0.mlp_out"]["opens"] == ""
            with pytest.raises(rw.InputError, match="mixture of experts"):
                chart.expand("0.mlp_out")
        else:
            chart.expand("0.mlp_out")
        found = bars(chart)
        assert sum(b["value"] for b in found.values() if b["key"].startswith("0.head.") and b["depth"] == 2) + (
            sum(b["value"] for b in found.values() if b["key"] in ("0.attn_bias", "0.attn_out.others"))
        ) == pytest.approx(found["0.attn_out"]["value"], abs=1e-5)
        assert ("neuron" in [o["value"] for o in control(chart, "by")["options"]]) == (family != "mixtral")
        assert chart.details is None
        chart.close()


# --- telling ----------------------------------------------------------------------------------------------------------


def test_a_head_is_told_with_its_effect_when_it_is_gone(front, chart, ioi, metric) -> None:
    import resid_widgets as rw

    front.ask("select", at={"layer": 2, "head": 0})
    assert chart.details["at"] == {"layer": 2, "head": 0} and chart.details["rows"][1]["value"] != "", (
        "of a layer still"
    )
    chart.expand("layer.2", "2.attn_out")
    gone = rw.head_contributions(ioi, metric, progress=False).heads.sel(layer=2, head=0)
    said = told(chart)
    for label, name in [
        ("direct effect", "direct"),
        ("effect when set to zero", "causal"),
        ("self-repair and indirect", "indirect"),
    ]:
        assert float(said[label].replace("−", "-")) == pytest.approx(float(gone[name]), rel=2e-3), label
    assert chart.details["writes"]["told"][:2] == ["Writes at", "·to"]
    assert chart.details["writes"]["tokens"][0]["token"] == "·Mary"


def test_of_an_intervened_run_effects_are_beyond_the_interventions(ioi, metric) -> None:
    import resid_widgets as rw

    changed = rw.intervene(ioi, rw.zero(rw.Site("z", 1, head=2)))
    chart = rw.ContributionChart(changed, metric)
    chart.expand("layer.2", "2.attn_out")
    chart.select_at({"layer": 2, "head": 0})
    gone = rw.intervene(ioi, [rw.zero(rw.Site("z", 1, head=2)), rw.zero(rw.Site("z", 2, head=0))])
    lost = metric.bound(changed).of_base() - metric.bound(gone).of_base()
    assert float(told(chart)["effect when set to zero"].replace("−", "-")) == pytest.approx(lost, rel=2e-3)
    explorer = chart.ablate()
    assert not explorer.closed and len(explorer.interventions) == 2
    chart.select_at({"layer": 3})
    assert chart.ablate() is explorer and len(explorer.interventions) == 3


def test_one_token_and_many(worded, make_model) -> None:
    import resid_widgets as rw

    one = rw.ContributionChart(rw.run(worded, [5]))
    one.expand("layer.1", "1.attn_out", "1.head.0")
    assert "1.head.0.pos.0" in bars(one)
    many = rw.ContributionChart(rw.run(make_model("gpt2"), [n % 90 + 1 for n in range(64)]))
    many.expand("layer.1", "1.attn_out", "1.head.0", "1.head.0.others")
    assert len(json.dumps(many.frame)) < 100_000


def test_a_token_is_told_with_the_attention_to_it(chart, ioi) -> None:
    chart.opened = ("layer.2", "2.attn_out", "2.head.0")
    chart.select_at({"layer": 2, "head": 0, "pos": 10})
    weight = float(ioi.activation("pattern", 2)[0, 14, 10])
    assert float(told(chart)["attention weight"]) == pytest.approx(weight, rel=1e-3)
    assert "effect when set to zero" not in told(chart)


def test_others_and_the_total_have_no_tokens_of_their_own(chart) -> None:
    chart.select_at({"part": "total"})
    assert list(told(chart)) == ["direct effect"] and "writes" not in chart.details


def test_a_selection_is_an_address_that_others_share(chart, ioi, metric) -> None:
    import resid_widgets as rw

    other = rw.ablation_sweep(ioi, metric, "z", progress=False).show()
    link = rw.link(chart, other)
    other.select(layer=3, head=2)
    assert chart.selection == {"layer": 3, "head": 2}
    chart.select_at({"layer": 1, "head": 3})
    assert other.selection == {"layer": 1, "head": 3}
    chart.select_at({"layer": 1, "component": "mlp_out"})
    assert other.selection == {"layer": 1}
    link.unlink()


def test_what_is_selected_is_taken_away_in_an_explorer(front, chart, ioi, metric) -> None:
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match="Select"):
        chart.ablate()
    action = {each["name"]: each for each in chart.actions}
    assert not action["ablate"]["enabled"] and action["code"]["copies"] == chart.code()
    chart.select_at({"layer": 2, "head": 0})
    front.ask("act", name="ablate")
    explorer = chart.explorer
    assert explorer is chart.inner and explorer.interventions == (rw.zero(rw.Site("z", 2, head=0)),)
    assert explorer.metric == metric and "close" in {each["name"] for each in chart.actions}
    explorer.undo()
    assert explorer.interventions == ()
    chart.select_at({"layer": 3})
    assert chart.ablate() is explorer
    assert [item.site.component for item in explorer.interventions] == ["attn_out", "mlp_out"]
    chart.metric = rw.logit(" Mary")
    assert explorer.closed and chart.explorer is None and chart.inner is None


# --- many prompts, results, files -------------------------------------------------------------------------------------


def test_over_many_prompts_bars_are_means_with_intervals(tiny) -> None:
    import resid_widgets as rw

    wanted = rw.logit_diff([" Mary", " Anna"], " John")
    chart = rw.ContributionChart(tiny, wanted, prompts=PROMPTS, opened=("layer.1", "1.attn_out"), shape="bars")
    assert chart.opened == ("layer.1", "1.attn_out") and chart.shape == "bars"
    found = bars(chart)
    heads = rw.direct_logit_attribution(tiny, wanted, "head", prompts=PROMPTS)
    head = found["1.head.2"]
    assert head["value"] == pytest.approx(float(heads.values[1, 2]), abs=1e-5)
    assert (head["low"], head["high"]) == pytest.approx((float(heads.low[1, 2]), float(heads.high[1, 2])), abs=1e-4)
    assert found["layer.1"]["low"] < found["layer.1"]["value"] < found["layer.1"]["high"]
    assert chart.frame["parts"]["waterfall"]["prompts"] == 2
    chart.select_at({"layer": 1, "head": 2})
    assert "95 % interval from" in told(chart) and "effect when set to zero" not in told(chart)
    chart.reset()
    assert chart.opened == ("layer.1", "1.attn_out")
    runs = rw.ContributionChart([rw.run(tiny, prompt) for prompt in PROMPTS], wanted)
    assert bars(runs)["total"]["value"] == pytest.approx(found["total"]["value"], abs=1e-5)


@pytest.mark.parametrize("by", ["component", "layer", "head", "source", "neuron"])
def test_a_result_shows_itself(ioi, metric, by: str) -> None:
    import resid_widgets as rw

    result = rw.direct_logit_attribution(ioi, metric, by)
    chart = result.show()
    assert isinstance(chart, rw.ContributionChart) and chart.run is None
    assert bars(chart)["total"]["value"] == result.total
    assert not any(bar["opens"] == "ask" for bar in bars(chart).values()), "there is nobody to ask"
    if by == "source":
        chart.expand("layer.2", "2.attn_out", "2.head.0")
        assert "2.head.0.pos.10" in bars(chart)
        again = chart.result.show()
        assert (again.opened, again.by) == (chart.opened, chart.by)
    with pytest.raises(rw.InputError, match="here there is"):
        chart.by = "neuron" if by != "neuron" else "head"


def test_along_a_direction(ioi) -> None:
    import resid_widgets as rw

    chart = rw.along(ioi, " Mary", rw.Site("resid_post", 1)).show()
    assert "layer.1" in bars(chart) and "layer.2" not in bars(chart)
    assert "need not be used" in chart.frame["sentence"]


def test_a_batch_with_an_interval_or_a_page_has_no_number_that_json_cannot_say(chart, tmp_path: Path) -> None:
    chart.opened = ("layer.2", "2.attn_out", "2.head.0")
    json.dumps(chart.frame, allow_nan=False)
    text = chart.to_html(tmp_path / "a.html").read_text(encoding="utf-8")
    state = json.loads(text.split('<script id="rw-state" type="application/json">')[1].split("</script>")[0])
    known = {json.dumps(each["at"], sort_keys=True): each for each in state["planes"]["known"]}
    assert known['{"head": 0, "layer": 2}']["writes"]["tokens"][0]["token"] == "·Mary"
    assert state["frame"]["parts"]["waterfall"]["bars"] == chart.frame["parts"]["waterfall"]["bars"]


def test_its_files_are_of_the_bars_on_show(front, chart, tmp_path: Path) -> None:
    chart.opened = ("layer.2",)
    answer, (data,) = front.ask("export", format="csv")
    assert answer["name"].endswith(".csv")
    rows = table(bytes(data))
    assert rows["part"].tolist() == chart.to_dataframe()["part"].tolist()
    assert "2.mlp_out" in rows["part"].tolist() and "3.mlp_out" not in rows["part"].tolist()
    np.testing.assert_allclose(rows["value"], chart.to_dataframe()["value"])
    assert chart.to_png(tmp_path / "a.png").stat().st_size > 10_000
