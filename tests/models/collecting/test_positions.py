"""Each rule finds the positions that it says, counted by hand; one that finds none names the prompt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.errors import InputError
from resid_widgets.models.collecting.positions import describe_positions, positions_of
from resid_widgets.models.prompt_list import read_prompts

# As tokens: <bos> The doctor helped the ..., one word each.
TEXTS = ["When Mary and John went to the store, John gave a drink to", "The nurse said that she", "The cat"]


def found(model: Any, rule: Any, prompts: Any = TEXTS, bos: bool | None = None) -> list[tuple[int, ...]]:
    return positions_of(model, read_prompts(model, prompts, bos), rule)


def lengths(model: Any) -> list[int]:
    return [len(rw.run(model, text).token_ids) for text in TEXTS]


def test_named_rules(tiny: Any) -> None:
    n = lengths(tiny)
    assert found(tiny, "last") == [(k - 1,) for k in n]
    assert found(tiny, "all") == [tuple(range(k)) for k in n]
    assert found(tiny, "not_first") == [tuple(range(1, k)) for k in n]


def test_whole_numbers_count_from_either_end(tiny: Any) -> None:
    assert found(tiny, 1) == [(1,)] * 3
    assert found(tiny, np.int64(-2)) == [(k - 2,) for k in lengths(tiny)]


def test_a_list_has_one_entry_a_prompt(tiny: Any) -> None:
    assert found(tiny, [0, -1, 1]) == [(0,), (lengths(tiny)[1] - 1,), (1,)]
    assert found(tiny, [[2, 0], (1,), np.array([0, 1])]) == [(0, 2), (1,), (0, 1)]


def test_a_token_is_found_wherever_it_stands(tiny: Any) -> None:
    text = TEXTS[:1]
    tokens = rw.run(tiny, text[0]).tokens
    places = tuple(pos for pos, token in enumerate(tokens) if token == " John")
    assert len(places) == 2
    assert found(tiny, {"token": " John"}, text) == [places]
    assert found(tiny, {"token": " John", "which": "first"}, text) == [places[:1]]
    assert found(tiny, {"token": tiny.token_id(" John"), "which": "last"}, text) == [places[1:]]
    mary = tokens.index(" Mary")
    assert found(tiny, {"token": [" John", " Mary"]}, text) == [(mary, *places)]


def test_a_function_sees_the_token_strings(tiny: Any) -> None:
    seen: list[list[str]] = []

    def rule(tokens: list[str]) -> int:
        seen.append(tokens)
        return len(tokens) // 2

    assert found(tiny, rule) == [(k // 2,) for k in lengths(tiny)]
    assert seen == [rw.run(tiny, text).tokens for text in TEXTS]


def test_given_is_the_prompt_s_own_and_follows_bos(tiny: Any) -> None:
    task = rw.tasks.load("ioi", tiny, 5)
    assert found(tiny, "given", task) == [(prompt.position,) for prompt in task.prompts]
    assert found(tiny, "given", task, bos=False) == [(prompt.position - 1,) for prompt in task.prompts]
    read = read_prompts(tiny, task, False)
    assert [entry.position for entry in read] == [len(entry.tokens.ids) - 1 for entry in read]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"token": 3.5}, "3.5"),
        ({"token": " John"}, r"it finds nothing in prompts\[1\] \('<bos>The nurse said"),
        (7, r"it gives 7 in prompts\[1\]"),
        (-40, r"it gives -40 in prompts\[0\]"),
        (lambda tokens: [], r"positions='function <lambda>': it finds nothing in prompts\[0\]"),
        (lambda tokens: None, r"it gives None in prompts\[0\]"),
        (lambda tokens: "no", r"it gives 'n' in prompts\[0\]"),
        ([[0, -3], 0, [0, -3]], r"it gives one position twice in prompts\[2\]"),
        ([0, 0], "there are 2 for 3 prompts"),
        ([0, 0, 1.5], r"it gives 1.5 in prompts\[2\]"),
        ([0, 0, True], r"it gives True in prompts\[2\]"),
        ("given", r"prompts\[0\] names no position of its own.*rw.tasks"),
        (" cat", r"must be one of last, all.*write \{'token': ' cat'\}"),
        (1.5, "must be one of last"),
        (True, "must be one of last"),
        (None, "must be one of last"),
        ({"tokens": " cat"}, "keys must be 'token'"),
        ({"token": " cat", "which": "second"}, "which='second': must be one of all, first, last"),
        ({"token": " cat and"}, "one is needed"),
    ],
)
def test_what_a_rule_cannot_be(tiny: Any, rule: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        found(tiny, rule)


def test_not_first_needs_a_second_token(tiny: Any) -> None:
    with pytest.raises(InputError, match=r"finds nothing in prompts\[1\].*Leave that prompt out"):
        found(tiny, "not_first", ["The cat", [5]])


def test_a_rule_is_described_in_few_words() -> None:
    assert describe_positions("last") == "last"
    assert describe_positions(-1) == "-1"
    assert describe_positions([1, 2]) == "listed"
    assert describe_positions({"token": " cat"}) == "{'token': ' cat'}"
    assert describe_positions(len) == "function len"


class Labelled:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("The cat", "Give a list, also of one prompt"),
        (5, "several prompts are needed"),
        ([], "there are none"),
        ([5, 6, 7], r"prompts\[0\]=5: each prompt must be a string, token ids"),
        (["The cat", None], r"prompts\[1\]=None"),
        (["The cat", ""], r"prompts\[1\]: prompt='': it is empty"),
        ([[5, 100_000]], r"prompts\[0\]: token id=100000"),
        ([[5] * 1000], r"prompts\[0\]: .*context holds"),
        ([Labelled(text="The cat", label=object())], r"prompts\[0\].label=.*must be a string, a number or None"),
    ],
)
def test_prompts_that_cannot_be_read(tiny: Any, prompts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_prompts(tiny, prompts, None)


def test_prompts_of_every_kind(tiny: Any) -> None:
    import torch

    task = rw.tasks.load("ioi", tiny, 2)
    own = Labelled(text=[5, 6, 7], label=np.int64(3), position=1)
    read = read_prompts(tiny, ["The cat", [5, 6], torch.tensor([5, 6]), np.array([[5, 6]]), *task.prompts, own], None)
    assert read[0].tokens.ids == rw.run(tiny, "The cat").token_ids
    assert [entry.tokens.ids for entry in read[1:4]] == [(5, 6)] * 3
    assert [(entry.label, entry.group) for entry in read[4:6]] == [(p.label, p.group) for p in task.prompts]
    assert (read[6].label, read[6].group, read[6].position) == (3, None, 1)
    assert type(read[6].label) is int
