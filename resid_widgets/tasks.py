"""Small tasks with a known answer, as data for probes and patching, written for whatever tokenizer a model has.

``load("ioi", model)`` gives labelled prompts and clean / corrupt pairs. The sentences come from the grammar that the
bundled tiny model was trained on; on other models they are plain simple English.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from resid_widgets.errors import InputError
from resid_widgets.models.tiny import grammar, words
from resid_widgets.models.tiny.choices import Choices
from resid_widgets.models.tiny.grammar import Pools, Sentence
from resid_widgets.models.tiny.questions import QUESTIONS
from resid_widgets.models.tiny.templates import TEMPLATES
from resid_widgets.models.tiny.vocabulary import PIECE
from resid_widgets.spelling import Pair, Prompt, Spelling
from resid_widgets.whole import whole


@dataclass(frozen=True)
class Task:
    """A task written out for one tokenizer.

    Attributes
    ----------
    name, description
        What it asks, what its labels mean, and which words were left out for this tokenizer.
    prompts
        Labelled prompts, all different, the labels in equal shares (continents of ``"facts"`` excepted).
    pairs
        Clean / corrupt pairs, all different, in equal shares over the label of the clean prompt.
    """

    name: str
    description: str
    prompts: list[Prompt] = field(repr=False)
    pairs: list[Pair] = field(repr=False)


# Sentences drawn in a row without a new one among them, before the task (or a word of it) counts as used up.
_PATIENCE = 10_000

# The grammar's words by part of speech: its pools, and what its sentence frames add. Left out: pronouns and
# determiners, too few to hold some of them out, and "show", which is said as a noun and as a verb.
_PARTS: dict[str, list[str]] = {
    "noun": words.unique(
        [
            *words.PLACES,
            *words.OBJECTS,
            *words.THINGS,
            *words.SHE_RATES,
            *(word for pair in words.NOUNS for word in pair),
        ]
    ),
    "verb": words.unique(
        [
            *(word for pair in words.VERBS for word in pair),
            *words.ACTIONS,
            *"went gave handed passed took sold sent met walked saw".split(),
        ]
    ),
    "adjective": words.unique(
        [
            *words.STATES,
            *words.MOODS,
            *words.VERDICTS.values(),
            *words.ADJECTIVES["positive"],
            *words.ADJECTIVES["negative"],
        ]
    ),
    "preposition": [*words.PREPOSITIONS, "to", "at", "in", "of", "on"],
    "name": words.unique([*words.NAMES, *words.CAPITALS, *(capital for capital, _ in words.CAPITALS.values())]),
}
_PARTS["noun"].remove("show")
_FORMS = {form: pair[0] for pair in (*words.NOUNS, *words.VERBS) for form in pair}
# Random words in a row have no syntax.
_SPEAKING = [kind for kind in TEMPLATES if kind != "induction"]
# Words of each part of speech that a tokenizer must have, so that five folds can hold some out.
_FEWEST_WORDS = 5

T = TypeVar("T", Prompt, Pair)


def names() -> list[str]:
    """The tasks that `load` knows."""
    return list(QUESTIONS)


def load(name: str, model_or_tokenizer: Any, n: Any = 100, seed: Any = 0, *, held_out: bool = False) -> Task:
    """Write a task out for a model's tokenizer.

    Parameters
    ----------
    name
        One of `names`.
    model_or_tokenizer
        A Hugging Face tokenizer, or anything that holds one as ``.tokenizer``: a ResidualModel, a TransformerBridge.
    n
        Number of prompts, and of pairs.
    seed
        The same seed gives the same data, whatever `n`: a larger one only adds to it.
    held_out
        Only combinations of words that the tiny model's training corpus never says. Means nothing for other models.

    Raises
    ------
    InputError
        If there is no such task or no tokenizer, if an answer is not a single token, if too few words of the task are
        single tokens, or if there are fewer than `n` different prompts or pairs.

    Examples
    --------
    >>> pair = load("ioi", model).pairs[0]
    >>> pair.clean, pair.answer
    ('When Mary and John went to the store, John gave a drink to', ' Mary')
    """
    if not isinstance(name, str) or name not in QUESTIONS:
        raise InputError.about("name", name, "there is no such task", f"Choose from {names()}.")
    n, seed = _count(n), _seed(seed)
    spelling = Spelling(model_or_tokenizer)
    pools, note = _usable(name, spelling)
    prompts = _draw(name, "prompts", spelling.prompt, pools, n=n, seed=seed, held_out=held_out)
    pairs = _draw(name, "pairs", spelling.pair, pools, n=n, seed=seed, held_out=held_out)
    return Task(name, f"{QUESTIONS[name].text} {note}", prompts, pairs)


def parts_of_speech(model_or_tokenizer: Any, n: Any = 200, seed: Any = 0) -> list[Prompt]:
    """Sentences of the grammar, cut right after a word; the label is that word's part of speech.

    Labels are noun, verb, adjective, preposition and name, in turn. All are single tokens, and never a prompt's first
    word. A prompt's group is its word (*key* and *keys*, *is* and *are* are one): folds hold out whole words, and a
    probe must know a noun that it has not seen. Were the same words on both sides, it could remember a list of them.

    Parameters
    ----------
    model_or_tokenizer, seed
        As in `load`.
    n
        Number of prompts, all different. A larger one only adds to them.

    Raises
    ------
    InputError
        If there is no tokenizer, too few words of a part of speech are single tokens of it, or there are fewer than `n`
        different prompts.

    Examples
    --------
    >>> prompt = parts_of_speech(model)[0]
    >>> prompt.text, prompt.label
    ('The car near', 'preposition')
    """
    n, seed = _count(n), _seed(seed)
    spelling = Spelling(model_or_tokenizer)
    known = {part: [word for word in pool if spelling.knows([word])] for part, pool in _PARTS.items()}
    for part, pool in known.items():
        if len(pool) < _FEWEST_WORDS:
            rule = f"only {len(pool)} of {len(_PARTS[part])} {part} words are single tokens of its tokenizer"
            raise InputError.about("model_or_tokenizer", model_or_tokenizer, rule, "Take one with a larger vocabulary.")
    choose = Choices.seeded("parts of speech", seed)
    cuts: dict[str, list[str]] = {word: [] for pool in known.values() for word in pool}  # texts that end in the word
    seen: set[str] = set()
    made: list[Prompt] = []
    while len(made) < n:
        part = list(known)[len(made) % len(known)]
        if not known[part]:
            remedy = f"Ask for n={len(made)} or fewer."
            raise InputError.about("n", n, f"there are only {len(made)} different prompts in equal shares here", remedy)
        word = choose.pick(known[part])
        missed = 0
        while not cuts[word] and missed < _PATIENCE:
            missed += 1
            text = grammar.sentence(choose.pick(_SPEAKING), choose).text
            for piece in PIECE.finditer(text):
                said, cut = piece.group().strip(), text[: piece.end()]
                if piece.start() and said in cuts and cut not in seen:
                    seen.add(cut)
                    cuts[said].append(cut)
        if cuts[word]:
            made.append(spelling.cut(cuts[word].pop(0), part, _FORMS.get(word, word)))
        else:
            known[part].remove(word)  # all is said that can be said before it
    return made


def _count(n: Any) -> int:
    number = whole(n)
    if number is None or number < 1:
        raise InputError.about("n", n, "the number of prompts must be a whole number of at least 1", "Give n=100, say.")
    return number


def _seed(seed: Any) -> int:
    number = whole(seed)
    if number is None:
        raise InputError.about("seed", seed, "a whole number is needed", "seed=0 is the default.")
    return number


def _usable(name: str, spelling: Spelling) -> tuple[Pools, str]:
    """The grammar's words without those that are not single tokens here, and a sentence that says which went."""
    for answer in QUESTIONS[name].answers:
        if not spelling.knows([answer]):
            rule = f"its answer {f' {answer}'!r} is not a single token of this tokenizer"
            raise InputError.about("name", name, rule, "Take another task.")
    pools, lost, total = dict(words.POOLS), [], 0
    for pool, fewest in QUESTIONS[name].pools.items():
        entries = {entry: _words_of(pool, entry) for entry in words.POOLS[pool] if words.SHE_RATES.get(entry) != 0.5}
        pools[pool] = [entry for entry, needed in entries.items() if spelling.knows(needed)]
        gone = ["/".join(needed) for entry, needed in entries.items() if entry not in pools[pool]]
        likelier = {words.SHE_RATES[profession] > 0.5 for profession in pools["profession"]}
        if len(pools[pool]) < fewest or len(likelier) < 2:
            rule = (
                f"only {len(pools[pool])} of its {len(entries)} {pool} words are single tokens of this tokenizer, "
                f"which is too few. Not among them: {', '.join(gone[:8])}{' and others' if len(gone) > 8 else ''}"
            )
            raise InputError.about("name", name, rule, "Take another task, or a model with a larger vocabulary.")
        total += len(entries)
        lost += gone
    if not lost:
        return pools, f"All of its {total} words are single tokens of this tokenizer."
    return pools, (
        f"Left out: {len(lost)} of its {total} words, not being single tokens of this tokenizer ({', '.join(lost)})."
    )


