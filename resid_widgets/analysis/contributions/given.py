"""What direct logit attribution is made from: one run, several, or a model and prompts; with what is read of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from resid_widgets.analysis.contributions.direction import Directions, Weights, logit_directions
from resid_widgets.analysis.contributions.parts import Parts, parts_along, places_of, writers_before
from resid_widgets.analysis.contributions.rows import Rows, rows_of_prompts, rows_of_runs
from resid_widgets.analysis.metrics import Metric, Reading, label_of
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.prompt_list import Entry, read_prompts
from resid_widgets.models.runs.run import Run, run
from resid_widgets.models.token_checks import NAMES, token_checks
from resid_widgets.results import Check
from resid_widgets.sites import Site
from resid_widgets.whole import from_zero

_ONE = "Make one first: run = rw.run(model, prompt)."


@dataclass(frozen=True, eq=False)
class Given:
    """Prompts, and what a metric reads of each.

    Attributes
    ----------
    first
        A run of the first.
    runs
        A run of each; None where only the prompts are given.
    entries
        The prompts, where they were given.
    readings
        One a prompt. Those of prompts without a run have the first's, for their words.
    positions, weights
        Where each is read, and what of its logits.
    """

    first: Run
    runs: tuple[Run, ...] | None
    entries: tuple[Entry, ...]
    readings: tuple[Reading, ...]
    positions: tuple[tuple[int, ...], ...]
    weights: tuple[Weights, ...]

    @property
    def model(self) -> ResidualModel:
        """Whose stream it is."""
        return self.first.model

    @property
    def count(self) -> int:
        """Number of prompts."""
        return len(self.readings)

    @property
    def label(self) -> str:
        """What is read, in words."""
        return label_of(self.readings)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Of all prompts, one after the other."""
        ids = [each.token_ids for each in self.runs] if self.runs else [entry.tokens.ids for entry in self.entries]
        return tuple(token for of in ids for token in of)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Of the first prompt's run, but what is said of tokens is said of all."""
        own = self.readings[0].checks()
        if self.count == 1:
            return (*self.first.checks, *own)
        general = [check for check in self.first.checks if check.name not in NAMES]
        return (*general, *token_checks(self.entries), *own)

    def split(self, by: str, layers: Sequence[int]) -> tuple[Rows, Directions, Parts]:
        """Split the final stream of all prompts along what is read of it."""
        if by != "source":
            return self._split(self._rows(by, layers), range(self.count), by, layers)
        lengths = {len(run.token_ids) for run in self.runs} if self.runs else {len(e.tokens.ids) for e in self.entries}
        if len(lengths) > 1:
            rule = f"the prompts have {', '.join(map(str, sorted(lengths)))} tokens, so that no position means the same"
            raise InputError.about("by", by, rule, "Use by='head', or prompts of equal length.")
        found = []
        for n in range(self.count):  # one after the other: patterns are large
            one = self.runs[n] if self.runs else run(self.model, self.entries[n].tokens.ids)
            found.append(self._split(rows_of_runs([one], [self.positions[n]]), [n], by, layers, one))
        return found[0] if len(found) == 1 else _together(found)

    def _rows(self, by: str, layers: Sequence[int]) -> Rows:
        if self.runs:
            return rows_of_runs(self.runs, self.positions)
        places = places_of(self.model, by, layers)
        return rows_of_prompts(self.model, self.entries, self.positions, places, self.first.provenance.weights_hash)

    def _split(
        self, rows: Rows, prompts: Sequence[int], by: str, layers: Sequence[int], one: Run | None = None
    ) -> tuple[Rows, Directions, Parts]:
        weights = [self.weights[n] for n in prompts for _ in self.positions[n]]
        end = Site("resid_post", self.model.n_layers - 1)
        found = logit_directions(self.model, rows.at(end.component, end.layer), weights, self.label)
        return rows, found, parts_along(rows, found.vectors, by, layers, writers_before(self.model, end), one)


def given(source: Any, prompts: Any, bos: bool | None, metric: Metric) -> Given:
    """Return what was given, checked; only the first of many prompts is run.

    Raises
    ------
    InputError
        If it is no run, several of one model, or a model with prompts; or the metric does not fit a prompt.
    """
    if prompts is not None:
        return _of_prompts(as_model(source), prompts, bos, metric)
    runs = (source,) if isinstance(source, Run) else tuple(source) if isinstance(source, list | tuple) else ()
    if not runs or not all(isinstance(each, Run) for each in runs):
        as_what = "a Run, a list of Runs, or a model with prompts=... is needed"
        raise InputError.about("run", source, as_what, _ONE)
    hashes = {each.provenance.weights_hash for each in runs}
    if len(hashes) > 1:
        raise InputError.about("run", f"{len(runs)} runs", "they are of different models or weights", "Take one model.")
    readings = tuple(metric.for_prompt(n, len(runs)).bound(each) for n, each in enumerate(runs))
    positions = tuple(reading.positions for reading in readings)
    return Given(runs[0], runs, (), readings, positions, tuple(map(_weights, readings)))


def _of_prompts(model: ResidualModel, prompts: Any, bos: bool | None, metric: Metric) -> Given:
    entries = tuple(read_prompts(model, prompts, bos))
    metrics = [metric.for_prompt(n, len(entries)) for n in range(len(entries))]
    targets = [each.targets(model) for each in metrics]
    positions = [
        tuple(from_zero("pos", pos, len(entry.tokens.ids), f"prompt {n} has positions") for pos in metric.pos)
        for n, entry in enumerate(entries)
    ]
    first = run(model, entries[0].tokens.ids)
    bound = metrics[0].bound(first)
    names = [tuple(one.bound(first).names) for one in metrics] if len({m.answers for m in metrics}) > 1 else None
    readings = tuple(
        Reading(one, first, bound.positions, of.ids, bound.names if names is None else names[n], of)
        for n, (one, of) in enumerate(zip(metrics, targets, strict=True))
    )
    return Given(first, None, entries, readings, tuple(positions), tuple(map(_weights, readings)))


def _weights(reading: Reading) -> Weights:
    return tuple(zip(reading.token_ids, reading.metric.coefficients, strict=True))


def _together(found: Sequence[tuple[Rows, Directions, Parts]]) -> tuple[Rows, Directions, Parts]:
    """Put the rows of several prompts one below the other."""
    rows, directions, parts = zip(*found, strict=True)
    prompts = tuple(n for n, each in enumerate(rows) for _ in each.positions)
    whole = Rows(rows[0].model, prompts, tuple(pos for each in rows for pos in each.positions), rows[0].at)
    names = dict.fromkeys(name for each in parts for name in each.rest)
    rest = {name: np.concatenate([each.rest.get(name, np.zeros(len(each.values))) for each in parts]) for name in names}
    vectors, bias, total = (
        torch.cat([getattr(each, name) for each in directions]) for name in ("vectors", "bias", "total")
    )
    values = np.concatenate([each.values for each in parts])
    opened = {layer: max((each.opened[layer] for each in parts), key=lambda of: of.gap) for layer in parts[0].opened}
    read = Directions(vectors, bias, total, directions[0].centred)
    return whole, read, Parts(values, parts[0].dims, parts[0].coords, rest, opened)
