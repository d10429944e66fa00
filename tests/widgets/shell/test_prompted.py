"""The prompt as a field: another one is run, and takes the old one's place with its picture, or not at all."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.errors import InputError

FIRST, OTHER = "The cat sat on", "When Mary and John went to the store"
WIDGETS = ("ActivationHeatmap", "LogitLensHeatmap", "AblationExplorer")


@pytest.fixture(params=WIDGETS)
def made(request: pytest.FixtureRequest, tiny: Any) -> Any:
    return getattr(rw, request.param)(tiny, FIRST)


def field(widget: Any) -> dict[str, Any] | None:
    found = [control for control in widget.controls if control["name"] == "prompt"]
    return found[0] if found else None


@pytest.mark.parametrize("name", WIDGETS)
def test_who_has_it(tiny: Any, name: str) -> None:
    make = getattr(rw, name)
    offered = field(make(tiny, FIRST))
    assert offered is not None and (offered["kind"], offered["value"], offered["wide"]) == ("text", FIRST, True)
    run = rw.run(tiny, OTHER)
    assert field(make(run)) is None and make(run).prompt == OTHER
    assert field(make(make(run).result)) is None


def test_another_prompt_gives_its_own_picture(made: Any, page: Any, tiny: Any) -> None:
    front = page(made)
    made.select(1, 2)
    answer, _ = front.ask("set", name="prompt", value=OTHER)
    assert answer["kind"] == "done"
    fresh = type(made)(tiny, OTHER)
    assert made.run.token_ids == fresh.run.token_ids == rw.run(tiny, OTHER).token_ids
    assert np.array_equal(made.result.values, fresh.result.values)
    assert field(made)["value"] == made.prompt == OTHER
    assert (made.layer, made.pos) == (1, 2) and made.details["at"] == {"layer": 1, "pos": 2}
    assert made.code() == fresh.code()
    made.reset()
    assert made.prompt == FIRST and np.array_equal(made.result.values, type(made)(tiny, FIRST).result.values)


def test_a_selection_that_the_other_prompt_does_not_have_is_dropped(made: Any) -> None:
    made.prompt = OTHER
    made.select(1, 8)
    made.prompt = FIRST
    assert made.layer == 1 and made.pos is None


@pytest.mark.parametrize("bad", ["", "the " * 600])
def test_what_cannot_be_run_changes_nothing(made: Any, page: Any, bad: str) -> None:
    run, frame = made.run, made.frame
    answer, _ = page(made).ask("set", name="prompt", value=bad)
    assert answer["kind"] == "error" and answer["text"]
    assert made.run is run and made.frame is frame and made.prompt == FIRST
    assert field(made)["value"] == bad and field(made)["refused"]
    with pytest.raises(InputError):
        made.prompt = bad
    made.change(prompt=OTHER)
    assert "refused" not in field(made)


def test_token_ids_from_python(made: Any, tiny: Any) -> None:
    ids = list(rw.run(tiny, OTHER).token_ids)
    made.prompt = ids
    assert made.prompt == OTHER and made.run.token_ids == tuple(ids)


def test_other_options_stay_and_are_computed_from_the_new_run(tiny: Any) -> None:
    widget = rw.ActivationHeatmap(tiny, FIRST, stat="kurtosis", component="mlp_out")
    widget.prompt = OTHER
    widget.stat = "norm"
    wanted = rw.activation_map(rw.run(tiny, OTHER), "mlp_out", "norm")
    assert np.array_equal(widget.result.values, wanted.values)


def test_what_is_active_stays_where_it_fits(tiny: Any) -> None:
    widget = rw.AblationExplorer(tiny, OTHER, interventions=rw.zero(rw.Site("resid_post", 1, 3)))
    widget.prompt = FIRST
    assert len(widget.interventions) == 1
    assert widget.result.after == pytest.approx(
        rw.ablation(rw.run(tiny, FIRST), list(widget.interventions), widget.metric).after, abs=1e-5
    )
    widget.prompt = OTHER
    widget.interventions = rw.zero(rw.Site("resid_post", 1, 8))
    run = widget.run
    with pytest.raises(InputError, match="pos"):
        widget.prompt = FIRST
    assert widget.run is run and widget.prompt == OTHER


def test_a_chosen_metric_stays_and_the_default_follows(tiny: Any) -> None:
    metric = rw.log_prob(" the")
    chosen, default = rw.AblationExplorer(tiny, FIRST, metric), rw.AblationExplorer(tiny, FIRST)
    for widget in (chosen, default):
        widget.prompt = OTHER
    assert chosen.metric == metric
    assert default.metric == rw.AblationExplorer(tiny, OTHER).metric != rw.AblationExplorer(tiny, FIRST).metric


def test_one_run_is_held(made: Any) -> None:
    old = weakref.ref(made.run)
    made.prompt = OTHER
    made.select(0, 1)
    gc.collect()
    assert old() is None
