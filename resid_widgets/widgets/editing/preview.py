"""What a click would do: the exact effect of each cell, computed while nothing is changed and the page is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from resid_widgets.analysis.sweeps.ablation_sweep import AblationSweep, ablation_sweep
from resid_widgets.analysis.sweeps.sweep import Progress
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.runs.run import Run
from resid_widgets.models.worker import Job
from resid_widgets.results import Files
from resid_widgets.sites import Site
from resid_widgets.widgets.editing.clicks import component_of, intervention_of
from resid_widgets.widgets.shell import cells
from resid_widgets.widgets.shell.frame import Words, framed, told
from resid_widgets.widgets.shell.heatmap import heatmap
from resid_widgets.widgets.shell.prompted import PromptedGrid
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import same
from resid_widgets.widgets.shell.widget import frame_ids

PATIENCE = 30.0
"""Seconds of the model's time that a preview may take; where it would take more there is none."""

OF = ("metric", "mode", "site", "how", "sigma", "seed", "low", "high", "source_prompt", "direction")
"""The options that say what a click does, and what is measured."""


@dataclass(frozen=True, eq=False)
class Preview:
    """The effects of all single clicks, for one run and what its clicks do.

    Attributes
    ----------
    run, options
        What they are of.
    effects
        Change of the metric for each cell; None where there is no preview.
    """

    run: Run
    options: Mapping[str, Any]
    effects: AblationSweep | None

    def is_of(self, run: Run | None, options: Mapping[str, Any]) -> bool:
        """Whether clicks on `run` still do this."""
        return self.run is run and all(same(self.options[name], options[name]) for name in OF)

    def words(self) -> Words:
        """Return what stands around the picture."""
        assert self.effects is not None
        sweep = self.effects
        return Words(sweep.title, sweep.sentence, sweep.provenance.describe(), [told(check) for check in sweep.checks])


def preview(run: Run, options: Mapping[str, Any]) -> Preview:
    """Compute the effect of a click on each cell."""
    component = component_of(options)
    chosen = {name: options[name] for name in OF}

    def click(site: Site) -> Any:
        assert site.layer is not None
        return intervention_of(run, options, site.layer, site.head if component == "z" else site.pos)

    stopped = False

    def enough(progress: Progress) -> bool:
        nonlocal stopped
        stopped |= progress.seconds_left > PATIENCE
        return not stopped

    try:
        found = ablation_sweep(run, options["metric"], component, click, progress=enough)
    except (InputError, UnsupportedModelError):  # a click says what is missing
        return Preview(run, chosen, None)
    if stopped:
        return Preview(run, chosen, None)
    verb = str(options["how"]).replace("_", " ")
    sentence = (
        f"What a click would do: the exact change of {found.metric} (now {found.base:.3g}) by {verb}, one cell at a "
        "time. Nothing is changed yet."
    )
    return Preview(run, chosen, replace(found, title="Ablation · preview", sentence=sentence))


class Previewing(PromptedGrid):
    """A picture of a run in which clicks change something, and which shows what they would do before the first."""

    _preview: Preview | None = None
    _told: Callable[[State], State]

    def close(self) -> None:
        """Remove the widget from the page and free its run and pictures. Waits for nothing."""
        super().close()
        self._preview = None

    def _shows(self) -> Files:
        """Return what is drawn: the preview, where it is what the page shows."""
        state = self._open()
        known = None if state.result.interventions else self._known(state.options)
        return state.result if known is None else known

    def _known(self, options: Mapping[str, Any]) -> AblationSweep | None:
        """Return the effects of clicks, where they are known."""
        known = self._preview
        return known.effects if known is not None and known.is_of(self._run, options) else None

    def _would_do(self, options: Mapping[str, Any], layer: int, pos: int) -> list[tuple[str, float]]:
        """Return what the side panel says of a click on a cell."""
        effects = self._known(options)
        return (
            [] if effects is None else [(f"{effects.metric}, by this click alone", float(effects.values[layer, pos]))]
        )

    def _previewed(self, state: State) -> State:
        """Return the state with the picture of what a click would do, where nothing is changed yet."""
        known = None if state.result.interventions or self._known(state.options) is None else self._preview
        if known is not None and known.effects is not None:
            frame, buffers = framed(next(frame_ids), known.words(), {"heatmap": heatmap(known.effects)})
        elif state.frame["title"] != state.result.title:  # it was a preview of something else
            frame, buffers = self._framed(state.result)
        else:
            return state
        return replace(state, frame=frame, buffers=buffers)

    def _on_the_page(self) -> None:
        state, run = self._state, self._run
        if state is None or run is None or state.result.interventions or not self._attended:
            return
        if self._preview is None or not self._preview.is_of(run, state.options):
            self._when_idle(self._make_preview)

    def _make_preview(self, job: Job) -> None:
        state, run = self._state, self._run
        if state is not None and run is not None and not state.result.interventions:
            self._preview = preview(run, state.options)
            self._update(self._told, job)
            cells.late_picture(changed=True)
