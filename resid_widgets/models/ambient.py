"""The state of torch in which everything of ours is computed, whatever state a notebook has put it in.

Notebooks begin with ``torch.set_grad_enabled(False)``, run in inference mode, under autocast, with another default
device or dtype. None of that may change a number, nor what is found out about a model and remembered. So whatever
computes does it in `plain_state`, and whatever runs a model's own code in `plain_pass`; where a gradient is wanted,
``torch.enable_grad()`` stands inside. Nothing else in the package sets such a state (a test looks).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def plain_state() -> Iterator[None]:
    """Compute without gradients, inference mode or autocast, and make tensors on the CPU where nothing else is said.

    All of that belongs to the calling thread, and is afterwards as it was. Also a decorator: ``@plain_state()``.
    """
    with ExitStack() as stack:
        # A tensor made in inference mode could never have a gradient. Leaving that mode switches gradients on.
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if torch.is_grad_enabled():
            stack.enter_context(torch.no_grad())
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        # Our generators are the CPU's, so that a seed gives the same numbers everywhere.
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def plain_pass() -> Iterator[None]:
    """Run a model's own code: `plain_state`, with float32 as the default dtype.

    The default dtype belongs to the whole process. So our own code names the dtype that it means, and another default
    is put aside only for as long as a pass lasts.
    """
    with plain_state(), _float32:
        yield


@contextmanager
def same_random() -> Iterator[None]:
    """Import what draws from Python's own generator when it is imported: afterwards that is as it was."""
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)


class _Float32:
    """Makes float32 the default dtype while at least one thread is inside."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._inside = 0
        self._before = torch.float32

    def __enter__(self) -> None:
        with self._guard:
            if self._inside == 0:
                self._before = torch.get_default_dtype()
                if self._before != torch.float32:
                    torch.set_default_dtype(torch.float32)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._inside -= 1
            # Who has set another one meanwhile, wants that one.
            if self._inside == 0 and torch.get_default_dtype() == torch.float32 != self._before:
                torch.set_default_dtype(self._before)


_float32 = _Float32()
