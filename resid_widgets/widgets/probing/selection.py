"""Which layer of which curve is selected: two traits that cannot be wrong, and the ways to set them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets as t

from resid_widgets.analysis.probing.series import Series
from resid_widgets.errors import InputError
from resid_widgets.whole import whole
from resid_widgets.widgets.probing.drawn import Drawn
from resid_widgets.widgets.shell.traits import Waiting


class Part(Waiting, t.Any):
    """A part of what is selected. Reading it waits for the first curve."""


class LayerSelection(t.HasTraits):
    """The part of a dashboard that is selected.

    Attributes
    ----------
    layer, selected
        The selected layer and the name of the curve, or None; both can be set.
    selection
        The same as an address, which `resid_widgets.link` shares with other pictures.
    """

    layer: Any = Part(None)
    selected: Any = Part(None)
    selection: Any = Part({}, read_only=True)
    _closed = True  # until it is made

    @property
    def _drawn(self) -> Drawn:
        """What is drawn. Waits for the first curve."""
        raise NotImplementedError

    def _open(self) -> None:
        """Refuse what is closed."""
        raise NotImplementedError

    def _show_selection(self, label: Any = None) -> None:
        """Show what is selected, of `label`'s direction."""
        raise NotImplementedError

    def select(self, layer: Any, series: Any = None) -> None:
        """Select a layer of a curve, by default of the one that is selected, else of the first; None selects nothing.

        Raises
        ------
        InputError
            If there is no such curve or layer.
        """
        self._open()
        chosen = self._at(series)
        if layer is None:
            self._unselect()
            return
        if whole(layer) not in chosen.layers:
            raise InputError.about("layer", layer, f"the layers are {list(chosen.layers)}", "Choose one of them.")
        with self.hold_trait_notifications():
            self.selected, self.layer = chosen.name, int(layer)

    def _clicked(self, name: str, layer: int) -> None:
        self.select(layer, name)

    def _chosen(self, name: str, layer: int | None) -> None:
        if layer is None:
            self.layer = None
        else:
            chosen = self._at(name)
            self.select(layer if layer in chosen.layers else chosen.layers[0], chosen.name)

    def _unselect(self) -> None:
        self.layer = None

    def _places(self) -> dict[str, Sequence[int | str]]:
        """Return what can be selected, for `resid_widgets.link`."""
        self._open()
        return {"layer": self._at().layers}

    @t.observe("layer", "selected")
    def _reselected(self, _: Any) -> None:
        if not self._closed and self._drawn.series:
            self._show_selection()
            self.set_trait("selection", {} if self.layer is None else {"layer": self.layer})

    @t.validate("layer")
    def _valid_layer(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value is not None and not any(value in series.layers for series in self._drawn.series):
            raise InputError.about("layer", value, f"the layers are {list(self._at().layers)}", "Choose one of them.")
        if value is not None and self.selected is None:
            self.set_trait("selected", self._drawn.series[0].name)
        return value

    @t.validate("selected")
    def _valid_series(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value is not None and value not in self._drawn.names:
            names = ", ".join(self._drawn.names)
            raise InputError.about("selected", value, f"the curves are {names}", "Choose one of them.")
        return value

    def _at(self, name: Any = None) -> Series:
        """Return a series by name; by default the selected one, else the first."""
        return self._drawn.at(name, self.selected)
