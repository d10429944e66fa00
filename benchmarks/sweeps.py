"""Patching sweeps on SmolLM2-135M: exact reuse against `transformer_lens.patching`, and against simple batching.

Each round times our whole sweep, and a few random cells (or layers) of the others, in a random order; their whole sweep
is that time scaled up to all cells. Ratios are taken within a round. FLOPs are counted by PyTorch's own counter: "done"
by our sweep, "needed" if only what a patch can change went through each block, without a token of padding.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from _timing import interleaved, packaged_model, ratios, spread
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from transformer_lens import patching

import resid_widgets as rw
from resid_widgets.models.runs.recording import Recording

os.environ["TQDM_DISABLE"] = "1"  # TransformerLens' bars

MODEL = "smollm2-135m"
CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"
SAMPLE = 6
"""Cells of TransformerLens' sweep timed in a round."""

OURS, THEIRS, BATCHED = "exact reuse", "TransformerLens", "simple batching"
SETTER = {
    "resid_pre": (patching.layer_pos_patch_setter, "resid_pre", ["layer", "pos"]),
    "attn_out": (patching.layer_pos_patch_setter, "attn_out", ["layer", "pos"]),
    "mlp_out": (patching.layer_pos_patch_setter, "mlp_out", ["layer", "pos"]),
    "z": (patching.layer_head_vector_patch_setter, "z", ["layer", "head"]),
}


