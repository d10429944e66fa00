"""What the model would say if it stopped at each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

from resid_widgets.analysis.grid import GridResult, named_component
from resid_widgets.analysis.lens.lens_view import OF_A_TARGET, QUANTITIES, LensView, lens_view, require_quantity
from resid_widgets.analysis.lens.logit_lens import LogitLens, check_options, logit_lens
from resid_widgets.models.model import ResidualModel
from resid_widgets.sites import RESIDUAL
from resid_widgets.tokens import visible
from resid_widgets.widgets.shell import panel
from resid_widgets.widgets.shell.heatmap import heatmap
from resid_widgets.widgets.shell.prompted import PromptedGrid
from resid_widgets.widgets.shell.traits import Option, same

BETWEEN = "|"  # what separates tokens in the header's text field: spaces belong to tokens


class LogitLensHeatmap(PromptedGrid):
    """Layer-by-token picture of the logit lens: the top token in each cell, coloured by how sure it is.

    ``LogitLensHeatmap(run, targets=" Paris", quantity="rank")``; in one line ``LogitLensHeatmap(model, "Some text")``.

    Parameters
    ----------
    source
        A `Run`; or a model (or bare TransformerBridge), followed by the prompt to run; or a `LogitLens`.
    *positional
        After a run, `top_k`; after a model, the prompt first.
    top_k, component, targets
        As in `resid_widgets.logit_lens`. Each can be set later: ``w.component = "mlp_out"``.
    quantity, target
        What the colours are, as in `resid_widgets.analysis.lens.lens_view.lens_view`: probability, entropy, kl, rank,
        target_probability; the last two of `target`, an index into `targets`.
    prompt
        What to run, where `source` is a model; it can be set later, also in the widget.
    layer, pos
        The cell that is selected at first.
    layout
        As for any ipywidget.

    Raises
    ------
    InputError
        If an argument is unknown, has a bad value or is of no use to `source`.
    """

    FRONT_END: ClassVar[str] = "logit_lens_heatmap"
    SHOWS: ClassVar[tuple[type, ...]] = (LogitLens, LensView)
    POSITIONAL: ClassVar[tuple[str, ...]] = ("top_k",)

    top_k = Option(5, help="How many tokens are listed for a cell.")
    component = Option("resid_post", help="Which vectors are read.")
    targets = Option(None, help="Tokens to follow.")
    quantity = Option("probability", help="What the colours are.")
    target = Option(0, help="Which of `targets` the colours are about.")

    @property
    def lens(self) -> LogitLens:
        """The whole lens, whichever of its numbers is drawn."""
        return _lens(self.result)

    def _refuse(self, model: ResidualModel, options: Mapping[str, Any], prompt: Any) -> None:
        super()._refuse(model, options, prompt)
        named_component(options["component"])
        check_options(model, options["top_k"], options["targets"])
        require_quantity(options["quantity"])

    def _compute(self, options: Mapping[str, Any]) -> GridResult:
        old = self._state
        read = ("prompt", "top_k", "component", "targets")
        if old is not None and all(same(old.options[name], options[name]) for name in read):
            lens = _lens(old.result)
        else:
            lens = logit_lens(self._needed_run(), options["top_k"], options["component"], options["targets"])
        return lens_view(lens, options["quantity"], options["target"])

    def _heatmap(self, result: GridResult) -> dict[str, Any]:
        return heatmap(result, _lens(result))

    def _stated(self, options: Mapping[str, Any], result: GridResult) -> dict[str, Any]:
        lens, targets = _lens(result), options["targets"]
        if self._run is None:
            targets = tuple(_names(lens)) or None
        elif isinstance(targets, list):
            targets = tuple(targets)  # a list could be changed behind our back
        shown = {"quantity": result.quantity, "target": result.target or 0} if isinstance(result, LensView) else {}
        return {
            **super()._stated(options, result),
            **shown,
            "component": result.component,
            "top_k": lens.tokens.sizes["k"],
            "targets": targets,
        }

    def _choices(self, result: GridResult, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        names, quantity = _names(_lens(result)), options["quantity"]
        offered = [name for name in QUANTITIES if names or name not in OF_A_TARGET]
        colours = [
            panel.select("quantity", "colour", quantity, [(name, LABELS[name]) for name in offered]),
            panel.select(
                "target",
                "of",
                str(options["target"]),
                [(str(n), visible(name)) for n, name in enumerate(names)],
                visible=quantity in OF_A_TARGET and len(names) > 1,
            ),
        ]
        if self._run is None:
            return colours
        components = [name for name in RESIDUAL if name in self._run.components]
        hint = f"Exact tokens, spaces included, with {BETWEEN} between them. Their ranks and probabilities are listed."
        return [
            panel.select("component", "component", options["component"], components),
            *colours,
            panel.text(
                "targets", "follow tokens", BETWEEN.join(names), hint=hint, placeholder=f"tokens, {BETWEEN} between"
            ),
        ]

    def _from_control(self, name: str, value: Any) -> dict[str, Any]:
        if name == "target":
            return {"target": int(value)}
        if name == "targets":
            wanted = tuple(token for token in str(value).split(BETWEEN) if token) or None
            lost = wanted is None and self.quantity in OF_A_TARGET
            return {"targets": wanted, "target": 0, **({"quantity": "probability"} if lost else {})}
        return super()._from_control(name, value)

    def _details(
        self,
        result: GridResult,
        options: Mapping[str, Any],
        layer: int,
        pos: int,
    ) -> dict[str, Any]:
        lens = _lens(result)
        rows = [(label, float(values[layer, pos])) for label, values in _columns(lens)]
        cell = (array.values[layer, pos] for array in (lens.tokens, lens.probs, lens.token_ids))
        top = [(visible(token), float(prob)) for token, prob, id_ in zip(*cell, strict=True) if id_ >= 0]
        return panel.details(rows, top, "Likeliest next tokens")

    def _planes(self, result: GridResult, options: Mapping[str, Any]) -> dict[str, Any] | None:
        return panel.planes(_columns(_lens(result)))


LABELS = {
    "probability": "probability",
    "entropy": "entropy",
    "kl": "KL to the final answer",
    "rank": "rank of a token",
    "target_probability": "probability of a token",
}


def _lens(result: GridResult) -> LogitLens:
    """Return the lens behind what is drawn."""
    if isinstance(result, LensView):
        return result.lens
    assert isinstance(result, LogitLens)
    return result


def _names(lens: LogitLens) -> list[str]:
    """Return the targets, as they were given."""
    return [str(name) for name in lens.rank.coords["target"].values]


def _columns(lens: LogitLens) -> list[tuple[str, NDArray[Any]]]:
    """Return the numbers that the side panel lists, with their labels, each ``[layer, pos]``."""
    columns = [("entropy, nats", lens.entropy.values), ("KL(final || lens), nats", lens.kl.values)]
    for t, name in enumerate(map(visible, _names(lens))):
        columns.append((f"rank of {name}", lens.rank.values[..., t]))
        columns.append((f"probability of {name}", lens.target_probs.values[..., t]))
    return columns
