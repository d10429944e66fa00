"""The heat map of the logit lens."""

from __future__ import annotations

import numpy as np
import pytest

from tests.widgets.pictures import drawn, shown


def control(widget, name) -> dict:
    return next(control for control in widget.controls if control["name"] == name)


def test_the_picture_is_what_the_function_returns(llama_run):
    import resid_widgets as rw

    widget, lens = rw.LogitLensHeatmap(llama_run, 3, component="resid_mid"), rw.logit_lens(llama_run, 3, "resid_mid")
    assert np.array_equal(drawn(widget), lens.values.values)
    assert shown(widget)["top"]["k"] == widget.top_k == 3
    assert widget.result is widget.lens


@pytest.mark.parametrize("quantity", ["entropy", "kl", "rank", "target_probability"])
def test_other_numbers_of_the_same_lens_are_drawn_without_reading_it_again(worded, quantity, monkeypatch):
    import resid_widgets as rw
    from resid_widgets.widgets.heatmaps import logit_lens_heatmap

    run = rw.run(worded, [3, 5, 3, 9])
    widget = rw.LogitLensHeatmap(run, targets=[" Mary", " gave"], target=1)
    lens = widget.lens
    monkeypatch.setattr(logit_lens_heatmap, "logit_lens", None)
    widget.quantity = quantity
    expected = {
        "entropy": lens.entropy.values,
        "kl": lens.kl.values,
        "rank": np.log10(1 + lens.rank.values[..., 1]),
        "target_probability": lens.target_probs.values[..., 1],
    }[quantity]
    assert widget.lens is lens
    assert np.allclose(np.frombuffer(shown(widget)["data"], "<f4").reshape(4, 4), expected)
    assert widget.result.provenance.options["quantity"] == quantity
    assert widget.to_dataframe().equals(lens.to_dataframe())
    assert ("·gave" in widget.frame["title"]) is (quantity in ("rank", "target_probability"))


def test_the_side_panel_lists_what_the_lens_knows(worded):
    import resid_widgets as rw

    widget = rw.LogitLensHeatmap(worded, [3, 5, 3, 9], targets=" gave", layer=1, pos=2)
    lens = widget.lens
    rows = {row["label"]: row["value"] for row in widget.details["rows"]}
    assert list(rows) == ["entropy, nats", "KL(final || lens), nats", "rank of ·gave", "probability of ·gave"]
    assert rows["rank of ·gave"] == str(int(lens.rank.values[1, 2, 0]))
    assert [top["prob"] for top in widget.details["top"]] == pytest.approx(lens.probs.values[1, 2].tolist())


def test_tokens_are_followed_from_the_browser(worded, page):
    import resid_widgets as rw

    widget = rw.LogitLensHeatmap(worded, [3, 5, 3, 9])
    front = page(widget)
    assert [o["value"] for o in control(widget, "quantity")["options"]] == ["probability", "entropy", "kl"]
    front.ask("set", name="targets", value=" Mary| gave")
    assert widget.targets == (" Mary", " gave")
    assert control(widget, "targets")["value"] == " Mary| gave"
    front.ask("set", name="quantity", value="rank")
    assert control(widget, "target")["visible"]
    front.ask("set", name="target", value="1")
    assert widget.target == 1
    assert "·gave" in widget.result.title
    front.ask("set", name="targets", value="")
    assert (widget.targets, widget.quantity, widget.target) == (None, "probability", 0)


def test_a_target_that_is_no_single_token_is_refused_and_the_picture_stays(worded, page):
    import resid_widgets as rw

    widget = rw.LogitLensHeatmap(worded, [3, 5, 3, 9])
    answer, _ = page(widget).ask("set", name="targets", value=" Mary gave")
    assert answer["kind"] == "error"
    assert widget.targets is None
    for bad in ({"quantity": "rank"}, {"quantity": "no"}, {"targets": " Mary gave"}, {"top_k": 0}, {"component": "z"}):
        with pytest.raises(rw.InputError):
            widget.change(**bad)
    widget.targets = " Mary"
    with pytest.raises(rw.InputError, match="target"):
        widget.change(quantity="rank", target=1)


def test_ranks_are_written_in_full(worded):
    from resid_widgets.widgets.shell.panel import number_text, planes

    assert number_text(49151.0) == "49,151"
    assert number_text(-0.00001234) == "−1.234e−05"
    assert number_text(float("nan")) == "not defined"
    assert number_text(float("-inf")) == "−∞"
    ranks = np.array([[0.0, 49151.0, np.nan]])
    both = planes([("rank", ranks), ("norm", ranks / 1e6)])
    assert both
    assert both["formats"] == [",.0f", ".4g"]


def test_a_result_shows_itself_and_its_other_numbers(llama_run):
    import resid_widgets as rw
    from resid_widgets.analysis.lens.lens_view import lens_view

    lens = rw.logit_lens(llama_run, targets=[5, 9])
    widget = lens.show()
    assert isinstance(widget, rw.LogitLensHeatmap)
    assert widget.lens is lens
    assert [c["name"] for c in widget.controls] == ["quantity", "target"]
    widget.quantity = "rank"
    widget.select(0, 0)
    with pytest.raises(rw.InputError, match=r"rw.LogitLensHeatmap\(run\)"):
        widget.component = "mlp_out"
    view = lens_view(lens, "rank", 1)
    widget = view.show()
    assert (widget.result, widget.quantity, widget.target) == (view, "rank", 1)
    widget.quantity = "probability"
    assert widget.result is lens


def test_what_has_no_widget_says_so():
    from resid_widgets.widgets.show import show

    with pytest.raises(TypeError, match="no widget is known for int"):
        show(3)
