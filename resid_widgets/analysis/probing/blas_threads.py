"""Many small fits at once: each BLAS call on one thread, for its own threads would only wait for one another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_taken = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Let numpy's and scipy's products run on the calling thread alone, in the whole process.

    Gives False, and limits nothing, where another thread has this limit already: threadpoolctl's limits of several
    threads do not nest, and one of them might stay.
    """
    from threadpoolctl import threadpool_limits

    if not _taken.acquire(blocking=False):
        yield False
        return
    try:
        with threadpool_limits(1, user_api="blas"):
            yield True
    finally:
        _taken.release()
