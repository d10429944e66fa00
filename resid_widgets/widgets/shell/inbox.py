"""Messages from the front-end: each is answered once, with what it asked for, "done", or an error that is seen."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from resid_widgets.errors import InputError, ResidWidgetsError
from resid_widgets.models.worker import Job

log = logging.getLogger(__name__)

PAGE_BITS = 20
"""Ids of one page have what is above these bits in common, see ``js/lib/wire/channel.ts``."""

REMEMBERED = 64
"""Kinds of requests whose newest id is kept."""


@runtime_checkable
class Host(Protocol):
    """What an inbox needs of its widget."""

    send: Callable[..., None]
    status: Any
    _trait_values: dict[str, Any]

    @property
    def closed(self) -> bool: ...  # noqa: D102
    def _not_closed(self) -> None: ...
    def _request(self, what: str, work: Callable[[Job], None], **told: Callable[..., Any]) -> None: ...
    def _drop_requests(self) -> None: ...
    def _apply_selection(self, at: Any, job: Job) -> None: ...
    def _apply_change(self, name: str, value: Any, job: Job) -> None: ...
    def _apply_reset(self, job: Job) -> None: ...
    def _act(self, name: str, job: Job) -> None: ...
    def _apply_edit(self, edit: Mapping[str, Any], job: Job) -> None: ...
    def _cancel(self) -> None: ...
    def _arrays(self, frame_id: Any) -> Mapping[str, bytes]: ...
    def _file(self, form: str) -> tuple[str, str, bytes]: ...
    def _say(self, state: str, text: str = "", detail: str = "") -> None: ...


class Inbox:
    """Takes a widget's messages on whatever thread the host has them on, and only enqueues.

    ===========  =======================  ================================================================
    kind         beside it                answer
    ===========  =======================  ================================================================
    ``select``   ``at``: an address       done, when the traits are written
    ``set``      ``name``, ``value``      done, when the new picture is sent
    ``reset``                             done
    ``act``      ``name``                 done, when the action of that button is done; each counts
    ``edit``     ``on``, ``off``,         done; all that the user wants changed and Python has not confirmed, so that
                 ``drop``, ``batch``      a later one may take the place of an earlier one. Whatever else the user does
                                          begins another batch: what was wanted before it is done before it
    ``cancel``                            done; what runs stops between blocks and shows what it has
    ``frame``    ``frame_id``             frame with ``names`` and the buffers; done if it is no longer shown
    ``export``   ``format``               file with ``name``, ``mime`` and one buffer
    ===========  =======================  ================================================================

    A request that a later one of its kind overtakes is answered done. Ids grow from request to request of a page, and
    tell which is later: a host with several threads (ipykernel 7.4) may hand them over in another order.
    """

    def __init__(self, widget: Host) -> None:
        self._widget = widget
        self._in_order = threading.RLock()
        self._newest: dict[tuple[int, str], int] = {}

    def receive(self, _: Any, content: Any, buffers: Any) -> None:
        """Take one message. Never raises: an error goes where the user and the log see it."""
        number = content.get("id") if isinstance(content, dict) else None
        try:
            self._dispatch(content, number)
        except Exception as error:
            self._failed(number, error)

    def _dispatch(self, content: Any, number: Any) -> None:
        widget = self._widget
        match content:
            case {"kind": "select", "at": at}:
                self._ask(number, "select", lambda job: widget._apply_selection(at, job))
            case {"kind": "set", "name": str(name), "value": value}:
                if name not in {control["name"] for control in self._now("controls")}:
                    raise InputError.about("name", name, "this picture has no such control", "Reload the page.")
                self._ask(number, f"set {name}", lambda job: widget._apply_change(name, value, job))
            case {"kind": "reset"}:
                widget._drop_requests()
                self._ask(number, "reset", widget._apply_reset)
            case {"kind": "act", "name": str(name)}:
                if name not in {action["name"] for action in self._now("actions")}:
                    raise InputError.about("name", name, "this picture has no such button", "Reload the page.")
                self._ask(number, f"act {name} {number}", lambda job: widget._act(name, job))
            case {"kind": "edit"} if self._now("edited") is not None:
                edit = {name: list(content.get(name, ())) for name in ("on", "off", "drop")}
                self._ask(number, f"edit {content.get('batch')}", lambda job: widget._apply_edit(edit, job))
            case {"kind": "cancel"}:
                widget._cancel()  # at once: the worker is busy with what is to be stopped
                self._done(number)
            case {"kind": "frame", "frame_id": frame_id}:
                self._send_frame(number, frame_id)
            case {"kind": "export", "format": str(form)}:
                self._ask(number, f"export {form}", lambda job: self._send_file(number, form, job), answers=True)
            case _:
                raise InputError.about("message", content, "it is not understood", "Reload the page.")

    def _now(self, name: str) -> Any:
        """Return a part of what is on the page now, also while the first picture is on its way."""
        self._widget._not_closed()
        return self._widget._trait_values.get(name, ())

    def _ask(self, number: Any, what: str, work: Callable[[Job], None], *, answers: bool = False) -> None:
        """Enqueue `work`, and answer when it is over; `answers` says that it does so itself."""

        def whole(job: Job) -> None:
            work(job)
            if job.claimed and not answers:
                self._done(number)

        with self._in_order:  # or a later one could slip in between
            if self._is_late(number, what):
                self._done(number)
                return
            self._widget._request(
                what, whole, failed=lambda error: self._failed(number, error), dropped=lambda: self._dropped(number)
            )

    def _is_late(self, number: Any, what: str) -> bool:
        """Tell whether a later request of the same kind, from the same page, was here before."""
        if not isinstance(number, int):
            return False
        key = (number >> PAGE_BITS, what)
        late = number < self._newest.get(key, number)
        if not late:
            self._newest.pop(key, None)
            self._newest[key] = number
            while len(self._newest) > REMEMBERED:
                del self._newest[next(iter(self._newest))]
        return late

    def _send_frame(self, number: Any, frame_id: Any) -> None:
        """Send the arrays of the picture that is shown. They are at hand, so this needs no worker."""
        arrays = self._widget._arrays(frame_id)
        if not arrays:
            self._done(number)  # a newer picture is on its way
            return
        content = {"kind": "frame", "id": number, "frame_id": frame_id, "names": list(arrays)}
        self._widget.send(content, list(arrays.values()))

    def _send_file(self, number: Any, form: str, job: Job) -> None:
        name, mime, data = self._widget._file(form)
        if job.claim():
            self._widget.send({"kind": "file", "id": number, "name": name, "mime": mime}, [data])

    def _done(self, number: Any) -> None:
        self._widget.send({"kind": "done", "id": number})

    def _dropped(self, number: Any) -> None:
        """Answer a request that a later one overtook, and take back that it is being computed."""
        if self._widget.status["state"] == "busy":
            self._widget._say("ready")
        self._done(number)

    def _failed(self, number: Any, error: BaseException) -> None:
        """Answer with the error, show it in every view, and log it."""
        if not self._widget.closed:
            text = self.report(error)
            self._widget.send({"kind": "error", "id": number, "text": text})

    def report(self, error: BaseException) -> str:
        """Show an error in every view, log it, and return its text."""
        text, detail = logged(error)
        self._widget._say("error", text, detail)
        return text


def shortened(text: str, head: int = 200, tail: int = 4000) -> str:
    """A long traceback without its middle: its head says what it is, its end where it went wrong."""
    return text if len(text) <= head + tail else f"{text[:head]} …\n\n… {text[-tail:]}"


def logged(error: BaseException) -> tuple[str, str]:
    """Log an error, and return what a view says of it: a line, and its details."""
    if isinstance(error, ResidWidgetsError):
        text, _, detail = str(error).partition("\n")  # an alignment, line by line, is a detail
        log.info("refused: %s", text)
    else:
        text = f"{type(error).__name__}: {error}"
        detail = shortened("".join(traceback.format_exception(error)))
        log.error("a request of the front-end failed", exc_info=error)
    return text, detail
