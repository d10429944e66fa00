"""What another library raises while it builds or runs a model, told as ours: which model, what was tried, why not."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from resid_widgets.errors import ResidWidgetsError, UnsupportedModelError

TROUBLE = (
    UnsupportedModelError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    ImportError,
)
"""What code of a model raises that does not do what is asked of it."""


@contextmanager
def refused_by_name(name: str, failed: str) -> Iterator[None]:
    """Raise what the code of a model raises inside as an UnsupportedModelError; what our own code raises, as it is.

    Stands closely around a call of the model, so that whatever comes from below is either the model's, or that of an
    action of ours which acts in it.

    Parameters
    ----------
    name
        What the model is called.
    failed
        What then has failed: ``"a pass of 7 tokens fails"``.

    Raises
    ------
    UnsupportedModelError
        With the reason; never for too little memory, and never for an error of ours.
    """
    try:
        yield
    except TROUBLE as error:
        if isinstance(error, ResidWidgetsError) or _lacks_memory(error) or _is_ours(error):
            raise
        raise UnsupportedModelError(f"{name}: {failed} ({in_short(error)}).") from error


def in_short(error: Exception) -> str:
    """Return kind and first line of an error; of one of ours its cause, or its text."""
    if isinstance(error, ResidWidgetsError):
        return in_short(error.__cause__) if isinstance(error.__cause__, Exception) else str(error).rstrip(".")
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__


def _lacks_memory(error: Exception) -> bool:
    """Whether there was too little memory; on the CPU torch says so in a bare RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def _is_ours(error: Exception) -> bool:
    """Whether code of this package raised it, called from the model's or at once."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]  # the outermost first
    own = [str(frame.f_globals.get("__name__")).startswith("resid_widgets.") for frame in frames]
    return all(own) or any(own[own.index(False) :])
