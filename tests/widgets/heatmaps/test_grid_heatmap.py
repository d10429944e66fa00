"""Results that nothing is computed from again, as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.widgets.pictures import drawn, shown

CLEAN, CORRUPT = [1, 5, 10, 20, 33, 7, 60], [1, 5, 11, 20, 33, 9, 60]


@pytest.fixture
def metric() -> Any:
    import resid_widgets as rw

    return rw.logit_diff(7, 8)


def rows(widget) -> dict[str, str]:
    return {row["label"]: row["value"] for row in widget.details["rows"]}


def test_a_sweep_is_hovered_over(llama_run, metric):
    import resid_widgets as rw

    result = rw.ablation_sweep(llama_run, metric, "attn_out", "mean", progress=False)
    widget = result.show()
    assert np.array_equal(drawn(widget), result.values.values.astype("float32"))
    widget.select(2, 3)
    value, raw = (float(text.replace("−", "-")) for text in rows(widget).values())
    assert (value, raw) == pytest.approx((result.values.values[2, 3], result.raw.values[2, 3]), rel=1e-3)
    assert widget.controls == []
    assert widget.code() == result.code()


def test_of_three_dims_the_largest_head_is_drawn(llama_run, metric):
    import resid_widgets as rw

    result = rw.ablation_sweep(llama_run, metric, "z", "zero", by="head_pos", progress=False)
    widget = result.show()
    assert shown(widget)["shape"] == [4, len(CLEAN)]
    assert "the head with the largest effect" in widget.frame["title"]


def test_a_trace_has_its_interval(llama_run):
    import resid_widgets as rw

    result = rw.causal_trace(llama_run.model, CLEAN, (2, 3), 7, seeds=3, progress=False)
    widget = result.show()
    widget.select(1, 2)
    assert list(rows(widget))[2:] == ["spread", "95 % from", "95 % to"]
    low = float(rows(widget)["95 % from"].replace("−", "-"))
    assert low == pytest.approx(float(result.low.values[1, 2]), rel=1e-3)


def test_a_stopped_sweep_says_what_was_not_computed(llama_run, metric):
    import resid_widgets as rw

    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    result = rw.ablation_sweep(llama_run, metric, "resid_post", "zero", progress=False, stop=stop, budget=1)
    layer, pos = np.argwhere(np.isnan(result.values.values))[0]
    widget = result.show()
    widget.select(int(layer), int(pos))
    assert set(rows(widget).values()) == {"not computed"}


def test_the_cases_of_a_counterfactual_are_chosen(llama_run, page):
    import resid_widgets as rw

    result = rw.counterfactual(llama_run.model, CLEAN, [CORRUPT, [1, 5, 10, 20, 34, 7, 60]])
    widget = result.show()
    first, second = (case.edit for case in result.cases)
    assert [option["value"] for option in widget.controls[0]["options"]] == [first, second]
    assert widget.case == first
    page(widget).ask("set", name="case", value=second)
    assert widget.case == second
    assert np.array_equal(drawn(widget), result.cases[1].values.values, equal_nan=True)
    chosen = type(widget)(result, case=second)
    assert chosen.case == second
    assert np.array_equal(drawn(chosen), drawn(widget), equal_nan=True)
    with pytest.raises(rw.InputError, match="case='another': must be one of"):
        widget.case = "another"
    assert widget.case == second


def test_what_has_no_picture_says_what_to_do(llama_run):
    import resid_widgets as rw
    from resid_widgets.widgets.heatmaps.grid_heatmap import GridHeatmap
    from resid_widgets.widgets.show import show

    with pytest.raises(rw.InputError, match="a result with one number a layer and column is needed"):
        GridHeatmap(llama_run)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"no widget is known for int: draw it with \.plot\(\)"):
        show(3)


def test_layers_and_heads_are_named_by_their_own_numbers(llama_run, page):
    import resid_widgets as rw

    sweep = rw.ablation_sweep(llama_run, rw.logit_diff(1, 2), "z", "mean", layers=[1, 3], progress=False)
    widget = sweep.show()
    assert (shown(widget)["axes"], shown(widget)["column_name"]) == (["layer", "head"], "head")
    answer, _ = page(widget).ask("select", at={"layer": 3, "head": 2})
    assert answer["kind"] == "done"
    told = {row["label"]: row["value"] for row in widget.details["rows"]}
    wanted = float(sweep.values.sel(layer=3, head=2))
    assert float(told[widget.result.scale.label].replace("−", "-")) == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    with pytest.raises(rw.InputError, match="there is 1, 3"):
        widget.select(layer=2)
