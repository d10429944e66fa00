"""What reads a run while it goes by: keeps what was asked for, and verifies each layer's sums."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from resid_widgets.models.hooks import Action
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import identity_gap, relative_gap, worst_gap
from resid_widgets.models.watch import passing
from resid_widgets.results import Check
from resid_widgets.sites import RESIDUAL


class Recorder:
    """Keeps what was asked for, and verifies each layer's sums while the pass goes by."""

    def __init__(self, model: ResidualModel, parallel: bool, kept: Sequence[str]) -> None:
        self._model = model
        self._parallel = parallel
        self._wanted = set(kept)
        self._passing: dict[str, Tensor] = {}
        self._below: Tensor | None = None
        self._gaps: list[float] = []
        self._not_finite = 0
        self.kept: dict[tuple[str, int], Tensor] = {}
        self.norms: list[Tensor] = []
        self.final: Tensor | None = None

    def actions(self) -> dict[str, Action]:
        """One reading action for each hook point needed."""
        checked = [c for c in RESIDUAL if not (self._parallel and c == "resid_mid")]
        names = [*checked, *(c for c in self._wanted if c not in checked)]
        places = [(c, n) for c in names for n in layers_with(self._model, c)]
        return {self._model.hook_name(*place): partial(self._read, *place) for place in places}

    def _read(self, component: str, layer: int, value: Tensor) -> None:
        if component in RESIDUAL:
            self._passing[component] = value
        if component in self._wanted:
            self.kept[component, layer] = value[0]
        if component == "resid_post":
            self._close_layer(layer, value)

    def _close_layer(self, layer: int, post: Tensor) -> None:
        gap = identity_gap(self._parallel, self._passing)
        if self._below is not None and self._below is not self._passing["resid_pre"]:
            gap = worst_gap(gap, relative_gap(self._below, self._passing["resid_pre"]))
        self._gaps.append(gap)
        self.norms.append(post[0].float().norm(dim=-1))
        if not torch.isfinite(self.norms[-1]).all():
            self._not_finite += int(post.numel() - torch.isfinite(post).sum())
        self._below = post
        self.final = post[0]
        self._passing.clear()
        passing((layer + 1) / self._model.n_layers)

    def checks(self) -> tuple[Check, ...]:
        """The residual identity over all layers, and a red check if activations are not finite."""
        found = [Check.gap("residual identity", worst_gap(*self._gaps), self._model.gap_limit, "stream adds up")]
        if self._not_finite:
            text = f"{self._not_finite} values of the stream are not finite (NaN or infinite)"
            found.append(Check("finite", "red", float(self._not_finite), 0.0, text))
        return tuple(found)


def lens_check(model: ResidualModel, final: Tensor | None, logits: Tensor) -> tuple[Check, ...]:
    """Last-layer lens against the model's own logits, at the last position."""
    assert final is not None, "a pass over at least one layer always records a final state"
    gap = relative_gap(model.unembed(final[-1]), logits[-1].to(torch.promote_types(logits.dtype, torch.float32)))
    return (Check.gap("last lens = logits", gap, model.gap_limit, "last lens = logits"),)
