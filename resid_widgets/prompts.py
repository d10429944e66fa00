"""Prompts as a notebook holds them: texts, token ids, a tokenizer's output, rows and tables. The one reader of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from resid_widgets.attention_masks import kept_range, rows_of
from resid_widgets.errors import InputError
from resid_widgets.tables import IDS, column_of, columns_of, kind, named, unknown_columns
from resid_widgets.whole import whole

_RULE = "a string or whole-number token ids are needed"
_SHAPE = "ids must be [pos] or [1, pos]"


@dataclass(frozen=True)
class Given:
    """One prompt as it was given.

    Attributes
    ----------
    content
        Its text, or its token ids: the real ones, where an attention mask says which they are.
    masked
        How many padded positions that mask has left out, before and after; None where there was no mask.
    label, group, position
        What a labelled prompt or a row says of itself.
    """

    content: str | tuple[int, ...]
    masked: tuple[int, int] | None = None
    label: Any = None
    group: Any = None
    position: Any = None

    @property
    def place(self) -> int | None:
        """The position that it names, counted without the padding that was left out.

        Raises
        ------
        InputError
            If it is no whole number.
        """
        place = whole(self.position)
        if self.position is not None and place is None:
            rule = "a prompt's position must be a whole number"
            raise InputError.about("position", self.position, rule, "Leave it out, or convert it.")
        return place if place is None or place < 0 or self.masked is None else place - self.masked[0]


@dataclass(frozen=True)
class Found:
    """What was read: one prompt, or several.

    Attributes
    ----------
    prompts
        One or more.
    several
        Whether they came as several, be it as a list of one.
    row
        Whether one came as ``[1, pos]``, which counts as one and as several.
    deep
        Whether they lay in more than one list.
    """

    prompts: list[Given]
    several: bool = False
    row: bool = False
    deep: bool = False


def one_prompt(name: str, value: object) -> Given:
    """Read one prompt: whatever `read` takes, if there is one in it.

    Raises
    ------
    InputError
        If there are several, or it cannot be read.
    """
    if value is None or (not isinstance(value, str) and _number(value)):
        rule = f"{_RULE}; {_SHAPE}" if value is not None else _RULE
        raise InputError.about(name, value, rule, "For one prompt of ids give [ids].")
    found = read(name, value)
    if len(found.prompts) > 1:
        lengths = {len(given.content) for given in found.prompts}
        texts = any(isinstance(given.content, str) for given in found.prompts)
        why = f"{_RULE}, and these" if texts else _SHAPE if len(lengths) == 1 else "rows differ in length: these"
        rule = f"{why} are {len(found.prompts)} prompts" if why != _SHAPE else f"{_SHAPE}"
        raise InputError.about(name, value, rule, "Give one prompt at a time; rw.collect takes several.")
    if found.deep:
        raise InputError.about(name, value, _SHAPE, "Give one prompt at a time.")
    return found.prompts[0]


def read(name: str, value: Any) -> Found:
    """Read one prompt or several.

    Parameters
    ----------
    name
        What to call it in an error.
    value
        A string; token ids, ``[pos]`` or ``[1, pos]``, of any array library; a tokenizer's output, whose attention mask
        is respected; a `Run`; a labelled prompt (anything with a ``text``); a row (a dict, a Series, a named tuple) or
        a table (a DataFrame, a dict of lists, a data set) with a column ``input_ids``, ``text`` or ``prompt``; or a
        list of these.

    Raises
    ------
    InputError
        If it is none of these. A mapping or table without such a column is named with the columns that it has.
    """
    if isinstance(value, Given):
        return Found([value])
    text = _text(value)
    if text is not None:
        return Found([Given(text)])
    if value is None or isinstance(value, bytes | bytearray | memoryview):
        raise InputError.about(name, value, _RULE, "Check its type.")
    columns = columns_of(value)
    if columns is not None:
        return _labelled(name, value, columns)
    if isinstance(getattr(value, "prompts", None), list):  # a task stands for its prompts
        return read(name, value.prompts)
    ids = getattr(value, "token_ids", None)
    if ids is not None and not callable(ids):  # a Run stands for its prompt
        return read(name, tuple(ids))
    for field in (IDS, "text"):  # an object with fields: a labelled prompt, a named tuple
        if not callable(getattr(value, field, callable)):
            return _labelled(name, value, None)
    if hasattr(value, "ids") and hasattr(value, "attention_mask"):  # an Encoding of the tokenizers library
        return _unpadded(name, value.ids, value.attention_mask)
    return _array(name, value)


def _text(value: Any) -> str | None:
    """Return a text as Python's own: also one of NumPy's, and one in an array without dimensions."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    elif hasattr(value, "as_py"):  # pyarrow
        value = value.as_py()
    return str(value) if isinstance(value, str) else None


def _number(value: Any) -> bool:
    return whole(value) is not None or isinstance(value, bool | float | complex)


# --- rows and tables ------------------------------------------------------------------------------------------------


