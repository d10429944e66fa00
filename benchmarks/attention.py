"""Attention and contributions on SmolLM2-135M, beside what people use otherwise: ratios within one round.

Direct logit attribution by head over a batch of prompts, against TransformerLens' own
(``tools.analysis.direct_logit_attribution``, on a copy with folded weights, which it needs).
"""

from __future__ import annotations

import copy
import os
import statistics
from collections import Counter

import numpy as np
import torch
from _timing import interleaved, packaged_model, ratios, spread
from transformer_lens.tools.analysis import direct_logit_attribution

import resid_widgets as rw

os.environ["TQDM_DISABLE"] = "1"  # TransformerLens' bars

PROMPTS = 32
OURS, THEIRS, PASS = "resid-widgets", "TransformerLens", "one bare pass"


def batch(model: rw.ResidualModel) -> tuple[list[list[int]], list[str], list[str]]:
    """Return prompts of one length as token ids, with their answers and foils."""
    pairs = rw.tasks.load("ioi", model, n=8 * PROMPTS).pairs
    ids = [model.tokenizer(pair.clean)["input_ids"] for pair in pairs]
    ((length, _),) = Counter(map(len, ids)).most_common(1)
    chosen = [n for n, of in enumerate(ids) if len(of) == length][:PROMPTS]
    return [ids[n] for n in chosen], [pairs[n].answer for n in chosen], [pairs[n].foil for n in chosen]


def contributions(model: rw.ResidualModel, seconds: float) -> None:
    """Time direct logit attribution by head."""
    ids, answers, foils = batch(model)
    folded = copy.deepcopy(model).bridge
    folded.enable_compatibility_mode()
    tokens = torch.tensor(ids)
    wanted = [torch.tensor([model.token_id(token) for token in of]) for of in (answers, foils)]

    def ours() -> rw.Contributions:
        return rw.direct_logit_attribution(model, rw.logit_diff(answers, foils), "head", prompts=ids)

    @torch.no_grad()
    def theirs() -> torch.Tensor:
        return direct_logit_attribution(folded, tokens, wanted[0], wanted[1], unit="head").attribution

    prompts = ours().prompts
    assert prompts is not None, "many prompts are each known"
    found, expected = prompts.values, theirs()[: model.n_layers * model.n_heads].T.reshape(len(ids), model.n_layers, -1)
    gap = float(np.abs(found - expected.numpy()).max() / np.abs(found).max())
    print(f"\nDirect logit attribution by head, {len(ids)} prompts of {len(ids[0])} tokens; largest gap {gap:.0e}")

    @torch.no_grad()
    def passes() -> None:
        model.bridge.original_model(input_ids=tokens, logits_to_keep=1, use_cache=False)

    calls = {OURS: ours, THEIRS: theirs, PASS: passes}
    times = interleaved(calls, seconds=seconds)
    for name, taken in times.items():
        print(f"  {name:20}{statistics.median(taken):8.3f} s")
    bound = statistics.median(ratios(times, THEIRS, PASS))
    print(
        f"  {THEIRS} / {OURS} {spread(ratios(times, THEIRS, OURS))} (aim 3; the pass that both make allows {bound:.2f})"
    )


def main() -> None:
    model = packaged_model("smollm2-135m")
    if model is None:
        return
    contributions(model, seconds=60)


if __name__ == "__main__":
    main()
