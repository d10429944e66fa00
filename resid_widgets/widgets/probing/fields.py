"""The fields of a live fit: what is to be fitted, the buttons, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from resid_widgets.widgets.probing.live import POSITIONS, PROMPTS, Wish

OWN_WIDTH = {"style": {"description_width": "initial"}}


class FitFields(ipywidgets.HBox):
    """One row of fields; says what they say as a `Wish`.

    Parameters
    ----------
    wish
        What they say at first.
    choices, components
        Tasks and parts of the stream that are offered.
    start, cancel
        Called when a button is clicked.
    """

    _open = False

    def __init__(
        self,
        wish: Wish,
        choices: Sequence[str],
        components: Sequence[str],
        start: Callable[[], None],
        cancel: Callable[[], None],
    ) -> None:
        wide = {**OWN_WIDTH, "layout": ipywidgets.Layout(width="auto", max_width="100%")}
        self.task = ipywidgets.Dropdown(options=choices, value=wish.task, description="task", **wide)
        self.component = ipywidgets.Dropdown(options=components, value=wish.component, description="component", **wide)
        self.positions = ipywidgets.Dropdown(
            options=[(told, name) for name, told in POSITIONS.items()],
            value=wish.positions,
            description="tokens",
            **wide,
        )
        self.folds = ipywidgets.BoundedIntText(
            wish.folds, min=2, max=20, description="folds", layout=ipywidgets.Layout(width="100px"), **OWN_WIDTH
        )
        self.prompts = ipywidgets.BoundedIntText(
            PROMPTS,
            min=20,
            max=5000,
            step=20,
            description="prompts",
            layout=ipywidgets.Layout(width="130px"),
            **OWN_WIDTH,
        )
        self.beside = ipywidgets.Checkbox(
            False, description="beside the others", indent=False, layout=ipywidgets.Layout(width="auto")
        )
        self.go = ipywidgets.Button(description="Fit", button_style="primary", layout=ipywidgets.Layout(width="64px"))
        self.halt = ipywidgets.Button(description="Cancel", layout=ipywidgets.Layout(width="76px", display="none"))
        self.bar = ipywidgets.FloatProgress(
            0.0, min=0.0, max=1.0, layout=ipywidgets.Layout(width="140px", display="none")
        )
        self.told = ipywidgets.Label("", layout=ipywidgets.Layout(width="auto", min_width="0"))
        self.go.on_click(lambda _: start())
        self.halt.on_click(lambda _: cancel())
        super().__init__(
            [*self._wished, self.beside, self.go, self.halt, self.bar, self.told],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center", width="100%"),
        )
        self._open = True

    @property
    def _wished(self) -> tuple[Any, ...]:
        """The fields of a `Wish`, in its order."""
        return self.task, self.component, self.positions, self.folds, self.prompts

    def wish(self) -> Wish:
        """Return what is to be fitted."""
        return Wish(*(field.value for field in self._wished))

    def say(self, text: str) -> None:
        """Say something at the end of the row; "" takes it away."""
        self.told.value = text

    def grow(self, share: float, text: str) -> None:
        """Show how far a fit is, and what it is doing."""
        self.bar.value, self.told.value = share, text

    def busy(self, busy: bool) -> None:
        """Show that something is being fitted, or no longer."""
        shown, hidden = ("", "none") if busy else ("none", "")
        self.bar.layout.display = self.halt.layout.display = shown
        self.go.layout.display = hidden
        self.bar.value = 0.0
        for field in self._wished:
            field.disabled = busy

    def close(self) -> None:
        """Remove it, with all that it is made of."""
        if self._open:  # also called for one that was never made
            self._open = False
            for widget in self.children:
                widget.close()
        super().close()
