"""A metric as fields of the header: which one, and of which tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from resid_widgets.analysis import metrics
from resid_widgets.analysis.metrics import Metric
from resid_widgets.errors import InputError
from resid_widgets.models.runs.run import Run
from resid_widgets.widgets.shell import panel

KINDS = {
    "logit_diff": "logit difference",
    "logit": "logit",
    "log_prob": "log-probability",
    "prob": "probability",
    "rank": "rank",
    "kl_to_base": "KL to the base run",
}

LINEAR = ("logit_diff", "logit")
"""Those that parts of the stream add up to."""


def metric_controls(run: Run, metric: Metric, kinds: Sequence[str] = tuple(KINDS)) -> list[dict[str, Any]]:
    """Return the fields of a metric. Tokens stand exactly as they are used, spaces included.

    Parameters
    ----------
    kinds
        Which are offered.
    """
    hint = "Exactly one token, a space before it included where it has one."
    answer, foil = (_text(run, tokens) for tokens in (metric.answers, metric.foils))
    summed = metric.kind == "weighted_logits"  # which only a program can give
    offered = {"weighted_logits": "weighted logits"} if summed else {}
    offered |= {name: KINDS[name] for name in kinds}
    return [
        panel.select("metric", "measure", metric.kind, list(offered.items())),
        panel.text("answer", "answer", answer, visible=not summed and metric.kind != "kl_to_base", hint=hint),
        panel.text("foil", "against", foil, visible=metric.kind == "logit_diff", hint=hint),
    ]


def metric_from_control(run: Run, metric: Metric, name: str, value: Any) -> Metric:
    """Return the metric after one of its fields was changed.

    Raises
    ------
    InputError
        If a token is none.
    """
    if name in ("answer", "foil"):
        if run.model.tokenizer is None and str(value).strip(" []").isdecimal():
            value = int(str(value).strip(" []"))
        if value == "":
            raise InputError.about(name, value, "a token is needed", "Type one, a space before it included.")
        new = replace(metric, **{f"{name}s": (value,)})
    else:
        top = run.final_logits.topk(3).indices.tolist()
        answers = metric.answers[:1] or (int(top[0]),)
        used = run.model.token_id(answers[0])
        foils = metric.foils or (next(int(token) for token in top if token != used),)
        new = {
            "logit_diff": metrics.logit_diff(answers, foils, metric.pos),
            "logit": metrics.logit(answers, metric.pos),
            "weighted_logits": metric,
            "log_prob": metrics.log_prob(answers, metric.pos),
            "prob": metrics.prob(answers, metric.pos),
            "rank": metrics.rank(answers, metric.pos),
            "kl_to_base": metrics.kl_to_base(metric.pos),
        }[value]
    new.bound(run)  # says what is wrong with a token
    return new


def _text(run: Run, tokens: tuple[Any, ...]) -> str:
    if not tokens:
        return ""
    return tokens[0] if isinstance(tokens[0], str) else run.model.token_strings([tokens[0]])[0]
