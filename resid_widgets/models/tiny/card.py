"""The model card: everything in it is measured on the weights as they were saved."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, LlamaForCausalLM

from resid_widgets.models.tiny import evaluate, mechanisms, words

_INTRO = """---
license: mit
language: en
library_name: transformers
tags: [interpretability, toy-model]
---
# The tiny model of resid-widgets

A {layers}-layer Llama ({parameters:,} parameters, d_model {d_model}, {heads} heads, context {n_ctx}) that knows {words}
words and one small grammar, whose every rule and number is known (`resid_widgets/models/tiny/grammar.py`, `words.py`).
It is made for lessons and tests: a real trained transformer in which the textbook circuits can be found in a second on
a laptop. It says nothing about the world. Words outside its vocabulary become `<unk>`.

Made by `python -m resid_widgets.models.tiny.train --seed {seed} --steps {steps}` with torch {torch} and
transformers {transformers}. All numbers below are measured by that command on the weights as saved, in float16. They
are also in `model_card.json`.
"""


def measure(folder: Path) -> dict[str, Any]:
    """Load a saved checkpoint and measure all that the card says of it."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rates = evaluate.pronoun_rates(model, tokenizer)
    errors = [abs(rates[profession] - planted) for profession, planted in words.SHE_RATES.items()]
    previous, induction = mechanisms.head_scores(model)
    return {
        "accuracy": {task: asdict(evaluate.accuracy(model, tokenizer, task)) for task in evaluate.DETERMINED},
        "pronouns": {"planted": words.SHE_RATES, "measured": rates},
        "pronoun_error": {"mean": sum(errors) / len(errors), "worst": max(errors)},
        "loss": asdict(evaluate.loss(model)),
        "previous_token_heads": previous.tolist(),
        "induction_heads": induction.tolist(),
        "ioi_patching": mechanisms.name_patching(model, tokenizer).tolist(),
    }


def write_card(folder: Path, seed: int, steps: int) -> dict[str, Any]:
    """Measure the model saved in `folder` and its earlier checkpoints; write ``model_card.json`` and ``README.md``."""
    checkpoints = {path.name: measure(path) for path in sorted(folder.glob("step-*"))}
    card = {
        "seed": seed,
        "steps": steps,
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "final": measure(folder),
        "checkpoints": checkpoints,
    }
    config = LlamaForCausalLM.from_pretrained(folder).config
    card["model"] = {
        "layers": config.num_hidden_layers,
        "parameters": sum(p.numel() for p in LlamaForCausalLM(config).parameters()),
        "d_model": config.hidden_size,
        "heads": config.num_attention_heads,
        "n_ctx": config.max_position_embeddings,
        "words": config.vocab_size,
    }
    card = _rounded(card)
    (folder / "model_card.json").write_text(json.dumps(card, indent=1) + "\n")
    (folder / "README.md").write_text(readme(card))
    return card


def readme(card: dict[str, Any]) -> str:
    """The card as Markdown, from what `write_card` measured."""
    made = {key: card[key] for key in ("seed", "steps", "torch", "transformers")}
    intro = _INTRO.format(**card["model"], **made)
    return "\n".join([intro, *_accuracy(card), *_loss(card), *_pronouns(card), *_inside(card)])


def _rounded(value: Any) -> Any:
    """The same tree with floats to four places."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return ["| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows]] + [""]


def _accuracy(card: dict[str, Any]) -> list[str]:
    stages = {**card["checkpoints"], "final": card["final"]}
    rows = []
    for task in evaluate.DETERMINED:
        cells = [stage["accuracy"][task] for stage in stages.values()]
        rows.append([task, str(cells[-1]["n"]), *(f"{cell['over_foil']:.3f} / {cell['top']:.3f}" for cell in cells)])
    mean = [f"{stage['pronoun_error']['mean']:.3f}" for stage in stages.values()]
    rows.append(["pronoun rates, mean error", str(len(words.SHE_RATES)), *mean])
    return [
        "## Accuracy on held-out sentences",
        "One combination of words in ten is never said in training; these sentences are all of that kind. First",
        "number: the answer is likelier than the foil. Second: it is the likeliest of all words. `attractors` is the",
        "half of `agreement` in which the noun before the verb has the other number. The columns are training steps.",
        "",
        *_table(["task", "sentences", *stages], rows),
    ]


def _loss(card: dict[str, Any]) -> list[str]:
    loss = card["final"]["loss"]
    return [
        "## Loss",
        f"On {loss['documents']} fresh documents of the whole grammar: {loss['model']:.4f} nats a token. The entropy",
        f"of the grammar itself on them, which no model can beat, is {loss['floor']:.4f}. Standard error of the",
        f"difference: {loss['error']:.4f}.",
        "",
    ]


def _pronouns(card: dict[str, Any]) -> list[str]:
    said, error = card["final"]["pronouns"], card["final"]["pronoun_error"]
    rows = [[name, f"{rate:.2f}", f"{said['measured'][name]:.3f}"] for name, rate in said["planted"].items()]
    return [
        "## Pronouns: planted bias",
        "The corpus says `she` of each profession at a rate that was chosen, not observed. Measured: the model's",
        "probability of `she` against `he`, averaged over all sentences of the grammar.",
        f"Mean error {error['mean']:.3f}, worst {error['worst']:.3f}.",
        "",
        *_table(["profession", "planted", "measured"], rows),
    ]


def _inside(card: dict[str, Any]) -> list[str]:
    final = card["final"]

    def grid(title: str, corner: str, columns: list[str], values: list[list[float]]) -> list[str]:
        body = [[str(i), *(f"{value:.2f}" for value in row)] for i, row in enumerate(values)]
        return [title, "", *_table([corner, *columns], body)]

    heads = [f"head {i}" for i in range(len(final["induction_heads"][0]))]
    places = ["repeated name", "between", "last position"]
    return [
        "## Inside",
        *grid("Attention to the token before, on repeated words:", "layer", heads, final["previous_token_heads"]),
        *grid("Attention to the token after the same word's first time:", "layer", heads, final["induction_heads"]),
        "Indirect objects: share of the clean answer that comes back when the stream that enters a layer is patched",
        *grid(
            "at one place (last row: the stream that leaves the last layer).", "layer", places, final["ioi_patching"]
        ),
    ]
