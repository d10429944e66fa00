"""One lock and one worker thread for each model: widget callbacks only enqueue, and the latest request wins."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from _thread import RLock
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resid_widgets.models.ambient import plain_state
from resid_widgets.models.watch import EndedError

IDLE_SECONDS = 5.0  # the thread ends when nothing was asked for this long; the next request starts another
YIELD_SECONDS = 0.001  # an RLock is not fair: without a pause the worker would take it again before anybody else

log = logging.getLogger(__name__)

Key = tuple[object, str]
"""Who asks, and for what: of requests with the same key only the latest counts."""

_registry = threading.Lock()
_here = threading.local()
_workers: weakref.WeakKeyDictionary[object, Worker] = weakref.WeakKeyDictionary()


def worker_of(owner: object, lock: RLock) -> Worker:
    """Return the one worker of a bridge, made with the bridge's lock at first, and forgotten with the bridge.

    Parameters
    ----------
    owner
        The bridge; a widget, where it has no model behind it.
    lock
        What guards the owner's forward passes.
    """
    with _registry:
        if owner not in _workers:
            _workers[owner] = Worker(lock)
        return _workers[owner]


def current_worker() -> Worker | None:
    """Return the worker whose thread this is, or None."""
    return getattr(_here, "worker", None)


def owned(lock: RLock) -> bool:
    """Tell whether the calling thread holds the lock."""
    return lock._is_owned()  # pyright: ignore[reportAttributeAccessIssue]  # what threading.Condition itself asks


@dataclass(eq=False)
class Job:
    """One request. Its `work` looks at `cancelled` between passes, and calls `claim` before it changes anything."""

    key: Key
    work: Callable[[Job], None]
    failed: Callable[[BaseException], Any]
    dropped: Callable[[], Any]
    idle: bool = False
    cancelled: bool = False
    claimed: bool = False
    handed_over: bool = False

    def claim(self) -> bool:
        """Return whether the outcome is still wanted; from then on the job can no longer be superseded."""
        if not self.cancelled:
            self.claimed = True
        return self.claimed


class Worker:
    """Runs jobs one after the other on a daemon thread that lives while there is something to do.

    The worker takes no lock around a job: the model's own methods take it for each pass. Only the outcome is
    guarded, by `Job.claim`. So a cell and a widget share the model pass by pass.
    """

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._changed = threading.Condition()  # re-entrant: a widget may be collected, and cancel, at any allocation
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._thread: threading.Thread | None = None

    def submit(
        self,
        key: Key,
        work: Callable[[Job], None],
        *,
        failed: Callable[[BaseException], Any],
        dropped: Callable[[], Any],
        idle: bool = False,
    ) -> None:
        """Ask for `work`; an earlier request with the same key that is not finished is dropped.

        Parameters
        ----------
        key
            What the request is about.
        work
            Called with its `Job` on the worker's thread, in `resid_widgets.models.ambient.plain_state`.
        failed
            Told of whatever `work` raised.
        dropped
            Told when the request was superseded or cancelled, or ended by who watches it. Of `failed`, `dropped` and a
            finished `work`, exactly one happens.
        idle
            To be done while there is nothing else to do: any other request ends it, and it is dropped.
        """
        with self._changed:
            late = self._cancel(lambda job: job.key == key or (job.idle and not idle))
            self._queue.append(Job(key, work, failed, dropped, idle))
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="resid-widgets worker", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        _tell(late)

    def cancel(self, match: Callable[[Key], bool]) -> None:
        """Drop the requests whose key matches. Only signals: nothing is waited for."""
        with self._changed:
            late = self._cancel(lambda job: match(job.key))
            self._changed.notify_all()
        _tell(late)

    def wait(self, match: Callable[[Key], bool], timeout: Any = None) -> bool:
        """Return when no request with a matching key is left; False when `timeout` seconds were not enough.

        The holder of the model's lock cannot wait for a worker that needs the lock: it runs the requests itself.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        mine = owned(self._lock)
        while True:
            with self._changed:
                running = self._running if self._thread is not threading.current_thread() else None
                if running is not None and not match(running.key):
                    running = None
                pending = next((job for job in self._queue if match(job.key)), None)
                if mine and running is not None and not running.claimed and not running.cancelled:
                    running.cancelled = running.handed_over = True
                    job = Job(running.key, running.work, running.failed, running.dropped)
                elif pending is not None and (mine or self._thread is threading.current_thread()):
                    self._queue.remove(pending)
                    job = pending
                elif pending is None and (running is None or mine):
                    return True
                else:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._changed.wait(left)
                    continue
            self._run(job)

    def _cancel(self, match: Callable[[Job], bool]) -> list[Job]:
        """Take the matching jobs out of the queue and flag the one that runs; the first kind is returned."""
        late = [job for job in self._queue if match(job)]
        for job in late:
            job.cancelled = True
            self._queue.remove(job)
        if self._running is not None and not self._running.claimed and match(self._running):
            self._running.cancelled = True
        return late

    def _loop(self) -> None:
        _here.worker = self
        while True:
            with self._changed:
                while not self._queue:
                    if not self._changed.wait(IDLE_SECONDS) and not self._queue:
                        self._thread = None
                        return
                self._running = job = self._queue.popleft()
            try:
                self._run(job)
            except BaseException:
                log.exception("the worker survived an error that its job did not handle")
            finally:
                del job  # it holds a widget and its run
                with self._changed:
                    self._running = None
                    self._changed.notify_all()
            time.sleep(YIELD_SECONDS)

    def _run(self, job: Job) -> None:
        try:
            with plain_state():
                job.work(job)
        except Exception as error:
            if not job.handed_over:
                if job.cancelled and not job.claimed:
                    job.dropped()
                else:
                    job.failed(error)
        except EndedError:
            if not job.handed_over:
                job.dropped()
        except BaseException as error:  # an interrupt, where the lock's holder runs the job in a cell
            if not job.handed_over:
                job.failed(error)
            raise
        else:
            if job.cancelled and not job.claimed and not job.handed_over:
                job.dropped()


def _tell(jobs: list[Job]) -> None:
    for job in jobs:
        job.dropped()
