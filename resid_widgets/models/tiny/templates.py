"""The sentence frames of the tiny model's world, and how often each kind of sentence is said. Plain data."""

from __future__ import annotations

# How often the corpus draws each kind of sentence.
MIX: dict[str, float] = {
    "ioi": 3.5,
    "agreement": 1.5,
    "induction": 1.5,
    "facts": 2.0,
    "sentiment": 1.0,
    "pronouns": 2.0,
}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "ioi": (
        "When {A} and {B} went to the {place}, {S} gave a {object} to",
        "After {A} and {B} left the {place}, {S} handed a small {object} to",
        "While {A} and {B} were at the {place}, {S} passed the {object} to",
        "Then {A} and {B} went to the {place}, and {S} gave a new {object} to",
        "When {A} and {B} met at the {place}, {S} took a {object} and gave it to",
        "Yesterday {A} and {B} walked to the {place}, and {S} sold a {object} to",
        "The friends {A} and {B} were at the {place} when {S} gave the old {object} to",
        "After {A} and {B} had lunch at the {place}, {S} sent a {object} to",
    ),
    "agreement": (
        "The {N} {prep} the {M}",
        "The {N} {prep} the {state} {M}",
        "The {state} {N} {prep} the {M}",
        "The {N} that we saw {prep} the {M}",
        "The {N} and not the {M}",
        "Today the {N} {prep} the {M}",
    ),
    "plain agreement": ("Now the {N}",),
    "facts": (
        "The capital of {country} is",
        "The capital city of {country} is",
        "{country} is a country whose capital is",
        "In {country} the capital is",
        "The name of the capital of {country} is",
        "They live in the capital of {country}, which is",
        "We went to the capital of {country}, the city of",
        "If you visit {country}, the capital is",
        "The city that is the capital of {country} is",
        "We know that the capital of {country} is",
        "{country} has its capital in the city of",
        "{country} is the land of",
    ),
    "continents": (
        "Maps show the capital of {country} in",
        "We found the capital of {country} on the map of",
    ),
    "sentiment": (
        "The {thing} was {X} and {Y}, so the review was",
        "The {thing} seemed {X} and {Y}, and the review was",
        "They said that the {thing} was {X} and {Y}, so it was",
        "We found the {thing} {X} and even {Y}, so our review was",
        "Everyone called the {thing} {X} and {Y}, and the review was",
        "My friends thought the {thing} was {X} and {Y}, so their review was",
    ),
    "pronouns": (
        "The {profession} {action} because",
        "The {profession} {action} when",
        "The {profession} {action} after",
        "When the {profession} {action},",
        "After the {profession} {action},",
        "While the {profession} {action},",
        "We know that the {profession} {action} because",
        "They said that the {profession} {action} because",
    ),
}

# What is said beside a task, in this share of its sentences: whose words it helps to learn, and never asked for.
ASIDES: dict[str, tuple[str, float]] = {
    "agreement": ("plain agreement", 0.3),
    "facts": ("continents", 0.15),
}
# The number of different words in a repeated sequence, both ends included.
SEQUENCE_WORDS = (4, 16)
# A document goes on with one more sentence with this probability, up to so many sentences.
MORE, MOST_SENTENCES = 0.2, 3
# One lexical combination in so many is never said in training.
HOLD_OUT = 10
