"""One attention score as a form that is linear in what stands at the query and in what stands at the key.

A score is a product of a query and a key. Each is a matrix times what attention reads, and between them stand a
rotation by position and, in some families, a norm of its own (qk-norm). With the norms held at their scale all of this
is one matrix between the two. It is taken from derivatives of the model's own score, not from anybody's weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.runs.run import Run

_MASKED = -1e30
_LINEAR = 0.02
"""How near to 1 (linear) or 0 (normed) a second derivative must come."""


@dataclass(frozen=True, eq=False)
class Side:
    """A query or a key.

    Attributes
    ----------
    vector
        ``[d_head]`` float64, before rotary and before qk-norm.
    read
        ``[d_head, d_model]`` float64: what it makes of what attention reads there.
    input
        ``[d_model]`` float64: what attention reads there, the normed stream.
    """

    vector: Float[Tensor, " d_head"]
    read: Float[Tensor, "d_head d_model"]
    input: Float[Tensor, " d_model"]


@dataclass(frozen=True, eq=False)
class ScoreForm:
    """``score = query . between . key + position``.

    Attributes
    ----------
    query, key
        The two sides.
    between
        ``[d_head, d_head]`` float64: scale, rotation and held norms.
    score
        Before softmax and before a soft-cap; None where the model shows only what comes behind the softmax.
    position
        What position alone adds (ALiBi); 0 as a rule.
    cap
        The soft-cap that the score goes through behind this; None as a rule.
    normed
        Whether queries and keys have a norm of their own, which is held.
    key_head
        Which key-value head it is.
    """

    query: Side
    key: Side
    between: Float[Tensor, "d_head d_head"]
    score: float | None
    position: float
    cap: float | None
    normed: bool
    key_head: int


@plain_pass()
def score_form(run: Run, layer: int, head: int, q: int, k: int) -> ScoreForm:
    """Find the form of the score of one head between two positions; ``k <= q``.

    Raises
    ------
    InputError
        If the head cannot see position `k` from `q`.
    UnsupportedModelError
        If the score is no such form, or the model's queries and keys are not one matrix of what attention reads.
    """
    model = run.model
    with model.lock, torch.enable_grad():
        seen = _seen(run, layer)
        row, queries, keys = seen["scores"][0, head, q], seen["q"], seen["k"]
        shares = bool((row >= 0).all() and row.sum() <= 1 + model.gap_limit and row[k] <= 1)
        if row[k] <= (0 if shares else _MASKED):
            rule = f"head {head} of layer {layer} does not see it from position {q}"
            raise InputError.about("k", k, rule, "Choose a position that it sees: its window may be short.")
        score, target, cap = _target(model.bridge.original_model.config, row, k, shares)
        found = _Derived.of(target, queries, keys, head, q, k)
        if not shares and cap is not None and not found.plain:
            target = score = cap * torch.atanh((row[k] / cap).double())
            found = _Derived.of(target, queries, keys, head, q, k)
        elif not shares:
            cap = None
        if found.normed and shares:
            _refuse(run, layer, "its queries and keys are normed, and only what comes behind the softmax is shown")
        if not (found.plain or found.normed) or found.centred:
            _refuse(run, layer, "a norm or function between queries and keys is none that can be held")
        between, position = found.between(None if shares else float(target.detach()))
        sides = [
            _side(vectors[0, at, of], seen[name], at)
            for vectors, at, of, name in ((queries, q, head, "query input"), (keys, k, found.key_head, "key input"))
        ]
    value = None if shares else float(score.detach())
    return ScoreForm(sides[0], sides[1], between, value, position, cap, found.normed, found.key_head)


def _refuse(run: Run, layer: int, why: str) -> None:
    raise UnsupportedModelError(f"Scores of layer {layer} of {run.model.name} cannot be split: {why}.")


def _seen(run: Run, layer: int) -> dict[str, Tensor]:
    """Run the layer's block on the run's stream, and return what stands in its attention, with its graph."""
    model = run.model
    names = {
        "query input": f"blocks.{layer}.attn.q.hook_in",
        "key input": f"blocks.{layer}.attn.k.hook_in",
        "q": f"blocks.{layer}.attn.hook_q",
        "k": f"blocks.{layer}.attn.hook_k",
        "scores": f"blocks.{layer}.attn.hook_attn_scores",
    }
    missing = [name for name in names.values() if name not in model.hooks]
    if missing:
        _refuse(run, layer, f"TransformerLens has no {missing[0]} of it")
    seen: dict[str, Tensor] = {}
    actions: dict[str, Action] = {
        hook: partial(_cut if name.endswith("input") else _look, seen, name) for name, hook in names.items()
    }
    engine = engine_of(run, ())
    if engine.recording is not None:
        hidden = run.activation("resid_pre", layer)[None].detach()
        engine.recording.call(layer, hidden, engine.recording.prefix(0), actions, bare=False)
    elif run.base is None:
        allow = bool(run.provenance.options["allow_hooks"])
        forward(model, run.token_ids, actions, allow_hooks=allow, gradients=True)
    else:
        _refuse(run, layer, "its blocks cannot be run alone, and this run has interventions")
    if seen["q"].ndim != 4 or seen["q"].shape[1] != run.n_pos or seen["query input"].shape[-1] != model.d_model:
        _refuse(run, layer, "its queries are not one matrix of what attention reads")
    return seen


def _cut(seen: dict[str, Tensor], name: str, value: Tensor) -> Tensor:
    seen[name] = value.detach().clone().requires_grad_()
    return seen[name]


def _look(seen: dict[str, Tensor], name: str, value: Tensor) -> Tensor:
    seen[name] = value.clone()  # what is given back is what goes on, in the shape that is shown here
    return seen[name]


def _target(
    config: object, row: Float[Tensor, " key_pos"], k: int, shares: bool
) -> tuple[Tensor, Tensor, float | None]:
    """Return the score, what is derived in its place, and the cap that it may have gone through.

    Of shares only the score's difference from another one is known; its derivatives by this key are the score's own.
    """
    text = getattr(config, "get_text_config", lambda: config)()
    cap = getattr(text, "attn_logit_softcapping", None)
    if not shares:
        return row[k], row[k], cap
    others = row.detach().clone()
    others[k] = 0
    return row[k], row[k].log() - row[int(others.argmax())].log(), None


@dataclass(frozen=True, eq=False)
class _Derived:
    """First and second derivatives of a score by one query and one key, float64."""

    q: Tensor  # [head, d_head], all heads: a norm may run over all
    k: Tensor
    by_q: Tensor
    by_k: Tensor
    mixed: Float[Tensor, "d_head d_head"]
    head: int
    key_head: int
    bend: tuple[float, float]

    @classmethod
    def of(cls, target: Tensor, queries: Tensor, keys: Tensor, head: int, q: int, k: int) -> _Derived:
        by_q, by_k = torch.autograd.grad(target, (queries, keys), create_graph=True, retain_graph=True)
        bend = (_bend(by_q, queries, q), _bend(by_k, keys, k))
        here = by_k[0, k]
        key_head = int(here.detach().norm(dim=-1).argmax())
        rows = []
        for number in here[key_head]:
            (found,) = torch.autograd.grad(number, queries, retain_graph=True, allow_unused=True)
            rows.append(torch.zeros_like(queries[0, q, head]) if found is None else found[0, q, head])
        mixed = torch.stack(rows, dim=1).double()
        at_q, at_k, by_q, by_k = (value.detach().double() for value in (queries[0, q], keys[0, k], by_q[0, q], here))
        return cls(at_q, at_k, by_q, by_k, mixed.detach(), head, key_head, bend)

    @property
    def plain(self) -> bool:
        """Whether the score is a product of query and key as they are."""
        return all(abs(bend - 1) <= _LINEAR for bend in self.bend)

    @property
    def normed(self) -> bool:
        """Whether each of them goes through a norm that divides by its length."""
        return all(abs(bend) <= _LINEAR for bend in self.bend)

    @property
    def centred(self) -> bool:
        """Whether such a norm takes off the mean as well: then no derivative has one."""
        of = self.by_k[self.key_head]
        return self.normed and bool(of.sum().abs() <= 1e-4 * of.abs().sum())

    def between(self, score: float | None) -> tuple[Float[Tensor, "d_head d_head"], float]:
        """Return the matrix between query and key with their norms held, and what position adds."""
        q, k = self.q[self.head], self.k[self.key_head]
        if not self.normed:
            return self.mixed, 0.0 if score is None else score - float(q @ self.mixed @ k)
        assert score is not None, "of shares, nothing normed is split"
        # A norm's derivative takes off what lies along the vector itself: P A P with P = I - c x x^T. Here A is wanted.
        a, b = (_along(of, by, score) for of, by in ((self.q, self.by_q), (self.k, self.by_k)))
        held_q = self.by_q[self.head] + a * score * q
        held_k = self.by_k[self.key_head] + b * score * k
        both = a * b * score * torch.outer(q, k)
        return self.mixed + a * torch.outer(q, held_k) + b * torch.outer(held_q, k) - both, 0.0


def _along(of: Float[Tensor, "head d_head"], by: Float[Tensor, "head d_head"], score: float) -> float:
    """Return c of a norm's derivative, which for a norm without epsilon is 1 / |x|^2."""
    of, by = (value[by.any(dim=-1)] for value in (of, by))  # the norm is of these heads: of one, or of all together
    size = float(of.square().sum())
    return (1.0 - float((of * by).sum()) / score) / size if abs(score) > 1e-6 else 1.0 / size


def _bend(by: Tensor, of: Tensor, at: int) -> float:
    """Return how the derivative along the vector itself answers to it: 1 where a product is, 0 behind a norm."""
    (second,) = torch.autograd.grad((by * of)[0, at].sum(), of, retain_graph=True, allow_unused=True)
    if second is None:
        return 0.0
    first, second = by[0, at].detach().double(), second[0, at].double()
    size = float(first.square().sum())
    return float((first * second).sum()) / size if size else 1.0


def _side(vector: Float[Tensor, " d_head"], given: Float[Tensor, "1 pos d_model"], at: int) -> Side:
    """Return a query or key with the matrix that makes it of what attention reads there."""
    rows = [torch.autograd.grad(number, given, retain_graph=True)[0][0, at] for number in vector]
    return Side(vector.detach().double(), torch.stack(rows).double(), given[0, at].detach().double())
