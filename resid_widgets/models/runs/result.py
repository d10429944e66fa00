"""What one forward pass recorded: the residual stream of one prompt, with the checks it passed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.interventions import Intervention
from resid_widgets.models.components import require_offered
from resid_widgets.models.copies import OneProcess
from resid_widgets.models.layers.shapes import one_shape, site_shape
from resid_widgets.models.memory import human, storage_bytes
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.marking import marked_positions
from resid_widgets.models.runs.recording import Recording
from resid_widgets.models.runs.same_model import require_same_logits, require_same_model
from resid_widgets.models.token_checks import prompt_checks
from resid_widgets.models.tokenize import Tokens
from resid_widgets.results import Check, Provenance
from resid_widgets.sites import require_component
from resid_widgets.tokens import visible
from resid_widgets.whole import from_zero, is_whole

_MOST_MORE = 2

_DIMS = {
    "q": ("layer", "pos", "head", "d_head"),
    "k": ("layer", "pos", "kv_head", "d_head"),
    "v": ("layer", "pos", "kv_head", "d_head"),
    "z": ("layer", "pos", "head", "d_head"),
    "pattern": ("layer", "head", "pos", "key_pos"),
    "mlp_post": ("layer", "pos", "neuron"),
}


class Run(OneProcess):
    """Activations of one prompt, recorded in one forward pass. Made by `run`.

    `copy.deepcopy` copies the model as well; it cannot be pickled, what is computed from it can.

    Attributes
    ----------
    model
        The ResidualModel that ran.
    prompt
        What was tokenized, and how.
    token_ids
        ``[pos]``, exactly what was fed.
    tokens
        Their text, one string a position.
    unknown
        Positions of words that the tokenizer does not know.
    components
        What was kept, names of `resid_widgets.sites.COMPONENTS`.
    final_logits
        ``[d_vocab]``, logits at the last position.
    logits
        ``[pos, d_vocab]`` if asked for with ``keep="logits"``, else None.
    checks
        Residual identity, last-layer lens against logits, and what else is worth knowing.
    provenance
        What this run came from.
    base
        For a run made by `resid_widgets.intervene`: the run without interventions; else None.
    interventions
        What was done to it, as listed; empty for an ordinary run.
    recording
        What exact reuse has recorded of it, if it was used; it counts as memory.
    repeated
        Whether a whole pass has shown that the model still gives these logits.
    sources
        Runs of other prompts that interventions took values from, the latest few; they count as memory.
    """

    INSTEAD = "Send what was read from it (run.residual(...), a result of an analysis), or run again there."
    AFRESH: ClassVar[Mapping[str, Any]] = {"recording": None}  # it knows parts by their ids; made again where needed

    def __init__(
        self,
        model: ResidualModel,
        prompt: Tokens,
        kept: tuple[str, ...],
        recorded: dict[tuple[str, int], Tensor],
        norms: Float[Tensor, "layer pos"],
        logits: Float[Tensor, "rows d_vocab"],
        checks: tuple[Check, ...],
        provenance: Provenance,
        again: Callable[[str], Run],
        base: Run | None = None,
        interventions: tuple[Intervention, ...] = (),
    ) -> None:
        self.model = model
        self.base = base
        self.interventions = interventions
        self.recording: Recording | None = None
        self.repeated = False
        self._again = again
        self._more: dict[str, Run] = {}
        self.sources: dict[tuple[Any, str], Run] = {}
        self.prompt = prompt
        self.token_ids = prompt.ids
        self.tokens = model.token_strings(prompt.ids)
        self.unknown = tuple(pos for pos, _ in prompt.unknown)
        self.components = kept
        self.final_logits = logits[-1]
        self.logits = logits if "logits" in provenance.options["keep"] else None
        self._norms = norms
        self.provenance = provenance
        self.checks = checks + prompt_checks(prompt) + _model_checks(model)
        self._recorded = recorded

    @property
    def n_pos(self) -> int:
        """Number of positions."""
        return len(self.token_ids)

    @property
    def memory(self) -> int:
        """Bytes that the recorded activations, their norms and logits hold, and what exact reuse has recorded."""
        tensors = [*self._recorded.values(), self._norms, self.final_logits if self.logits is None else self.logits]
        reused = [] if self.recording is None else self.recording.tensors
        return storage_bytes([*tensors, *reused]) + sum(
            run.memory for run in [*self._more.values(), *self.sources.values()]
        )

    @cached_property
    def marked(self) -> tuple[int, ...]:
        """Positions left out of scales: the first, and any where resid_post's norm exceeds 10x its layer's median."""
        return tuple(int(p) for p in marked_positions(self._norms).nonzero().flatten())

    @property
    def layers(self) -> range:
        """0 .. n_layers - 1."""
        return range(self.model.n_layers)

    def holds(self, component: str) -> bool:
        """Whether a component is here, so that `activation` needs no pass."""
        return component in self.components or component in self._more

    def tensor(self, component: object, layer: object) -> Tensor:
        """Return one layer's activation, ``[pos, d_model]`` for the stream, on the model's device.

        Raises
        ------
        InputError
            If `component` is unknown or was not kept, or `layer` is out of range.
        """
        component = require_component(component)
        if component not in self.components:
            require_offered(self.model, component)
            raise InputError.about(
                "component", component, f"this run kept {self._kept}", f"Run again with keep=[..., {component!r}]."
            )
        place = component, self.layer(layer)
        if place not in self._recorded:
            site_shape(self.model, *place)  # which says why the layer has none
        return self._recorded[place]

    def activation(self, component: object, layer: object) -> Tensor:
        """Return one layer's activation like `tensor`; one that was not kept is recorded again, in another pass.

        The latest two components recorded that way are held, and count as memory.

        Raises
        ------
        InputError
            If `component` is unknown, the model has none or has changed since, or `layer` is out of range.
        """
        component = require_component(component)
        if component in self.components:
            return self.tensor(component, layer)
        if component not in self._more:
            require_same_model(self.model, self.provenance)
            again = self._again(component)
            require_same_logits(self.model, self.provenance, self.final_logits, again.final_logits)
            while len(self._more) >= _MOST_MORE:
                self._more.pop(next(iter(self._more)), None)
            self._more[component] = again
        return self._more[component].tensor(component, layer)

    def layer(self, layer: object) -> int:
        """Return `layer` counted from 0; negative counts from the end.

        Raises
        ------
        InputError
            If it is out of range.
        """
        return from_zero("layer", layer, self.model.n_layers, "the model has layers")

    def pos(self, pos: object) -> int:
        """Return `pos` counted from 0; negative counts from the end.

        Raises
        ------
        InputError
            If it is out of range.
        """
        return from_zero("pos", pos, self.n_pos, "the prompt has positions")

    def residual(self, component: str = "resid_post", layers: Any = None) -> xr.DataArray:
        """All layers of one component, or some, as a labelled array of float32.

        Returns
        -------
        xarray.DataArray
            ``[layer, pos, d_model]`` for the stream and its writes; heads and neurons have their own dims.
            Coords ``layer``, ``pos`` and, on ``pos``, the visible ``token``.

        Raises
        ------
        InputError
            If `component` is unknown or was not kept, a layer has none, or the layers differ in number or width of
            heads or in neurons: those are no one array (`tensor` gives one layer).
        """
        wanted = self.layers if layers is None else [layers] if is_whole(layers) else layers
        chosen = [self.layer(n) for n in wanted]
        require_offered(self.model, component := require_component(component))
        one_shape(self.model, component, chosen)
        values = np.stack([self.tensor(component, n).float().cpu().numpy() for n in chosen])
        dims = _DIMS.get(component, ("layer", "pos", "d_model"))
        return xr.DataArray(
            values,
            dims=dims,
            coords={
                "layer": chosen,
                "pos": list(range(self.n_pos)),
                "token": ("pos", [visible(t) for t in self.tokens]),
            },
            name=component,
            attrs={"long_name": component, "units": ""},
        )

    @property
    def _kept(self) -> str:
        return ", ".join([*self.components, *(() if self.logits is None else ("logits",))])

    def __repr__(self) -> str:
        lines = [f"Run of {self.provenance.describe()}", f"  keeps {self._kept} ({human(self.memory)})"]
        return "\n".join(lines + [f"  [{c.level}] {c.text}" for c in self.checks])


def _model_checks(model: ResidualModel) -> tuple[Check, ...]:
    found = [Check("loading", "amber", None, None, note) for note in model.notes]
    if model.folded:
        text = "TransformerLens has folded the weights: the stream is not the one that the model ships with"
        found.append(Check("weights", "amber", None, None, text))
    return tuple(found)
