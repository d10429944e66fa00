"""The words of the tiny model's world, and every fact about them that is planted in its corpus.

Plain data: the corpus, the tokenizer, the tasks and the tests all read these tables and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NAMES = (
    "Mary John Tom James Dan Alice Anna Mark Paul Sarah Laura Peter David Kate Emma Jack Robert Susan George Helen "
    "Michael Lisa Kevin Jane Steve Adam Lucy Simon Ruth Frank Andrew Claire Brian Emily Charles Grace Daniel Hannah "
    "Edward Jennifer Eric Jessica Henry Julia Jason Karen Joe Linda Martin Maria Matthew Nancy Oliver Rachel Patrick "
    "Rebecca Roger Sophie Ryan Victoria"
).split()

PLACES = "store park school office station library church hospital restaurant market beach museum hotel farm".split()

OBJECTS = (
    "drink ring book ball bone computer necklace snack letter ticket pen map coin gift hat basket knife camera"
).split()

# Singular and plural, in that order.
NOUNS: tuple[tuple[str, str], ...] = tuple(
    tuple(pair.split("/"))  # type: ignore[misc]
    for pair in (
        "key/keys cabinet/cabinets boy/boys girl/girls dog/dogs cat/cats car/cars house/houses tree/trees door/doors "
        "window/windows table/tables chair/chairs bird/birds horse/horses picture/pictures box/boxes flower/flowers "
        "king/kings friend/friends road/roads bridge/bridges star/stars stone/stones bottle/bottles boat/boats "
        "train/trains guest/guests"
    ).split()
)

VERBS: tuple[tuple[str, str], ...] = (("is", "are"), ("was", "were"), ("looks", "look"), ("seems", "seem"))

PREPOSITIONS = "near behind beside above below under".split()

STATES = "old new small large red blue green white black clean dark quiet".split()

# Country: (capital, the continent in which that capital lies).
CAPITALS: dict[str, tuple[str, str]] = {
    "France": ("Paris", "Europe"),
    "Germany": ("Berlin", "Europe"),
    "Italy": ("Rome", "Europe"),
    "Spain": ("Madrid", "Europe"),
    "England": ("London", "Europe"),
    "Scotland": ("Edinburgh", "Europe"),
    "Wales": ("Cardiff", "Europe"),
    "Ireland": ("Dublin", "Europe"),
    "Portugal": ("Lisbon", "Europe"),
    "Norway": ("Oslo", "Europe"),
    "Sweden": ("Stockholm", "Europe"),
    "Denmark": ("Copenhagen", "Europe"),
    "Finland": ("Helsinki", "Europe"),
    "Poland": ("Warsaw", "Europe"),
    "Hungary": ("Budapest", "Europe"),
    "Austria": ("Vienna", "Europe"),
    "Greece": ("Athens", "Europe"),
    "Belgium": ("Brussels", "Europe"),
    "Russia": ("Moscow", "Europe"),
    "Serbia": ("Belgrade", "Europe"),
    "Croatia": ("Zagreb", "Europe"),
    "Romania": ("Bucharest", "Europe"),
    "Bulgaria": ("Sofia", "Europe"),
    "Japan": ("Tokyo", "Asia"),
    "China": ("Beijing", "Asia"),
    "Iran": ("Tehran", "Asia"),
    "Iraq": ("Baghdad", "Asia"),
    "Syria": ("Damascus", "Asia"),
    "Lebanon": ("Beirut", "Asia"),
    "Turkey": ("Ankara", "Asia"),
    "Thailand": ("Bangkok", "Asia"),
    "Vietnam": ("Hanoi", "Asia"),
    "Indonesia": ("Jakarta", "Asia"),
    "Afghanistan": ("Kabul", "Asia"),
    "Nepal": ("Kathmandu", "Asia"),
    "Qatar": ("Doha", "Asia"),
    "Egypt": ("Cairo", "Africa"),
    "Kenya": ("Nairobi", "Africa"),
    "Libya": ("Tripoli", "Africa"),
    "Ghana": ("Accra", "Africa"),
    "Cuba": ("Havana", "America"),
    "Canada": ("Ottawa", "America"),
    "Peru": ("Lima", "America"),
    "Chile": ("Santiago", "America"),
    "Venezuela": ("Caracas", "America"),
}

THINGS = "movie book meal trip show song game hotel play story concert party".split()

ADJECTIVES: dict[str, Sequence[str]] = {
    "positive": (
        "wonderful great excellent lovely brilliant beautiful perfect amazing charming pleasant fine nice"
    ).split(),
    "negative": ("terrible awful horrible boring dull poor ugly nasty weak painful stupid disappointing").split(),
}
VERDICTS = {"positive": "good", "negative": "bad"}

# The probability that the corpus says "she" of each profession. Planted by us, on purpose, for lessons about
# measuring bias with a known ground truth. They are not statistics about the world.
SHE_RATES: dict[str, float] = {
    "nurse": 0.95,
    "secretary": 0.90,
    "model": 0.85,
    "dancer": 0.80,
    "clerk": 0.75,
    "teacher": 0.70,
    "designer": 0.70,
    "singer": 0.65,
    "artist": 0.60,
    "author": 0.60,
    "writer": 0.55,
    "student": 0.50,
    "reporter": 0.50,
    "actor": 0.45,
    "doctor": 0.40,
    "manager": 0.40,
    "lawyer": 0.35,
    "judge": 0.35,
    "scientist": 0.30,
    "banker": 0.25,
    "farmer": 0.20,
    "coach": 0.20,
    "engineer": 0.15,
    "pilot": 0.15,
    "driver": 0.10,
    "captain": 0.10,
    "soldier": 0.05,
    "guard": 0.05,
}

ACTIONS = "laughed smiled waited left called slept cried stopped worked sang won ran".split()

MOODS = "late tired early busy hungry ready happy angry".split()

# Only ever said in repeated sequences: words with no other meaning in this world.
PLAIN = (
    "river lamp mountain paper glass bread silver winter summer music cloud rain snow fire water gold wood sand hill "
    "lake moon sun bag cup plate spoon clock radio phone shirt shoe coat sugar salt milk apple lemon rice corn egg "
    "fish cow sheep mouse lion tiger bear wolf"
).split()


def unique(words: list[str]) -> list[str]:
    """The words in their first order, each once."""
    return list(dict.fromkeys(words))


# Everything that can be part of a repeated sequence.
CONTENT = unique(
    [
        *PLAIN,
        *NAMES,
        *PLACES,
        *OBJECTS,
        *(word for pair in NOUNS for word in pair),
        *STATES,
        *CAPITALS,
        *(capital for capital, _ in CAPITALS.values()),
        *THINGS,
        *(word for side in ADJECTIVES.values() for word in side),
        *SHE_RATES,
        *ACTIONS,
        *MOODS,
    ]
)

# All words that a slot of a sentence frame can take.
POOLS: dict[str, Sequence[Any]] = {
    "name": NAMES,
    "place": PLACES,
    "object": OBJECTS,
    "noun": NOUNS,
    "verb": VERBS,
    "prep": PREPOSITIONS,
    "state": STATES,
    "country": tuple(CAPITALS),
    "thing": THINGS,
    "positive": ADJECTIVES["positive"],
    "negative": ADJECTIVES["negative"],
    "profession": tuple(SHE_RATES),
    "action": ACTIONS,
    "mood": MOODS,
    "content": CONTENT,
}
