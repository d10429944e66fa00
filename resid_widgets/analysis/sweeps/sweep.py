"""One metric of many edited copies of a run: what all sweeps share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.analysis.metrics import Reading
from resid_widgets.models.progress import Bar, require_progress
from resid_widgets.models.reuse.blocks import Replayed, cost
from resid_widgets.models.reuse.edits import Edit, constant
from resid_widgets.models.reuse.engine import Engine
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import structure_of
from resid_widgets.models.watch import watched
from resid_widgets.results import Check


@dataclass(frozen=True)
class Progress:
    """How far a sweep is. What `progress=` is called with, after each wave of cells.

    Attributes
    ----------
    done, total
        Work, in tokens that go through a block; where a function says so in pairs, prompts or folds.
    seconds_left
        Estimate from what was done so far.
    values
        The metric so far, in the sweep's own shape, NaN where it is not known yet. For a batch, the present pair's.
    """

    done: int
    total: int
    seconds_left: float
    values: NDArray[np.float64]


Reporter = Callable[[Progress], Any]
"""Returning False stops the sweep, which then gives what it has."""


class StoppedError(Exception):
    """A sweep was stopped. Caught where its cells are run."""


@dataclass
class Sweeping:
    """Progress over all parts of a sweep, and whether it was stopped.

    Attributes
    ----------
    reporter
        Told after each wave.
    stop
        Asked often, also inside a wave; True stops.
    total
        Work of all parts.
    parts, part
        How many pairs or seeds there are, and which of the two.
    """

    reporter: Reporter | None
    stop: Callable[[], bool] | None
    total: int = 0
    done: int = 0
    stopped: bool = False
    began: float = 0.0
    parts: int = 1
    part: str = "pair"

    def look(self) -> None:
        """Raise if the sweep was stopped."""
        if self.stop is not None and self.stop():
            self.stopped = True
            raise StoppedError

    def alone(self) -> AbstractContextManager[None]:
        """Let `stop` alone be asked whether to go on, where there is one: what is known is kept then."""
        return nullcontext() if self.stop is None else watched(None)

    def advance(self, work: int, values: NDArray[np.float64]) -> None:
        """Report, and stop if that is the answer."""
        self.done += work
        if self.reporter is not None:
            spent = time.perf_counter() - self.began
            left = spent * (self.total - self.done) / max(1, self.done)
            if self.reporter(Progress(self.done, self.total, left, values.copy())) is False and self.done < self.total:
                self.stopped = True
                raise StoppedError

    def counted(self, parts: Sequence[NDArray[np.float64]]) -> list[int]:
        """Return which parts count: all; of a sweep that was stopped those that are complete, if any is."""
        complete = [n for n, values in enumerate(parts) if np.isfinite(values).all()]
        return complete if self.stopped and complete else list(range(len(parts)))

    def check(self, values: NDArray[np.float64]) -> list[Check]:
        """Say that it was stopped; of several parts, `values` are those that count."""
        if not self.stopped:
            return []
        if self.parts > 1 and np.isfinite(values).all():
            text = f"stopped: {len(values)} of {self.parts} {self.part}s are complete, the others are left out"
            return [Check("complete", "amber", float(len(values)), float(self.parts), text)]
        known, count = int(np.isfinite(values).sum()), values.size
        text = f"stopped: {known} of {count} cells are known, the others are empty"
        return [Check("complete", "amber", float(known), float(count), text)]


def sweeping(progress: Any, stop: Callable[[], bool] | None = None, unit: str = "token") -> Sweeping:
    """Return what keeps track of a sweep.

    Parameters
    ----------
    progress
        True shows a bar where a sweep takes more than two seconds; False shows none; a function is called with
        `Progress`, and stops the sweep by returning False.
    stop
        Asked between blocks.
    unit
        Of the work, for the bar.
    """
    require_progress(progress)
    reporter = _on_bar(Bar("sweep", unit)) if progress is True else progress if callable(progress) else None
    return Sweeping(reporter, stop, began=time.perf_counter())


def _on_bar(bar: Bar) -> Reporter:
    return lambda progress: bar(progress.done, progress.total)


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell of a sweep: its place in the array, and what is edited. No edits: nothing changes."""

    index: tuple[int, ...]
    edits: tuple[Edit, ...]