def _words_of(pool: str, entry: Any) -> tuple[str, ...]:
    """All words that one entry of a pool brings into a prompt or an answer."""
    if pool == "country":
        return entry, words.CAPITALS[entry][0]
    return (entry,) if isinstance(entry, str) else tuple(entry)


def _draw(
    name: str,
    what: str,
    make: Callable[[Sentence], T | None],
    pools: Pools,
    *,
    n: int,
    seed: int,
    held_out: bool,
) -> list[T]:
    """Make `n` different things of sentences of the task, its kinds in turn."""
    choose = Choices.seeded(name, what, seed)
    # There is nothing to patch in a sequence that repeats nothing.
    kinds = [kind for kind in QUESTIONS[name].kinds if what == "prompts" or kind != "fresh"]
    seen: set[tuple[str, ...]] = set()
    made: list[T] = []
    missed = 0
    while len(made) < n:
        kind = kinds[len(made) % len(kinds)]
        drawn = grammar.sentence(name, choose, pools)
        if kind == "fresh":
            drawn = grammar.unrepeated(drawn, choose, pools)
        key = (drawn.prompt,) if what == "prompts" else (drawn.prompt, drawn.corrupt, drawn.answer)
        missed += 1
        if drawn.kind == kind and key not in seen and (drawn.held_out or not held_out):
            seen.add(key)
            thing = make(drawn)
            if thing is not None:
                made.append(thing)
                missed = 0
        if missed > _PATIENCE:
            rule = f"there are only {len(made)} different {what} of {name!r} here"
            remedy = f"Ask for n={len(made)} or fewer." if made else "Take another task."
            raise InputError.about("n", n, rule, remedy)
    return made
