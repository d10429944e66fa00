"""How well a tiny model knows its grammar: accuracy on sentences it never saw, planted rates, and the lowest loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlamaForCausalLM

from resid_widgets.models.ambient import plain_state
from resid_widgets.models.tiny import grammar, words
from resid_widgets.models.tiny.choices import Choices
from resid_widgets.models.tiny.corpus import Corpus
from resid_widgets.models.tiny.grammar import Sentence
from resid_widgets.models.tiny.templates import TEMPLATES
from resid_widgets.models.tiny.tokenizer import BOS, word_ids

# Tasks of which a sentence has one right continuation. The attractors are agreement's hard half.
DETERMINED = ("ioi", "agreement", "attractors", "induction", "facts", "sentiment")


@dataclass(frozen=True)
class Accuracy:
    """Share of `n` held-out sentences in which the answer is likelier than the foil, and likelier than any other word.

    (Agreement leaves the verb open, so there only its form can be right.)
    """

    n: int
    over_foil: float
    top: float


@dataclass(frozen=True)
class Loss:
    """Mean loss on fresh documents of the whole grammar, and the lowest that any model can expect there, nats a token.

    `floor` is the documents' surprise under the grammar itself (each has one derivation, so that is exact);
    `error` is the standard error of ``model - floor`` over documents.
    """

    documents: int
    model: float
    floor: float
    error: float


@plain_state()
def next_logits(model: LlamaForCausalLM, tokenizer: Any, prompts: Sequence[str]) -> Float[Tensor, "prompt d_vocab"]:
    """Logits of the word after each prompt. Padding stands to the right, where a causal model cannot see it."""
    parts = []
    for start in range(0, len(prompts), 256):
        batch = tokenizer(list(prompts[start : start + 256]), padding=True, return_tensors="pt")
        last = batch["attention_mask"].sum(1) - 1
        logits = model(input_ids=batch["input_ids"], use_cache=False).logits
        parts.append(logits[torch.arange(len(last)), last].float())
    return torch.cat(parts)


def held_out(task: str, n: int, seed: int = 0) -> list[Sentence]:
    """Up to `n` different sentences of a task that the training corpus never says."""
    choose, found, missed = Choices.seeded("evaluate", task, seed), {}, 0
    while len(found) < n and missed < 5000:
        drawn = grammar.sentence("agreement" if task == "attractors" else task, choose)
        easy = task == "attractors" and drawn.kind in ("singular-singular", "plural-plural")
        missed = missed + 1 if easy or not drawn.held_out or drawn.prompt in found else 0
        if not missed:
            found[drawn.prompt] = drawn
    return list(found.values())


def accuracy(model: LlamaForCausalLM, tokenizer: Any, task: str, n: int = 1000, seed: int = 0) -> Accuracy:
    """Accuracy on up to `n` different held-out sentences of one of the tasks in `DETERMINED`."""
    asked = held_out(task, n, seed)
    logits, ids = next_logits(model, tokenizer, [drawn.prompt for drawn in asked]), word_ids()
    rows = torch.arange(len(asked))
    answer = logits[rows, torch.tensor([ids[drawn.answer] for drawn in asked])]
    foil = logits[rows, torch.tensor([ids[drawn.foil] for drawn in asked])]
    top = logits.max(-1).values
    if task in ("agreement", "attractors"):
        forms = {form: torch.tensor([ids[f" {pair[form]}"] for pair in words.VERBS]) for form in (0, 1)}
        answer = torch.stack(
            [logits[i, forms[grammar.NUMBERS.index(drawn.label)]].max() for i, drawn in enumerate(asked)]
        )
    return Accuracy(len(asked), (answer > foil).double().mean().item(), (answer >= top).double().mean().item())


def pronoun_rates(model: LlamaForCausalLM, tokenizer: Any) -> dict[str, float]:
    """The model's probability of "she" against "he" for each profession, averaged over all its sentences."""
    frames = list(product(TEMPLATES["pronouns"], words.ACTIONS))
    prompts = [
        frame.format(profession=profession, action=action) for profession in words.SHE_RATES for frame, action in frames
    ]
    ids = word_ids()
    pair = next_logits(model, tokenizer, prompts)[:, [ids[" she"], ids[" he"]]]
    she = pair.softmax(-1)[:, 0].double().view(len(words.SHE_RATES), len(frames)).mean(1)
    return dict(zip(words.SHE_RATES, she.tolist(), strict=True))


@plain_state()
def loss(model: LlamaForCausalLM, documents: int = 2000, seed: int = 0) -> Loss:
    """Loss on documents of the whole grammar, one at a time, each token and the document's end counted."""
    corpus, bos = Corpus("evaluate", seed, held_out=None), word_ids()[BOS]
    drawn = sorted((corpus.document() for _ in range(documents)), key=lambda document: len(document.ids))
    nats: list[float] = []
    for start in range(0, documents, 100):
        batch = drawn[start : start + 100]
        width = max(len(document.ids) for document in batch) + 2
        ids = torch.tensor([[bos, *document.ids, *[bos] * (width - 1 - len(document.ids))] for document in batch])
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits.float()
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        nats += [row[: len(document.ids) + 1].sum().item() for row, document in zip(each, batch, strict=True)]
    tokens = sum(len(document.ids) + 1 for document in drawn)
    gaps = torch.tensor([n - document.surprise for n, document in zip(nats, drawn, strict=True)]).double()
    return Loss(
        documents,
        model=sum(nats) / tokens,
        floor=sum(document.surprise for document in drawn) / tokens,
        error=gaps.std().item() * documents**0.5 / tokens,
    )
