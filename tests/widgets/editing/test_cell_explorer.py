"""A cell of any sweep or trace opens in an explorer, which gives the cell's own number."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

import resid_widgets as rw

CLEAN = "The boy near the cats"
CORRUPT = "The boys near the cat"
METRIC = rw.logit_diff(" was", " were")


def ablated(how: Any = "mean", component: str = "resid_post", **options: Any) -> Callable[[Any], Any]:
    return lambda model: rw.ablation_sweep(rw.run(model, CLEAN), METRIC, component, how, progress=False, **options)


def patched(**options: Any) -> Callable[[Any], Any]:
    return lambda model: rw.patch_sweep(model, CLEAN, CORRUPT, METRIC, progress=False, **options)


def traced(**options: Any) -> Callable[[Any], Any]:
    return lambda model: rw.causal_trace(model, CLEAN, (1, 3), " was", foil=" were", progress=False, **options)


def over_an_edited_run(model: Any) -> Any:
    edited = rw.intervene(rw.run(model, CLEAN), rw.zero(rw.Site("mlp_out", 1)))
    return rw.ablation_sweep(edited, METRIC, "attn_out", "zero", progress=False)


def by_another_run(model: Any) -> Any:
    other = rw.run(model, CORRUPT)
    result = rw.ablation_sweep(rw.run(model, CLEAN), METRIC, how=lambda site: rw.patch(site, other), progress=False)
    kept = [item.option("source") for items in result.opening.cells.values() for item in items]
    assert {type(source) for source in kept} == {
        tuple
    }  # token ids: values of the whole run, once a cell, would be huge
    return result


SWEEPS: dict[str, Callable[[Any], Any]] = {
    "ablation": ablated(),
    "ablation by head": ablated("zero", "z"),
    "ablation by head and position": ablated("zero", "z", by="head_pos"),
    "ablation by noise": ablated("noise", sigma=2.0, seed=3),
    "ablation by another prompt": ablated("resample", source=[CORRUPT], seed=1),
    "ablation by a function": ablated(lambda site: rw.clamp(site, -0.5, 0.5)),
    "ablation by another run": by_another_run,
    "ablation of neurons": ablated("zero", "mlp_post", layers=[2], neurons=[3, 40]),
    "ablation of an edited run": over_an_edited_run,
    "patching": patched(),
    "patching the other way": patched(direction="noise", component="attn_out"),
    "patching of keys": patched(component="k"),
    "causal trace": traced(seeds=1),
    "causal trace of a window": traced(seeds=[4], component="mlp_out", window=2),
    "mediation": lambda model: rw.mediation_map(model, CLEAN, CORRUPT, METRIC, progress=False),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_an_opened_cell_has_its_own_number(name: str, tiny: Any) -> None:
    result = SWEEPS[name](tiny)
    picture = result.show()
    drawn = result.drawn()
    rows, columns = drawn.values.shape
    for row, column in {(0, 0), (rows // 2, 1), (rows - 1, columns - 1)}:
        explorer = picture.explore(int(drawn.values.coords["layer"][row]), column)
        assert explorer.result.after == pytest.approx(float(drawn.raw[row, column]), abs=2e-4), (row, column)
        assert explorer is picture.explorer and picture.inner is explorer
    kept = picture.explorer
    assert kept is not None
    kept.undo()
    assert kept.result.interventions != ()
    picture.close()
    assert kept.closed


def test_of_several_seeds_and_pairs_the_first_is_opened_and_says_so(tiny: Any) -> None:
    trace = rw.causal_trace(tiny, CLEAN, (1, 3), " was", seeds=3, progress=False)
    explorer = trace.show().explore(2, 1)
    first = float(trace.seeds[0, 2, 1]) + trace.corrupt_seeds[0]
    assert explorer.result.after == pytest.approx(first, abs=1e-5)
    assert "the first of 3 seeds" in explorer.frame["sentence"]

    pairs = rw.patch_sweep(tiny, [CLEAN, CORRUPT], [CORRUPT, CLEAN], METRIC, progress=False)
    explorer = pairs.show().explore(2, 1)
    alone = rw.patch_sweep(tiny, CLEAN, CORRUPT, METRIC, progress=False)
    assert explorer.result.after == pytest.approx(float(alone.raw[2, 1]), abs=1e-4)
    assert "the first of 2 pairs" in explorer.frame["sentence"]


def test_an_estimate_opens_the_exact_patch(tiny: Any) -> None:
    estimated, exact = (
        rw.patch_sweep(tiny, CLEAN, CORRUPT, METRIC, method=method, progress=False)
        for method in ("attribution", "exact")
    )
    explorer = estimated.show().explore(1, 1)
    assert explorer.result.after == pytest.approx(float(exact.raw[1, 1]), abs=1e-4)


def test_the_button_is_ready_when_a_cell_is_selected_and_closes_again(tiny: Any, page: Any) -> None:
    picture = SWEEPS["ablation"](tiny).show()
    front = page(picture)
    assert [(a["name"], a["enabled"]) for a in picture.actions] == [("explore", False)]
    front.ask("select", at={"layer": 1, "pos": 2})
    assert [(a["name"], a["enabled"]) for a in picture.actions] == [("explore", True)]
    assert front.ask("act", name="explore")[0]["kind"] == "done"
    assert [str(i) for i in picture.inner.interventions] == ["mean resid_post[layer 1, pos 2]"]
    front.ask("act", name="close")
    assert picture.inner is None and [a["name"] for a in picture.actions] == ["explore"]


def test_a_path_has_nothing_to_open(tiny: Any) -> None:
    picture = rw.path_patch(tiny, CLEAN, CORRUPT, METRIC, progress=False).show()
    assert picture.actions == []
    with pytest.raises(rw.InputError, match="no runs with interventions"):
        picture.explore(1, 1)


def test_a_copied_result_opens_where_its_model_is_and_says_so_where_it_is_not(tiny: Any) -> None:
    result = SWEEPS["patching"](tiny)
    there = copy.deepcopy(result)
    assert there.show().explore(1, 1).result.after == pytest.approx(float(result.raw[1, 1]), abs=1e-4)
    model = copy.deepcopy(tiny)
    weight = model.bridge.original_model.get_input_embeddings().weight
    with torch.no_grad():
        weight.mul_(1.5)
    gone = SWEEPS["ablation"](model)
    picture = gone.show()
    with torch.no_grad():
        weight.mul_(2.0)
    with pytest.raises(rw.InputError, match="it is gone, or has changed"):
        picture.explore(1, 1)
    assert picture.inner is None and picture.frame["title"] == gone.title
