"""The heat map of a statistic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.widgets.pictures import drawn, shown


def rows(widget) -> dict[str, str]:
    return {row["label"]: row["value"] for row in widget.details["rows"]}


def test_the_picture_is_what_the_function_returns(llama_run):
    import resid_widgets as rw

    choices: list[dict[str, Any]] = [{}, {"stat": "dimension", "dim": 5}, {"per_layer": True}]
    for options in [*choices, {"component": "attn_out", "stat": "kurtosis"}]:
        widget, result = rw.ActivationHeatmap(llama_run, **options), rw.activation_map(llama_run, **options)
        found = drawn(widget)
        assert np.array_equal(found, result.values.values, equal_nan=True)
        assert widget.frame["title"] == result.title
        assert widget.to_dataframe().equals(result.to_dataframe())


def test_the_side_panel_lists_every_simple_statistic_and_the_lens(llama_run):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run, layer=2, pos=4)
    listed = rows(widget)
    for stat in ("norm", "update_norm", "cosine_final", "cosine_previous", "kurtosis", "top_share"):
        result = rw.activation_map(llama_run, stat=stat)
        assert float(listed[result.scale.label].replace("−", "-")) == pytest.approx(
            result.values.values[2, 4], rel=1e-3
        )
    lens = rw.logit_lens(llama_run)
    assert [top["token"] for top in widget.details["top"]] == lens.tokens.values[2, 4].tolist()
    assert [top["prob"] for top in widget.details["top"]] == pytest.approx(lens.probs.values[2, 4].tolist(), rel=1e-4)


@pytest.mark.parametrize("options", [{"stat": "dimension", "dim": 3}, {"per_layer": True}, {"stat": "projection"}])
def test_a_number_that_is_not_listed_otherwise_comes_first(llama_run, options):
    import resid_widgets as rw

    if options.get("stat") == "projection":
        options = {**options, "direction": np.arange(32.0)}
    widget = rw.ActivationHeatmap(llama_run, layer=1, pos=1, **options)
    first = widget.details["rows"][0]
    assert first["label"] == widget.result.scale.label
    assert float(first["value"].replace("−", "-")) == pytest.approx(widget.result.values.values[1, 1], rel=1e-3)


def test_row_zero_of_a_write_has_no_layer_before_and_says_so(llama_run):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run, "mlp_out", layer=0, pos=1)
    assert rows(widget)["update norm"] == "not defined"
    widget.component = "resid_post"
    assert rows(widget)["update norm"] != "not defined"


def test_the_controls_follow_the_choice(llama_run, page):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run)
    named = {control["name"]: control for control in widget.controls}
    assert [option["value"] for option in named["component"]["options"]] == list(llama_run.components)
    assert "projection" not in [option["value"] for option in named["stat"]["options"]]
    assert not named["dim"]["visible"]
    page(widget).ask("set", name="stat", value="dimension")
    named = {control["name"]: control for control in widget.controls}
    assert named["dim"]["visible"]
    assert (named["dim"]["min"], named["dim"]["max"], named["dim"]["value"]) == (0, 31, 0)
    page(widget).ask("set", name="dim", value=31)
    assert widget.result.options == {"dim": 31}
    page(widget).ask("set", name="per_layer", value=True)
    assert widget.result.per_layer is True
    widget.direction = np.ones(32)
    assert "projection" in [option["value"] for option in widget.controls[1]["options"]]
    page(widget).ask("set", name="stat", value="projection")
    assert widget.result.stat == "projection"


def test_a_spelling_is_settled(llama_run):
    import resid_widgets as rw

    widget = rw.ActivationHeatmap(llama_run, stat="Update norm")
    assert widget.stat == "update_norm"
    widget.direction = np.ones(32)
    widget.stat = "Projection"
    assert widget.stat == "projection"


def test_a_run_that_kept_little_offers_little(make_model):
    import resid_widgets as rw

    run = rw.run(make_model("llama"), [1, 2, 3], keep=["mlp_out", "z"])
    widget = rw.ActivationHeatmap(run, "mlp_out", layer=1, pos=1)
    assert [option["value"] for option in widget.controls[0]["options"]] == ["mlp_out"]
    assert rows(widget)["cosine to final"] == "not defined"
    assert len(widget.details["top"]) == 5


def test_one_position_and_odd_words(words, make_model):
    import resid_widgets as rw

    assert rw.ActivationHeatmap(make_model("llama"), [5], layer=0, pos=0).frame["parts"]["heatmap"]["shape"] == [4, 1]
    widget = rw.ActivationHeatmap(words)
    assert not set("\n\t\u200b\u202e ") & set("".join(shown(widget)["tokens"]))
    assert "<script>alert(1)</script>" in shown(widget)["tokens"]


def test_a_result_shows_itself(llama_run):
    import resid_widgets as rw

    result = rw.activation_map(llama_run, "mlp_out", "dimension", dim=3)
    widget = result.show()
    assert isinstance(widget, rw.ActivationHeatmap)
    assert (widget.result, widget.run, widget.controls) == (result, None, [])
    assert (widget.component, widget.stat, widget.dim) == ("mlp_out", "dimension", 3)
    widget.select(2, 2)
    assert list(rows(widget)) == ["value of dimension 3"]
    assert widget.details["top"] == []
    with pytest.raises(rw.InputError, match=r"Make it from the run: rw.ActivationHeatmap\(run\)"):
        widget.stat = "norm"
    plain = rw.activation_map(llama_run).show()
    plain.select(1, 1)
    assert list(rows(plain)) == ["norm"]
