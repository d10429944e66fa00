"""What a collection will do, fixed before it begins: which prompts go together, and which positions are kept.

A plan depends on the prompts and the options only, so that a collection that is cut short can be taken up again, on
another engine too, and gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resid_widgets.models.model import ResidualModel
from resid_widgets.models.prompt_list import Entry, Label

BATCH_TOKENS = 2048
"""Tokens that go through the model at once. The plan may not depend on the machine, so this is one number."""


@dataclass(frozen=True)
class Plan:
    """Prompts, kept positions and batches of one collection.

    Attributes
    ----------
    ids
        Token ids of each prompt.
    positions
        Positions kept of each, from left to right.
    labels, groups
        One a prompt; None where it states none.
    bos
        What was done about BOS, in words.
    batches
        Numbers of the prompts of each batch; they have the same length.
    vocabulary
        Text of each token that occurs.
    """

    ids: tuple[tuple[int, ...], ...]
    positions: tuple[tuple[int, ...], ...]
    labels: tuple[Label, ...]
    groups: tuple[Label, ...]
    bos: str
    batches: tuple[tuple[int, ...], ...]
    vocabulary: dict[int, str]

    @classmethod
    def of(
        cls, model: ResidualModel, entries: Sequence[Entry], positions: Sequence[tuple[int, ...]], batch_tokens: int
    ) -> Plan:
        """Plan a collection."""
        ids = tuple(entry.tokens.ids for entry in entries)
        used = sorted({i for row in ids for i in row})
        return cls(
            ids,
            tuple(positions),
            tuple(entry.label for entry in entries),
            tuple(entry.group for entry in entries),
            ", ".join(dict.fromkeys(entry.tokens.bos for entry in entries)),
            _batches([len(row) for row in ids], batch_tokens),
            dict(zip(used, model.token_strings(used), strict=True)),
        )

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Number of the first sample of each prompt, and of all samples at the end, ``[prompt + 1]``."""
        return np.concatenate([[0], np.cumsum([len(row) for row in self.positions])]).astype(np.int64)

    @property
    def n_samples(self) -> int:
        """How many positions are kept."""
        return int(self.offsets[-1])

    def samples(self, batch: int) -> NDArray[np.int64]:
        """Numbers of the samples that a batch gives, in its own order."""
        return np.concatenate([np.arange(*self.offsets[n : n + 2]) for n in self.batches[batch]])

    def rows(self, batch: int) -> list[tuple[int, ...]]:
        """Token ids of the prompts of a batch, ``[prompt, pos]``."""
        return [self.ids[n] for n in self.batches[batch]]

    def kept(self, batch: int) -> list[tuple[int, ...]]:
        """Positions kept of each prompt of a batch."""
        return [self.positions[n] for n in self.batches[batch]]

    def to_json(self) -> bytes:
        """Return the plan as it is stored; the same plan gives the same bytes."""
        fields: dict[str, Any] = {
            "ids": self.ids,
            "positions": self.positions,
            "labels": self.labels,
            "groups": self.groups,
            "bos": self.bos,
            "batches": self.batches,
            "vocabulary": list(self.vocabulary.items()),
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        """Return the plan that `to_json` wrote."""
        fields = json.loads(data)
        rows = {name: tuple(tuple(row) for row in fields[name]) for name in ("ids", "positions", "batches")}
        labels, groups = tuple(fields["labels"]), tuple(fields["groups"])
        return cls(
            rows["ids"], rows["positions"], labels, groups, fields["bos"], rows["batches"], dict(fields["vocabulary"])
        )

    @cached_property
    def digest(self) -> str:
        """A fingerprint of the plan."""
        return digest(self.to_json())


def digest(data: bytes) -> str:
    """Return 32 hex digits that tell `data` from anything else."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _batches(lengths: Sequence[int], batch_tokens: int) -> tuple[tuple[int, ...], ...]:
    """Put prompts of equal length together, at most `batch_tokens` at once: without padding each is as if alone."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, length in enumerate(lengths):
        by_length[length].append(number)
    batches = []
    for length in sorted(by_length):
        rows = max(1, batch_tokens // length)
        of_length = by_length[length]
        batches += [tuple(of_length[start : start + rows]) for start in range(0, len(of_length), rows)]
    return tuple(batches)
