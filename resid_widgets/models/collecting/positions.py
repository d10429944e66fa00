"""Which positions of each prompt are kept: the rules that `resid_widgets.collect` knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.prompt_list import Entry
from resid_widgets.whole import is_whole, whole

_NAMED = ("last", "all", "not_first", "given")
_WHICH = ("all", "first", "last")


def positions_of(model: ResidualModel, entries: Sequence[Entry], rule: object) -> list[tuple[int, ...]]:
    """Return the positions to keep of each prompt, from left to right.

    Parameters
    ----------
    rule
        ``"last"``, the last that is no pad token; ``"all"``; ``"not_first"``, all but position 0 (BOS, or the sink that
        a first token is);
        ``"given"``, each prompt's own ``.position``; a whole number, the same in each prompt (negative counts from
        the end); a list with a whole number, or a list of them, for each prompt; a function from a prompt's token
        strings to one or more positions; or ``{"token": " cat"}``, where that token stands: a string that is one
        token, an id, or a list of them, and with ``"which": "first"`` or ``"last"`` only one place in each prompt.

    Raises
    ------
    InputError
        If the rule is none of these, or if it finds nothing, a position twice, or one out of range in some prompt,
        which is named.
    """
    find = _finder(model, entries, rule)
    return [_checked(model, number, entry, find(number), rule) for number, entry in enumerate(entries)]


def describe_positions(rule: object) -> str:
    """Return a short text for `rule`, to be kept with the numbers."""
    if isinstance(rule, str | Mapping) or is_whole(rule):
        return str(rule if whole(rule) is None else whole(rule))
    if callable(rule):
        return f"function {getattr(rule, '__name__', type(rule).__name__)}"
    return "listed"


def _finder(model: ResidualModel, entries: Sequence[Entry], rule: Any) -> Callable[[int], Any]:
    """From a prompt's number to what the rule says about it."""
    if isinstance(rule, str) and rule in _NAMED:
        return lambda number: _named(rule, number, entries[number])
    if isinstance(rule, Mapping):
        return _token_finder(model, entries, rule)
    if is_whole(rule):
        return lambda number: rule
    if callable(rule):
        return lambda number: rule(model.token_strings(entries[number].tokens.ids))
    if isinstance(rule, str) or not isinstance(rule, Iterable):
        known = f"must be one of {', '.join(_NAMED)}, a whole number, a list, a function or {{'token': ...}}"
        remedy = f"For a token write {{'token': {rule!r}}}." if isinstance(rule, str) else "For example 'last'."
        raise InputError.about("positions", rule, known, remedy)
    listed = list(rule)
    if len(listed) != len(entries):
        needed = f"there are {len(listed)} for {len(entries)} prompts"
        raise InputError.about("positions", rule, needed, "A list has one entry, or one list, for each prompt.")
    return lambda number: listed[number]


def _named(rule: str, number: int, entry: Entry) -> Any:
    n = len(entry.tokens.ids)
    if rule != "given":
        return {"last": (entry.tokens.last,), "all": range(n), "not_first": range(1, n)}[rule]
    if entry.position is None:
        remedy = "Give prompts of rw.tasks, or positions as a list."
        raise InputError.about("positions", rule, f"prompts[{number}] names no position of its own", remedy)
    return entry.position


def _token_finder(model: ResidualModel, entries: Sequence[Entry], rule: Mapping[Any, Any]) -> Callable[[int], Any]:
    if "token" not in rule or not set(rule) <= {"token", "which"}:
        remedy = "For example {'token': ' cat', 'which': 'first'}."
        raise InputError.about("positions", rule, "the keys must be 'token' and perhaps 'which'", remedy)
    which = rule.get("which", "all")
    if which not in _WHICH:
        raise InputError.about("which", which, f"must be one of {', '.join(_WHICH)}", "'all' is the default.")
    given = rule["token"]
    several = given if isinstance(given, Iterable) and not isinstance(given, str) and not is_whole(given) else [given]
    ids = {model.token_id(token) for token in several}

    def find(number: int) -> list[int]:
        places = [pos for pos, token in enumerate(entries[number].tokens.ids) if token in ids]
        return {"all": places, "first": places[:1], "last": places[-1:]}[which]

    return find


def _checked(model: ResidualModel, number: int, entry: Entry, found: Any, rule: object) -> tuple[int, ...]:
    n = len(entry.tokens.ids)
    several = [found] if is_whole(found) or not isinstance(found, Iterable) else list(found)

    def refused(rule_broken: str, remedy: str) -> InputError:
        text = "".join(model.token_strings(entry.tokens.ids[:20]))[:40]
        where = f"in prompts[{number}] ({text!r}, positions 0 .. {n - 1})"
        return InputError.about("positions", describe_positions(rule), f"{rule_broken} {where}", remedy)

    if not several:
        raise refused("it finds nothing", "Leave that prompt out, or choose another rule.")
    numbers = [whole(pos) for pos in several]
    bad = [given for given, pos in zip(several, numbers, strict=True) if pos is None or not -n <= pos < n]
    if bad:
        raise refused(f"it gives {bad[0]!r}", "Choose whole numbers in that range.")
    positions = sorted(pos % n for pos in numbers if pos is not None)
    if len(set(positions)) < len(positions):
        raise refused("it gives one position twice", "Name each one once.")
    return tuple(positions)
