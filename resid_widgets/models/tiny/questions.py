"""What each task of the grammar asks: in words, and as the data that `resid_widgets.tasks` needs to write it out."""

from __future__ import annotations

from dataclasses import dataclass

from resid_widgets.models.tiny.templates import SEQUENCE_WORDS
from resid_widgets.models.tiny.words import VERDICTS


@dataclass(frozen=True)
class Question:
    """One task.

    Attributes
    ----------
    text
        What it asks, what its labels mean, and in what its pairs differ.
    pools
        The grammar's pools whose words it cannot do without, and how many of each.
    kinds
        The kinds of sentence (`Sentence.kind`) that a balanced set has equal shares of.
    answers
        The words it chooses between, where they are the same in all its sentences.
    """

    text: str
    pools: dict[str, int]
    kinds: tuple[str, ...] = ("any",)
    answers: tuple[str, ...] = ()


QUESTIONS: dict[str, Question] = {
    "ioi": Question(
        "Two people are named and one of them gives: the other one receives. Label: whether the receiver was named "
        "first or second. Pairs differ in who gives (ABBA and BABA in equal shares).",
        {"name": 4, "place": 1, "object": 1},
        ("first", "second"),
    ),
    "agreement": Question(
        "The verb agrees with the subject, not with the noun just before it. Label: number of the subject, balanced "
        "against the number of that other noun. Pairs differ in the subject's number.",
        {"noun": 4, "verb": 1, "prep": 1, "state": 1},
        ("singular-plural", "plural-singular", "singular-singular", "plural-plural"),
    ),
    "induction": Question(
        "Words in no order, then the same words again. Label: whether the last word was said before (repeated) or not "
        "(fresh). Pairs differ in the word that followed the last word when it was first said.",
        {"content": 2 * SEQUENCE_WORDS[1]},
        ("repeated", "fresh"),
    ),
    "facts": Question(
        "Capitals of countries. Label: the continent in which the capital lies. Pairs differ in the country.",
        {"country": 4},
    ),
    "sentiment": Question(
        "Two adjectives of one polarity, then the verdict. Label: positive or negative. Pairs differ in the "
        "adjectives.",
        {"thing": 1, "positive": 3, "negative": 3},
        ("positive", "negative"),
        answers=tuple(VERDICTS.values()),
    ),
    "pronouns": Question(
        "A profession, then a pronoun. Label: the pronoun that the tiny model's corpus gives this profession more "
        "often, at rates planted on purpose (of other models it is only a guess). Pairs differ in the profession.",
        {"profession": 4, "action": 1},
        ("she", "he"),
        answers=("she", "he"),
    ),
}