def fixed(base: Run, edit: Edit, lean: bool = True) -> tuple[Edit, ...]:
    """Return the edit of a cell with its outcome worked out, or nothing where it changes nothing.

    Nothing upstream of a lone edit differs from the base run, so what it puts there is known before it is made. It is
    trimmed to the positions that change; and what is only added to the stream becomes an edit of the stream after the
    block, which then need not be run at all.

    Parameters
    ----------
    lean
        False keeps the edit as it is: there are others upstream of it.
    """
    if not lean:
        return (edit,)
    old = base.activation(edit.component, edit.layer)[edit.index(0)]
    new = edit.change(old).to(old)
    moved = _changed_positions(edit, old, new)
    if moved is None:
        return ()
    first, last = moved
    part = slice(first, last)
    axis_second = edit.component == "pattern" and edit.head is None
    old, new = (value[:, part] if axis_second else value[part] for value in (old, new))
    lo, hi = edit.lo + first, edit.lo + last
    parallel = structure_of(base.model).parallel
    if edit.component == "mlp_out" or (edit.component == "attn_out" and parallel):
        after = base.activation("resid_post", edit.layer)[lo:hi]
        return (Edit("resid_post", edit.layer, lo, hi, None, None, constant(after + (new - old))),)
    return (replace(edit, lo=lo, hi=hi, change=constant(new)),)


def _changed_positions(edit: Edit, old: Tensor, new: Tensor) -> tuple[int, int] | None:
    """Return the first position that differs and the one after the last, from the edit's own first; None if none."""
    differs = old != new
    if edit.component == "pattern" and edit.head is None:
        differs = differs.transpose(0, 1)
    places = differs.flatten(1).any(dim=1).nonzero().flatten() if differs.ndim > 1 else differs.nonzero().flatten()
    return None if len(places) == 0 else (int(places[0]), int(places[-1]) + 1)


def run_cells(
    engine: Engine,
    reading: Reading,
    cells: Sequence[Cell],
    shape: tuple[int, ...],
    tracker: Sweeping,
    budget: int | None,
    known: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the metric of each cell; NaN where the sweep was stopped before.

    Parameters
    ----------
    engine, reading
        Of the base run.
    cells
        What is edited where.
    shape
        Of the array.
    budget
        Bytes; see `resid_widgets.models.reuse.engine.Engine.rows`.
    known
        Values of other cells, which stay.
    """
    values = np.full(shape, np.nan) if known is None else known.copy()
    if tracker.stopped:
        return values
    untouched = reading.of_base()
    waiting = [cell for cell in cells if cell.edits]
    for cell in cells:
        if not cell.edits:
            values[cell.index] = untouched
    before = reading.base.activation("resid_post", engine.run.model.n_layers - 1)
    positions = list(reading.positions)
    with suppress(StoppedError), tracker.alone():
        for wave in engine.rows([cell.edits for cell in waiting], budget=budget, check=tracker.look):
            measured = reading.of_stream(torch.stack([_read(before, row, positions) for row in wave]))
            for row, value in zip(wave, measured.tolist(), strict=True):
                values[waiting[row.number].index] = value
            tracker.advance(sum(_work(engine, waiting[row.number].edits) for row in wave), values)
    return values


def _read(before: Tensor, row: Replayed, positions: Iterable[int]) -> Tensor:
    """Return the final stream at the positions that are read."""
    return torch.stack([before[pos] if pos < row.start else row.final[pos - row.start] for pos in positions])


def work_of(engine: Engine, cells: Iterable[Cell]) -> int:
    """Return the work of cells, as `Progress` counts it."""
    return sum(_work(engine, cell.edits) for cell in cells if cell.edits)


def _work(engine: Engine, edits: Sequence[Edit]) -> int:
    if engine.recording is None:
        return engine.run.n_pos * engine.run.model.n_layers
    return max(1, cost(engine.recording, [*engine.background, *edits]))
