"""One pass over prompts that keeps, of every neuron, what its patterns need and nothing that grows with the prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.neurons.prompts import Prompts
from resid_widgets.analysis.neurons.running_statistics import Correlations, Extremes, Histograms, Moments
from resid_widgets.models.collecting.batch_plan import BATCH_TOKENS
from resid_widgets.models.collecting.batch_plan import Plan as BatchPlan
from resid_widgets.models.collecting.batches import read_batch
from resid_widgets.models.memory import CPU, require_memory
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.progress import Report
from resid_widgets.models.prompt_list import Entry
from resid_widgets.models.runs.marking import marked_positions
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import relative_gap
from resid_widgets.results import Check

CHUNK_BYTES = 64 * 2**20  # float64 copies of activations alive at once
POOLED_BYTES = 256 * 2**20  # one number a prompt and neuron, for AUROC


@dataclass(frozen=True)
class Plan:
    """What to read and how much to keep.

    Attributes
    ----------
    component, layers, neurons
        Rows are ``layers x neurons``, the neurons of the first layer first.
    top_k, context
        How many contexts at either end, and how many tokens to either side.
    bins
        Of each histogram, at most.
    sample
        Positions of whole prompts, drawn by `seed`, whose activations are all kept.
    threshold
        In activation units.
    label_at
        The number that a prompt gives for its label: at its position, the mean or the largest over its positions.
    """

    component: str
    layers: tuple[int, ...]
    neurons: tuple[int, ...]
    top_k: int
    context: int
    bins: int
    sample: int
    threshold: float
    label_at: str
    seed: int

    @property
    def rows(self) -> int:
        """Layers times neurons."""
        return len(self.layers) * len(self.neurons)

    def sampled(self, prompts: Prompts) -> list[int]:
        """Return the prompts that are kept whole, in order: at random, as many as fit `sample` positions."""
        lengths = np.diff(prompts.starts)
        order = np.random.default_rng(self.seed).permutation(len(lengths))
        return sorted(int(i) for i in order[np.cumsum(lengths[order]) <= self.sample])

    def require_memory(self, model: ResidualModel, prompts: Prompts) -> None:
        """Refuse what would not fit.

        Raises
        ------
        InputError
            With the remedy.
        """
        window = 2 * self.context + 1
        extremes = 2 * self.top_k * (4 + 8 + 4 * window)
        row = extremes + 3 * 8 * self.bins + 4 * self.sample + 100 + 24 * len(prompts.names)
        pooled = min(POOLED_BYTES, 4 * self.rows * len(prompts.tokens)) if prompts.labels else 0
        remedy = "Choose fewer layers or neurons, or a smaller top_k, context or sample."
        require_memory(self.rows * row + pooled + 4 * CHUNK_BYTES, CPU, "memory of the patterns", remedy)


class Collection:
    """What was kept of one pass. Rows as in `Plan`; see `collect_neurons`."""

    def __init__(self, plan: Plan, prompts: Prompts) -> None:
        rows = plan.rows
        self.plan, self.prompts = plan, prompts
        self.moments = Moments(rows, plan.threshold)
        self.histograms = Histograms(rows, plan.bins)
        self.top, self.bottom = (Extremes(rows, plan.top_k, plan.context, largest) for largest in (True, False))
        self.correlations = Correlations(rows, len(prompts.names))
        self.sampled_prompts = plan.sampled(prompts)
        self.sampled: dict[int, Float[Tensor, "row pos"]] = {}
        self.sampled_at: dict[int, tuple[int, ...]] = {}
        self.marked: dict[int, tuple[int, ...]] = {}
        self.first: Float[Tensor, "row pos"] | None = None
        self.not_finite = 0
        self.labelled: list[int] = []
        fits = prompts.labels is not None and 4 * rows * len(prompts.tokens) <= POOLED_BYTES
        self._pooled: list[Float[Tensor, " row"]] | None = [] if fits else None

    def take(self, batch: Batch) -> None:
        """Take in the prompts of one pass."""
        x = batch.x
        finite = torch.isfinite(x).all(0)
        self.not_finite += int((~finite).sum())
        counted = finite & ~batch.marked
        for n, number in enumerate(batch.numbers):
            self.marked[number] = tuple(int(pos) for pos in batch.marked[n].nonzero())
            if number == 0:
                self.first = x[:, n].clone()
            if number in self.sampled_prompts:
                self.sampled[number] = x[:, n].clone()
                self.sampled_at[number] = tuple(int(pos) for pos in counted[n].nonzero())
        if counted.any():
            kept = x[:, counted]
            for part in kept.split(max(1, CHUNK_BYTES // (8 * len(x))), dim=1):
                self.moments.update(part)
                self.histograms.update(part, self.moments.low, self.moments.high)
            starts = torch.from_numpy(self.prompts.starts[list(batch.numbers)])
            for extremes in (self.top, self.bottom):
                extremes.update(x, counted, starts)
        if self.prompts.labels is not None:
            for n, number in enumerate(batch.numbers):
                self._take_label(number, x[:, n], counted[n])

    def _take_label(self, number: int, x: Float[Tensor, "row pos"], counted: Bool[Tensor, " pos"]) -> None:
        pos = self.prompts.positions[number]
        if not (counted[pos] if self.plan.label_at == "position" else counted.any()):
            return
        if self.plan.label_at == "position":
            pooled = x[:, pos].clone()
        else:
            pooled = x[:, counted].mean(1) if self.plan.label_at == "mean" else x[:, counted].amax(1)
        self.correlations.update(pooled, torch.from_numpy(self.prompts.targets[number]))
        self.labelled.append(number)
        if self._pooled is not None:
            self._pooled.append(pooled)

    def auroc(self) -> Float[NDArray, "label row"]:
        """Area under the ROC curve of each class against the rest, ties counted as half; NaN where it is not kept.

        The Mann-Whitney U over the product of the class sizes.
        """
        from scipy.stats import rankdata

        values = np.full((len(self.prompts.names), self.plan.rows), np.nan)
        if not self._pooled or self.prompts.numeric:
            return values
        pooled = torch.stack(self._pooled).numpy()
        of_class = self.prompts.targets[self.labelled] > 0  # [prompt, label]
        step = max(1, CHUNK_BYTES // (32 * len(pooled)))
        n1 = of_class.sum(0)[:, None]
        n0 = len(pooled) - n1
        for start in range(0, self.plan.rows, step):
            ranks = rankdata(pooled[:, start : start + step], axis=0)
            u = of_class.T.astype(np.float64) @ ranks - n1 * (n1 + 1) / 2
            values[:, start : start + step] = np.where(n1 * n0 > 0, u / np.maximum(n1 * n0, 1), np.nan)
        return values


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length that went through the model together.

    Attributes
    ----------
    numbers
        Which prompts.
    x
        Activations of a plan's rows, float32 on the CPU.
    marked
        Positions that statistics leave out: the rule of `resid_widgets.models.runs.marking`.
    """

    numbers: tuple[int, ...]
    x: Float[Tensor, "row prompt pos"]
    marked: Bool[Tensor, "prompt pos"]


