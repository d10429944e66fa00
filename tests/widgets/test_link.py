"""Widgets that share one selection."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def pair(llama_run) -> Any:
    import resid_widgets as rw

    return rw.ActivationHeatmap(llama_run, layer=1, pos=2), rw.LogitLensHeatmap(llama_run)


def test_the_first_ones_selection_counts_at_first(pair):
    import resid_widgets as rw

    a, b = pair
    rw.link(a, b)
    assert (b.layer, b.pos, b.details["at"]["pos"]) == (1, 2, 2)


def test_a_selection_is_shared_from_python_and_from_either_browser_view(pair, page):
    import resid_widgets as rw

    a, b = pair
    rw.link(a, b)
    b.select(3, 0)
    assert (a.layer, a.pos, a.details["at"]["pos"]) == (3, 0, 0)
    a.layer = 0
    assert (b.layer, b.pos) == (0, 0)
    answer, _ = page(a).ask("select", at={"layer": 2, "pos": 6})
    assert answer["kind"] == "done"
    assert (b.layer, b.pos) == (2, 6)
    page(b).ask("select", at={})
    assert (a.layer, a.pos, a.details) == (None, None, None)


def test_one_change_is_one_message_to_each_view(pair, page):
    import resid_widgets as rw

    a, b = pair
    rw.link(a, b)
    fronts = page(a), page(b)
    for front in fronts:
        front.forget()
    a.select(0, 5)
    assert [len(front.updates) for front in fronts] == [1, 1]


def test_unlink_leaves_each_its_own(pair):
    import resid_widgets as rw

    a, b = pair
    bond = rw.link(a, b)
    bond.unlink()
    bond.unlink()
    a.select(0, 0)
    assert (b.layer, b.pos) == (1, 2)
    assert a._links == b._links == []


def test_a_closed_widget_leaves_the_others_linked(llama_run):
    import resid_widgets as rw

    a, b, c = (rw.ActivationHeatmap(llama_run) for _ in range(3))
    bond = rw.link(a, b, c)
    b.close()
    a.select(1, 1)
    assert (c.layer, c.pos) == (1, 1)
    assert bond.widgets == [a, c]


def test_widgets_of_two_models_can_be_linked_and_clicked_at_once(llama_run, make_model, page):
    import resid_widgets as rw

    other = rw.run(make_model("qwen2"), list(llama_run.token_ids))
    a, b = rw.ActivationHeatmap(llama_run), rw.ActivationHeatmap(other)
    assert a._lock is not b._lock
    rw.link(a, b)
    fronts = page(a), page(b)
    for turn in range(20):
        fronts[turn % 2].post({"kind": "select", "at": {"layer": turn % 4, "pos": turn % 7}})
        with a._lock if turn % 2 else b._lock:
            assert a.wait(120)
            assert b.wait(120)
    assert a.wait(120)
    assert b.wait(120)
    assert (a.layer, a.pos) == (b.layer, b.pos)


def test_different_sizes_are_refused_with_the_way_out(llama_run, make_model):
    import resid_widgets as rw

    a, b = rw.ActivationHeatmap(llama_run), rw.ActivationHeatmap(make_model("llama"), [1, 2, 3])
    with pytest.raises(rw.InputError, match=r"have 7 and 3 positions.*on='layer'"):
        rw.link(a, b)
    assert a._links == []
    rw.link(a, b, on="layer")
    a.select(3, 6)
    assert (b.layer, b.pos) == (3, None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "two or more"),
        ("a", "two or more"),
        ("aa", "two or more"),
        ("ax", "widgets of this package"),
        ("ac", "is closed"),
    ],
)
def test_what_cannot_be_linked_is_said(pair, llama_run, arguments, says):
    import resid_widgets as rw

    closed = rw.ActivationHeatmap(llama_run)
    closed.close()
    things = {"a": pair[0], "x": 3, "c": closed}
    with pytest.raises(rw.InputError, match=says):
        rw.link(*(things[name] for name in arguments))
    with pytest.raises(rw.InputError, match="on="):
        rw.link(*pair, on="head")


def test_heads_are_no_positions(llama_run):
    import resid_widgets as rw

    explorer, heatmap = rw.AblationExplorer(llama_run), rw.ActivationHeatmap(llama_run)
    rw.link(explorer, heatmap)
    explorer.select(1, 2)
    assert (heatmap.layer, heatmap.pos) == (1, 2)
    explorer.mode = "heads"
    assert (explorer.pos, heatmap.pos) == (None, 2)
    explorer.select(3, 0)
    assert (heatmap.layer, heatmap.pos) == (3, 2)
    heatmap.select(0, 6)
    assert (explorer.layer, explorer.pos) == (0, 0)
    heads = rw.AblationExplorer(llama_run, mode="heads")
    rw.link(heads, heatmap)
    heads.layer = 2
    assert heatmap.layer == 2


def test_a_head_chosen_in_a_sweep_is_chosen_in_each_picture_of_heads(llama_run, page):
    import resid_widgets as rw

    metric = rw.logit_diff(1, 2)
    sweep = rw.ablation_sweep(llama_run, metric, "z", "mean", progress=False).show()
    corrupt = [*llama_run.token_ids[:-1], 0]
    patching = rw.PatchingHeatmap(llama_run, corrupt, metric, component="z")
    heatmap = rw.ActivationHeatmap(llama_run, pos=4)
    rw.link(sweep, patching, heatmap)
    answer, _ = page(sweep).ask("select", at={"layer": 2, "head": 3})
    assert answer["kind"] == "done"
    assert patching.wait(120) and heatmap.wait(120)  # a result has a worker of its own, and does not wait for theirs
    assert patching.selection == sweep.selection == {"layer": 2, "head": 3}
    assert heatmap.selection == {"layer": 2, "pos": 4}  # of a head it shows nothing
    patching.select(head=1)
    assert sweep.selection == {"layer": 2, "head": 1}
    patching.component = "resid_pre"  # columns are positions from now on
    patching.select(0, 6)
    assert (sweep.selection, heatmap.selection) == ({"layer": 0, "head": 1}, {"layer": 0, "pos": 6})
    only = rw.link(sweep, rw.PatchingHeatmap(llama_run, corrupt, metric, component="z"), on="head")
    sweep.select(3, 0)
    assert only.widgets[1].selection == {"head": 0}


def test_curves_of_a_probe_share_their_layer(llama_run):
    import numpy as np

    import resid_widgets as rw

    random, labels = np.random.default_rng(0), np.arange(40) % 2
    x = {layer: random.normal(size=(40, 4)) for layer in range(llama_run.model.n_layers)}
    curves = rw.ProbeCurves(rw.probe(x, labels=labels, groups=np.arange(40), folds=2, progress=False))
    heatmap = rw.ActivationHeatmap(llama_run, layer=1, pos=2)
    bond = rw.link(heatmap, curves)
    assert (curves.layer, curves.selection) == (1, {"layer": 1})
    curves.select(3)
    assert heatmap.selection == {"layer": 3, "pos": 2}
    heatmap.select(layer=None)
    assert curves.layer is None
    curves.close()
    assert bond.widgets == [heatmap]