class FlopCounter(TorchDispatchMode):
    """PyTorch's own formulas. Its FlopCounterMode puts a hook on every module, which we refuse to run under."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


class Case:
    """One pair of prompts and one component, with its contenders."""

    def __init__(self, model: rw.ResidualModel, clean: list[int], corrupt: list[int], component: str) -> None:
        self.model, self.component = model, component
        self.clean, self.corrupt = clean, corrupt
        tokens = torch.tensor([clean])
        self.tokens = torch.tensor([corrupt])
        self.metric = rw.logit_diff(" Mary", " John")
        self.answer, self.foil = model.token_id(" Mary"), model.token_id(" John")
        with torch.no_grad():
            _, self.cache = model.bridge.run_with_cache(tokens)
        columns = len(clean) if SETTER[component][2][1] == "pos" else model.n_heads
        self.cells = [(layer, column) for layer in range(model.n_layers) for column in range(columns)]
        self.random = random.Random(0)

    def ours(self) -> rw.PatchSweep:
        return rw.patch_sweep(
            self.model, self.clean, self.corrupt, self.metric, component=self.component, progress=False
        )

    def measure(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[:, -1, self.answer] - logits[:, -1, self.foil]

    def theirs(self, cells: list[tuple[int, int]]) -> torch.Tensor:
        setter, name, axes = SETTER[self.component]
        return patching.generic_activation_patch(
            self.model.bridge,
            self.tokens,
            self.cache,
            lambda logits: self.measure(logits)[0],
            setter,
            name,
            index_df=pd.DataFrame(cells, columns=axes),
        )

    def batched(self, layer: int) -> torch.Tensor:
        """All cells of one layer as rows of one hooked pass: the best that a user would write without more thought."""
        columns = [column for row, column in self.cells if row == layer]
        name = self.model.hook_name(self.component, layer)
        source = self.cache[name][0]

        def hook(value: torch.Tensor, hook: Any) -> torch.Tensor:
            for row, column in enumerate(columns):
                where = (slice(None), column) if self.component == "z" else (column,)
                value[row][where] = source[where]
            return value

        with torch.no_grad():
            tokens = self.tokens.expand(len(columns), -1)
            return self.measure(self.model.bridge.run_with_hooks(tokens, fwd_hooks=[(name, hook)]))

    def compare(self, seconds: float) -> None:
        cells, layers = len(self.cells), self.model.n_layers
        contenders: dict[str, Callable[[], Any]] = {
            OURS: self.ours,
            THEIRS: lambda: self.theirs(self.random.sample(self.cells, SAMPLE)),
            BATCHED: lambda: self.batched(self.random.randrange(layers)),
        }
        times = interleaved(contenders, seconds=seconds, at_least=5)
        times[THEIRS] = [each * cells / SAMPLE for each in times[THEIRS]]
        times[BATCHED] = [each * layers for each in times[BATCHED]]
        result = self.ours()
        chosen = self.random.sample(self.cells, 10)
        pairs = zip(self.theirs(chosen), chosen, strict=True)
        gap = max(abs(float(value) - float(result.raw.values[cell])) for value, cell in pairs)
        for name, each in times.items():
            print(f"    {name:18}{np.median(each):9.2f} s")
        print(f"    {THEIRS} / {OURS:14}{spread(ratios(times, THEIRS, OURS), '.1f')}   gap {gap:.0e} logits")
        print(f"    {BATCHED} / {OURS:14}{spread(ratios(times, BATCHED, OURS), '.1f')}")
        self.flops(float(np.median(times[OURS])))

    def flops(self, seconds: float) -> None:
        with FlopCounter() as counter:
            result = self.ours()
        done, needed = counter.total, self.needed(result)
        peak = matmul_peak()
        print(
            f"    FLOPs done {done / 1e9:.0f} G, needed {needed / 1e9:.0f} G ({done / needed:.2f}x); "
            f"{done / seconds / 1e9:.0f} GFLOP/s, {100 * done / seconds / peak:.0f} % of the matmul peak"
        )

    def needed(self, result: rw.PatchSweep) -> float:
        """Two runs, and each cell that changes anything: its suffix through the blocks above."""
        model, n = self.model, len(self.clean)
        recording = Recording(model, self.corrupt)
        prefix = recording.prefix(n - 1)
        with FlopCounter() as counter, torch.no_grad():
            recording.call(0, recording.stream[0][None, n - 1 :], prefix)
        token = counter.total
        base = float(result.corrupt)
        differs = [a != b for a, b in zip(self.clean, self.corrupt, strict=True)]
        first = differs.index(True)
        total = 2 * model.n_layers * n * token
        for layer, column in self.cells:
            start = first if self.component == "z" else column
            below = {"resid_pre": 0, "attn_out": 0, "z": 0, "mlp_out": 1}[self.component]
            if start < first or (result.raw.values[layer, column] == base and column != n - 1):
                continue
            total += (model.n_layers - layer - below) * (n - start) * token
        return total


def matmul_peak() -> float:
    """FLOP/s of the quickest of some large products, just now."""
    a = torch.randn(1024, 1536)
    b = torch.randn(1536, 1536)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        torch.matmul(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024 * 1536 * 1536 / best


def main() -> None:
    model = packaged_model(MODEL)
    if model is None:
        return
    ids = {text: list(rw.run(model, text, keep="resid_post").token_ids) for text in (CLEAN, CORRUPT)}
    generator = np.random.default_rng(0)
    other = [int(i) for i in generator.integers(1000, 40_000, len(ids[CLEAN]))]
    padding = [int(i) for i in generator.integers(1000, 40_000, 64 - len(ids[CLEAN]))]
    clean, corrupt = ids[CLEAN], ids[CORRUPT]
    long = (padding + clean, padding + corrupt)
    cases = {
        "a": [("one token differs, resid_pre", clean, corrupt, "resid_pre", 25.0)],
        "b": [("every token differs, resid_pre", clean, other, "resid_pre", 40.0)],
        "c": [("64 tokens, one differs, resid_pre", *long, "resid_pre", 40.0)],
        "d": [(f"one token differs, {each}", clean, corrupt, each, 20.0) for each in ("attn_out", "mlp_out", "z")],
    }
    for name in sys.argv[1:] or cases:
        for title, one, two, component, seconds in cases[name]:
            print(f"\n({name}) {title}: {len(one)} tokens")
            Case(model, one, two, component).compare(seconds)


if __name__ == "__main__":
    main()
