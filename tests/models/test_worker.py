"""The worker: latest wins, errors are delivered, and whoever holds the lock never waits for it."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

SOON = 120.0  # seconds that nothing here comes near, unless something hangs


class Owner:
    """Stands for a bridge: hashable, and can be referred to weakly."""


class Desk:
    """A worker with a record of what became of each request."""

    def __init__(self) -> None:
        from resid_widgets.models.worker import worker_of

        self.owner = Owner()
        self.lock = threading.RLock()
        self.worker = worker_of(self.owner, self.lock)
        self.events: list[Any] = []

    def ask(self, name: str, work: Callable[[Any], None], key: str | None = None) -> None:
        """Enqueue `work` as `name`; its end is recorded."""

        def whole(job: Any) -> None:
            work(job)
            if job.claimed:
                self.events.append(("done", name))

        self.worker.submit(
            (self, key or name),
            whole,
            failed=lambda error: self.events.append(("failed", name, error)),
            dropped=lambda: self.events.append(("dropped", name)),
        )

    def wait(self, timeout: float = SOON) -> bool:
        return self.worker.wait(lambda key: key[0] is self, timeout)


def claim(job: Any) -> None:
    assert job.claim()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def blocked(desk: Desk, name: str, key: str | None = None) -> tuple[threading.Event, threading.Event]:
    """Enqueue a request that says when it has begun and goes on when it is told to."""
    begun, go = threading.Event(), threading.Event()

    def work(job: Any) -> None:
        begun.set()
        assert go.wait(SOON)
        job.claim()

    desk.ask(name, work, key)
    assert begun.wait(SOON)
    return begun, go


def test_requests_run_in_order_on_one_other_thread_without_gradients(desk):
    import torch

    seen = []
    for name in "abc":
        desk.ask(name, lambda job: (seen.append((threading.get_ident(), torch.is_grad_enabled())), job.claim()))
    assert desk.wait()
    assert desk.events == [("done", "a"), ("done", "b"), ("done", "c")]
    assert len(set(seen)) == 1
    assert seen[0][0] != threading.get_ident()
    assert seen[0][1] is False
    assert torch.is_grad_enabled()


def test_two_who_ask_for_one_owner_share_its_worker(desk):
    from resid_widgets.models.worker import worker_of

    assert worker_of(desk.owner, desk.lock) is desk.worker
    assert worker_of(Owner(), threading.RLock()) is not desk.worker


def test_the_latest_of_a_kind_wins_and_each_request_ends_once(desk):
    _, go = blocked(desk, "first", key="k")
    for name in ("second", "third"):
        desk.ask(name, claim, key="k")
    desk.ask("other", claim)
    go.set()
    assert desk.wait()
    assert desk.events == [("dropped", "second"), ("dropped", "first"), ("done", "third"), ("done", "other")]


def test_a_claimed_request_is_no_longer_superseded(desk):
    begun, go = threading.Event(), threading.Event()

    def work(job: Any) -> None:
        assert job.claim()
        begun.set()
        assert go.wait(SOON)

    desk.ask("first", work, key="k")
    assert begun.wait(SOON)
    desk.ask("second", claim, key="k")
    go.set()
    assert desk.wait()
    assert desk.events == [("done", "first"), ("done", "second")]


def test_cancel_only_signals(desk):
    _, go = blocked(desk, "running")
    desk.ask("queued", claim)
    started = time.monotonic()
    desk.worker.cancel(lambda key: key[0] is desk)
    assert time.monotonic() - started < 1
    assert desk.events == [("dropped", "queued")]
    go.set()
    assert desk.wait()
    assert desk.events == [("dropped", "queued"), ("dropped", "running")]


def test_a_failure_is_delivered_and_the_next_request_works(desk):
    def work(_: Any) -> None:
        raise ValueError("no such thing")

    desk.ask("bad", work)
    desk.ask("good", claim)
    assert desk.wait()
    assert desk.events[0][:2] == ("failed", "bad")
    assert "no such thing" in str(desk.events[0][2])
    assert desk.events[1] == ("done", "good")


def test_an_error_in_the_error_handler_is_logged_and_the_worker_survives(desk, caplog):
    def work(_: Any) -> None:
        raise ValueError("first")

    def failed(_: BaseException) -> None:
        raise RuntimeError("second")

    desk.worker.submit((desk, "bad"), work, failed=failed, dropped=lambda: None)
    desk.ask("good", claim)
    assert desk.wait()
    assert desk.events == [("done", "good")]
    assert "survived" in caplog.text


def test_wait_gives_up_in_time(desk):
    _, go = blocked(desk, "slow")
    assert not desk.wait(timeout=0.05)
    go.set()
    assert desk.wait()


def test_wait_looks_only_at_what_it_was_asked_for(desk):
    _, go = blocked(desk, "slow")
    assert desk.worker.wait(lambda key: key == (desk, "something else"), 0.5)
    go.set()
    assert desk.wait()


def test_the_locks_holder_runs_what_is_pending_itself(desk):
    threads = []

    def work(job: Any) -> None:
        with desk.lock:
            threads.append(threading.get_ident())
            job.claim()

    with desk.lock:
        desk.ask("one", work)
        desk.ask("two", work)
        assert desk.wait()
        assert desk.events == [("done", "one"), ("done", "two")]
        assert threads == [threading.get_ident()] * 2
    time.sleep(0.1)  # the worker, free again, must not run or report anything a second time
    assert desk.wait()
    assert desk.events == [("done", "one"), ("done", "two")]


def test_the_locks_holder_takes_over_a_request_that_waits_for_the_lock(desk):
    begun = threading.Event()

    def work(job: Any) -> None:
        begun.set()
        with desk.lock:
            job.claim()

    with desk.lock:
        desk.ask("one", work)
        assert begun.wait(SOON)  # the worker has it, and needs the lock that this thread holds
        assert desk.wait()
        assert desk.events == [("done", "one")]
    time.sleep(0.1)
    assert desk.events == [("done", "one")]


def test_the_locks_holder_does_not_wait_for_observers_of_a_written_change(desk):
    told, go = threading.Event(), threading.Event()

    def work(job: Any) -> None:
        with desk.lock:
            job.claim()
        told.set()
        assert go.wait(SOON)
        with desk.lock:  # an observer that runs the model
            pass

    desk.ask("one", work)
    assert told.wait(SOON)
    with desk.lock:
        go.set()
        assert desk.wait()
    assert desk.wait()
    assert desk.events == [("done", "one")]


def test_a_request_may_wait_for_the_others(desk):
    def work(job: Any) -> None:
        job.claim()
        assert desk.wait()

    desk.ask("outer", work)
    desk.ask("inner", claim)
    assert desk.wait()
    assert set(desk.events) == {("done", "outer"), ("done", "inner")}


def test_an_interrupt_of_the_locks_holder_is_reported_and_passed_on(desk):
    begun = threading.Event()

    def work(_: Any) -> None:
        begun.set()
        with desk.lock:
            raise KeyboardInterrupt

    with desk.lock:
        desk.ask("one", work)
        assert begun.wait(SOON)  # the worker has it, and needs the lock that this thread holds
        with pytest.raises(KeyboardInterrupt):
            desk.wait()
    assert desk.wait()
    assert [event[:2] for event in desk.events] == [("failed", "one")]


def test_the_thread_ends_when_idle_and_starts_again(desk, monkeypatch):
    monkeypatch.setattr("resid_widgets.models.worker.IDLE_SECONDS", 0.05)
    desk.ask("one", claim)
    assert desk.wait()
    deadline = time.monotonic() + SOON
    while desk.worker._thread is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert desk.worker._thread is None
    desk.ask("two", claim)
    assert desk.wait()
    assert desk.events == [("done", "one"), ("done", "two")]


def test_a_finished_request_and_its_owner_are_let_go(desk):
    class Heavy:
        pass

    heavy = Heavy()
    gone = weakref.ref(heavy)
    desk.ask("one", lambda job, held=heavy: (held, job.claim()))
    assert desk.wait()
    del heavy
    time.sleep(0.05)
    gc.collect()
    assert gone() is None

    owner = weakref.ref(desk.owner)
    del desk.owner
    gc.collect()
    assert owner() is None
