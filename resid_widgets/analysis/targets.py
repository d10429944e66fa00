"""Tokens that a caller asks about: which ids they are, what they are called, whether the other spelling was meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.results import Check
from resid_widgets.tokens import visible
from resid_widgets.whole import is_whole

Token = str | int


@dataclass(frozen=True)
class Targets:
    """Tokens asked about, in the caller's order.

    Attributes
    ----------
    ids
        Token ids.
    names
        The raw token strings; ``" x [7]"`` where two ids share a string. Always different from each other.
    given
        What the caller passed for each.
    """

    ids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    given: tuple[str | int, ...] = ()


def resolve_targets(model: ResidualModel, targets: Any) -> Targets:
    """Return the tokens that `targets` names.

    Parameters
    ----------
    model
        Whose tokenizer and vocabulary count.
    targets
        None, one string or id, or a sequence of them. A string is used exactly as given: ``" Mary"`` is not ``"Mary"``.

    Raises
    ------
    InputError
        If one is no single token, no id of the vocabulary, or given twice.
    """
    if targets is None:
        return Targets()
    if hasattr(targets, "tolist"):
        targets = targets.tolist()
    if isinstance(targets, str) or is_whole(targets):
        targets = [targets]
    if not isinstance(targets, Sequence):
        raise InputError.about("targets", targets, "tokens are needed", "Pass strings or token ids.")
    ids = []
    for target in targets:
        if not isinstance(target, str) and not is_whole(target):
            raise InputError.about("targets", target, "a target is a string or a token id", "Pass strings or ids.")
        token = model.token_id(target)
        if token in ids:
            raise InputError.about("targets", target, f"token {token} is there twice", "Name each target once.")
        ids.append(token)
    names = model.token_strings(ids)
    names = [f"{name} [{id_}]" if names.count(name) > 1 else name for name, id_ in zip(names, ids, strict=True)]
    return Targets(tuple(ids), tuple(names), tuple(str(t) if isinstance(t, str) else int(t) for t in targets))


def spelling_check(model: ResidualModel, targets: Targets, final_logits: Float[Tensor, " d_vocab"]) -> Check | None:
    """Return an amber check where a string's other spelling (with or without a space before) is likelier next.

    Parameters
    ----------
    model, targets
        What was asked.
    final_logits
        The model's logits at the last position.
    """
    doubts = []
    for given, used in zip(targets.given, targets.ids, strict=True):
        if not isinstance(given, str):
            continue
        other = given[1:] if given.startswith(" ") else f" {given}"
        try:
            rival = model.token_id(other)
        except InputError:
            continue  # the other spelling is no single token: nothing to confuse
        if rival not in targets.ids and final_logits[rival] > final_logits[used]:
            doubts.append(f'"{visible(other)}" is likelier next than the "{visible(given)}" used')
    if not doubts:
        return None
    return Check("spelling of targets", "amber", float(len(doubts)), 0.0, "; ".join(doubts))


def tokens_of(name: str, given: Any) -> tuple[Token, ...]:
    """Return one token or several as given: strings and ids, not looked up yet.

    Raises
    ------
    InputError
        If there is something else, or none.
    """
    if hasattr(given, "tolist"):
        given = given.tolist()
    one = isinstance(given, str) or is_whole(given)
    items = (given,) if one else tuple(given) if isinstance(given, Sequence) else ()
    if not items or not all(isinstance(i, str) or is_whole(i) for i in items):
        raise InputError.about(name, given, "a token is needed, as string or id", f"For example {name}=' Mary'.")
    return tuple(str(item) if isinstance(item, str) else int(item) for item in items)


def weighted_names(names: Sequence[str], weights: Sequence[float]) -> str:
    """Return weighted logits in words; of many tokens the first."""
    parts = [
        f"{'−' if weight < 0 else '+'} {abs(weight):g} {name}" for name, weight in zip(names, weights, strict=True)
    ]
    more = f" … ({len(parts)} tokens)" if len(parts) > _MOST_NAMED else ""
    return f"weighted logits {' '.join(parts[:_MOST_NAMED]).removeprefix('+ ')}{more}"


_MOST_NAMED = 4