def batches(
    model: ResidualModel,
    prompts: Prompts,
    plan: Plan,
    weights_hash: str,
    only: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Run the prompts (or `only` some) once, those of equal length together, a bounded number of tokens at a time.

    Raises
    ------
    InputError
        If the model's weights are not those of `weights_hash`, or it bears foreign hooks.
    """
    numbers = range(len(prompts.tokens)) if only is None else only
    entries = [Entry(prompts.tokens[number]) for number in numbers]
    everything = [tuple(range(len(entry.tokens.ids))) for entry in entries]
    tokens = min(BATCH_TOKENS, max(1, CHUNK_BYTES // (16 * plan.rows)))
    passes = BatchPlan.of(model, entries, everything, tokens)
    norms = [("resid_post", layer) for layer in range(model.n_layers)]
    places = list(dict.fromkeys([*((plan.component, layer) for layer in plan.layers), *norms]))
    columns = list(plan.neurons)
    for n, group in enumerate(passes.batches):
        found = read_batch(model, passes.rows(n), passes.kept(n), places, weights_hash)
        shape = (len(group), len(passes.rows(n)[0]))
        x = torch.cat([found[plan.component, layer][:, columns].float().T for layer in plan.layers])
        sizes = torch.stack([found[place].float().norm(dim=-1) for place in norms]).view(-1, *shape)
        yield Batch(tuple(numbers[i] for i in group), x.reshape(-1, *shape).contiguous(), marked_positions(sizes))


def collect_neurons(
    model: ResidualModel,
    prompts: Prompts,
    plan: Plan,
    weights_hash: str,
    report: Report | None = None,
) -> Collection:
    """Run each prompt once and keep what its neurons' patterns need.

    `report` is told after each pass how many prompts are done, and of how many.
    """
    kept, done = Collection(plan, prompts), 0
    for batch in batches(model, prompts, plan, weights_hash):
        kept.take(batch)
        done += len(batch.numbers)
        if report is not None:
            report(done, len(prompts.tokens))
    return kept


def alone_checks(kept: Collection, first: Run) -> list[Check]:
    """Hold the first prompt, as it went through the model with others, against a run of it alone."""
    plan, model = kept.plan, first.model
    alone = torch.cat([first.tensor(plan.component, n)[:, list(plan.neurons)].float().cpu().T for n in plan.layers])
    assert kept.first is not None, "the first prompt went through"
    gap = relative_gap(kept.first, alone)
    return [Check.gap("batch = alone", gap, model.gap_limit, "first prompt with others = it alone")]


def marked_check(kept: Collection) -> Check:
    """Say how many positions are left out of the statistics, and why."""
    positions = sum(len(marked) for marked in kept.marked.values())
    total = int(kept.prompts.starts[-1])
    text = f"{positions} of {total} positions left out of the statistics: each prompt's first, and massive ones"
    return Check("marked positions", "amber", float(positions), None, text)


def finite_checks(kept: Collection) -> list[Check]:
    """Say in red how many positions were left out because a neuron was not finite there."""
    if not kept.not_finite:
        return []
    text = f"{kept.not_finite} positions with activations that are not finite are left out of the statistics"
    return [Check("finite neurons", "red", float(kept.not_finite), 0.0, text)]
