"""What a dashboard of probes is asked for on the page: done on the model's worker, failures told on the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

from resid_widgets.models.worker import Job, Worker
from resid_widgets.widgets.probing.chart import ProbeChart
from resid_widgets.widgets.probing.fields import FitFields
from resid_widgets.widgets.probing.live import CancelledError, Fitted, Report
from resid_widgets.widgets.probing.panel import ProbePanel
from resid_widgets.widgets.shell.inbox import logged

OFTEN = 0.15  # seconds between two looks at a fit


class Requests:
    """Fits of one dashboard; the latest request wins.

    Parameters
    ----------
    worker
        The model's.
    fields, chart, panel
        Where is said how things stand.

    Attributes
    ----------
    failure
        What the last fit has failed with.
    """

    def __init__(self, worker: Worker, fields: FitFields, chart: ProbeChart, panel: ProbePanel) -> None:
        self._worker, self._fields, self._chart, self._panel = worker, fields, chart, panel
        self._name = object()
        self.stop = Event()
        self.failure: BaseException | None = None
        self._closed = False

    def fit(self, make: Callable[[Report, Event], Fitted], take: Callable[[Fitted], None]) -> None:
        """Fit, with the curve growing on the page, and draw what came of it.

        Parameters
        ----------
        make
            Fits; told whom to report to, and what stops it.
        take
            Draws.
        """
        stop = self.stop = Event()
        looked = [0.0]

        def work(job: Job) -> None:
            def report(share: float, what: str, layers: Sequence[int], curve: Any) -> None:
                if self._closed:
                    stop.set()
                elif job.cancelled:  # another run has taken over, and has the page to itself
                    raise CancelledError
                elif time.monotonic() - looked[0] > OFTEN:
                    looked[0] = time.monotonic()
                    self._fields.grow(share, what)
                    self._chart.grow(layers, curve)

            self._fields.busy(True)
            self._panel._say("ready")
            try:
                found = make(report, stop)
                if not self._closed and job.claim():
                    take(found)
                    self._fields.say("Cancelled: the layers that were done are drawn." if stop.is_set() else "")
            except CancelledError:
                if not job.cancelled:
                    self._fields.say("Cancelled.")
            finally:
                if not self._closed and not job.cancelled:
                    self._fields.busy(False)
                    self._chart.grow((), None)

        self._fields.say("")

        self.failure = None

        def failed(error: BaseException) -> None:
            self.failure = error
            if not self._closed:
                self._fields.say("")
                self._panel._say("error", *logged(error))

        self._worker.submit((self._name, "fit"), work, failed=failed, dropped=lambda: None)

    def wait(self, timeout: Any) -> bool:
        """Return when all is done; False if `timeout` seconds were not enough."""
        return self._worker.wait(lambda key: key[0] is self._name, timeout)

    def close(self) -> None:
        """Drop what is asked for. Waits for nothing."""
        self._closed = True
        self.stop.set()
        self._worker.cancel(lambda key: key[0] is self._name)
