"""All heads at a glance; one at full size, why it looks there, what it carries, and what follows without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from resid_widgets.analysis.attention.overview import AttentionOverview
from resid_widgets.analysis.attention.result import Attention
from resid_widgets.analysis.metrics import require_metric
from resid_widgets.analysis.sweeps.sweep import Progress
from resid_widgets.errors import InputError
from resid_widgets.interventions import as_interventions
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.watch import passing
from resid_widgets.models.worker import Job
from resid_widgets.sites import Site
from resid_widgets.widgets.attention.explore import explore
from resid_widgets.widgets.attention.explored import Explored, ablated_heads, head_part, heads_part
from resid_widgets.widgets.attention.header import (
    HOWS,
    buttons,
    choices,
    default_metric,
    first_score,
    open_head,
    require_choices,
)
from resid_widgets.widgets.attention.opening import opened_head
from resid_widgets.widgets.attention.side import of_head, of_token
from resid_widgets.widgets.editing.chips import chip_id, summary
from resid_widgets.widgets.editing.history import Undoing
from resid_widgets.widgets.editing.metric_controls import metric_from_control
from resid_widgets.widgets.shell.awaited import so_far
from resid_widgets.widgets.shell.frame import Words, told
from resid_widgets.widgets.shell.prompted import Prompted
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Option, Shown


class AttentionExplorer(Prompted, Undoing):
    """All heads as small pictures; click one to open it, ablate it, and see what follows.

    ``AttentionExplorer(run, rw.logit_diff(" Mary", " John"))``; in one line ``AttentionExplorer(model, "Some text")``.

    Click a head to see it at full size; there, click a cell to see why the head looks there and what it carries.

    Parameters
    ----------
    source
        A `Run`; or a model (or bare TransformerBridge), followed by the prompt to run; or an `AttentionOverview`.
    *positional
        After a run, `metric`; after a model, the prompt first.
    metric
        What effects are of; by default the logit of the likeliest next token.
    kind
        What is shown of the open head, see `resid_widgets.attention`: ``"pattern"``, ``"value_weighted"``,
        ``"gradient"`` or ``"knockout"`` of the metric, or ``"change"``, under the interventions minus without. In
        prompts of more than 64 tokens a knockout cuts the edges of the selected token.
    score
        The number under each head: one of `resid_widgets.analysis.attention.overview.SCORES`. An effect is computed
        when it is chosen.
    sort
        Whether heads stand in the order of that number, instead of layer by head.
    view
        The open head as ``"grid"`` or as ``"arcs"`` over the tokens, at first.
    how
        What ablating a head puts in its place: ``"mean"`` or ``"zero"``.
    interventions
        What is active. A trait: reading gives a tuple, setting computes at once; undo takes it back.
    prompt
        What to run, where `source` is a model; it can be set later, also in the widget.
    layer, head
        Which head is open at first; by default the first in the order of the score.
    layout
        As for any ipywidget.

    Raises
    ------
    InputError
        If an argument is unknown, has a bad value or is of no use to `source`.
    """

    FRONT_END: ClassVar[str] = "attention_explorer"
    SHOWS: ClassVar[tuple[type, ...]] = (AttentionOverview,)
    POSITIONAL: ClassVar[tuple[str, ...]] = ("metric",)
    TAKES: ClassVar[tuple[str, ...]] = ("prompt", "layer", "head", "layout")
    WRITTEN: ClassVar[tuple[str, ...]] = (*Prompted.WRITTEN, "edited")

    metric = Option(None, help="What effects are of.")
    kind = Option("pattern", help="What is shown of the open head.")
    score = Option(None, help="The number under each head.")
    sort = Option(False, help="Whether heads stand in the order of that number.")
    view = Option("grid", help="The open head as a grid, or as arcs.")
    how = Option("mean", help="What ablating a head puts in its place.")
    interventions = Option((), help="What is active.")
    edited = Shown(None).tag(sync=True)

    def __init__(self, source: Any, *positional: Any, layer: Any = None, head: Any = None, **options: Any) -> None:
        self._at_first = {"layer": layer, "head": head}
        super().__init__(source, *positional, **options)

    @property
    def result(self) -> AttentionOverview:
        """All heads, as they are drawn."""
        return self._open().result.overview

    @property
    def opened(self) -> Attention | None:
        """The head that is open, as it is drawn; None where none is."""
        opened = self._open().result.opened
        return None if opened is None else opened.attention

    # --- what the base asks ---------------------------------------------------------------------------------------

    def _refuse(self, model: ResidualModel, options: Mapping[str, Any], prompt: Any) -> None:
        super()._refuse(model, options, prompt)
        require_choices(options)
        as_interventions(options["interventions"])
        if options["metric"] is not None:
            require_metric(options["metric"]).targets(model)

    def _compute(self, options: Mapping[str, Any]) -> Any:
        run = self._needed_run()
        require_choices(options)
        metric = default_metric(run) if options["metric"] is None else require_metric(options["metric"])
        items = as_interventions(options["interventions"])
        if run.base is not None:  # what it was made with becomes chips, over the run without
            items, self._run = (*run.interventions, *items), run.base
            run = run.base
        return explore(run, items, metric, options, self._state, partial(self._far, "Ablating each head"))

    def _stated(self, options: Mapping[str, Any], result: Explored) -> dict[str, Any]:
        metric = options["metric"]
        if metric is None and self._run is not None:
            metric = default_metric(self._run)
        items = () if result.run is None else result.run.interventions
        made = {"metric": metric, "interventions": items, "kind": result.kind, "score": result.score}
        return {**super()._stated(options, result), **made}

    def _picture(self, options: Mapping[str, Any], given: Any = None) -> State:
        if isinstance(given, AttentionOverview):
            score = first_score(given)
            given = Explored(None, given, None, "pattern", score, False, "grid")
        return self._told(self._dated(super()._picture(options, given)))

    def _told(self, state: State) -> State:
        result: Explored = state.result
        if result.ablation is None:
            return state
        return replace(
            state,
            summary={**summary(result.ablation, self._run), "hint": "Open a head, then ablate it."},
            actions=buttons(state),
            edited=[[layer, head] for layer, head in ablated_heads(state.options["interventions"])],
        )

    def _parts(self, result: Explored) -> dict[str, Mapping[str, Any]]:
        return {"heads": heads_part(result), "head": head_part(result)}

    def _words(self, result: Explored) -> Words:
        overview, opened = result.overview, result.opened
        checks = [told(check) for check in result.checks]
        sentence = overview.sentence if opened is None else opened.attention.sentence
        return Words(overview.title, sentence, overview.provenance.describe(), checks)

    def _chosen_first(self, first: State) -> State:
        wanted = {name: value for name, value in self._at_first.items() if value is not None}
        if wanted:
            return self._selecting(first, wanted)
        layer, head = first.result.overview.order(first.result.score)[0]
        return self._selecting(first, {"layer": layer, "head": head})

    def _axes(self, result: Explored) -> Mapping[str, Sequence[int | str]]:
        values, positions = result.overview.values, list(range(len(result.overview.tokens_visible)))
        return {
            "layer": values["layer"].values.tolist(),
            "head": values["head"].values.tolist(),
            "pos": positions,
            "key_pos": positions,
        }

    def _selecting(self, old: State, address: Mapping[str, Any]) -> State:
        new = super()._selecting(old, address)
        return new if new is old else self._opening(new)

    def _opening(self, state: State) -> State:
        """Return the state with the selected head open."""
        at, result = open_head(state), state.result
        opened, pos = result.opened, state.selection.get("pos")
        if at is not None and at not in result.overview.heads:
            rule = f"layer {at[0]} has no head {at[1]}"
            raise InputError.about("head", at[1], rule, "Choose another one.")
        if result.run is None:
            return state
        if at is None or opened is None or not opened.shows(*at, result.kind, pos):
            metric = state.options["metric"]
            opened = (
                None
                if at is None
                else opened_head(result.run, *at, result.kind, metric, pos, partial(self._far, "Cutting edges"))
            )
        if opened is not result.opened:
            result = replace(result, opened=opened)
            frame, buffers = self._framed(result)
            state = replace(state, result=result, frame=frame, buffers=buffers)
            details = self._side(state)
            state = replace(state, details=None if details is None else {**details, "at": state.selection})
        return replace(state, actions=buttons(state))

    def _far(self, what: str, progress: Progress) -> bool:
        """Say how far something is; it ends where nobody waits for it any more."""
        share = progress.done / max(1, progress.total)
        if self._request_at_work() is not None:
            passing(share)
            self._say("busy", so_far(what, share, progress.seconds_left), progress=share)
        return True

    def _side(self, state: State) -> dict[str, Any] | None:
        at, result, head = state.selection, state.result, open_head(state)
        if head is None or head not in result.overview.heads:
            return None
        if "pos" not in at and "key_pos" not in at:
            return of_head(result.overview, *head)
        opened = result.opened
        if opened is None or head != (opened.layer, opened.head):
            return None
        return of_token(result, opened, at, state.options["metric"])

    def _choices(self, result: Explored, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [] if self._run is None else choices(self._run, result, options)

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        if name in ("metric", "answer", "foil"):
            return {"metric": metric_from_control(self._needed_run(), self.metric, name, value)}
        return super()._from_control(name, value)

    def _changing(self, old: State, options: Mapping[str, Any]) -> State:
        """With another prompt, a metric that nobody chose is that of its own likeliest next token."""
        if "prompt" in options and "metric" not in options:
            chosen = old.options["metric"] != default_metric(self._needed_run())
            options = options if chosen else {**options, "metric": None}
        return super()._changing(old, options)

    # --- clicks ---------------------------------------------------------------------------------------------------

    def ablate(self, layer: Any, head: Any) -> None:
        """Ablate a head at all positions, or take that back where it is ablated."""
        self._open()
        run = self._needed_run()
        at = run.layer(layer), head
        self._update(lambda old: self._toggled(old, at))

    def _toggled(self, old: State, at: tuple[int, int]) -> State:
        items = [item for item in old.options["interventions"] if at not in ablated_heads([item])]
        if len(items) == len(old.options["interventions"]):
            items.append(HOWS[old.options["how"]](Site("z", at[0], head=at[1])))
        return self._changing(old, {"interventions": tuple(items)})

    def _apply_change(self, name: str, value: Any, job: Job) -> None:
        self._await_model()
        self._try(name, value, job)

    def _apply_action(self, name: str, job: Job) -> None:
        if name != "ablate":
            super()._apply_action(name, job)
            return
        self._await_model()
        self._update(lambda old: old if (at := open_head(old)) is None else self._toggled(old, at), job)

    def _apply_edit(self, edit: Mapping[str, Any], job: Job) -> None:
        self._await_model()
        drop = set(edit["drop"])

        def dropped(old: State) -> State:
            items = [item for item in old.options["interventions"] if chip_id(item) not in drop]
            return self._changing(old, {"interventions": tuple(items)})

        self._update(dropped, job)
