"""Train the tiny model: ``python -m resid_widgets.models.tiny.train --seed 0``.

Writes a Hugging Face folder (weights in float16, tokenizer, model card) and three earlier checkpoints below it.
The same seed gives the same weights on the same machine, whatever else it is doing.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from resid_widgets.models.tiny import WEIGHTS
from resid_widgets.models.tiny.card import write_card
from resid_widgets.models.tiny.corpus import Corpus, rows
from resid_widgets.models.tiny.tokenizer import BOS, PAD, build_tokenizer, word_ids

STEPS = 5000
# Agreement, facts and sentiment are learned by then, induction is not (for seed 0): see the model card.
CHECKPOINTS = (500, 1000, 1500)
N_CTX, TOKENS = 128, 1024  # length of the context; tokens in a batch
# Half-length rows for this share of the steps: with long ones from the start, the model more often finds a shortcut
# for indirect objects in its first layer. Then full rows, so that all positions are learned.
SHORT = 0.6
EVERY = 100  # steps between two lines of progress; checkpoints fall on these
LEARNING_RATE, WARM_UP, LAST = 3e-3, 100, 0.02
THREADS = 1  # the order of sums depends on it; a second thread gains little on matrices this small


def config() -> LlamaConfig:
    """The architecture: four plain Llama layers. The wide initialisation is what lets so small a model learn."""
    ids = word_ids()
    return LlamaConfig(
        vocab_size=len(ids),
        hidden_size=128,
        intermediate_size=336,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=N_CTX,
        initializer_range=0.08,
        tie_word_embeddings=True,
        bos_token_id=ids[BOS],
        eos_token_id=ids[BOS],
        pad_token_id=ids[PAD],
        dtype="float32",
    )


def learning_rate(step: int, steps: int) -> float:
    """Share of the full learning rate at a step: linear warm-up, then a cosine down to `LAST`."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * done))


def train(seed: int, steps: int, at_step: Callable[[int, LlamaForCausalLM], None]) -> LlamaForCausalLM:
    """Train one model from scratch.

    Parameters
    ----------
    at_step
        Called with the number of steps done and the model, after each `EVERY` steps and the last.
    """
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    model = LlamaForCausalLM(config()).train()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps))
    corpus, rng = Corpus("train", seed), random.Random(f"unknown:{seed}")
    short, full = (rows(corpus, TOKENS // length, length, rng) for length in (N_CTX // 2, N_CTX))
    start = time.perf_counter()
    for step in range(1, steps + 1):
        loss = _loss(model, *next(short if step <= SHORT * steps else full))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % EVERY == 0 or step == steps:
            left = (time.perf_counter() - start) / step * (steps - step)
            print(f"step {step}/{steps}  loss {loss.item():.3f}  {left / 60:.1f} min left", flush=True)
            at_step(step, model)
    return model.eval()


def _loss(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the next-token loss, nats."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    heavy = weights[:, 1:].flatten()
    return (nats * heavy).sum() / heavy.sum()


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write weights in float16, config and tokenizer as an ordinary Hugging Face folder."""
    copy = LlamaForCausalLM(config()).half()
    copy.load_state_dict(model.state_dict())
    copy.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is written readable for its owner alone
    written = json.loads((folder / "config.json").read_text())
    # Half precision is for the disk; the model computes in float32, as it was trained.
    (folder / "config.json").write_text(json.dumps({**written, "dtype": "float32"}, indent=2) + "\n")
    build_tokenizer(N_CTX).save_pretrained(folder)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the tiny model and write it with its model card.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder (default: the package's own weights)")
    given = parser.parse_args(arguments)
    start = time.perf_counter()
    given.out.mkdir(parents=True, exist_ok=True)
    for earlier in given.out.glob("step-[0-9][0-9][0-9][0-9]"):  # of a run before, with other steps perhaps
        shutil.rmtree(earlier)

    def keep(step: int, model: LlamaForCausalLM) -> None:
        if step in CHECKPOINTS:
            save(model, given.out / f"step-{step:04d}")

    save(train(given.seed, given.steps, keep), given.out)
    print("measuring", flush=True)
    card = write_card(given.out, given.seed, given.steps)
    for task, found in card["final"]["accuracy"].items():
        print(f"{task:12} {found['over_foil']:.3f} over the foil, {found['top']:.3f} over all words")
    print(f"pronoun rates: mean error {card['final']['pronoun_error']['mean']:.3f}")
    print(f"loss {card['final']['loss']['model']:.4f}, floor {card['final']['loss']['floor']:.4f} nats a token")
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes; written to {given.out}")


if __name__ == "__main__":
    disable_progress_bar()
    main()
