"""The probe dashboard from Python: what it shows, what it refuses, how it fits, and how it leaves."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.csv_tables import table as read


@pytest.fixture(scope="module")
def task(tiny) -> Any:
    import resid_widgets as rw

    return rw.tasks.load("agreement", tiny, n=60)


@pytest.fixture(scope="module")
def found(tiny, task) -> Any:
    import resid_widgets as rw

    return rw.probe((tiny, task.prompts), components=["resid_post", "attn_out"], folds=3, progress=False)


@pytest.fixture
def dashboard(found, task) -> Any:
    import resid_widgets as rw

    widget = rw.ProbeCurves(found, pairs=task.pairs)
    yield widget
    widget.close()


def arrays(classes: int = 2, layers: int = 2, seed: int = 0) -> tuple[dict[int, np.ndarray], np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(90) % classes
    return {layer: random.normal(size=(90, 6)) + labels[:, None] for layer in range(layers)}, labels


def content(widget) -> dict[str, Any]:
    """Return what stands in the panel."""
    return widget._panel.frame["parts"]["probe"]


def numbers(widget) -> dict[str, str]:
    return {row["label"]: row["value"] for row in content(widget)["rows"]}


def lines(widget, name: str, what: str) -> list[Any]:
    from bqplot.marks import Lines

    marks = [mark for series, kind, mark in widget._chart._marks if (series, kind) == (name, what)]
    return [mark for mark in marks if isinstance(mark, Lines) and mark.fill == "none"]


def test_the_curves_are_the_result_s(dashboard, found):
    (line,) = lines(dashboard, "attn_out", "accuracy")
    assert np.array_equal(line.y, found.values.sel(component="attn_out").values)
    (line,) = lines(dashboard, "resid_post", "shuffled")
    assert np.array_equal(line.y, found.shuffled.mean("fold").sel(component="resid_post").values)
    styles = {what: lines(dashboard, "resid_post", what)[0].line_style for what in ("chance", "shuffled", "control")}
    assert len(set(styles.values())) == 3
    low, high = (end.sel(component="resid_post").values for end in (found.low, found.high))
    bands = [mark for name, _, mark in dashboard._chart._marks if name == "resid_post" and mark.y.ndim == 2]
    assert np.array_equal(bands[0].y, np.stack([low, high]))


def test_a_layer_is_selected_in_either_way(dashboard, found):
    import resid_widgets as rw

    assert "Click a point" in content(dashboard)["empty"]
    dashboard.layer = 1
    assert (dashboard.selected, dashboard.layer) == ("resid_post", 1)
    dashboard.select(2, "attn_out")
    assert dashboard._panel.frame["title"] == "Probes · 2 curves"
    assert content(dashboard)["heading"] == "attn_out, layer 2"
    shown = float(numbers(dashboard)["selectivity"].replace("−", "-"))
    assert shown == pytest.approx(found.selectivity.sel(component="attn_out", layer=2).mean().item(), rel=1e-3)
    for attempt in (lambda: dashboard.select(9), lambda: setattr(dashboard, "layer", 9)):
        with pytest.raises(rw.InputError, match=r"layer=9: the layers are \[0, 1, 2, 3\]"):
            attempt()
    with pytest.raises(rw.InputError, match="selected='resid_mid': the curves are resid_post, attn_out"):
        dashboard.selected = "resid_mid"
    assert (dashboard.selected, dashboard.layer) == ("attn_out", 2)
    dashboard.layer = None
    assert "Click a point" in content(dashboard)["empty"]


def test_confusions_and_hardest_samples_are_the_result_s(dashboard, found):
    dashboard.select(1, "resid_post")
    shown = content(dashboard)
    wanted = found.confusion(1, component="resid_post")
    assert shown["confusion"]["classes"] == ["plural", "singular"]
    assert np.array(shown["confusion"]["counts"], float) == pytest.approx(wanted.to_numpy(), abs=0.051)
    assert np.sum(shown["confusion"]["shares"], axis=1) == pytest.approx([1, 1])
    hardest = found.hardest(1, 8, component="resid_post")
    for sample, row in zip(shown["hardest"], hardest.to_dict("records"), strict=True):
        assert sample["tokens"][sample["center"]].replace("·", " ") == row["token"]
        assert sample["share"] == pytest.approx(2 * row["truth"] - 1)
        assert (sample["label"], sample["predicted"]) == (row["label"], row["predicted"])


def test_several_results_together(found):
    import resid_widgets as rw

    x, labels = arrays()
    one, two = (rw.probe(x, labels=labels, groups=np.arange(90) // 2, folds=3, progress=False) for _ in range(2))
    widget = rw.ProbeCurves({"one": one, "two": two})
    assert [series.name for series in widget._drawn.series] == ["one", "two"]
    assert widget.to_dataframe()["curve"].unique().tolist() == ["one", "two"]
    regression = rw.probe(x, labels=labels + 0.5, task="regress", groups=np.arange(90) // 2, folds=3, progress=False)
    with pytest.raises(rw.InputError, match="they measure different things: balanced accuracy, R²"):
        rw.ProbeCurves([one, regression])
    alone = regression.show()
    alone.select(0)
    assert content(alone)["confusion"] is None


def test_checks_say_which_curves_they_are_about(found):
    import resid_widgets as rw

    x, labels = arrays()
    groups = np.arange(90) // 2
    one = rw.probe(x, labels=labels, groups=groups, folds=3, progress=False)
    two = rw.probe(x, labels=labels, groups=groups, control_units=np.zeros(90), folds=3, progress=False)
    checks = rw.ProbeCurves({"one": one, "two": two})._panel.frame["checks"]
    control = {check["of"]: check for check in checks if check["name"] == "control task"}
    assert sorted(control) == ["one", "two"]
    assert "one control unit" in control["two"]["text"]
    assert {check["of"] for check in checks if check["name"] == "folds"} == {"all curves"}
    assert not any("of" in check for check in rw.ProbeCurves(one)._panel.frame["checks"])


def test_clicks_take_curves_that_share_a_point_in_turn(found):
    import resid_widgets as rw

    widget = rw.ProbeCurves({"one": found, "two": found})
    top = widget._drawn.series[-1]
    name = f"one · {top.component}"
    for wanted in (top.name, name, top.name):
        widget._chart._click(top, 1)
        assert (widget.selected, widget.layer) == (wanted, 1)
    points = {series.name: points for series, _, points in widget._chart._points_of}
    assert points[top.name].names[1] == f"{top.name}; also here: {name}"
    widget._chart._click(top, 2)  # another layer begins at the top
    assert (widget.selected, widget.layer) == (top.name, 2)
    assert list(widget._chart._ring.x) == [2]


def test_what_is_toggled_off_stays_off(dashboard):
    box = next(
        child
        for item in dashboard._chart.legend.children
        for child in item.children[1:2]
        if child.description == "control task"
    )
    box.value = False
    assert not any(mark.visible for _, what, mark in dashboard._chart._marks if what == "control")
    dashboard._redraw()
    assert not any(mark.visible for _, what, mark in dashboard._chart._marks if what == "control")
    assert all(mark.visible for _, what, mark in dashboard._chart._marks if what != "control")


def test_erasing_is_the_result_s_own_causal_test(dashboard, found, tiny, task):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match="no layer is selected"):
        dashboard.erase()
    dashboard.select(3, "resid_post")
    test = dashboard.erase()
    wanted = found.causal_test(3, tiny, task.pairs, component="resid_post", progress=False)
    assert np.allclose(test.values, wanted.values)
    assert dashboard.causal is test
    shown = content(dashboard)["causal"]
    assert shown["verdict"] == wanted.verdict
    assert [c["text"] for c in dashboard._panel.frame["checks"] if c.get("of") == "causal test"] == [
        check.text for check in wanted.checks
    ]
    dashboard.select(2)
    assert dashboard.causal is None
    assert content(dashboard)["causal"] is None


def test_why_there_is_no_causal_test_is_said(found):
    import resid_widgets as rw

    widget = rw.ProbeCurves(found)
    widget.select(0)
    assert not widget._panel.actions[0]["enabled"]
    with pytest.raises(rw.InputError, match=r"needs prompts with answers: rw\.ProbeCurves\(result, pairs="):
        widget.erase()
    x, labels = arrays()
    plain = rw.ProbeCurves(rw.probe(x, labels=labels, groups=labels.cumsum(), folds=3, progress=False), layer=0)
    assert "needs a model" in content(plain)["hint"]
    with pytest.raises(rw.InputError, match="There is no model to fit on"):
        plain.fit("agreement")


def test_of_more_than_two_classes_one_is_chosen():
    import resid_widgets as rw

    x, labels = arrays(3)
    widget = rw.ProbeCurves(rw.probe(x, labels=labels, groups=np.arange(90) // 3, folds=3, progress=False), layer=1)
    assert [option["value"] for option in widget._panel.controls[0]["options"]] == ["0", "1", "2"]


def test_it_fits_live_from_a_model(tiny):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match="task='nothing': must be one of"):
        rw.ProbeCurves(tiny, "nothing")
    with pytest.raises(rw.InputError, match=r"no option 'seed'\. Did you mean 'seeds'"):
        rw.ProbeCurves(tiny, "sentiment", seed=3)
    widget = rw.ProbeCurves(tiny, "sentiment", prompts=rw.tasks.load("agreement", tiny, n=40), folds=3)
    assert [series.name for series in widget._drawn.series] == ["sentiment"]
    widget._fields.beside.value = True
    result = widget.fit(rw_yours(), folds=2)
    assert result.folds == 2
    assert [series.name for series in widget._drawn.series] == ["sentiment", "your prompts"]
    for wrong, message in (
        ({"folds": 1}, "folds=1"),
        ({"component": "z"}, "component='z': must be one of"),
        ({"positions": "first"}, "positions='first': must be one of"),
    ):
        with pytest.raises(rw.InputError, match=message):
            widget.fit(**wrong)
    assert len(widget.results) == 2
    widget.close()


def rw_yours() -> str:
    from resid_widgets.widgets.probing.live import YOURS

    return YOURS


def test_a_cancelled_fit_leaves_everything_as_it_was(tiny, found):
    import threading

    import resid_widgets as rw
    from resid_widgets.widgets.probing import live as probe_live

    widget = rw.ProbeCurves(found)
    at, go = threading.Event(), threading.Event()
    collect = probe_live.collect

    def slow(*args: Any, **kwargs: Any) -> Any:
        at.set()
        assert go.wait(60)
        return collect(*args, **kwargs)

    probe_live.collect = slow
    try:
        widget._start()
        assert at.wait(60)
        assert widget._fields.halt.layout.display == ""
        widget.cancel()
        go.set()
        assert widget.wait(60)
    finally:
        probe_live.collect = collect
    assert widget._fields.told.value == "Cancelled."
    assert list(widget.results.values()) == [found]
    assert widget._fields.halt.layout.display == "none"
    widget.close()


def test_an_error_in_the_worker_is_shown_and_logged(found, monkeypatch, caplog):
    import resid_widgets as rw
    from resid_widgets.widgets.probing import live as probe_live

    widget = rw.ProbeCurves(found)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(probe_live, "collect", broken)
    widget._start()
    assert widget.wait(60)
    assert widget._panel.status["text"] == "RuntimeError: out of luck"
    assert "out of luck" in widget._panel.status["detail"]
    assert widget._fields.told.value == ""
    assert any("front-end failed" in record.message for record in caplog.records)
    assert list(widget.results.values()) == [found]
    widget.close()


def test_a_fit_that_another_run_took_over_says_nothing_more(found, monkeypatch):
    """A cell that waits for the worker runs its job itself, while the worker's own run is still on its way out."""
    from types import SimpleNamespace

    import resid_widgets as rw
    from resid_widgets.models.worker import Job

    widget = rw.ProbeCurves(found)
    works: list[Any] = []
    with monkeypatch.context() as patch:
        worker = SimpleNamespace(submit=lambda key, work, **_: works.append(work))
        patch.setattr(widget._requests, "_worker", worker)
        widget._requests.fit(lambda report, stop: report(0.5, "Fitting probes ...", (), None), lambda _: None)
        widget._fields.say("from the other run")
        works[0](Job((widget, "fit"), works[0], lambda _: None, lambda: None, cancelled=True))
    assert widget._fields.told.value == "from the other run"
    widget.close()


