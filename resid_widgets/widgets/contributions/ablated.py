"""A selected bar is taken away in an ablation explorer below the chart, where it can be built upon and taken back."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resid_widgets.analysis.metrics import Metric
from resid_widgets.errors import InputError
from resid_widgets.models.runs.run import Run
from resid_widgets.models.worker import Job
from resid_widgets.widgets.contributions.content import removal_of
from resid_widgets.widgets.editing.ablation_explorer import AblationExplorer
from resid_widgets.widgets.shell import cells, panel
from resid_widgets.widgets.shell.base import ResidWidget
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import write


class _ShownBelow:
    """Keeps an explorer in view below its chart until it is closed, as a link keeps a selection."""

    def __init__(self, owner: AblatesSelected) -> None:
        self._owner = weakref.ref(owner)

    def drop(self, explorer: Any) -> None:
        owner = self._owner()
        if owner is not None and owner.inner is explorer:
            write(owner, "inner", None)
            if owner._state is not None:
                owner._update(lambda old: replace(old, actions=owner._buttons(old)))


class AblatesSelected(ResidWidget):
    """A widget of one run and a metric, whose selected part can be set to zero in an explorer below it."""

    @property
    def explorer(self) -> AblationExplorer | None:
        """The explorer that was opened on a bar, or None; see `ablate`."""
        self._open()
        return None if self.inner is None or self.inner.closed else self.inner

    def ablate(self) -> AblationExplorer:
        """Set the selected part to zero at all positions, in an explorer below: what else changes is seen there.

        Raises
        ------
        InputError
            If nothing is selected, or something that cannot be taken away; or there is no run.
        """
        state, run = self._open(), self._needed_run()
        gone = removal_of(state.selection)
        if not gone:
            raise InputError(
                "Select a layer, an attention, an MLP, a head or a neuron first: only these can be removed."
            )
        mode = {"z": "heads", "mlp_out": "mlps"}.get(gone[-1].site.component, "cells")
        more: dict[str, Any] = {"mode": mode, "how": "zero"}
        if gone[-1].site.component == "attn_out":
            more["site"] = "attn_out"
        explorer, metric = self.explorer, state.options["metric"]
        if explorer is None or not _is_of(explorer, run, metric):
            if explorer is not None:
                explorer.close()
            explorer = AblationExplorer(run, metric, **more)
            cells.release(explorer)  # it is closed with this widget, whichever cell runs again
            explorer._links.append(_ShownBelow(self))
            write(self, "inner", explorer)
            self._update(lambda old: replace(old, actions=self._buttons(old)))
        explorer.change(interventions=(*run.interventions, *gone), **more)  # which its Undo takes back
        return explorer

    # --- what the base asks ---------------------------------------------------------------------------------------

    def _picture(self, options: Mapping[str, Any], given: Any = None) -> State:
        new = super()._picture(options, given)
        return replace(new, actions=self._buttons(new))

    def _selecting(self, old: State, address: Mapping[str, Any]) -> State:
        new = super()._selecting(old, address)
        return replace(new, actions=self._buttons(new))

    def _on_the_page(self) -> None:
        """Close an explorer of another run or metric than the chart's."""
        explorer, state = self.inner, self._state
        if state is None or not isinstance(explorer, AblationExplorer) or explorer.closed:
            return
        if not _is_of(explorer, self._run, state.options["metric"]):
            explorer.close()

    def _buttons(self, state: State) -> list[dict[str, Any]]:
        copies = panel.action(
            "code", "Copy as code", True, "A script that gives these numbers", copies=state.result.code()
        )
        if self._run is None:
            return [copies]
        ready = bool(removal_of(state.selection))
        ablate = panel.action("ablate", "Ablate it", ready, "Set what is selected to zero, in an explorer below")
        close = panel.action("close", "Close explorer", True, "Take it away from below the chart")
        return [ablate, *([] if self.inner is None else [close]), copies]

    def _apply_action(self, name: str, job: Job) -> None:
        self._await_model()
        if not job.claim():
            return
        if name == "ablate":
            self.ablate()
        elif name == "close" and self.inner is not None:
            self.inner.close()


def _is_of(explorer: AblationExplorer, run: Run | None, metric: Metric) -> bool:
    """Whether an explorer is of a run, which may have interventions itself, and of a metric."""
    return run is not None and explorer.run in (run, run.base) and explorer.metric == metric
