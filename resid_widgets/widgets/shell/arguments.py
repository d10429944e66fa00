"""What a widget is made with: its options by name and by place, and clear words for what does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.model import as_model
from resid_widgets.models.runs.run import Run
from resid_widgets.whole import whole
from resid_widgets.widgets.shell.traits import Option


def defaults(widget: type) -> dict[str, Any]:
    """Return the options of a widget class with their default values, in the order in which they are written."""
    found = [(name, value) for each in reversed(widget.__mro__) for name, value in vars(each).items()]
    return {name: trait.default_value for name, trait in found if isinstance(trait, Option)}


def signature(widget: Any) -> Signature:
    """Return the signature that names a widget class' options."""
    options = {name: value for name, value in defaults(widget).items() if name not in widget.TAKES}
    named = {**options, **dict.fromkeys(widget.TAKES)}
    first = [Parameter("source", Parameter.POSITIONAL_ONLY), Parameter("positional", Parameter.VAR_POSITIONAL)]
    return Signature(first + [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in named.items()])


def refuse_unknown(widget: Any, options: Mapping[str, Any]) -> None:
    """Refuse what is no option, with the nearest one that is (plain traitlets would swallow a typing error).

    Raises
    ------
    InputError
        For the first unknown name.
    """
    known = list(defaults(widget))
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *widget.TAKES], n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(f"{widget.__name__} has no option {name!r}. {hint}Its options are {', '.join(known)}.")


def bind(
    widget: Any, source: Any, positional: tuple[Any, ...], options: Mapping[str, Any], prompt: Any
) -> tuple[Any, dict[str, Any]]:
    """Return the prompt, and the options with those given by place.

    After a run the places are ``widget.POSITIONAL``; after a model its prompt comes first; after a result there
    are none.

    Raises
    ------
    InputError
        If there are too many, one is given twice, a model comes without a prompt, a run or result with one, or a
        result with options.
    """
    options, name = dict(options), widget.__name__
    is_result, is_run = isinstance(source, widget.SHOWS), isinstance(source, Run)
    places = widget.POSITIONAL if is_run or is_result else ("prompt", *widget.POSITIONAL)
    if len(positional) > len(places):
        rule = f"{len(places)} may follow the first: {', '.join(places)}"
        raise InputError.about("arguments", positional, rule, "Give the others by name.")
    for place, value in zip(places, positional, strict=False):
        if place in options or (place == "prompt" and prompt is not None):
            raise InputError.about(place, value, "it is given twice, by place and by name", "Give it once.")
        if place == "prompt":
            prompt = value
        else:
            options[place] = value
    if is_result and options:
        option, value = next(iter(options.items()))
        remedy = f"Make another picture from the run: rw.{name}(run, {option}=...)."
        raise InputError.about(option, value, "a result has its options already", remedy)
    if is_run or is_result:
        if prompt is not None:
            raise InputError.about("prompt", prompt, "the run has its own", "Pass the model in place of the run.")
    elif prompt is None:
        as_model(source)  # says what is wrong with something that is no model at all
        raise InputError.about("prompt", None, "a model needs a text to run on", f"rw.{name}(model, 'Some text').")
    return prompt, settled(options)


def settled(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with whole numbers of NumPy and PyTorch as Python's, which every host can carry."""
    return {name: value if (number := whole(value)) is None else number for name, value in options.items()}