def test_it_leaves_as_files(dashboard, tmp_path):
    page = dashboard.to_html(tmp_path / "probes.html").read_text(encoding="utf-8")
    said = re.findall(r"<circle [^>]*><title>([^<]*)</title></circle>", page)
    table = dashboard.to_dataframe()
    known = int(np.isfinite(table[["score", "chance", "shuffled", "control"]].to_numpy()).sum())
    assert len(said) == known
    row = table[(table["curve"] == "attn_out") & (table["layer"] == 2)].iloc[0]
    assert any(f"attn_out · layer 2 · balanced accuracy {row['score']:.3f}" in text for text in said)
    assert "<script" not in page
    assert dashboard.to_png(tmp_path / "p.png").stat().st_size > 5000
    assert dashboard.to_svg(tmp_path / "p.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert len(read(dashboard.to_csv(tmp_path / "p.csv"))) == len(table)


def test_points_of_the_page_lie_on_the_curve(found):
    """The circles that tell numbers have the figure's own coordinates."""
    from resid_widgets.analysis.probing.series import series_of
    from resid_widgets.figures.series import hovering

    series = series_of({"probe": found})
    svg = hovering(found.plot(), series)
    marks = {(round(float(x)), round(float(y))) for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', svg)}
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>([^<]*balanced[^<]*)<', svg)
    assert len(circles) == 8
    for x, y, _ in circles:
        assert any(abs(float(x) - a) <= 1 and abs(float(y) - b) <= 1 for a, b in marks)


def test_hosts_without_ipywidgets_get_the_figure(dashboard):
    bundle = dashboard._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["image/png"].startswith("iVBOR")
    assert data["text/plain"] == f"ProbeCurves({' · '.join(dashboard.results)})"
    kind, url = dashboard._mime_()
    assert kind == "image/png"
    assert url.startswith("data:image/png;base64,iVBOR")


def test_close_frees_everything(found):
    import ipywidgets

    import resid_widgets as rw

    before = set(ipywidgets.widgets.widget._instances)
    widget = rw.ProbeCurves(found)
    widget.select(1)
    widget._redraw()
    widget.close()
    left = [ipywidgets.widgets.widget._instances[key] for key in set(ipywidgets.widgets.widget._instances) - before]
    assert [type(each).__name__ for each in left if not type(each).__name__.endswith(("Layout", "Style"))] == []
    with pytest.raises(rw.InputError, match="This ProbeCurves is closed"):
        widget.select(1)


def test_what_is_no_result_is_refused():
    import resid_widgets as rw

    for wrong in ("text", 3, [1], {}):
        with pytest.raises(rw.InputError, match=r"Give what rw\.probe returns, several of them by name, or a model"):
            rw.ProbeCurves(wrong)


# --- the first curve --------------------------------------------------------------------------------------------------


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let somebody watch the page, who notices the smallest delay."""
    from resid_widgets.widgets.shell import awaited, cells

    monkeypatch.setattr(cells, "attended", lambda: True)
    monkeypatch.setattr(awaited, "AT_ONCE", -1.0)


def test_it_is_there_before_its_first_curve(tiny, watched):
    import resid_widgets as rw

    with tiny.lock:  # as a running cell has it
        widget = rw.ProbeCurves(tiny, "agreement", folds=2, seeds=(0,), penalties=(0.01,), inner=2, layer=1)
        assert widget.pending and not widget.closed and "on its way" in repr(widget)
        assert "no curve yet" in content(widget)["empty"]
        assert widget._chart.figure.axes[0].tick_values.tolist() == [0, 1, 2, 3]
        assert widget._choice.layout.display == "none"
    assert widget.wait(300) and not widget.pending
    assert widget.layer == 1 and widget.selection == {"layer": 1} and widget._choice.layout.display == ""
    assert np.isfinite(widget.result.values.values).all()
    widget.close()


def test_whoever_reads_it_waits_for_the_first_curve(tiny, watched):
    import resid_widgets as rw

    options = {"folds": 2, "seeds": (0,), "penalties": (0.01,), "inner": 2}
    for name in ("layer", "result", "results"):
        with tiny.lock:
            widget = rw.ProbeCurves(tiny, "agreement", layer=2, **options)
            assert widget.pending
            assert getattr(widget, name)
            assert not widget.pending and widget.layer == 2
        widget.close()


def test_a_first_fit_that_is_cancelled_can_be_asked_for_again(tiny, watched):
    import resid_widgets as rw

    with tiny.lock:
        widget = rw.ProbeCurves(tiny, "agreement", folds=2, seeds=(0,), penalties=(0.01,), inner=2)
        widget.cancel()
    assert widget.wait(300) and widget.pending and "Cancelled" in widget._fields.told.value
    with pytest.raises(rw.InputError, match="cancelled"):
        _ = widget.result
    widget._fields.go.click()
    assert widget.wait(300) and not widget.pending and len(widget.results) == 1
    widget.close()
