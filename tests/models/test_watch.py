"""Work that is ended at a block leaves nothing behind: the next try gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.models.watch import EndedError, ended_after, passing, watched

IDS, OTHER = [1, 2, 3, 4], [1, 5, 3, 4]
WORK: dict[str, Callable[[Any], Any]] = {
    "run": lambda model: rw.run(model, IDS).activation("resid_post", 1).numpy(),
    "intervene": lambda model: rw.intervene(rw.run(model, IDS), rw.zero("resid_post.1")).final_logits.numpy(),
    "patch_sweep": lambda model: (
        rw.patch_sweep(model, IDS, OTHER, rw.logit_diff(5, 6), component="z", progress=False).values.values
    ),
    "neuron_patterns": lambda model: rw.neuron_patterns(model, [IDS, OTHER]).stats["max"].values,
}


@pytest.mark.parametrize(("name", "kind"), [*((name, "llama") for name in WORK), ("patch_sweep", "gemma3_text")])
def test_ended_anywhere_it_can_be_begun_again(name: str, kind: str, fresh: Any) -> None:
    model, work = fresh(kind), WORK[name]
    ended, done = 0, None
    while done is None:
        left = ended + 1

        def look(_: float | None) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise EndedError

        try:
            with watched(look):
                done = work(model)
        except EndedError:
            ended += 3 if ended > 30 else 1  # proofs look often
            assert model.lock.acquire(blocking=False), "the lock is free"
            model.lock.release()
    assert ended > 2
    assert np.array_equal(done, work(model))
    model._shared.facts.clear()
    np.testing.assert_allclose(done, work(model), rtol=1e-5, atol=1e-6)


def test_nobody_has_to_watch() -> None:
    passing()
    told: list[float | None] = []
    with watched(told.append):
        passing(0.5)
        with watched(None):
            passing(0.7)
        passing()
    passing(1.0)
    assert told == [0.5, None]


def test_time_runs_out() -> None:
    with ended_after(60.0):
        passing()
    with pytest.raises(EndedError), ended_after(-1.0):
        passing()
