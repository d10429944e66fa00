"""The ablation explorer that a cell of a sweep opens, in view below the picture, with the sweep's own prompt."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.sweeps.patch_result import PatchSweep
from resid_widgets.analysis.sweeps.sweep_result import SweepResult
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import run
from resid_widgets.models.runs.same_model import model_of
from resid_widgets.models.worker import Job
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
    """An explorer that was opened on a cell of a sweep, and says so.

    Parameters
    ----------
    cell
        Row and column in the picture.
    told
        What the cell is about, in a sentence.
    """

    def __init__(self, cell: tuple[int, int], told: str, *source: Any, **options: Any) -> None:
        self.cell, self._about = cell, told
        super().__init__(*source, **options)

    def _words(self, result: Any) -> Words:
        words = super()._words(result)
        return words._replace(sentence=f"{self._about} {words.sentence}")

    def show(self, cell: tuple[int, int], told: str, **options: Any) -> None:
        """Show what is done in another cell of the same run."""
        self.cell, self._about = cell, told
        self.change(**options)


def explorer_on(
    model: ResidualModel, result: SweepResult, cell: tuple[int, int], opened: CellExplorer | None
) -> CellExplorer:
    """Return an explorer with what is done in a cell.

    Parameters
    ----------
    result
        As it is drawn; it has an `opening`.
    cell
        Row and column in the picture.
    opened
        The explorer that is open already; it is used again where it is of the same run, and closed where it is not.
    """
    opening = result.opening
    assert opening is not None
    items, told = opening.of(*cell), _told(model, result)
    heads = result.cells.dims[1] != "pos"
    mode = "heads" if result.component == "z" else "mlps" if result.component == "mlp_out" else "cells"
    there: dict[str, Any] = {"mode": mode}
    if mode == "cells" and not heads and result.component in STREAM_SITES:
        there["site"] = result.component
    if opened is not None and not opened.closed:
        shown = opened.run
        if shown is not None and shown.token_ids == opening.token_ids:
            opened.show(cell, told, interventions=items, metric=opening.metric, **there)
            return opened
    if opened is not None:
        opened.close()
    return CellExplorer(cell, told, run(model, opening.token_ids), opening.metric, interventions=items, **there)


def is_about(explorer: CellExplorer, result: SweepResult) -> bool:
    """Whether an explorer is of the prompts of a result."""
    return explorer._about == _told(explorer._needed_run().model, result)


def _told(model: ResidualModel, result: SweepResult) -> str:
    if not isinstance(result, PatchSweep):
        return "" if result.opening is None else result.opening.about
    given = result.provenance.token_ids, tuple(result.provenance.options["source_token_ids"])
    names = ("corrupt", "clean") if result.direction == "denoise" else ("clean", "corrupt")
    texts = (_cut(prompt_text(text_of(model, ids))) for ids in given)
    into, source = (f"the {name} prompt “{text}”" for name, text in zip(names, texts, strict=True))
    of = "" if result.pairs is None else f" (the first of {len(result.pairs)} pairs)"
    return f"In {into}, with values of {source}{of}."


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
    """A picture whose cells open in an explorer below it, where its result is a sweep that can say what they do."""

    @property
    def explorer(self) -> AblationExplorer | None:
        """The explorer that was opened on a cell, or None; see `explore`."""
        self._open()
        return None if self.inner is None or self.inner.closed else self.inner

    def explore(self, layer: Any = None, pos: Any = None) -> AblationExplorer:
        """Open a cell (by default the selected one) in an ablation explorer, where what it does can be built upon.

        Parameters
        ----------
        layer, pos
            The cell; `pos` counts columns, whatever they are.

        Raises
        ------
        InputError
            If no cell is selected or named, the result has no cells that interventions can make, or its model is gone.
        """
        state = self._open()
        result = _sweep(state.result)
        if result is None:
            rule = "its cells are no runs with interventions, so that there is nothing to open"
            raise InputError.about("result", type(state.result).__name__, rule, "Read the numbers: w.details.")
        selected = self._cell(state)
        layer, pos = (selected[0] if layer is None else layer), (selected[1] if pos is None else pos)
        if layer is None or pos is None:
            raise InputError("No cell is selected: click one first, or name it: w.explore(layer, pos).")
        chosen = self._selecting(state, self._named(state.result, {"layer": layer, "pos": pos}))
        row, column = self._cell(chosen)
        assert row is not None and column is not None
        return self._opened(result, (self._axes(state.result)["layer"].index(row), column))

    def _opened(self, result: SweepResult, cell: tuple[int, int]) -> AblationExplorer:
        model = model_of(result.provenance) if self._run is None else self._run.model
        if model is None:
            made = result.provenance.model
            rule = "no model of this session is the one that the sweep was made with: it is gone, or has changed"
            raise InputError.about("model", made, rule, "Load it, make the sweep again, and open its cell.")
        explorer = explorer_on(model, result, cell, self.inner)
        if explorer is not self.inner:
            cells.release(explorer)  # it is closed with this widget, whichever cell runs again
            explorer._links.append(ShownBelow(self))
            write(self, "inner", explorer)
            self._update(lambda old: replace(old, actions=self._buttons(old)))
        return explorer

    # --- what the base asks ---------------------------------------------------------------------------------------

    def _picture(self, options: Mapping[str, Any], given: GridResult | None = None) -> State:
        new = super()._picture(options, given)
        return replace(new, actions=self._buttons(new))

    def _selecting(self, old: State, address: Mapping[str, Any]) -> State:
        new = super()._selecting(old, address)
        return replace(new, actions=self._buttons(new))

    def _on_the_page(self) -> None:
        """Let an open explorer follow the picture: with the same cell, if the picture still has it."""
        explorer, state = self.inner, self._state
        if not isinstance(explorer, CellExplorer) or explorer.closed or state is None:
            return
        result = _sweep(state.result)
        if result is not None and is_about(explorer, result):
            return
        if result is not None and all(n < size for n, size in zip(explorer.cell, result.values.shape, strict=True)):
            self._opened(result, explorer.cell)
        else:
            explorer.close()

    def _buttons(self, state: State) -> list[dict[str, Any]]:
        """Return what stands in the header."""
        if _sweep(state.result) is None:
            return []
        hint = "Build on what is done in the selected cell"
        ready = None not in self._cell(state)
        close = panel.action("close", "Close explorer", True, "Take it away from below the picture")
        return [panel.action("explore", "Open cell in explorer", ready, hint), *([] if self.inner is None else [close])]

    def _apply_action(self, name: str, job: Job) -> None:
        self._await_model()
        if not job.claim():
            return
        if name == "explore":
            self.explore()
        elif name == "close" and self.inner is not None:
            self.inner.close()


def _sweep(result: Any) -> SweepResult | None:
    """Return a result as it is drawn, if its cells can be opened."""
    return result.drawn() if isinstance(result, SweepResult) and result.opening is not None else None
