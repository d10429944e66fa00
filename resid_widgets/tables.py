"""The columns of a row or a table, of any library: which there are, and which of them may hold prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resid_widgets.errors import InputError

IDS, TEXTS = "input_ids", ("text", "prompt")
"""What a column of token ids, and one of texts, may be called."""


def columns_of(value: Any) -> list[Any] | None:
    """Return the names of a mapping's or table's columns, or None for what has none."""
    names = getattr(getattr(value, "dtype", None), "names", None)  # NumPy's tables
    if names is None and hasattr(value, "__getitem__"):
        if callable(getattr(value, "keys", None)):
            names = value.keys()
        else:
            stated = (getattr(value, attribute, None) for attribute in ("column_names", "columns"))
            names = next((columns for columns in stated if columns is not None), None)
    if names is None or callable(names):
        return None
    names = list(names)
    # A Series is a row where its index names a prompt, else a list.
    return None if getattr(value, "ndim", 2) == 1 and not named(names) and not _is_record(value) else names


def _is_record(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "names", None) is not None


def named(columns: Sequence[Any]) -> list[str]:
    """Return those of the columns that may hold prompts."""
    return [name for name in (IDS, *TEXTS) if name in columns]


def column_of(name: str, value: Any, field: str) -> Any:
    """Return one column of a table, or one entry of a row.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        column = value[field]
    except Exception as error:  # a table that is not there yet (lazy frames), or raises as it likes
        rule = f"its column {field!r} cannot be read ({type(error).__name__})"
        raise InputError.about(name, kind(value), rule, "Make a list of it first.") from error
    return column.to_pylist() if hasattr(column, "to_pylist") else column


def unknown_columns(name: str, value: Any, columns: Sequence[Any]) -> InputError:
    """Return the error that names the columns that there are."""
    some = [*(repr(str(column)) for column in columns[:8]), *(["..."] if len(columns) > 8 else [])]
    rule = f"it has {', '.join(some) or 'nothing'}, and no {IDS!r}, {TEXTS[0]!r} or {TEXTS[1]!r} to take prompts from"
    remedy = f"Name what is meant: {name}['...']."
    if {"role", "content"} <= set(map(str, columns)) or "messages" in columns:
        remedy = "Make a prompt of a chat first: tokenizer.apply_chat_template(chat, add_generation_prompt=True)."
    return InputError.about(name, kind(value), rule, remedy)


def kind(value: object) -> str:
    """Return what an error calls a table, whose contents would be too long."""
    return type(value).__name__
