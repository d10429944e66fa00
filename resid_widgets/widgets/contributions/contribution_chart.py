"""Who writes the answer: bars from the embedding to a metric, which open into heads and the tokens they read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from resid_widgets.analysis.contributions.branches import VIEWS
from resid_widgets.analysis.contributions.direct_logit_attribution import require_linear
from resid_widgets.analysis.contributions.opened import SHAPES, OpenedContributions, opened_contributions
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.contributions.tree import Part
from resid_widgets.analysis.metrics import Metric, logit_diff
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.layers.shapes import layers_with, site_shape
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.runs.run import Run
from resid_widgets.models.worker import Job
from resid_widgets.widgets.contributions.ablated import AblatesSelected
from resid_widgets.widgets.contributions.content import details_of, waterfall_part
from resid_widgets.widgets.contributions.opening import Asked, Opening, keys_of, views_of
from resid_widgets.widgets.editing.metric_controls import LINEAR, metric_controls, metric_from_control
from resid_widgets.widgets.shell import arguments, panel
from resid_widgets.widgets.shell.prompted import Prompted
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Option, Shown

_DOING = {"opened": "Opening ...", "by": "Splitting ..."}

KNOWN = 40
"""Bars of which an exported page tells everything, from the top."""


class ContributionChart(AblatesSelected, Prompted):
    """Bars that add up to a metric: each is what a part of the model writes directly into it.

    ``ContributionChart(run, rw.logit_diff(" Mary", " John"))``; in one line ``ContributionChart(model, "Some text")``.

    Click a triangle, or press Enter: a layer opens into attention and MLP, attention into its heads, a head into the
    tokens that it has read from, an MLP into its neurons. Bars under 1 % of the total are summed as others, which
    open as well. A click on a bar tells what the metric loses without it, and which tokens it writes towards.

    Parameters
    ----------
    source
        A `Run`; or a model (or bare TransformerBridge), followed by the prompt to run; or a `Contributions`. For means
        over many prompts, with intervals: a list of runs, or a model with `prompts`; `metric` must be given then.
    *positional
        After a run, `metric`; after a model, the prompt first.
    metric
        One that is linear in the logits, see `resid_widgets.direct_logit_attribution`; by default the likeliest next
        token's logit less the second one's.
    by
        What the bars are of before any is opened: ``"layer"``, ``"component"``, ``"head"`` or ``"neuron"``.
    shape
        ``"waterfall"``: each bar begins where the one before it ends; ``"bars"``: all begin at zero.
    opened
        Keys of the bars that are open, as ``("layer.3", "3.attn_out", "3.head.0")``. A trait.
    prompt
        What to run, where `source` is a model; it can be set later, also in the widget.
    prompts
        As in `resid_widgets.direct_logit_attribution`.
    layout
        As for any ipywidget.

    Raises
    ------
    InputError
        If an argument is unknown, has a bad value or is of no use to `source`.
    """

    FRONT_END: ClassVar[str] = "contribution_chart"
    SHOWS: ClassVar[tuple[type, ...]] = (Contributions, OpenedContributions)
    POSITIONAL: ClassVar[tuple[str, ...]] = ("metric",)

    TAKES: ClassVar[tuple[str, ...]] = (*Prompted.TAKES, "prompts")

    metric = Option(None, help="What the bars add up to.")
    by = Option(None, help="What the bars are of before any is opened.")
    shape = Option("waterfall", help="How bars are drawn.")
    opened = Option((), help="Keys of the bars that are open.")
    planes = Shown(None).tag(sync=True)

    def __init__(self, source: Any, *positional: Any, prompts: Any = None, **options: Any) -> None:
        self._opening, self._many = Opening(), None
        self._given: tuple[Contributions, ...] = ()
        if prompts is None and not isinstance(source, (list, tuple)):
            super().__init__(source, *positional, **options)
            return
        self._many = _many(source, prompts, [*positional, *([options.pop("metric")] if "metric" in options else [])])
        layout = options.pop("layout", None)
        arguments.refuse_unknown(type(self), options)
        whole = {**arguments.defaults(type(self)), **arguments.settled(options)}
        self._refuse(self._many.model, whole, None)

        def make() -> State:
            with plain_state():
                self._first = self._chosen_first(self._picture(whole))
            return self._first

        self._appear(self._many.model, make, layout)

    @property
    def result(self) -> OpenedContributions:
        """The bars that are drawn; ``.contributions`` are the results they are made of."""
        shown = super().result
        assert isinstance(shown, OpenedContributions)
        return shown

    def expand(self, *keys: str) -> None:
        """Open bars, as ``expand("layer.3", "3.attn_out")``; those that are open stay so."""
        self.opened = tuple(dict.fromkeys([*self.opened, *keys]))

    def close(self) -> None:
        """Remove the widget from the page and free its run and pictures. Waits for nothing."""
        super().close()
        self._opening, self._many, self._given = Opening(), None, ()

    # --- what the base asks ---------------------------------------------------------------------------------------

    def _model_behind(self) -> ResidualModel | None:
        return super()._model_behind() if self._many is None else self._many.model

    def _refuse(self, model: ResidualModel, options: Mapping[str, Any], prompt: Any) -> None:
        super()._refuse(model, options, prompt)
        if options["metric"] is not None:
            require_linear(options["metric"])
        _require_choices(options)

    def _picture(self, options: Mapping[str, Any], given: Any = None) -> State:
        if isinstance(given, OpenedContributions):
            self._given = given.contributions
            options = {**options, **{name: getattr(given, name) for name in ("by", "opened", "shape")}}
        elif given is not None:
            self._given = (given,)
        return super()._picture(options)

    def _compute(self, options: Mapping[str, Any]) -> OpenedContributions:
        _require_choices(options)
        run, model = self._run, self._model_behind()
        views = views_of(self._given, model)
        by = options["by"] or (views[0] if model is None else "layer")
        if by not in views:
            raise InputError.about("by", by, f"here there is {', '.join(views)}", "Choose one of them.")
        opened = keys_of(options["opened"], model)
        asked = self._many
        if run is not None:
            metric = _default(run) if options["metric"] is None else require_linear(options["metric"])
            asked = Asked(run, metric, run.model)
        if asked is None:
            return opened_contributions(self._given, by, opened, options["shape"])
        results, asks = self._opening.of(asked, by, opened)
        return opened_contributions(results, by, opened, options["shape"], asks)

    def _stated(self, options: Mapping[str, Any], result: Any) -> dict[str, Any]:
        assert isinstance(result, OpenedContributions)
        metric = options["metric"]
        if metric is None and self._run is not None:
            metric = _default(self._run)
        known = {"metric": metric, "by": result.by, "opened": result.opened}
        return {**super()._stated(options, result), **known}

    def _parts(self, result: Any) -> dict[str, Mapping[str, Any]]:
        return {"waterfall": waterfall_part(result)}

    def _axes(self, result: Any) -> Mapping[str, Sequence[int | str]]:
        axes = dict(result.tree.axes)
        if self._run is not None:
            model = self._run.model
            axes["layer"] = list(range(model.n_layers))
            axes["pos"] = list(range(self._run.n_pos))
            for name, component, place in (("head", "z", 0), ("neuron", "mlp_post", 0)):
                sizes = [site_shape(model, component, layer)[place] for layer in layers_with(model, component)]
                axes[name] = list(range(max(sizes, default=0)))
        return axes

    def _side(self, state: State) -> dict[str, Any] | None:
        part = state.result.tree.at(state.selection)
        return None if part is None else self._told(state, part)

    def _told(self, state: State, part: Part) -> dict[str, Any]:
        """Return what is known of a bar, which is found out once."""
        run, metric = self._run, state.options["metric"]
        return self._opening.once((part.key, part.value), lambda: details_of(state.result, part, run, metric))

    def _controls(self, result: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        opened = panel.text("opened", "opened", " ".join(result.opened), visible=False)
        return [*super()._controls(result, options), opened]

    def _choices(self, result: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        run = self._run
        views = views_of(self._given, self._model_behind())
        metric = [] if run is None else metric_controls(run, options["metric"], LINEAR)
        return [
            panel.choice("by", "by", result.by, [(name, name) for name in views]),
            panel.choice("shape", "as", result.shape, list(SHAPES.items())),
            *metric,
        ]

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        if name in ("metric", "answer", "foil"):
            return {"metric": metric_from_control(self._needed_run(), self.metric, name, value)}
        return super()._from_control(name, value)

    def _changing(self, old: State, options: Mapping[str, Any]) -> State:
        """With another prompt, a metric that nobody chose is that of its own likeliest next tokens."""
        if "prompt" in options and "metric" not in options:
            chosen = old.options["metric"] != _default(self._needed_run())
            options = options if chosen else {**options, "metric": None}
        return super()._changing(old, options)

    def _apply_change(self, name: str, value: Any, job: Job) -> None:
        if name not in _DOING:
            return super()._apply_change(name, value, job)
        self._say("busy", _DOING[name])
        return self._try(name, value, job)

    def _page_only(self, state: State) -> dict[str, Any]:
        """Tell of the first bars what is known of them, for a page without Python."""
        shown = [bar.part for bar in state.result.bars[:KNOWN]]
        told = [{**self._told(state, part), "at": part.at} for part in shown]
        none = {"labels": [], "shape": [0, 0, 0], "data": b"", "formats": []}
        return {"planes": {**none, "known": told}}


def _many(source: Any, prompts: Any, metrics: Sequence[Any]) -> Asked:
    """Return what is split of several runs, or of a model over prompts."""
    if len(metrics) != 1:
        rule = "over several prompts one metric is needed, with one token for all or one for each"
        raise InputError.about("metric", list(metrics), rule, 'For example rw.logit_diff([" Mary"], [" John"]).')
    metric = require_linear(metrics[0])
    if prompts is not None:
        model = as_model(source)
        return Asked(model, metric, model, prompts)
    if not source or not all(isinstance(each, Run) for each in source):
        rule = "a Run, a list of Runs, a model with a prompt or with prompts=..., or a Contributions is needed"
        raise InputError.about("source", source, rule, "rw.ContributionChart(rw.run(model, 'Some text')).")
    return Asked(list(source), metric, source[0].model)


def _default(run: Run) -> Metric:
    """Return the logit of the likeliest next token less that of the second."""
    first, second = run.final_logits.topk(2).indices.tolist()
    return logit_diff(int(first), int(second))


def _require_choices(options: Mapping[str, Any]) -> None:
    for name, allowed in (("by", (None, *VIEWS)), ("shape", tuple(SHAPES))):
        if options[name] not in allowed:
            told = ", ".join(str(each) for each in allowed if each)
            raise InputError.about(name, options[name], f"must be one of {told}", "Choose one.")
