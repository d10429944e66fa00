"""What `rw.collect` costs against TransformerLens' run_with_cache, as users write it.

Contenders collect resid_post of all layers at all positions of the same prompts, and hold it as float32 arrays:
run_with_cache on one prompt after the other, with the whole cache and with a names_filter; run_with_cache with a
names_filter on batches of prompts of equal length; and rw.collect in memory and to a store. Time in interleaved rounds,
ratios taken within a round. Run it on a machine that does little else; `tiny` as an argument leaves SmolLM2 out.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _timing import interleaved, machine, packaged_model, ratios, spread

import resid_widgets as rw

COLLECT, STORE = "rw.collect", "rw.collect to a store"
LOOP, LOOP_FILTER, BATCHED = "run_with_cache, in a loop", "the same with names_filter", "names_filter, equal lengths"
CONTENDERS = (COLLECT, STORE, LOOP, LOOP_FILTER, BATCHED)


def contender(name: str, model: rw.ResidualModel, prompts: list[list[int]], folder: Path) -> Callable[[], Any]:
    layers = range(model.n_layers)
    names = [model.hook_name("resid_post", layer) for layer in layers]
    if name == COLLECT:
        return lambda: rw.collect(model, prompts, "resid_post", "all", progress=False)
    if name == STORE:

        def to_store() -> rw.Activations:
            shutil.rmtree(folder, ignore_errors=True)
            return rw.collect(model, prompts, "resid_post", "all", store=folder, progress=False)

        return to_store

    options: dict[str, Any] = {} if name == LOOP else {"names_filter": names}

    @torch.no_grad()
    def loop() -> np.ndarray:
        found = []
        for ids in prompts:
            _, cache = model.bridge.run_with_cache(torch.tensor([ids]), **options)
            found.append(torch.stack([cache[hook][0] for hook in names]).numpy())
        return np.concatenate(found, axis=1)

    @torch.no_grad()
    def batched() -> np.ndarray:
        by_length = defaultdict(list)
        for number, ids in enumerate(prompts):
            by_length[len(ids)].append(number)
        found: dict[int, np.ndarray] = {}
        for numbers in by_length.values():
            tokens = torch.tensor([prompts[n] for n in numbers])
            _, cache = model.bridge.run_with_cache(tokens, **options)
            stacked = torch.stack([cache[hook] for hook in names]).numpy()
            found |= {n: stacked[:, row] for row, n in enumerate(numbers)}
        return np.concatenate([found[n] for n in range(len(prompts))], axis=1)

    return batched if name == BATCHED else loop


def compare(model: rw.ResidualModel, prompts: list[list[int]], seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        calls = {name: contender(name, model, prompts, Path(folder) / "store") for name in CONTENDERS}
        expected, collected = calls[LOOP](), calls[COLLECT]()
        gap = max(np.abs(collected.matrix(n) - expected[n]).max() / np.abs(expected[n]).max() for n in collected.layers)
        times = interleaved(calls, seconds=seconds, at_least=3)
    n_tokens = sum(map(len, prompts))
    print(
        f"\n{model.name}: {len(prompts)} prompts of {min(map(len, prompts))} to {max(map(len, prompts))} tokens, "
        f"{n_tokens} in all, {len(times[COLLECT])} rounds; largest gap to the loop {gap:.0e}"
    )
    for name in CONTENDERS:
        taken = statistics.median(times[name])
        print(f"  {name:32}{taken:8.2f} s{n_tokens / taken:12.0f} tokens/s")
    for of in (LOOP, LOOP_FILTER, BATCHED):
        for to in (COLLECT, STORE):
            print(f"  {of + ' / ' + to:62}{spread(ratios(times, of, to))}")


def main() -> None:
    print(machine("torch", "transformers", "transformer-lens", "resid-widgets"))
    print(f"float32, CPU, {torch.get_num_threads()} threads. Aim: the loop takes 3 times as long.")
    tiny = rw.load_model(progress=False)
    texts = [prompt.text for name in ("ioi", "agreement") for prompt in rw.tasks.load(name, tiny, 50).prompts]
    compare(tiny, [tiny.tokenizer(text)["input_ids"] for text in texts], seconds=20)
    if sys.argv[1:] == ["tiny"]:
        return
    model = packaged_model("smollm2-135m")
    if model is not None:
        compare(model, [model.tokenizer(text)["input_ids"] for text in texts[:20] + texts[50:70]], seconds=60)


if __name__ == "__main__":
    main()
