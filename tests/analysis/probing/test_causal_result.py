"""What a causal test says of itself: one sentence that can be read, with the tokens where there is one pair."""

from __future__ import annotations

from typing import Any

import pytest

import resid_widgets as rw
from resid_widgets.analysis.probing.causal_test import causal_test


@pytest.fixture(scope="module")
def task(tiny: rw.ResidualModel) -> Any:
    return rw.tasks.load("agreement", tiny, n=40)


@pytest.fixture(scope="module")
def direction(tiny: rw.ResidualModel, task: Any) -> Any:
    return rw.probe((tiny, task.prompts), layers=[2], seeds=(0,), folds=3, progress=False).direction(2)


def made(tiny: rw.ResidualModel, direction: Any, prompts: Any, metric: Any = None, encoded: bool = True) -> Any:
    options: dict[str, Any] = {"component": "resid_post", "layer": 2, "direction": direction, "seeds": range(3)}
    return causal_test(tiny, prompts, metric, encoded=encoded, progress=False, **options)


def test_several_pairs_are_answer_and_foil(tiny: rw.ResidualModel, direction: Any, task: Any) -> None:
    found = made(tiny, direction, task.pairs[:12])
    assert found.metric == "logit difference between answer and foil"
    assert "moves the logit difference between answer and foil" in found.verdict.replace("move the", "moves the")
    assert " logits, against " in found.verdict


def test_one_pair_is_named(tiny: rw.ResidualModel, direction: Any, task: Any) -> None:
    texts = [pair.clean for pair in task.pairs[:3]]
    found = made(tiny, direction, texts, rw.logit_diff(" were", " was"))
    assert found.metric == "logit difference between ·were and ·was"
    (check,) = [check for check in found.checks if check.name == "prompts"]
    assert check.level == "amber" and check.text == "only 3 prompts, so that the intervals are wide; take 10 or more"


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (rw.prob(" was"), "probability of ·was"),
        (rw.log_prob(" was"), "log-probability of ·was"),
        (rw.rank(" was"), "rank of ·was"),
        (rw.kl_to_base(), "KL divergence from the plain run"),
    ],
)
def test_other_metrics_fit_into_the_sentence(
    tiny: rw.ResidualModel, direction: Any, task: Any, metric: Any, says: str
) -> None:
    found = made(tiny, direction, [pair.clean for pair in task.pairs[:3]], metric, encoded=False)
    assert found.metric == says and f"the {says} " in found.verdict
    assert found.verdict.startswith("No evidence that the label is encoded at resid_post, layer 2")
