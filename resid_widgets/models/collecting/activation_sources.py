"""What holds the numbers of collected activations: memory, or a store whose shards are opened when they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resid_widgets.models.collecting.batches import Place
from resid_widgets.models.collecting.store import Store


@runtime_checkable
class Source(Protocol):
    """What holds the numbers."""

    def read(self, place: Place, samples: NDArray[np.int64]) -> Float[np.ndarray, "sample width"]:
        """Return float32 numbers of some samples, in a new array."""
        ...

    @property
    def memory(self) -> int:
        """Bytes of memory held."""
        ...


class Held:
    """All numbers in memory, a tensor ``[sample, width]`` in the model's dtype for each place."""

    def __init__(self, places: Sequence[Place], widths: Mapping[str, int], n_samples: int, dtype: torch.dtype) -> None:
        self.tensors = {place: torch.empty(n_samples, widths[place[0]], dtype=dtype) for place in places}

    def put(self, samples: NDArray[np.int64], found: Mapping[Place, Tensor]) -> None:
        """Take in what a batch gave."""
        at = torch.from_numpy(samples)
        for place, value in found.items():
            self.tensors[place][at] = value

    def read(self, place: Place, samples: NDArray[np.int64]) -> Float[np.ndarray, "sample width"]:
        """Return float32 numbers of some samples, in a new array."""
        return self.tensors[place][torch.from_numpy(samples)].float().numpy()

    @property
    def memory(self) -> int:
        """Bytes of memory held."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class Stored:
    """Numbers in a store; each reading opens the shards it needs, one after the other."""

    memory = 0

    def __init__(self, store: Store, widths: Mapping[str, int]) -> None:
        self._store, self._widths = store, widths
        plans = [store.plan(part) for part in range(len(store.finished))]
        n_samples = sum(plan.n_samples for plan in plans)
        self._shards: list[tuple[int, int]] = []
        self._shard_of = np.empty(n_samples, np.int64)
        self._row_of = np.empty(n_samples, np.int64)
        before = 0
        for part, plan in enumerate(plans):
            for batch in range(len(plan.batches)):
                samples = plan.samples(batch) + before
                self._shard_of[samples] = len(self._shards)
                self._row_of[samples] = np.arange(len(samples))
                self._shards.append((part, batch))
            before += plan.n_samples

    def read(self, place: Place, samples: NDArray[np.int64]) -> Float[np.ndarray, "sample width"]:
        """Return float32 numbers of some samples, in a new array."""
        values = np.empty((len(samples), self._widths[place[0]]), np.float32)
        by_shard = np.argsort(self._shard_of[samples], kind="stable")
        needed, starts = np.unique(self._shard_of[samples][by_shard], return_index=True)
        for shard, here in zip(needed, np.split(by_shard, starts[1:]), strict=True):
            part, batch = self._shards[int(shard)]
            values[here] = self._store.read(part, batch, place).float().numpy()[self._row_of[samples[here]]]
        return values
