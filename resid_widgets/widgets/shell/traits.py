"""Traits that a person sets: each assignment is checked, computed and shown as one change, or refused as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from resid_widgets.errors import InputError
from resid_widgets.whole import whole


class Waiting(traitlets.TraitType):
    """A trait whose value is that in the picture: reading it waits for a first picture that is on its way."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        """Return the value."""
        obj._before_read()
        return super().get(obj, cls)


class Shown(Waiting, traitlets.Any):
    """A part of what is shown, which only Python writes."""

    def __init__(self, default: Any) -> None:
        super().__init__(default, allow_none=default is None, read_only=True)


class Option(Waiting):
    """What a picture is computed from. Assigning computes at once, in the calling thread; a bad value is refused."""

    default_value = None
    allow_none = True

    def set(self, obj: Any, value: Any) -> None:
        """Hand the wish to the widget, which writes this trait when the new picture is there."""
        obj.change(**{str(self.name): value})


class Selected(Waiting):
    """A row or column of the picture, or None. Negative numbers count from the end."""

    default_value = None
    allow_none = True

    def set(self, obj: Any, value: Any) -> None:
        """Hand the wish to the widget, which writes this trait together with the cell's details."""
        obj.select(**{str(self.name): value})


def write(obj: traitlets.HasTraits, name: str, value: Any) -> None:
    """Set a trait of any kind to a value that is known to be right, read-only ones too."""
    traitlets.TraitType.set(getattr(type(obj), name), obj, value)


class Address(Waiting, traitlets.Dict):
    """What is selected, as ``{"layer": 2, "pos": 5}``; nothing is ``{}`` or None. Assigning replaces it as a whole."""

    def set(self, obj: Any, value: Any) -> None:
        """Hand the wish to the widget, which writes this trait together with the details."""
        obj.select_at(value)


def place(name: str, value: Any, count: int) -> int | None:
    """Return a layer or position counted from 0, or None.

    Raises
    ------
    InputError
        If it is no whole number or out of range.
    """
    if value is None:
        return None
    number = whole(value)
    if number is None or not -count <= number < count:
        rule = f"a whole number from 0 to {count - 1} is needed"
        raise InputError.about(name, value, rule, "Negative numbers count from the end; None selects nothing.")
    return number % count


def placed(name: str, value: Any, labels: Sequence[int | str]) -> Any:
    """Return the one of an axis' `labels` that is meant, or None: by its name, or by its number.

    Raises
    ------
    InputError
        If there is none.
    """
    if value is None:
        return None
    if list(labels) == list(range(len(labels))):
        return place(name, value, len(labels))
    number = whole(value)
    value = value if number is None else number
    if number is not None and -len(labels) <= number < 0:
        return labels[number]
    if isinstance(value, bool) or not isinstance(value, int | str) or value not in labels:
        some = [*map(str, labels[:12]), *(["..."] if len(labels) > 12 else [])]
        raise InputError.about(name, value, f"there is {', '.join(some)}", "Choose one of them; None selects nothing.")
    return value


def same(a: Any, b: Any) -> bool:
    """Tell whether two values of an option are the same; arrays only if they are one object."""
    plain = str | int | float | bool | tuple | type(None)
    return a is b or (isinstance(a, plain) and type(a) is type(b) and a == b)
