"""The training corpus: documents of the grammar, packed into rows of tokens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resid_widgets.models.tiny import grammar
from resid_widgets.models.tiny.choices import Choices, surprise
from resid_widgets.models.tiny.grammar import Sentence
from resid_widgets.models.tiny.templates import MORE, MOST_SENTENCES
from resid_widgets.models.tiny.tokenizer import BOS, UNK, word_ids
from resid_widgets.models.tiny.vocabulary import pieces

# Tokens whose word the grammar has settled weigh so much more in the loss: they are few, and all that is to be learned.
SETTLED_WEIGHT = 6.0
# In this share of the documents one word is unknown, so that the model has met <unk>.
UNKNOWN_SHARE = 0.03
DECK = 100


class Decks:
    """Says "she" or "he" of each profession at exactly the planted rate, in shuffled decks of `DECK` cards.

    Independent draws would wander from the planted rate by more than the model's own error.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._cards: dict[tuple[str, float], list[bool]] = {}

    def deal(self, profession: str, chance: float) -> bool:
        """Whether the next sentence about this profession gives its likelier answer."""
        cards = self._cards.setdefault((profession, chance), [])
        if not cards:
            sure = round(chance * DECK)
            cards.extend([True] * sure + [False] * (DECK - sure))
            self._rng.shuffle(cards)
        return cards.pop()


@dataclass(frozen=True)
class Document:
    """A few sentences: token ids (no ``<bos>``), a loss weight for each, and their surprise under the grammar, nats."""

    ids: list[int]
    weights: list[float]
    surprise: float


class Corpus:
    """An endless, seeded stream of documents.

    Parameters
    ----------
    seed
        Any value; equal seeds give equal documents.
    held_out
        False: the training corpus, which leaves the held-out combinations of words unsaid. None: the grammar itself.
    """

    def __init__(self, *seed: object, held_out: bool | None = False) -> None:
        self._choose = Choices.seeded("corpus", *seed)
        self._decks = Decks(random.Random(":".join(map(str, ("decks", *seed)))))
        self._ids = word_ids()
        self._held_out = held_out

    def document(self) -> Document:
        """Draw one document."""
        choose, ids, weights = self._choose, [], []
        choose.surprise = 0.0
        for i in range(MOST_SENTENCES):
            text, settled = self._said(grammar.spoken(choose, held_out=self._held_out))
            n_before, n_settled = len(pieces(text[: settled[0]])), len(pieces(text[slice(*settled)]))
            said = pieces(" " + text if i else text)
            ids += [self._ids[piece] for piece in said]
            weights += [SETTLED_WEIGHT if n_before <= j < n_before + n_settled else 1.0 for j in range(len(said))]
            if i + 1 < MOST_SENTENCES and not choose.coin(MORE):
                break
        return Document(ids, weights, choose.surprise)

    def _said(self, drawn: Sentence) -> tuple[str, tuple[int, int]]:
        """The text of a sentence with its answer dealt, and the span of it that weighs more."""
        answer = drawn.answer
        if drawn.chance < 1:
            likely = self._decks.deal(drawn.item, drawn.chance)
            answer = drawn.answer if likely else drawn.foil
            self._choose.surprise += surprise(drawn.chance if likely else 1 - drawn.chance)
        text = drawn.prompt + answer + drawn.rest
        return text, drawn.settled or (len(drawn.prompt), len(drawn.prompt + answer))


def rows(
    corpus: Corpus, batch: int, n_ctx: int, rng: random.Random
) -> Iterator[tuple[Int[Tensor, "batch pos"], Float[Tensor, "batch pos"]]]:
    """Batches of token rows ``<bos> document <bos> document ...`` and the loss weight of each token as a target.

    Each row begins with a document; the last one of a row may be cut. An unknown word is never a target.
    """
    bos, unk = word_ids()[BOS], word_ids()[UNK]
    while True:
        ids, weights = [], []
        for _ in range(batch):
            row: list[int] = []
            weight: list[float] = []
            while len(row) < n_ctx:
                document = corpus.document()
                words, heavy = list(document.ids), list(document.weights)
                if rng.random() < UNKNOWN_SHARE:
                    hidden = rng.randrange(len(words))
                    words[hidden], heavy[hidden] = unk, 0.0
                row += [bos, *words]
                weight += [1.0, *heavy]
            ids.append(row[:n_ctx])
            weights.append(weight[:n_ctx])
        yield torch.tensor(ids), torch.tensor(weights)
