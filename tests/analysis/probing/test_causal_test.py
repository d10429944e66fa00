"""The causal test against interventions made one by one, and on a model whose use of a direction is known."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.analysis.probing import causal_test as probe_causal
from resid_widgets.analysis.probing.causal_result import CausalTest
from resid_widgets.analysis.probing.causal_test import causal_test
from resid_widgets.errors import InputError


@pytest.fixture(scope="module")
def agreement(tiny: rw.ResidualModel) -> tuple[rw.Probe, Any]:
    task = rw.tasks.load("agreement", tiny, n=160)
    return rw.probe(tiny, task.prompts, layers=[0, 2], seeds=(0,), progress=False), task


@pytest.fixture(scope="module")
def tested(agreement: tuple[rw.Probe, Any]) -> CausalTest:
    probed, task = agreement
    return probed.causal_test(2, prompts=task.pairs[:14], seeds=range(5), progress=False)


def test_each_number_is_an_intervention_by_hand(
    tiny: rw.ResidualModel, agreement: tuple[rw.Probe, Any], tested: CausalTest
) -> None:
    probed, task = agreement
    direction = probed.direction(2)
    bases = [rw.run(tiny, pair.clean) for pair in task.pairs[:14]]
    ends = [base.activation("resid_post", 2)[-1].double().numpy() for base in bases]
    length = 0.5 * np.median([np.linalg.norm(end) for end in ends])
    assert tested.length == pytest.approx(length)
    drawn = np.random.default_rng([3, 4]).normal(size=tiny.d_model)
    drawn -= drawn @ direction * direction
    drawn /= np.linalg.norm(drawn)
    for n, (base, end, pair) in enumerate(zip(bases[:4], ends, task.pairs, strict=False)):
        site = rw.Site("resid_post", 2, base.n_pos - 1)
        metric = rw.logit_diff(pair.answer, pair.foil)
        expected = {
            ("erase", "probe"): rw.project_out(site, direction),
            ("add", "probe"): rw.add(site, direction, length),
            ("subtract", "probe"): rw.add(site, direction, -length),
            ("erase", 3): rw.add(site, drawn, -float(end @ direction)),
            ("add", 3): rw.add(site, drawn, length),
            ("subtract", 3): rw.add(site, drawn, -length),
        }
        for (what, which), item in expected.items():
            by_hand = rw.ablation(base, item, metric)
            found = (
                tested.values.sel(intervention=what, direction="probe")
                if which == "probe"
                else tested.random.sel(intervention=what, seed=which)
            )
            assert float(found[n]) == pytest.approx(by_hand.after - by_hand.before, abs=1e-4)
            assert float(tested.base[n]) == pytest.approx(by_hand.before, abs=1e-5)


def test_number_is_encoded_and_used_at_layer_2(tested: CausalTest) -> None:
    assert bool(tested.used.sel(intervention="erase"))
    assert tested.verdict.startswith("Encoded at resid_post, layer 2, and used: erasing")
    assert tested.values.dims == ("intervention", "direction", "prompt") and tested.values.shape == (3, 2, 14)
    sizes = tested.size.sel(intervention="erase")
    assert float(sizes.sel(direction="probe")) > 5 * float(sizes.sel(direction="random"))
    assert np.allclose(tested.size.sel(direction="random"), np.abs(tested.random).mean(["seed", "prompt"]))
    assert (tested.low <= tested.difference).all() and (tested.difference <= tested.high).all()
    assert tested.metric in str(tested) and len(tested.to_dataframe()) == 3
    assert {check.level for check in tested.checks} == {"green"}


def test_adding_pushes_towards_the_label(tiny: rw.ResidualModel, agreement: tuple[rw.Probe, Any]) -> None:
    probed, task = agreement
    texts = [pair.clean for pair in task.pairs if {pair.answer, pair.foil} == {" was", " were"}][:10]
    found = probed.causal_test(
        2, prompts=texts, metric=rw.logit_diff(" were", " was"), label="plural", seeds=range(3), progress=False
    )
    by_prompt = found.values.sel(direction="probe")
    assert float(by_prompt.sel(intervention="add").mean()) > 0 > float(by_prompt.sel(intervention="subtract").mean())


def test_a_random_direction_is_not_used(tiny: rw.ResidualModel, agreement: tuple[rw.Probe, Any]) -> None:
    _, task = agreement
    verdicts = []
    for seed in range(3):
        direction = np.random.default_rng(1000 + seed).normal(size=tiny.d_model)
        direction /= np.linalg.norm(direction)
        found = causal_test(
            tiny,
            task.pairs[:14],
            component="resid_post",
            layer=1,
            direction=direction,
            encoded=True,
            progress=False,
        )
        verdicts.append("no evidence of use" in found.verdict)
    assert sum(verdicts) >= 2


def test_all_positions_and_other_components(tiny: rw.ResidualModel, agreement: tuple[rw.Probe, Any]) -> None:
    probed, task = agreement
    direction = probed.direction(2)
    texts = [pair.clean for pair in task.pairs[:3]]
    metric = rw.logit_diff(" were", " was")
    found = causal_test(
        tiny, texts, metric, component="mlp_out", layer=1, direction=direction, pos=None, seeds=range(3), progress=False
    )
    for n, text in enumerate(texts):
        base = rw.run(tiny, text)
        by_hand = rw.ablation(base, rw.project_out(rw.Site("mlp_out", 1), direction), metric)
        change = float(found.values.sel(intervention="erase", direction="probe")[n])
        assert change == pytest.approx(by_hand.after - by_hand.before, abs=1e-4)
    assert any(check.name == "prompts" and check.level == "amber" for check in found.checks)


def test_arrays_name_the_site_and_the_model(tiny: rw.ResidualModel, agreement: tuple[rw.Probe, Any]) -> None:
    probed, task = agreement
    x = {2: probed.fitting.plan.data.matrix("resid_post", 2)}
    plain = rw.probe(x, probed.samples["label"], groups=probed.samples["group"], seeds=(0,), progress=False)
    with pytest.raises(InputError, match="know no model"):
        plain.causal_test(2, prompts=task.pairs[:4], component="resid_post")
    with pytest.raises(InputError, match="name it"):
        plain.causal_test(2, tiny, task.pairs[:4])
    options = {"seeds": range(3), "progress": False}
    found = plain.causal_test(2, tiny, task.pairs[:4], component="resid_post", **options)
    assert np.allclose(found.values, probed.causal_test(2, prompts=task.pairs[:4], **options).values, atol=1e-4)


def test_a_task_is_its_pairs(agreement: tuple[rw.Probe, Any]) -> None:
    probed, task = agreement
    few = SimpleNamespace(pairs=task.pairs[:3], prompts=task.prompts)
    options: dict[str, Any] = {"seeds": range(3), "progress": False}
    found = probed.causal_test(2, prompts=few, **options)
    assert np.array_equal(found.values, probed.causal_test(2, prompts=task.pairs[:3], **options).values)


def test_many_prompts_are_run_one_after_the_other(
    agreement: tuple[rw.Probe, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[rw.Run] = weakref.WeakSet()
    most = 0

    def counted(*args: Any, **options: Any) -> rw.Run:
        nonlocal most
        made = rw.run(*args, **options)
        gc.collect()
        alive.add(made)
        most = max(most, len(alive))
        return made

    probed, task = agreement
    monkeypatch.setattr(probe_causal, "run", counted)
    probed.causal_test(2, prompts=task.pairs[:5], seeds=range(3), progress=False)
    assert 0 < most <= 4  # the first, which the result tells of, the one before, the next: not all five


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prompts": None}, "two prompts"),
        ({"prompts": "The girl"}, "two prompts"),
        ({"prompts": ["The girl", "The girls"]}, "a metric is needed"),
        ({"alpha": 0}, "alpha"),
        ({"seeds": (1,)}, "three random"),
        ({"seeds": 5}, "three random"),
        ({"seeds": "abc"}, "seeds"),
        ({"prompts": 7}, "two prompts"),
        ({"component": "z"}, "component"),
        ({"layer": 7}, "layer"),
    ],
)
def test_bad_input_is_explained(agreement: tuple[rw.Probe, Any], options: dict[str, Any], says: str) -> None:
    probed, task = agreement
    with pytest.raises(InputError, match=says):
        probed.causal_test(**{"layer": 2, "prompts": task.pairs[:4], **options})
