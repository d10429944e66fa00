"""Pick a neuron, and see where it was active, how often, and what your own text does to it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ipywidgets import Layout

from resid_widgets.analysis.grid import GridResult
from resid_widgets.analysis.neurons.map import HEAD, TOKEN, NeuronMap, neuron_map, orders
from resid_widgets.analysis.neurons.neuron_patterns import neuron_patterns
from resid_widgets.analysis.neurons.result import NeuronPatterns
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import as_model
from resid_widgets.models.runs.run import Run, run
from resid_widgets.models.watch import passing
from resid_widgets.results import Result
from resid_widgets.widgets.neurons.details import known_planes, map_part, neuron_details, table_part
from resid_widgets.widgets.shell import arguments, panel
from resid_widgets.widgets.shell.grid import GridWidget
from resid_widgets.widgets.shell.state import State
from resid_widgets.widgets.shell.traits import Option, place, same

READS = {"v": "by its values", "q": "by its queries", "k": "by its keys"}
PATTERN_OPTIONS = tuple(name for name in list(inspect.signature(neuron_patterns).parameters)[2:] if name != "stat")


class NeuronExplorer(GridWidget):
    """All neurons of a model over a set of prompts: a picture, a table, and for one of them what it answers to.

    ``NeuronExplorer(rw.neuron_patterns(model, prompts))``; in one line ``NeuronExplorer(model, prompts)``.

    Click a cell or a row of the table. Drag over the histogram to see only contexts of such activations.

    Parameters
    ----------
    source
        A `NeuronPatterns`; or a model (or bare TransformerBridge), followed by the prompts to run; or a `Run`, whose
        one prompt is taken.
    prompts
        After a model: as in `resid_widgets.neuron_patterns`, whose other options can be given by name too.
    stat
        What the picture shows and the table is in order of: max, min, mean, std, active, above, kurtosis;
        ``"correlation <label>"``, ``"auroc <label>"``; ``"token"``, the logit effect on `token`; ``"head"``, how much
        `head` reads of what the neuron writes.
    token
        Of ``stat="token"``: a string, exactly as given, or an id.
    head, reads
        Of ``stat="head"``: layer and head, and what the head makes of it, ``"v"``, ``"q"`` or ``"k"``.
    text
        A text of your own, of which the neuron's activations are shown.
    layer, neuron
        Which neuron is selected at first; by default where the statistic is largest.
    layout
        As for any ipywidget.

    Raises
    ------
    InputError
        If an argument is unknown, has a bad value or is of no use to `source`.
    """

    FRONT_END: ClassVar[str] = "neuron_explorer"
    SHOWS: ClassVar[tuple[type[Result], ...]] = (NeuronPatterns,)
    POSITIONAL: ClassVar[tuple[str, ...]] = ()

    stat = Option(None, help="What the picture shows.")
    token = Option(None, help="Whose logit, for stat='token'.")
    head = Option(None, help="Layer and head, for stat='head'.")
    reads = Option("v", help="What the head makes of it.")
    text = Option(None, help="A text of your own.")

    def __init__(
        self,
        source: Any,
        prompts: Any = None,
        *,
        layer: Any = None,
        neuron: Any = None,
        layout: Layout | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        made = {name: options.pop(name) for name in PATTERN_OPTIONS if name in options}
        arguments.refuse_unknown(type(self), options)
        self._patterns: Any = None
        self._read: tuple[Any, Run] | None = None  # the user's own text
        self._at_first = {"layer": layer, "neuron": neuron}
        model = as_model(source.model if isinstance(source, (NeuronPatterns, Run)) else source)
        place("layer", layer, model.n_layers)  # bad values are told before anything is run
        if options.get("token") is not None:
            model.token_id(options["token"])

        def make() -> State:
            if self._patterns is None:
                self._patterns = _patterns(source, prompts, made)
            with plain_state():
                self._first = self._chosen_first(self._picture({**arguments.defaults(type(self)), **options}))
            return self._first

        self._appear(model, make, layout)

    @property
    def patterns(self) -> NeuronPatterns:
        """The patterns that are explored."""
        self._open()
        return self._patterns

    @property
    def neuron(self) -> int | None:
        """The selected neuron, or None."""
        return self._open().selection.get("neuron")

    def pick(self, layer: Any, neuron: Any) -> None:
        """Select a neuron.

        Raises
        ------
        InputError
            If it was not read.
        """
        self._open()
        self._column(neuron)  # says what is wrong with it
        self.select(layer=layer, neuron=neuron)

    def close(self) -> None:
        """Remove the widget from the page and free its patterns. Waits for nothing."""
        super().close()
        self._patterns = self._read = None

    # --- what the base asks ---------------------------------------------------------------------------------------

    def _picture(self, options: Mapping[str, Any], given: Any = None) -> State:
        new = super()._picture(options)
        self._own(new.options["text"])  # says now what is wrong with it
        return new

    def _chosen_first(self, first: State) -> State:
        layer, neuron = self._at_first["layer"], self._at_first["neuron"]
        if layer is None and neuron is None:
            layer, neuron = first.result.as_patterns().largest or (None, None)
        elif neuron is not None:
            self._column(neuron)  # says what is wrong with it
        return self._selecting(first, {"layer": layer, "neuron": neuron})

    def _compute(self, options: Mapping[str, Any]) -> NeuronMap:
        patterns, stat = self._patterns, options["stat"] or self._patterns.stat
        known = orders(patterns)
        if stat not in known:
            raise InputError.about("stat", stat, "there is no such order", f"Use one of {', '.join(known)}.")
        asked = {name: options[name] for name in ("token", "head", "reads")}
        old = self._state
        if old is not None and stat == old.options["stat"]:
            same_token = stat != TOKEN or asked["token"] == old.options["token"]
            same_head = stat != HEAD or (asked["head"], asked["reads"]) == (old.options["head"], old.options["reads"])
            if same_token and same_head:
                assert isinstance(old.result, NeuronMap)
                return old.result
        return neuron_map(patterns, stat, **{**asked, **self._defaults(asked)})

    def _defaults(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return a token and a head where none is given: the first prompt's last token, the last layer's first head."""
        model = self._patterns.model
        last = self._patterns.prompts.tokens[0].ids[-1]
        token = last if asked["token"] is None else asked["token"]
        head = (model.n_layers - 1, 0) if asked["head"] is None else asked["head"]
        return {"token": token, "head": head}

    def _parts(self, result: NeuronMap) -> dict[str, Mapping[str, Any]]:
        return {"heatmap": map_part(result), "neurons": table_part(result)}

    def _stated(self, options: Mapping[str, Any], result: GridResult) -> dict[str, Any]:
        assert isinstance(result, NeuronMap)
        return {**options, **self._defaults(options), "stat": result.order}

    def _controls(self, result: GridResult, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        model, stat, token, head = self._patterns.model, options["stat"], options["token"], options["head"]
        return [
            panel.select("stat", "order by", stat, list(orders(self._patterns).items())),
            panel.text(
                "token",
                "token",
                token if isinstance(token, str) else model.token_strings([token])[0],
                visible=stat == TOKEN,
                hint="One exact token, its space included.",
            ),
            panel.text(
                "head", "head", ".".join(map(str, head)), visible=stat == HEAD, hint="Layer and head, such as 3.1."
            ),
            panel.select("reads", "read", options["reads"], list(READS.items()), visible=stat == HEAD),
            panel.text(
                "text",
                "your text",
                options["text"] if isinstance(options["text"], str) else "",
                wide=True,
                placeholder="type a text, press Enter",
            ),
        ]

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        if name == "text":
            return {"text": value or None}
        if name == "head":
            parts = str(value).replace(",", ".").split(".")
            if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
                raise InputError.about("head", value, "a layer and a head are needed", "Write them as 3.1.")
            return {"head": (int(parts[0]), int(parts[1]))}
        return {name: value}

    def _axes(self, result: GridResult) -> Mapping[str, Sequence[int | str]]:
        return {"layer": self._patterns.layers, "neuron": self._patterns.neurons}

    def _selecting(self, old: State, address: Mapping[str, Any]) -> State:
        layer = address.get("layer")
        if layer is not None:  # a layer's number, not its row
            layers = self._patterns.layers
            counted = place("layer", layer, self._patterns.model.n_layers)
            if counted not in layers:
                raise InputError.about("layer", layer, f"these patterns have layers {list(layers)}", "Choose one.")
            address = {**address, "layer": counted}
        return super()._selecting(old, address)

    def _details(self, result: GridResult, options: Mapping[str, Any], layer: int, pos: int) -> dict[str, Any]:
        assert isinstance(result, NeuronMap)
        return neuron_details(result, layer, pos, self._own(options["text"]))

    def _planes(self, result: GridResult, options: Mapping[str, Any]) -> dict[str, Any] | None:
        assert isinstance(result, NeuronMap)
        return known_planes(result)

    def _own(self, text: Any) -> Run | None:
        """Return the run of the user's text, made once."""
        if text is None:
            return None
        if self._read is None or not same(self._read[0], text):
            self._read = text, run(self._patterns.model, text, keep=self._patterns.component)
        return self._read[1]

    def _column(self, neuron: Any) -> int:
        self._patterns.row(self._patterns.layers[0], neuron)
        return self._patterns.neurons.index(int(neuron))


def _patterns(source: Any, prompts: Any, made: Mapping[str, Any]) -> NeuronPatterns:
    """Return the patterns that are given, or those of a model over prompts, or of a run's prompt."""
    if isinstance(source, NeuronPatterns):
        if prompts is not None or made:
            name, value = ("prompts", prompts) if prompts is not None else next(iter(made.items()))
            rule = "patterns have their prompts and options already"
            raise InputError.about(name, value, rule, "Pass the model in place of the patterns.")
        return source
    if isinstance(source, Run):
        if prompts is not None:
            raise InputError.about("prompts", prompts, "the run has its own", "Pass the model in place of the run.")
        return neuron_patterns(source.model, [source.token_ids], **made)
    as_model(source)
    if prompts is None:
        raise InputError.about("prompts", None, "a model needs prompts", "rw.NeuronExplorer(model, prompts).")
    return neuron_patterns(source, prompts, **{"progress": _told, **made})


def _told(done: int, total: int) -> None:
    passing(done / max(1, total))


NeuronExplorer.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what help() shows: its options by name
    [
        *list(inspect.signature(NeuronExplorer.__init__).parameters.values())[1:-1],
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
            for name, value in arguments.defaults(NeuronExplorer).items()
        ),
    ]
)
