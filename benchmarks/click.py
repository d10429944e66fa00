"""A click in the ablation explorer: kernel work as a share of a full hooked forward, on SmolLM2-135M.

A click is what `AblationExplorer` does in Python: mean-ablate one cell of ``resid_post``, run again what can have
changed, and make the new picture, metric and next tokens. The yardstick is one `run_with_hooks` of TransformerLens
with the same edit. Both are timed in turns at cells drawn from the whole grid, so that the mean over the sample
estimates the mean over all cells. Click-to-repaint in the browser is measured by ``benchmarks/frontend.py``.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

import torch
from _timing import packaged_model, percentile, stopwatch

import resid_widgets as rw

MODEL = "smollm2-135m"
LENGTHS = {16: 20.0, 64: 30.0, 256: 60.0}
"""Tokens, and seconds spent on timing them."""
CLICK, FORWARD, FUNCTION = "click in the explorer", "full hooked forward", "rw.ablation alone"


def compare(model: rw.ResidualModel, length: int, seconds: float) -> None:
    generator = random.Random(length)
    ids = [generator.randrange(40_000) for _ in range(length)]
    run = rw.run(model, ids)
    metric = rw.logit_diff(11, 12)
    widget = rw.AblationExplorer(run, metric)
    tokens = torch.tensor([ids])
    cell = [0, 0]

    def site() -> rw.Site:
        return rw.Site("resid_post", cell[0], pos=cell[1])

    def click() -> Any:
        widget.interventions = (rw.mean(site()),)
        return widget.result

    def function() -> Any:
        return rw.ablation(run, rw.mean(site()), metric)

    def forward() -> torch.Tensor:
        mean = run.tensor("resid_post", cell[0])[1:].mean(0)

        def hook(value: torch.Tensor, hook: Any) -> torch.Tensor:
            value[0, cell[1]] = mean
            return value

        with torch.no_grad():
            return model.bridge.run_with_hooks(tokens, fwd_hooks=[(f"blocks.{cell[0]}.hook_resid_post", hook)])

    shares: dict[str, list[float]] = {CLICK: [], FUNCTION: []}
    contenders = {CLICK: click, FUNCTION: function, FORWARD: forward}
    for call in contenders.values():
        call()  # warm
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        cell[:] = [generator.randrange(model.n_layers), generator.randrange(length)]
        widget.interventions = ()  # so that the click changes something
        order = list(contenders)
        generator.shuffle(order)
        times = {name: stopwatch(contenders[name]) for name in order}
        for name, found in shares.items():
            found.append(times[name] / times[FORWARD])
    print(f"\n  {length} tokens, {len(shares[CLICK])} cells")
    for name, found in shares.items():
        print(
            f"    {name} / {FORWARD}: mean {statistics.mean(found):.2f}, "
            f"p50 {percentile(found, 50):.2f}, p95 {percentile(found, 95):.2f}"
        )


def main() -> None:
    model = packaged_model(MODEL)
    if model is None:
        return
    for length, seconds in LENGTHS.items():
        compare(model, length, seconds)


if __name__ == "__main__":
    main()
