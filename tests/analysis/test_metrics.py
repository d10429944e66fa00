"""One number of a run's output, against its definition written out in numpy."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis import metrics as module
from resid_widgets.analysis.metrics import Metric, label_of, require_metric
from resid_widgets.errors import InputError
from resid_widgets.tokens import visible

KINDS = {
    "logit_diff": rw.logit_diff(7, 11, pos=[2, -1]),
    "logit": rw.logit(7, pos=[2, -1]),
    "weighted_logits": rw.weighted_logits({7: 0.5, 11: -2}, pos=[2, -1]),
    "log_prob": rw.log_prob(7, pos=[2, -1]),
    "prob": rw.prob(7, pos=[2, -1]),
    "rank": rw.rank(7, pos=[2, -1]),
    "kl_to_base": rw.kl_to_base(pos=[2, -1]),
}


def definition(kind: str, logits: np.ndarray, base: np.ndarray) -> float:
    """The mean over rows of ``[read, d_vocab]``, in float64."""
    log_probs, before = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (logits, base))
    return float(
        {
            "logit_diff": lambda: logits[:, 7] - logits[:, 11],
            "logit": lambda: logits[:, 7],
            "weighted_logits": lambda: 0.5 * logits[:, 7] - 2 * logits[:, 11],
            "log_prob": lambda: log_probs[:, 7],
            "prob": lambda: np.exp(log_probs[:, 7]),
            "rank": lambda: (logits > logits[:, [7]]).sum(-1),
            "kl_to_base": lambda: (np.exp(before) * (before - log_probs)).sum(-1),
        }[kind]().mean()
    )


@pytest.mark.parametrize("family", ["llama", "gemma2", "cohere"])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_its_definition(make_model: Any, kind: str, family: str) -> None:
    model = make_model(family)
    base = rw.run(model, [1, 5, 9, 20, 33, 4, 60], keep=["resid_post", "logits"])
    reading = KINDS[kind].bound(base)
    rows = np.asarray(base.logits.double())[[2, 6]]
    assert reading.positions == (2, 6)
    assert reading.of_base() == pytest.approx(definition(kind, rows, rows), abs=1e-5)
    final = base.tensor("resid_post", 3)[[2, 6]]
    edited = torch.stack([final, final * 0.3 + 0.7, final.flip(0)])
    found = reading.of_stream(edited)
    assert (found.dtype, found.shape) == (torch.float64, (3,))
    for row, value in zip(edited, found.tolist(), strict=True):
        logits = np.asarray(model.unembed(row).double())
        assert value == pytest.approx(definition(kind, logits, rows), abs=1e-5)
        assert float(reading.of_logits(model.unembed(row)[None])[0]) == pytest.approx(value, abs=1e-6)


def test_one_position_and_several(llama_run: Any) -> None:
    at = [rw.log_prob(7, pos=p).bound(llama_run).of_base() for p in range(7)]
    assert rw.log_prob(7).bound(llama_run).of_base() == at[-1]
    assert rw.log_prob(7, pos=[0, 3, -2]).bound(llama_run).of_base() == pytest.approx(np.mean([at[0], at[3], at[5]]))


def test_no_divergence_from_itself(llama_run: Any) -> None:
    reading = rw.kl_to_base(pos=list(range(7))).bound(llama_run)
    assert abs(reading.of_base()) < 1e-12
    other = llama_run.tensor("resid_post", 3) + 1.0
    assert float(reading.of_stream(other[None])[0]) > 0


def test_rank_counts_what_is_likelier_and_no_ties(llama_run: Any) -> None:
    logits = torch.zeros(1, 1, 97)
    logits[..., [3, 4]] = 1.0
    logits[..., 5] = 2.0
    ranks = [float(rw.rank(t).bound(llama_run).of_logits(logits)[0]) for t in (5, 3, 4, 0)]
    assert ranks == [0, 1, 1, 3]
    top = int(llama_run.final_logits.argmax())
    assert rw.rank(top).bound(llama_run).of_base() == 0


def test_a_large_vocabulary_is_read_a_few_rows_at_a_time(llama_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    final = torch.randn(10, 2, 32)
    reading = rw.log_prob(7, pos=[2, 6]).bound(llama_run)
    whole = reading.of_stream(final)
    sizes: list[int] = []
    unembed = type(llama_run.model).unembed
    monkeypatch.setattr(
        type(llama_run.model), "unembed", lambda self, h, *a: sizes.append(len(h)) or unembed(self, h, *a)
    )
    monkeypatch.setattr(module, "_VOCABULARY_BYTES", 3 * 8 * 97 * 2)
    torch.testing.assert_close(reading.of_stream(final), whole, rtol=1e-6, atol=1e-6)
    assert sizes == [3, 3, 3, 1]


def test_labels_and_units(worded_run: Any) -> None:
    def said(metric: Metric) -> tuple[str, str]:
        reading = metric.bound(worded_run)
        return reading.label, reading.units

    assert said(rw.logit_diff(" Mary", " gave")) == ("logit difference ·Mary − ·gave", "logits")
    assert said(rw.log_prob("\n")) == ("log-probability of ↵", "nats")
    assert said(rw.prob(3)) == ("probability of ·Mary", "0 to 1")
    assert said(rw.rank(" Mary")) == ("rank of ·Mary", "0 = top")
    assert said(rw.kl_to_base()) == ("KL(base || this run)", "nats")
    assert said(rw.logit(" Mary")) == ("logit of ·Mary", "logits")
    assert said(rw.weighted_logits({" Mary": 0.5, 7: -2})) == (
        f"weighted logits 0.5 ·Mary − 2 {visible(worded_run.model.token_strings([7])[0])}",
        "logits",
    )


def test_a_difference_is_one_weighted_sum_of_many(worded_run: Any) -> None:
    logits = worded_run.final_logits.double()
    assert rw.weighted_logits({3: 1, 7: -1}).bound(worded_run).of_base() == pytest.approx(
        rw.logit_diff(3, 7).bound(worded_run).of_base(), abs=1e-9
    )
    metric = rw.weighted_logits({3: 0.25, 7: 0.75, 9: -1.5}, pos=[-1])
    expected = float(0.25 * logits[3] + 0.75 * logits[7] - 1.5 * logits[9])
    assert metric.bound(worded_run).of_base() == pytest.approx(expected, rel=1e-5)
    assert rw.logit(3).bound(worded_run).of_base() == pytest.approx(float(logits[3]), rel=1e-5)
    assert metric.for_prompt(1, 2) == metric  # its tokens are one set, not one a prompt


def test_several_readings_are_named_by_what_they_share(worded_run: Any) -> None:
    first, second = (rw.logit_diff(a, b).bound(worded_run) for a, b in ((" Mary", " gave"), ("Mary", " gave")))
    assert label_of([first, first]) == first.label
    assert label_of([first, second]) == "logit difference answer − foil"


def test_the_other_spelling_is_suggested_where_it_is_likelier(worded_run: Any) -> None:
    likelier, other = (
        (" Mary", "Mary") if worded_run.final_logits[3] > worded_run.final_logits[4] else ("Mary", " Mary")
    )
    assert rw.log_prob(likelier).bound(worded_run).checks() == []
    (check,) = rw.log_prob(other).bound(worded_run).checks()
    assert (check.name, check.level) == ("spelling of targets", "amber")
    assert rw.kl_to_base().bound(worded_run).checks() == []


def test_they_are_plain_data() -> None:
    assert (
        rw.logit_diff(7, 8) == rw.logit_diff([7], [8], pos=[-1]) == plain(rw.logit_diff)(np.int64(7), torch.tensor([8]))
    )
    assert rw.logit_diff(7, 8) != rw.logit_diff(8, 7)
    assert len({rw.log_prob(7), rw.log_prob(7), rw.prob(7), rw.log_prob(7, pos=0)}) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        rw.rank(3).kind = "prob"


def test_one_token_for_each_prompt() -> None:
    metric = rw.logit_diff([7, 8, 9], 3, pos=[1, 2])
    assert [metric.for_prompt(n, 3) for n in range(3)] == [rw.logit_diff(t, 3, pos=[1, 2]) for t in (7, 8, 9)]
    assert rw.log_prob(4).for_prompt(5, 9) == rw.log_prob(4)
    assert rw.kl_to_base().for_prompt(0, 2) == rw.kl_to_base()
    for bad in (rw.logit_diff([7, 8], 3), rw.logit_diff(3, [7, 8])):
        with pytest.raises(InputError, match=r"='2 tokens': there are 3 prompts\. Give one token, or one for each"):
            bad.for_prompt(0, 3)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (
            rw.logit_diff(" Mary", " Mary"),
            "foil=' Mary': answer and foil are the same token.*always 0. Name another foil",
        ),
        (rw.logit_diff(" Mary", 3), "foil=3: answer and foil are the same token"),
        (rw.log_prob(" Mary gave"), "' Mary gave'"),
        (rw.logit_diff(" Mary", " Mary gave"), "' Mary gave'"),
        (rw.log_prob(97), "97"),
        (rw.log_prob(-1), "-1"),
        (rw.rank(" Mary", pos=3), r"pos=3: the prompt has positions 0 \.\. "),
        (rw.kl_to_base(pos=[0, -9]), "pos=-9: the prompt has positions"),
        (rw.log_prob([3, 4]), r"answer=\(3, 4\): this is one prompt, and takes one token. Give one"),
        (rw.logit_diff(3, [4, 5]), "one prompt, and takes one token"),
        (rw.weighted_logits({" Mary": 1, 3: 2}), "3: token 3 is there twice. Name each"),
    ],
    ids=str,
)
def test_what_does_not_fit_a_run_is_named(worded_run: Any, metric: Metric, text: str) -> None:
    with pytest.raises(InputError, match=text):
        metric.bound(worded_run)


def test_an_answer_of_several_tokens_says_which(worded_run: Any) -> None:
    with pytest.raises(InputError) as caught:
        rw.log_prob(" Mary gave").bound(worded_run)
    assert "2 tokens" in str(caught.value) or "single token" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: plain(rw.log_prob)(None), "token=None: a token is needed, as string or id. For example token=' Mary'"),
        (lambda: plain(rw.log_prob)([]), r"token=\[\]: a token is needed"),
        (lambda: plain(rw.log_prob)(True), "token=True: a token is needed"),
        (lambda: plain(rw.logit_diff)(3, 1.5), "foil=1.5: a token is needed"),
        (lambda: plain(rw.logit_diff)([3, None], 4), "answer=.*a token is needed"),
        (lambda: plain(rw.rank)(3, pos="last"), "pos='last': a position or several are needed. -1 is the last one"),
        (lambda: plain(rw.prob)(3, pos=[]), r"pos=\[\]: a position or several"),
        (lambda: plain(rw.kl_to_base)(pos=None), "pos=None: a position or several"),
        (lambda: require_metric("logit_diff"), r"metric='logit_diff': a metric is needed. For example rw\.logit_diff"),
        (lambda: plain(rw.weighted_logits)([3]), r"weights=\[3\]: a weight for each of some tokens is needed"),
        (lambda: plain(rw.weighted_logits)({3: float("nan")}), "weights=nan: a weight is a finite number"),
        (lambda: plain(rw.weighted_logits)({3: True}), "weights=True: a weight is a finite number"),
        (lambda: plain(rw.weighted_logits)({3: 0, 4: 0.0}), "all are 0, so that the sum is always 0"),
        (lambda: require_metric(None), "metric=None: a metric is needed"),
    ],
)
def test_bad_arguments(make: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


def plain(function: Any) -> Any:
    """Return a function without beartype, as users call it."""
    return inspect.unwrap(function)
