"""Prompts of any kind are read as what they are, or refused by name."""

from __future__ import annotations

from collections import UserDict, namedtuple
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from transformers import BatchEncoding

from resid_widgets.errors import InputError
from resid_widgets.prompts import Given, one_prompt, read

TEXTS = ["The cat", "A dog sat"]
IDS = [(5, 6, 7), (8, 9)]
RIGHT = {"input_ids": [[5, 6, 7], [8, 9, 0]], "attention_mask": [[1, 1, 1], [1, 1, 0]]}
LEFT = {"input_ids": [[5, 6, 7], [0, 8, 9]], "attention_mask": [[1, 1, 1], [0, 1, 1]]}
Row = namedtuple("Row", "text label")  # noqa: PYI024


class Frame:
    """What polars' tables look like from outside: columns, which iterating gives."""

    def __init__(self, **columns: Any) -> None:
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]

    def __iter__(self) -> Any:
        return iter(self._columns.values())


def contents(value: object) -> list[Any]:
    return [given.content for given in read("prompts", value).prompts]


SEVERAL_TEXTS = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "generator": (text for text in TEXTS),
    "array": np.array(TEXTS),
    "objects": np.array(TEXTS, dtype=object),
    "numpy strings": [np.str_(text) for text in TEXTS],
    "arrays without dimensions": [np.array(text) for text in TEXTS],
    "series": pd.Series(TEXTS),
    "series with an index": pd.Series(TEXTS, index=["a", "b"]),
    "index": pd.Index(TEXTS),
    "data array": xr.DataArray(TEXTS, dims="prompt"),
    "table": pd.DataFrame({"label": [0, 1], "text": TEXTS}),
    "table of prompts": pd.DataFrame({"prompt": TEXTS, "prompt_len": [2, 3]}),
    "dict": {"text": TEXTS},
    "user dict": UserDict(text=np.array(TEXTS)),
    "rows": [{"text": text, "label": n} for n, text in enumerate(TEXTS)],
    "series rows": [row for _, row in pd.DataFrame({"text": TEXTS, "label": [0, 1]}).iterrows()],
    "named tuples": [Row(text, 1) for text in TEXTS],
    "tuples of a table": list(pd.DataFrame({"text": TEXTS}).itertuples()),
    "records": np.rec.array([(text, 1) for text in TEXTS], dtype=[("text", "U20"), ("label", int)]),
    "frame": Frame(label=[0, 1], text=TEXTS),
    "data set": xr.Dataset({"text": ("row", TEXTS)}),
}


@pytest.mark.parametrize("value", SEVERAL_TEXTS.values(), ids=SEVERAL_TEXTS)
def test_several_texts(value: Any) -> None:
    found = read("prompts", value)
    assert [given.content for given in found.prompts] == TEXTS and found.several
    assert all(type(given.content) is str for given in found.prompts)


SEVERAL_IDS = {
    "lists": [list(ids) for ids in IDS],
    "tensors": [torch.tensor(ids) for ids in IDS],
    "rows": [np.array([ids]) for ids in IDS],
    "series": pd.Series([list(ids) for ids in IDS]),
    "encoding": BatchEncoding({"input_ids": [list(ids) for ids in IDS]}),
    "right padding": RIGHT,
    "left padding": BatchEncoding(LEFT),
    "tensors with a mask": {name: torch.tensor(rows) for name, rows in LEFT.items()},
    "truths as mask": {"input_ids": RIGHT["input_ids"], "attention_mask": np.array(RIGHT["attention_mask"]) > 0},
    "numbers as mask": {name: np.array(rows) * (1 if name == "input_ids" else 1.0) for name, rows in RIGHT.items()},
    "table with a mask": pd.DataFrame(RIGHT),
    "encodings": [BatchEncoding({"input_ids": list(ids)}) for ids in IDS],
    "encodings of one row": [BatchEncoding({"input_ids": torch.tensor([ids])}) for ids in IDS],
    "masked rows": [{name: rows[n] for name, rows in LEFT.items()} for n in range(2)],
    "objects": [
        SimpleNamespace(input_ids=rows, attention_mask=mask) for rows, mask in zip(*LEFT.values(), strict=True)
    ],
    "runs": [SimpleNamespace(token_ids=ids) for ids in IDS],
}


@pytest.mark.parametrize("value", SEVERAL_IDS.values(), ids=SEVERAL_IDS)
def test_several_ids(value: Any) -> None:
    assert contents(value) == IDS


def test_a_tokenizers_output(tiny: Any) -> None:
    pytest.importorskip("tokenizers")
    both = tiny.tokenizer(["The cat", "The dog"])
    assert contents(both) == [tuple(ids) for ids in both["input_ids"]]
    assert contents(both[0]) == [tuple(both["input_ids"][0])]  # an Encoding