def _labelled(name: str, value: Any, columns: list[Any] | None) -> Found:
    """Read a row or a table, or (without columns) an object with fields."""
    if columns is None:
        get: Callable[[str], Any] = lambda field: getattr(value, field, None)  # noqa: E731
        known = [field for field in (IDS, "text") if get(field) is not None]
    else:
        get = lambda field: column_of(name, value, field) if field in columns else None  # noqa: E731
        known = named(columns)
    texts = [field for field in known if field != IDS]
    if not known:
        raise unknown_columns(name, value, columns or [])
    if IDS in known:
        found = _unpadded(name, get(IDS), get("attention_mask"))
    elif len(texts) > 1:
        rule = f"it has two columns of prompts, {texts[0]!r} and {texts[1]!r}"
        raise InputError.about(name, kind(value), rule, f"Name the one that is meant: {name}[{texts[0]!r}].")
    else:
        found = read(name, get(texts[0]))
    told = {field: get(field) for field in ("label", "group", "position")}
    return replace(found, prompts=_with(name, found, told))


def _with(name: str, found: Found, told: Mapping[str, Any]) -> list[Given]:
    """Return the prompts with what their rows say of them."""
    prompts = found.prompts
    for field, values in told.items():
        if values is None:
            continue
        each = [values]
        if found.several or (found.row and np.iterable(values) and not isinstance(values, str)):
            each = list(values) if np.iterable(values) and not isinstance(values, str) else []
        if len(each) != len(prompts):
            rule = f"there are {len(prompts)} prompts"
            raise InputError.about(f"{name}.{field}", values, rule, "Give one for each prompt.")
        prompts = [replace(given, **{field: one}) for given, one in zip(prompts, each, strict=True)]
    return prompts


# --- arrays and lists -----------------------------------------------------------------------------------------------


def _array(name: str, value: Any) -> Found:
    """Read ids or a list of prompts; of arrays, those of any library."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        elif hasattr(value, "__array__"):
            value = np.asarray(value)
    except (TypeError, RuntimeError) as error:  # bfloat16, quantised or sparse tensors
        raise InputError.about(name, value, "it is no array of whole numbers", "Give token ids, [pos].") from error
    if not isinstance(value, np.ndarray):
        return _list(name, value)
    if value.dtype.kind in "iu" and value.size and value.ndim in (1, 2):
        rows = [Given(tuple(row)) for row in np.atleast_2d(value).tolist()]
        one = len(rows) == 1
        return Found(rows, several=not one, row=one and value.ndim == 2)
    if value.size == 0:
        raise _empty(name, value.tolist())
    if value.dtype.kind in "iu" and value.ndim:
        raise InputError.about(name, f"ids of shape {list(value.shape)}", _SHAPE, "Give one prompt at a time.")
    if value.dtype.kind not in "OUT" or value.ndim == 0:
        raise InputError.about(name, value, _RULE, "Check its type.")
    return _list(name, value.tolist())


def _list(name: str, value: Any) -> Found:
    if not isinstance(value, Iterable):
        raise InputError.about(name, value, _RULE, "Check its type.")
    items = list(value)
    if not items:
        raise _empty(name, items)
    numbers = [whole(item) for item in items]
    if None not in numbers and not isinstance(value, AbstractSet):  # which has no order
        return Found([Given(tuple(n for n in numbers if n is not None))])
    prompts, deep = [], False
    for number, item in enumerate(items):
        which = f"{name}[{number}]"
        if _number(item) or item is None:
            rule = f"each prompt must be a string, token ids, or have a .text: {_RULE}"
            raise InputError.about(which, item, rule, "For one prompt of ids give [ids].")
        try:
            found = read(which, item)
        except RecursionError:
            raise InputError.about(which, kind(item), _RULE, "Check its type.") from None
        if len(found.prompts) > 1 or found.deep:
            rule = f"{_SHAPE}, and this holds {len(found.prompts)} prompts" if len(found.prompts) > 1 else _SHAPE
            raise InputError.about(which, item, rule, "Give one list of prompts.")
        deep = deep or found.several or found.row
        prompts += found.prompts
    return Found(prompts, several=True, deep=deep)


def _empty(name: str, value: object) -> InputError:
    return InputError.about(name, value, "it is empty: there are none", "Give at least one token id or prompt.")


# --- attention masks ------------------------------------------------------------------------------------------------


def _unpadded(name: str, ids: Any, mask: Any) -> Found:
    """Read token ids, without the positions that an attention mask leaves out."""
    found = read(name, ids)
    if any(isinstance(given.content, str) for given in found.prompts):
        raise InputError.about(f"{name}[{IDS!r}]", ids, _RULE.partition(" or ")[2], "Give texts as 'text'.")
    if mask is None:
        return found
    rows = rows_of(f"{name}['attention_mask']", mask)
    if not found.several and not (rows and np.iterable(rows[0])):
        rows = [rows]
    if len(rows) != len(found.prompts):
        rule = f"there are {len(rows)} masks for {len(found.prompts)} prompts"
        raise InputError.about(f"{name}['attention_mask']", mask, rule, "Give one for each.")
    return replace(found, prompts=[_cut(name, *both) for both in zip(found.prompts, rows, strict=True)])


def _cut(name: str, given: Given, mask: Any) -> Given:
    low, high = kept_range(f"{name}['attention_mask']", mask, len(given.content))
    return replace(given, content=given.content[low:high], masked=(low, len(given.content) - high))
