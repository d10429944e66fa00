"""The two menus that choose a curve and a layer of it, without a mouse on the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from resid_widgets.analysis.probing.series import Series

NONE = ""
"""Value of the entry for no layer: a menu whose value is None shows nothing at all."""


class LayerChoice(ipywidgets.HBox):
    """Says what is selected, and asks for something else.

    Parameters
    ----------
    chosen
        Called with the name of a curve, and a layer or None.
    """

    _open = False

    def __init__(self, chosen: Callable[[str, int | None], None]) -> None:
        self._chosen, self._updating = chosen, False
        narrow = {"style": {"description_width": "initial"}}
        self.curve: Any = ipywidgets.Dropdown(
            description="curve", layout=ipywidgets.Layout(width="auto", max_width="100%"), **narrow
        )
        self.layer: Any = ipywidgets.Dropdown(description="layer", layout=ipywidgets.Layout(width="auto"), **narrow)
        for menu in (self.curve, self.layer):
            menu.observe(self._changed, names="value")
        super().__init__(
            [self.curve, self.layer],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center", width="100%"),
        )
        self._open = True

    def show(self, every: Sequence[Series], series: Series, layer: int | None) -> None:
        """Offer all curves and the layers of one, of which a layer is selected."""
        self._updating = True
        try:
            self.curve.options = [each.name for each in every]
            self.curve.value = series.name
            self.curve.layout.display = "" if len(every) > 1 else "none"
            self.layer.options = [("none", NONE), *((str(n), n) for n in series.layers)]
            self.layer.value = NONE if layer is None else layer
        finally:
            self._updating = False

    def close(self) -> None:
        """Remove it, with both menus."""
        if self._open:  # also called for one that was never made
            self._open = False
            for menu in (self.curve, self.layer):
                menu.close()
        super().close()

    def _changed(self, _: Any) -> None:
        if self._open and not self._updating:
            self._chosen(self.curve.value, None if self.layer.value == NONE else self.layer.value)