def test_a_data_set(tmp_path: Any) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1]})
    assert contents(made) == contents(made["text"]) == contents(list(made)) == TEXTS
    assert contents(made.to_iterable_dataset()) == TEXTS
    assert contents(made.data.table) == contents(made.data.table["text"]) == TEXTS  # of pyarrow
    assert contents(made[0]) == TEXTS[:1] and contents(made[:2]) == TEXTS
    padded = datasets.Dataset.from_dict(LEFT)
    assert contents(padded) == contents(padded.with_format("torch")) == contents(padded.with_format("numpy")) == IDS
    with pytest.raises(InputError, match=r"it has 'train', and no 'input_ids', 'text' or 'prompt'"):
        read("prompts", datasets.DatasetDict(train=made))


def test_what_a_row_says_of_itself_comes_along() -> None:
    table = pd.DataFrame({"text": TEXTS, "label": ["a", "b"], "group": [1, 2], "position": [0, 1]})
    wanted = [Given("The cat", None, "a", 1, 0), Given("A dog sat", None, "b", 2, 1)]
    for value in (table, table.to_dict("list"), table.to_dict("records"), [row for _, row in table.iterrows()]):
        assert read("prompts", value).prompts == wanted
    with pytest.raises(InputError, match="there are 2 prompts"):
        read("prompts", {"text": TEXTS, "label": [1]})


def test_positions_count_from_the_first_real_token() -> None:
    given = one_prompt("prompt", {"input_ids": [0, 0, 5, 6], "attention_mask": [0, 0, 1, 1], "position": 3})
    assert (given.content, given.masked, given.place) == ((5, 6), (2, 0), 1)
    with pytest.raises(InputError, match=r"position=3\.0: a prompt's position must be a whole number"):
        _ = Given("x", position=3.0).place


@pytest.mark.parametrize(
    "value",
    [
        [5, 6],
        (np.int64(5), 6),
        range(5, 7),
        np.array([[5, 6]]),
        torch.tensor([5, 6], dtype=torch.int32),
        [[5, 6]],
        pd.Series([5, 6]),
        {"input_ids": [5, 6]},
        {"input_ids": torch.tensor([[5, 6, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])},
        {"input_ids": torch.tensor([[5, 6]]), "attention_mask": [1, 1]},
        pd.Series({"input_ids": [5, 6], "label": 1}),
        pd.DataFrame({"input_ids": [[5, 6]]}),
        SimpleNamespace(text=[5, 6]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_prompt(value: Any) -> None:
    assert one_prompt("prompt", value).content == (5, 6)


REFUSED = {
    "a table without texts": (pd.DataFrame({"sentence": TEXTS}), r"it has 'sentence', and no 'input_ids', 'text' or"),
    "two columns of texts": (
        pd.DataFrame({"text": TEXTS, "prompt": TEXTS}),
        r"Name the one that is meant: x\['text'\]",
    ),
    "a dict of something": ({"a": 1}, "it has 'a', and no"),
    "an empty dict": ({}, "it has nothing"),
    "a chat": ([{"role": "user", "content": "Hi"}], r"x\[0\]='dict': it has 'role', 'content'.*apply_chat_template"),
    "texts as ids": ({"input_ids": TEXTS}, "whole-number token ids are needed"),
    "a hole": ({"input_ids": [5, 6, 7], "attention_mask": [1, 0, 1]}, "it leaves out position 1, between"),
    "nothing kept": ({"input_ids": [5, 6], "attention_mask": [0, 0]}, "it leaves out every token"),
    "a short mask": ({"input_ids": [5, 6], "attention_mask": [1]}, "it has 1 entries for 2 ids"),
    "an additive mask": ({"input_ids": [5, 6], "attention_mask": [0.0, -1e9]}, "its entries must be 0 or 1"),
    "one mask for two": ({"input_ids": [[5], [6]], "attention_mask": [[1]]}, "there are 1 masks for 2 prompts"),
    "a batch in a list": ([RIGHT, LEFT], r"x\[0\]=.*this holds 2 prompts"),
    "truths": ([True, False], r"x\[0\]=True"),
    "floats": (np.ones(3), "whole-number token ids"),
    "dates": (pd.Series(pd.to_datetime(["2020-01-01"])), "whole-number token ids"),
    "a missing text": (pd.Series(["a", None]), r"x\[1\]=(nan|None)"),
    "bytes": (bytearray(b"abc"), "whole-number token ids"),
    "a set of ids": ({5, 6}, r"x\[0\]="),
    "an object": (object(), "whole-number token ids"),
    "three dimensions": (np.ones((2, 2, 2), dtype=int), r"ids must be \[pos\] or \[1, pos\]"),
}


@pytest.mark.parametrize(("value", "says"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read("x", value)


def test_a_table_that_is_not_there_yet() -> None:
    class Lazy:
        columns = ("text",)

        def __getitem__(self, name: str) -> Any:
            raise TypeError("collect it first")

    with pytest.raises(InputError, match=r"its column 'text' cannot be read \(TypeError\)"):
        read("prompts", Lazy())


def test_several_where_one_is_needed() -> None:
    for value in (TEXTS, RIGHT, pd.DataFrame({"text": TEXTS})):
        with pytest.raises(InputError, match=r"are 2 prompts.*Give one prompt at a time"):
            one_prompt("prompt", value)
