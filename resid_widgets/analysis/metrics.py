"""What an experiment measures of a run's output: one number from the logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.analysis.targets import (
    Targets,
    Token,
    resolve_targets,
    spelling_check,
    tokens_of,
    weighted_names,
)
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check
from resid_widgets.tokens import visible
from resid_widgets.whole import several_whole

Kind = Literal["logit_diff", "logit", "weighted_logits", "log_prob", "prob", "kl_to_base", "rank"]


@dataclass(frozen=True)
class Metric:
    """One number of a run's output. Made by `logit_diff`, `logit`, `weighted_logits`, `log_prob`, `prob`, `rank` ....

    Attributes
    ----------
    kind
        Which of them.
    answers, foils
        Tokens, one for all prompts or one each; foils only of a logit difference.
    pos
        Positions at which it is read, and over which it is averaged; negative from the end.
    weights
        Of weighted logits: what each answer's logit counts.
    """

    kind: Kind
    answers: tuple[Token, ...] = ()
    foils: tuple[Token, ...] = ()
    pos: tuple[int, ...] = (-1,)
    weights: tuple[float, ...] = ()

    @property
    def coefficients(self) -> tuple[float, ...]:
        """What the logit of each of its tokens counts; empty where it is not linear in the logits."""
        return {"logit_diff": (1.0, -1.0), "logit": (1.0,), "weighted_logits": self.weights}.get(self.kind, ())

    def for_prompt(self, number: int, count: int) -> Metric:
        """Return the metric of one of `count` prompts.

        Raises
        ------
        InputError
            If there are several tokens, and not one for each prompt.
        """
        if self.weights:
            return self
        for name, tokens in (("answer", self.answers), ("foil", self.foils)):
            if len(tokens) > 1 and len(tokens) != count:
                raise InputError.about(
                    name, f"{len(tokens)} tokens", f"there are {count} prompts", "Give one token, or one for each."
                )
        return replace(self, answers=_one(self.answers, number), foils=_one(self.foils, number))

    def targets(self, model: ResidualModel) -> Targets:
        """Return the tokens of a metric for one prompt; raises as `bound`."""
        if not self.weights and max(len(self.answers), len(self.foils)) > 1:
            raise InputError.about("answer", self.answers, "this is one prompt, and takes one token", "Give one.")
        given = [*self.answers, *self.foils]
        if self.kind == "logit_diff" and model.token_id(given[0]) == model.token_id(given[1]):
            rule = "answer and foil are the same token, so that their difference is always 0"
            raise InputError.about("foil", given[1], rule, "Name another foil.")
        return resolve_targets(model, given or None)

    def bound(self, base: Run) -> Reading:
        """Return the metric made ready for one run.

        Raises
        ------
        InputError
            If a token is no single one, answer and foil are the same, a position is out of range, or there are
            several answers.
        """
        targets = self.targets(base.model)
        positions = tuple(base.pos(pos) for pos in self.pos)
        return Reading(self, base, positions, targets.ids, tuple(map(visible, targets.names)), targets)


@dataclass(frozen=True, eq=False)
class Reading:
    """A metric bound to a run.

    Attributes
    ----------
    metric, base
        What is measured, of edited copies of which run.
    positions
        From 0.
    token_ids, names
        Answer and foil, as ids and as visible text.
    targets
        The same, as `resid_widgets.analysis.targets` has them.
    """

    metric: Metric
    base: Run
    positions: tuple[int, ...]
    token_ids: tuple[int, ...]
    names: tuple[str, ...]
    targets: Any

    @property
    def label(self) -> str:
        """What it is, in words."""
        if self.metric.weights:
            return weighted_names(self.names, self.metric.weights)
        words = {
            "logit_diff": "logit difference {0} − {1}",
            "logit": "logit of {0}",
            "log_prob": "log-probability of {0}",
            "prob": "probability of {0}",
            "rank": "rank of {0}",
            "kl_to_base": "KL(base || this run)",
        }
        return words[self.metric.kind].format(*self.names)

    @property
    def units(self) -> str:
        """Of the number."""
        if self.metric.coefficients:
            return "logits"
        return {"prob": "0 to 1", "rank": "0 = top"}.get(self.metric.kind, "nats")

    def checks(self) -> list[Check]:
        """Say which spelling of a token was used, where the other one is likelier."""
        if not self.token_ids:
            return []
        found = spelling_check(self.base.model, self.targets, self.base.final_logits)
        return [] if found is None else [found]

    def of_base(self) -> float:
        """The metric of the run itself."""
        return float(self.of_stream(self._base_stream()[None])[0])

    def of_stream(self, final: Float[Tensor, "row read d_model"]) -> Float[Tensor, " row"]:
        """The metric of each row, from the final stream at the metric's positions, in their order; float64."""
        model = self.base.model
        if self.metric.coefficients:
            return self._summed(model.unembed(final, self.token_ids).double())
        # The others need the whole vocabulary: a few rows at a time.
        step = max(1, _VOCABULARY_BYTES // (8 * model.d_vocab * final.shape[1]))
        return torch.cat([self.of_logits(model.unembed(part)) for part in final.split(step)])

    def of_logits(self, logits: Float[Tensor, "row read d_vocab"]) -> Float[Tensor, " row"]:
        """The metric of each row, from all logits at the metric's positions; differentiable."""
        logits = logits.double()
        if self.metric.coefficients:
            return self._summed(logits[..., list(self.token_ids)])
        if self.metric.kind == "kl_to_base":
            before = self._base_log_probs
            return (before.exp() * (before - logits.log_softmax(-1))).sum(-1).mean(-1)
        answer = logits[..., self.token_ids[0]]
        if self.metric.kind == "log_prob":
            return (answer - logits.logsumexp(-1)).mean(-1)
        if self.metric.kind == "prob":
            return (answer - logits.logsumexp(-1)).exp().mean(-1)
        return (logits > answer[..., None]).sum(-1).double().mean(-1)

    def _summed(self, logits: Float[Tensor, "row read token"]) -> Float[Tensor, " row"]:
        return (logits * logits.new_tensor(self.metric.coefficients)).sum(-1).mean(-1)

    @cached_property
    def _base_log_probs(self) -> Float[Tensor, "read d_vocab"]:
        return self.base.model.unembed(self._base_stream()).double().log_softmax(-1)

    def _base_stream(self) -> Float[Tensor, "read d_model"]:
        return self.base.activation("resid_post", self.base.model.n_layers - 1)[list(self.positions)]


_VOCABULARY_BYTES = 64 * 2**20


def logit_diff(answer: Any, foil: Any, pos: Any = -1) -> Metric:
    """Measure how much more the model favours `answer` than `foil`, in logits.

    Parameters
    ----------
    answer, foil
        A token (string, exactly as given, or id); or several, one for each prompt.
    pos
        Position or positions at which it is read; the mean over them.

    Raises
    ------
    InputError
        If a token or position is none.
    """
    return Metric("logit_diff", tokens_of("answer", answer), tokens_of("foil", foil), _positions(pos))


def logit(token: Any, pos: Any = -1) -> Metric:
    """Measure the logit of `token`; parameters as in `logit_diff`. All logits may move together: see there."""
    return Metric("logit", tokens_of("token", token), (), _positions(pos))


def weighted_logits(weights: Any, pos: Any = -1) -> Metric:
    """Measure a weighted sum of logits: the sum over tokens of weight times logit.

    Parameters
    ----------
    weights
        From token (string or id) to a finite number, as ``{" is": 0.5, " was": 0.5, " are": -0.5, " were": -0.5}``.
    pos
        As in `logit_diff`.

    Raises
    ------
    InputError
        If a token or position is none, a weight is no finite number, or all are 0.
    """
    example = 'For example rw.weighted_logits({" is": 0.5, " was": 0.5, " are": -1.0}).'
    if not isinstance(weights, Mapping) or not weights:
        raise InputError.about("weights", weights, "a weight for each of some tokens is needed", example)
    counts = [getattr(value, "item", lambda value=value: value)() for value in weights.values()]
    for count in counts:
        if isinstance(count, bool) or not isinstance(count, int | float) or not math.isfinite(count):
            raise InputError.about("weights", count, "a weight is a finite number", example)
    if not any(counts):
        raise InputError.about("weights", weights, "all are 0, so that the sum is always 0", example)
    tokens = tuple(token for given in weights for token in tokens_of("token", given))
    return Metric("weighted_logits", tokens, (), _positions(pos), tuple(map(float, counts)))


def log_prob(token: Any, pos: Any = -1) -> Metric:
    """Measure the log-probability of `token`, in nats; parameters as in `logit_diff`."""
    return Metric("log_prob", tokens_of("token", token), (), _positions(pos))


def prob(token: Any, pos: Any = -1) -> Metric:
    """Measure the probability of `token`, 0 to 1; parameters as in `logit_diff`."""
    return Metric("prob", tokens_of("token", token), (), _positions(pos))


def rank(token: Any, pos: Any = -1) -> Metric:
    """Count the tokens that are likelier than `token`: 0 = top; parameters as in `logit_diff`."""
    return Metric("rank", tokens_of("token", token), (), _positions(pos))


def kl_to_base(pos: Any = -1) -> Metric:
    """Measure KL(base || this run) of the next-token distributions, in nats; base is the unpatched run."""
    return Metric("kl_to_base", (), (), _positions(pos))


def require_metric(metric: object) -> Metric:
    """Return `metric` if it is one.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(metric, Metric):
        example = "For example rw.logit_diff(' Mary', ' John')."
        raise InputError.about("metric", metric, "a metric is needed", example)
    return metric


def label_of(readings: Sequence[Reading]) -> str:
    """Return what several readings measure, in words: without their tokens, where those differ."""
    first = readings[0]
    if len({reading.label for reading in readings}) == 1:
        return first.label
    return replace(first, names=("answer", "foil") if first.metric.kind == "logit_diff" else ("the answer",)).label


def _one(tokens: tuple[Token, ...], number: int) -> tuple[Token, ...]:
    return tokens[number : number + 1] if len(tokens) > 1 else tokens


def _positions(pos: Any) -> tuple[int, ...]:
    items = several_whole(pos)
    if not items:
        raise InputError.about("pos", pos, "a position or several are needed", "-1 is the last one.")
    return items
