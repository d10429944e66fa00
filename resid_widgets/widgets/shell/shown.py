"""What a notebook's page shows, as far as its kernel can know: what was displayed where, and what was cleared since.

A display goes into the Output widget that captures its request's messages, else to the output of the cell (or of the
callback) that the request runs. A place is emptied by `clear_output`, and a cell's when the cell runs again. What a
person removes by hand, and what a front-end shows in places of its own, is not known here.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ipywidgets import Output, Widget
from ipywidgets.widgets import widget as registry

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

COMM = "comm "
"""What a callback's name begins with, in place of a cell's id."""


@dataclass(eq=False)
class Place:
    """What one output area shows: display ids (where there are any) with model ids (None: no widget)."""

    shown: list[tuple[str | None, str | None]] = field(default_factory=list)
    clearing: bool = False

    def clear(self, wait: bool = False) -> None:
        """Empty it; with `wait` when the next display comes."""
        self.clearing = wait
        if not wait:
            self.shown.clear()

    def add(self, display: str | None, model: str | None) -> None:
        """Show something more."""
        if self.clearing:
            self.clear()
        self.shown.append((display, model))

    def update(self, display: str | None, model: str | None) -> None:
        """Show another thing in place of what has this display id."""
        self.shown[:] = [(each, model if each == display else old) for each, old in self.shown]


class Shown:
    """What one shell's page shows.

    Attributes
    ----------
    runs
        Cell (or comm, of a callback) to the id of the latest request that ran it.
    outputs
        Cell or comm to what its output area shows.
    captured
        Model id of an Output widget to what it shows.
    before
        Model ids of widgets that may have been displayed before anybody listened.
    """

    def __init__(self, shell: Any, when_shown: Callable[[Widget, str | None, bool], None]) -> None:
        self._when_shown = when_shown
        self.lock = threading.RLock()
        self.runs: dict[str, str] = {}
        self.outputs: dict[str, Place] = {}
        self.captured: dict[str, Place] = {}
        self.before = set(registry._instances)
        self.listens = hasattr(shell.display_pub, "parent_header")
        """Whether the shell is ipykernel's."""
        if self.listens:
            self._listen(shell.display_pub)
            self._listen_to_results(shell.displayhook)

    def roots(self) -> Iterator[Any]:
        """Yield the widgets that cells show, and those of which nothing is known."""
        for of, place in self.outputs.items():
            if not of.startswith(COMM):
                yield from _widgets(model for _, model in place.shown)
        yield from _widgets(self.before)

    def inside(self, item: Any) -> Iterator[Any]:
        """Yield the widgets that are shown within an Output widget, or by an item's callbacks without an Output."""
        if not isinstance(item, Widget) or item.comm is None:
            return
        places = (self.captured.get(item.model_id), self.outputs.get(COMM + item.model_id))
        yield from _widgets(model for place in places if place is not None for _, model in place.shown)
        if isinstance(item, Output):  # what its front-end, or a program, has told
            yield from _widgets(_model_of(output.get("data")) for output in item.outputs)

    def drawn(self) -> set[str]:
        """Return the model ids of all that is on the page, in containers and Output widgets, too."""
        found: dict[str, Any] = {}
        waiting = list(self.roots())
        while waiting:
            for model in parts(waiting.pop()).keys() - found.keys():
                found[model] = registry._instances[model]
                waiting += self.inside(found[model])
        return set(found)

    def show(self, place: Place, model: str | None, display: str | None = None) -> None:
        """Note that something is displayed in a place."""
        place.add(display, model)
        self._note(model, display)

    def known(self, widget: Any) -> None:
        """Note that it would be heard if a widget, or what it is part of, were displayed."""
        self.before.difference_update(parts(widget))

    def ran(self, of: str, run: str) -> None:
        """Note that a cell runs, or that a callback makes something: what it showed before is gone."""
        if self.runs.get(of) != run:
            self.outputs.pop(of, None)
            self.runs[of] = run

    def forget(self, makers: set[str]) -> None:
        """Drop what is said of widgets that are closed, and of comms that have made none that is open."""
        self.before.intersection_update(registry._instances)
        for of in [of for of in self.runs if of.startswith(COMM) and of not in makers and of not in self.outputs]:
            del self.runs[of]
        for model in self.captured.keys() - registry._instances.keys():
            del self.captured[model]

    def _listen(self, publisher: Any) -> None:
        """Hear what is displayed and cleared, on every thread (ipykernel's own hooks are for one thread each)."""
        publish, clear = publisher.publish, publisher.clear_output
        arguments = inspect.signature(publish)

        @functools.wraps(publish)
        def heard(*args: Any, **kwargs: Any) -> None:
            publish(*args, **kwargs)
            self._published(publisher.parent_header, **arguments.bind(*args, **kwargs).arguments)

        @functools.wraps(clear)
        def cleared(wait: bool = False) -> None:
            clear(wait)
            with self.lock:
                self._place(publisher.parent_header).clear(wait)

        publisher.publish, publisher.clear_output = heard, cleared

    def _listen_to_results(self, hook: Any) -> None:
        """Hear what cells show as their results."""
        write, finish = hook.write_format_data, hook.finish_displayhook
        written: list[Any] = []

        @functools.wraps(write)
        def wrote(format_dict: Any, *args: Any, **kwargs: Any) -> None:
            written[:] = [format_dict]
            write(format_dict, *args, **kwargs)

        @functools.wraps(finish)
        def finished() -> None:
            finish()
            if written:
                self._published(hook.parent_header, written.pop())

        hook.write_format_data, hook.finish_displayhook = wrote, finished

    def _published(self, parent: Any, data: Any, transient: Any = None, update: bool = False, **_: Any) -> None:
        model, display = _model_of(data), (transient or {}).get("display_id")
        with self.lock:
            if not update:
                self.show(self._place(parent), model, display)
                return
            for place in (*self.outputs.values(), *self.captured.values()):
                place.update(display, model)
            self._note(model, display, update=True)

    def _place(self, parent: Any) -> Place:
        """Return where the answers to a request go; nowhere, where its cell has run again since."""
        request = parent.get("msg_id")
        # Of Outputs within each other, the inner one as a rule is the one that was made last.
        capturing = [w.model_id for w in _widgets(registry._instances) if isinstance(w, Output) and w.msg_id == request]
        if capturing:
            return self.captured.setdefault(capturing[-1], Place())
        runs = [cell for cell, run in self.runs.items() if run == request]
        return self.outputs.setdefault(runs[-1], Place()) if runs else Place()

    def _note(self, model: str | None, display: str | None, update: bool = False) -> None:
        widget = registry._instances.get(model or "")
        if widget is not None:
            self.before.difference_update(parts(widget))
            self._when_shown(widget, display, update)


def _model_of(bundle: Any) -> str | None:
    """Return the model id of the widget in a MIME bundle."""
    view = bundle.get(WIDGET_MIME) if isinstance(bundle, dict) else None
    return view.get("model_id") if isinstance(view, dict) else None


def _widgets(models: Any) -> Iterator[Any]:
    """Yield the open widgets among some model ids."""
    for model in list(models):
        widget = registry._instances.get(model)
        if widget is not None and widget.comm is not None:
            yield widget


def parts(widget: Any) -> dict[str, Any]:
    """Return a widget and all that are drawn with it by their model ids, in the order in which they are."""
    found: dict[str, Any] = {}
    waiting = [widget]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, Widget):
            if item.comm is not None and item.model_id not in found:
                found[item.model_id] = item
                waiting += [item._trait_values.get(name) for name in item.keys]
        elif isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
    return found
