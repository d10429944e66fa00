"""The ablation explorer that a cell of a patching heat map opens, in view below the map, with its prompts."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from resid_widgets import interventions as ops
from resid_widgets.analysis.metrics import Metric
from resid_widgets.analysis.sweeps.patch_result import PatchSweep
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import run
from resid_widgets.sites import Site
from resid_widgets.widgets.editing.ablation_explorer import STREAM_SITES, AblationExplorer
from resid_widgets.widgets.shell import cells, panel
from resid_widgets.widgets.shell.frame import Words
from resid_widgets.widgets.shell.grid import GridWidget
from resid_widgets.widgets.shell.prompts import prompt_text, text_of
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import write
from resid_widgets.widgets.shell.widget import ShellWidget

MOST = 60  # characters of a prompt


class CellExplorer(AblationExplorer):
    """An explorer that was opened on a cell of a patching heat map, and says so.

    Parameters
    ----------
    cell
        Layer, and position or head.
    told
        Which prompts it is about, in a sentence.
    """

    def __init__(self, cell: tuple[int, int], told: str, *source: Any, **options: Any) -> None:
        self.cell, self._about = cell, told
        super().__init__(*source, **options)

    def _words(self, result: Any) -> Words:
        words = super()._words(result)
        return words._replace(sentence=f"{self._about} {words.sentence}")

    def show(self, cell: tuple[int, int], told: str, **options: Any) -> None:
        """Show the patch of another cell of the same run."""
        self.cell, self._about = cell, told
        self.change(**options)


def explorer_on(
    model: ResidualModel, result: PatchSweep, cell: tuple[int, int], metric: Metric, opened: CellExplorer | None
) -> CellExplorer:
    """Return an explorer with the patch of a cell.

    Parameters
    ----------
    cell
        Layer, and position or head.
    opened
        The explorer that is open already; it is used again where it is of the same run, and closed where it is not.
    """
    layer, column = cell
    heads = result.cells.dims[1] != "pos"
    site = Site(result.component, layer, None if heads else column, column if heads else None)
    items = (ops.patch(site, list(result.provenance.options["source_token_ids"])),)
    mode = "heads" if result.component == "z" else "mlps" if result.component == "mlp_out" else "cells"
    there: dict[str, Any] = {"mode": mode}
    if mode == "cells" and result.component in STREAM_SITES:
        there["site"] = result.component
    base, told = result.provenance.token_ids, _told(model, result)
    if opened is not None and not opened.closed:
        shown = opened.run
        if shown is not None and shown.token_ids == base:
            opened.show(cell, told, interventions=items, metric=metric, **there)
            return opened
    if opened is not None:
        opened.close()
    return CellExplorer(cell, told, run(model, base), metric, interventions=items, **there)


def is_about(explorer: CellExplorer, result: PatchSweep) -> bool:
    """Whether an explorer is of the prompts of a result."""
    return explorer._about == _told(explorer._needed_run().model, result)


def _told(model: ResidualModel, result: PatchSweep) -> str:
    given = result.provenance.token_ids, tuple(result.provenance.options["source_token_ids"])
    names = ("corrupt", "clean") if result.direction == "denoise" else ("clean", "corrupt")
    texts = (_cut(prompt_text(text_of(model, ids))) for ids in given)
    into, source = (f"the {name} prompt “{text}”" for name, text in zip(names, texts, strict=True))
    return f"In {into}, with values of {source}."


def _cut(text: str) -> str:
    """Return the end of a long prompt, where two prompts tell themselves apart more often than at the beginning."""
    return text if len(text) <= MOST else f"… {text[-MOST:].partition(' ')[2]}"


class ShownBelow:
    """Keeps an explorer in view below its heat map until it is closed, as a link keeps a selection."""

    def __init__(self, owner: OpensCells) -> None:
        self._owner = weakref.ref(owner)

    def drop(self, explorer: ShellWidget) -> None:
        """Take a closed explorer out of view."""
        owner = self._owner()
        if owner is not None and owner.inner is explorer:
            write(owner, "inner", None)
            if owner._state is not None:
                owner._update(lambda old: replace(old, actions=owner._buttons(old)))


class OpensCells(GridWidget):
    """A picture of patches whose cells open in an explorer below it, which follows its prompts.

    A subclass has the run and the metric, and says what its buttons are (`_buttons`).
    """

    _buttons: Callable[[State], list[dict[str, Any]]]

    @property
    def explorer(self) -> AblationExplorer | None:
        """The explorer that was opened on a cell, or None; see `explore`."""
        self._open()
        return None if self.inner is None or self.inner.closed else self.inner

    def explore(self, layer: Any = None, pos: Any = None) -> AblationExplorer:
        """Open a cell (by default the selected one) in an ablation explorer, where its patch can be built upon.

        Parameters
        ----------
        layer, pos
            The cell; where columns are heads, `pos` is a head.

        Raises
        ------
        InputError
            If no cell is selected or named.
        """
        state = self._open()
        selected = self._cell(state)
        layer, pos = (selected[0] if layer is None else layer), (selected[1] if pos is None else pos)
        if layer is None or pos is None:
            raise InputError("No cell is selected: click one first, or name it: w.explore(layer, pos).")
        chosen = self._selecting(state, self._named(state.result, {"layer": layer, "pos": pos}))
        row, column = self._cell(chosen)
        assert row is not None and column is not None
        return self._opened(state, (row, column))

    def _opened(self, state: State, cell: tuple[int, int]) -> AblationExplorer:
        assert isinstance(state.result, PatchSweep)
        model, metric = self._needed_run().model, state.options["metric"]
        explorer = explorer_on(model, state.result, cell, metric, self.inner)
        if explorer is not self.inner:
            cells.release(explorer)  # it is closed with this widget, whichever cell runs again
            explorer._links.append(ShownBelow(self))
            write(self, "inner", explorer)
            self._update(lambda old: replace(old, actions=self._buttons(old)))
        return explorer

    def _on_the_page(self) -> None:
        """Let an open explorer follow the prompts: with the same cell, if the picture still has it."""
        explorer, state = self.inner, self._state
        if not isinstance(explorer, CellExplorer) or explorer.closed or state is None:
            return
        assert isinstance(state.result, PatchSweep)
        if is_about(explorer, state.result):
            return
        if all(at < size for at, size in zip(explorer.cell, state.result.drawn().values.shape, strict=True)):
            self._opened(state, explorer.cell)
        else:
            explorer.close()

    def _explorer_buttons(self, ready: bool) -> list[dict[str, Any]]:
        hint = "Build on the patch of the selected cell"
        close = panel.action("close", "Close explorer", True, "Take it away from below the picture")
        return [panel.action("explore", "Open cell in explorer", ready, hint), *([] if self.inner is None else [close])]

    def _explore_or_close(self, name: str) -> None:
        """Do what one of these buttons stands for."""
        if name == "explore":
            self.explore()
        elif name == "close" and self.inner is not None:
            self.inner.close()
