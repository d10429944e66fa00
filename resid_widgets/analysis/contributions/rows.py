"""Where the stream is split: positions of one run, of several, or of many prompts that run together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from resid_widgets.analysis.contributions.sublayer import block_modules
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.collecting.batch_plan import BATCH_TOKENS, Plan
from resid_widgets.models.collecting.batches import Place, read_batch
from resid_widgets.models.layers.shapes import site_shape
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.prompt_list import Entry
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import STREAM


@dataclass(frozen=True, eq=False)
class Rows:
    """Positions of one prompt or of several.

    Attributes
    ----------
    model
        Whose stream it is.
    edited
        Component and layer where interventions changed the stream itself, beside what attention and MLP write.
    prompts
        ``[row]``: which prompt each is of, from 0.
    positions
        ``[row]``, from 0.
    at
        From component and layer to what stands there: ``[row, d_model]`` for the stream and its writes, ``[row, head,
        d_head]`` for z, ``[row, neuron]`` for mlp_post; on the model's device.
    """

    model: ResidualModel
    prompts: tuple[int, ...]
    positions: tuple[int, ...]
    at: Callable[[str, int], Tensor]
    edited: frozenset[tuple[str, int]] = frozenset()

    @cached_property
    def modules(self) -> list[dict[str, nn.Module]]:
        """Those of each block, looked up once."""
        return block_modules(self.model)

    def __len__(self) -> int:
        return len(self.positions)


def rows_of_runs(runs: Sequence[Run], positions: Sequence[Sequence[int]]) -> Rows:
    """Return positions of runs of one model."""

    def at(component: str, layer: int) -> Tensor:
        return torch.cat([run.activation(component, layer)[list(of)] for run, of in zip(runs, positions, strict=True)])

    prompts = tuple(n for n, of in enumerate(positions) for _ in of)
    sites = {item.site for run in runs for item in run.interventions if item.site.component in STREAM}
    edited = frozenset((site.component, site.layer) for site in sites)
    return Rows(runs[0].model, prompts, tuple(pos for of in positions for pos in of), at, edited)


@plain_state()
def rows_of_prompts(
    model: ResidualModel,
    entries: Sequence[Entry],
    positions: Sequence[Sequence[int]],
    places: Sequence[Place],
    weights_hash: str,
) -> Rows:
    """Run prompts, those of equal length together, and return positions of them. Nothing but `places` is held."""
    plan = Plan.of(model, entries, [tuple(of) for of in positions], BATCH_TOKENS)
    whole: dict[Place, Tensor] = {}
    for batch in range(len(plan.batches)):
        found = read_batch(model, plan.rows(batch), plan.kept(batch), places, weights_hash)
        samples = torch.as_tensor(plan.samples(batch))
        for place, value in found.items():
            if place not in whole:
                whole[place] = torch.empty(plan.n_samples, value.shape[-1], dtype=value.dtype)
            whole[place][samples] = value

    def at(component: str, layer: int) -> Tensor:
        shape = site_shape(model, component, layer)
        return whole[component, layer].to(model.device).reshape(plan.n_samples, *shape)

    prompts = tuple(n for n, of in enumerate(positions) for _ in of)
    return Rows(model, prompts, tuple(pos for of in plan.positions for pos in of), at)
