"""The grammar of the tiny model's world: how its sentences are built from `words`.

One source for two readers. The training corpus says these sentences in full; `resid_widgets.tasks` asks them as
questions of any model. Every choice is counted, so the probability of a sentence, and with it the lowest loss
that any model can reach, is known exactly.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from resid_widgets.models.tiny import words as w
from resid_widgets.models.tiny.choices import Choices
from resid_widgets.models.tiny.templates import ASIDES, HOLD_OUT, MIX, SEQUENCE_WORDS, TEMPLATES
from resid_widgets.models.tiny.vocabulary import pieces

Pools = Mapping[str, Sequence[Any]]
NUMBERS = ("singular", "plural")


@dataclass(frozen=True)
class Sentence:
    """One sentence, cut at the word a model is asked for.

    Attributes
    ----------
    prompt, answer, rest
        The text is these three in a row. `answer` is one word with its leading space.
    foil
        The other word that could have stood there.
    corrupt
        `prompt` with the deciding word exchanged, so that `foil` is what should follow.
    label
        What the prompt is an example of, for probes.
    kind
        What a balanced set has equal shares of: the label, and whatever else would give the label away.
    template, item
        Number of the sentence frame, and the words that decide the answer: together they name the group.
    key
        What is held out: sentences that share it are either all in the training corpus or all out of it.
    chance
        Probability that the corpus says `answer`; otherwise it says `foil`.
    settled
        Character span of the text which the grammar fixes once the deciding words were said; None: the answer.
    """

    prompt: str
    answer: str
    rest: str
    foil: str
    corrupt: str
    label: str
    kind: str
    template: int
    item: str
    key: str
    chance: float = 1.0
    settled: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        """The full sentence, as the corpus says it when it gives the answer."""
        return self.prompt + self.answer + self.rest

    @property
    def group(self) -> str:
        """Template and deciding words, for cross-validation folds."""
        return f"{self.template}:{self.item}"

    @property
    def held_out(self) -> bool:
        """Whether the training corpus never says this combination of words. Does not depend on any seed."""
        return zlib.crc32(self.key.encode()) % HOLD_OUT == 0


def _ioi(choose: Choices, pools: Pools) -> Sentence:
    """Two people, one of whom gives: the other one receives."""
    template = choose.pick(range(len(TEMPLATES["ioi"])))
    frame = TEMPLATES["ioi"][template]
    first, second = choose.several(pools["name"], 2)
    giver, receiver = (first, second) if choose.coin(0.5) else (second, first)
    slots = {"A": first, "B": second, "place": choose.pick(pools["place"]), "object": choose.pick(pools["object"])}
    order = "first" if receiver == first else "second"
    couple = "-".join(sorted((first, second)))
    return Sentence(
        prompt=frame.format(S=giver, **slots),
        answer=f" {receiver}",
        rest=".",
        foil=f" {giver}",
        corrupt=frame.format(S=receiver, **slots),
        label=order,
        kind=order,
        template=template,
        item=couple,
        key=f"ioi:{couple}",
    )


def _agreement(kind: str, choose: Choices, pools: Pools) -> Sentence:
    """A verb that must agree with its subject, not with the noun just before it (unless the kind is plain)."""
    template = choose.pick(range(len(TEMPLATES[kind])))
    frame = TEMPLATES[kind][template]
    subject = choose.pick(pools["noun"])
    number = choose.coin(0.5)
    item, numbers, slots = subject[0], NUMBERS[number], {}
    if "{M}" in frame:
        attractor = choose.pick([noun for noun in pools["noun"] if noun != subject])
        attractor_number = choose.coin(0.5)
        slots["M"] = attractor[attractor_number]
        item, numbers = f"{item}-{attractor[0]}", f"{numbers}-{NUMBERS[attractor_number]}"
    slots |= {name: choose.pick(pools[name]) for name in ("prep", "state") if "{" + name + "}" in frame}
    verb = choose.pick(pools["verb"])
    return Sentence(
        prompt=frame.format(N=subject[number], **slots),
        answer=f" {verb[number]}",
        rest=f" {choose.pick(pools['state'])}.",
        foil=f" {verb[not number]}",
        corrupt=frame.format(N=subject[not number], **slots),
        label=NUMBERS[number],
        kind=numbers,
        template=template,
        item=item,
        key=f"{kind}:{item}",
    )


def _induction(choose: Choices, pools: Pools) -> Sentence:
    """Different words in a row, then the same words in the same order."""
    low, high = SEQUENCE_WORDS
    n = choose.pick(range(low, high + 1))
    said = choose.several(pools["content"], n)
    [other] = choose.free([word for word in pools["content"] if word not in said])
    [cut] = choose.free(range(1, n - 1))  # the last repeated word before the answer
    answer = said[cut + 1]
    changed = [other if word == answer else word for word in said]
    first, again = " ".join(said), " ".join(said[: cut + 1])
    text = f"{first} {first}."
    return Sentence(
        prompt=f"{first} {again}",
        answer=f" {answer}",
        rest="".join(f" {word}" for word in said[cut + 2 :]) + ".",
        foil=f" {other}",
        corrupt=f"{' '.join(changed)} {again}",
        label="repeated",
        kind="repeated",
        template=n,
        item=said[cut],
        key=f"induction:{first}",
        settled=(len(first) + 1 + len(said[0]), len(text) - 1),
    )


def unrepeated(drawn: Sentence, choose: Choices, pools: Pools) -> Sentence:
    """A sequence as long as `drawn`, whose last words were not said before."""
    said = pieces(drawn.prompt)
    first = [piece.strip() for piece in said[: drawn.template]]
    fresh = choose.several([word for word in pools["content"] if word not in first], len(said) - drawn.template)
    return replace(
        drawn,
        prompt=" ".join([*first, *fresh]),
        label="fresh",
        kind="fresh",
        item=fresh[-1],
    )


def _country(kind: str, choose: Choices, pools: Pools) -> Sentence:
    """Countries and their capitals (``"facts"``) or continents."""
    template = choose.pick(range(len(TEMPLATES[kind])))
    country = choose.pick(pools["country"])
    which = 0 if kind == "facts" else 1
    others = [name for name in pools["country"] if w.CAPITALS[name][which] != w.CAPITALS[country][which]]
    [other] = choose.free(others)
    frame = TEMPLATES[kind][template]
    return Sentence(
        prompt=frame.format(country=country),
        answer=f" {w.CAPITALS[country][which]}",
        rest=".",
        foil=f" {w.CAPITALS[other][which]}",
        corrupt=frame.format(country=other),
        label=w.CAPITALS[country][1],
        kind="any",
        template=template,
        item=country,
        key=f"{kind}:{template}:{country}",
    )


def _sentiment(choose: Choices, pools: Pools) -> Sentence:
    """Two adjectives of one polarity and the verdict that follows from them."""
    template = choose.pick(range(len(TEMPLATES["sentiment"])))
    thing = choose.pick(pools["thing"])
    side, other = ("positive", "negative") if choose.coin(0.5) else ("negative", "positive")
    x, y = choose.several(pools[side], 2)
    against = choose.free(pools[other], 2)
    frame = TEMPLATES["sentiment"][template]
    couple = "-".join(sorted((x, y)))
    return Sentence(
        prompt=frame.format(thing=thing, X=x, Y=y),
        answer=f" {w.VERDICTS[side]}",
        rest=".",
        foil=f" {w.VERDICTS[other]}",
        corrupt=frame.format(thing=thing, X=against[0], Y=against[1]),
        label=side,
        kind=side,
        template=template,
        item=couple,
        key=f"sentiment:{couple}",
    )


def _pronouns(choose: Choices, pools: Pools) -> Sentence:
    """A profession and the pronoun that the corpus gives it, at the planted rate."""
    template = choose.pick(range(len(TEMPLATES["pronouns"])))
    profession, action = choose.pick(pools["profession"]), choose.pick(pools["action"])
    rate = w.SHE_RATES[profession]
    she = rate > 0.5
    others = [name for name in pools["profession"] if (w.SHE_RATES[name] > 0.5) != she]
    [other] = choose.free(others)
    frame = TEMPLATES["pronouns"][template]
    return Sentence(
        prompt=frame.format(profession=profession, action=action),
        answer=" she" if she else " he",
        rest=f" was {choose.pick(pools['mood'])}.",
        foil=" he" if she else " she",
        corrupt=frame.format(profession=other, action=action),
        label="she" if she else "he",
        kind="she" if she else "he",
        template=template,
        item=profession,
        key=f"pronouns:{template}:{profession}:{action}",
        chance=rate if she else 1 - rate,
    )


_MAKERS: dict[str, Callable[[Choices, Pools], Sentence]] = {
    "ioi": _ioi,
    "agreement": partial(_agreement, "agreement"),
    "plain agreement": partial(_agreement, "plain agreement"),
    "induction": _induction,
    "facts": partial(_country, "facts"),
    "continents": partial(_country, "continents"),
    "sentiment": _sentiment,
    "pronouns": _pronouns,
}


def sentence(task: str, choose: Choices, pools: Pools = w.POOLS) -> Sentence:
    """Draw one sentence of a task from the whole grammar, or from a part of its words."""
    return _MAKERS[task](choose, pools)


def spoken(choose: Choices, *, held_out: bool | None = None) -> Sentence:
    """Draw one sentence as the corpus does: a task of the `MIX`, now and then its aside.

    Parameters
    ----------
    held_out
        True: only combinations the training corpus never says; False: only those it may say; None: any, and only then
        do the choices count the probability of the sentence.
    """
    task = choose.weighted(MIX)
    if task in ASIDES:
        aside, share = ASIDES[task]
        task = aside if choose.coin(share) else task
    while True:
        drawn = sentence(task, choose)
        if held_out is None or drawn.held_out == held_out:
            return drawn
