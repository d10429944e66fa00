"""Small edits of an English prompt: two names swapped, a word's number changed, a verb negated."""

from __future__ import annotations

import re
from dataclasses import dataclass

from resid_widgets.errors import InputError

AUXILIARIES = tuple(
    "am is are was were has have had do does did can could will would shall should may might must".split()
)
_PLURALS = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "mouse": "mice",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "is": "are",
    "was": "were",
    "has": "have",
    "does": "do",
    "this": "these",
    "that": "those",
}
_SINGULARS = {plural: singular for singular, plural in _PLURALS.items()}


@dataclass(frozen=True)
class Rewrite:
    """One edit of a text. Made by `swap`, `change_number`, `negate`.

    Attributes
    ----------
    kind
        ``"swap"``, ``"number"`` or ``"negation"``.
    words
        What it is about.
    """

    kind: str
    words: tuple[str, ...]

    def apply(self, text: str) -> str:
        """Return the edited text.

        Raises
        ------
        InputError
            If a word is not in it.
        """
        for word in self.words[: 1 if self.kind == "number" else None]:
            if not re.search(_whole(word), text):
                rule = f"it is no word of {text!r}"
                raise InputError.about(self.kind, word, rule, "Spell it as it stands there, or give the text itself.")
        if self.kind == "swap":
            first, second = self.words
            other = {first: second, second: first}
            pattern = "|".join(map(_whole, sorted(self.words, key=len, reverse=True)))
            return re.sub(pattern, lambda found: other[found.group()], text)
        if self.kind == "number":
            return re.sub(_whole(self.words[0]), lambda _: self.words[1], text)
        return _negated(text, self.words)

    def __str__(self) -> str:
        match self.kind:
            case "swap":
                return f"{self.words[0]} ↔ {self.words[1]}"
            case "number":
                return f"{self.words[0]} → {self.words[1]}"
        return " ".join(("negate", *self.words))


def swap(first: str, second: str) -> Rewrite:
    """Exchange two words wherever they stand, for example two names.

    Raises
    ------
    InputError
        If they are no words, or the same.
    """
    words = _word("first", first), _word("second", second)
    if words[0] == words[1]:
        raise InputError.about("second", second, "both are the same word", "Name another one.")
    return Rewrite("swap", words)


def change_number(word: str, to: str | None = None) -> Rewrite:
    """Put a word's plural in the place of its singular, or the other way round.

    Parameters
    ----------
    to
        The other form, where English makes it irregularly; by default the regular one, or that of a few common words.

    Raises
    ------
    InputError
        If it is no word, or both are the same.
    """
    word = _word("word", word)
    other = _other_number(word) if to is None else _word("to", to)
    if other == word:
        raise InputError.about("to", to, "both are the same word", "Give the other form.")
    return Rewrite("number", (word, other))


def negate(verb: str | None = None) -> Rewrite:
    """Put "not" behind a verb, or take it away where it stands there.

    Parameters
    ----------
    verb
        By default the first auxiliary (is, are, was, has, can, ...).

    Raises
    ------
    InputError
        If it is no word.
    """
    return Rewrite("negation", () if verb is None else (_word("verb", verb),))


def _negated(text: str, verb: tuple[str, ...]) -> str:
    pattern = "|".join(map(_whole, verb or AUXILIARIES))
    found = re.search(pattern, text)
    if found is None:
        rule = f"there is no auxiliary verb in {text!r}"
        raise InputError.about(
            "negation", verb or None, rule, "Name the verb: rw.negate('went'), or give the text itself."
        )
    before, after = text[: found.end()], text[found.end() :]
    return before + (after[4:] if re.match(r" not\b", after) else f" not{after}")


def _whole(word: str) -> str:
    return rf"(?<!\w){re.escape(word)}(?!\w)"


def _word(name: str, word: object) -> str:
    if not isinstance(word, str) or not word.strip():
        raise InputError.about(name, word, "a word is needed", "For example 'Mary'.")
    return word.strip()


def _other_number(word: str) -> str:
    if word in _PLURALS or word in _SINGULARS:
        return _PLURALS.get(word) or _SINGULARS[word]
    if re.search(r"[^aeiou]ies$", word):
        return word[:-3] + "y"
    if re.search(r"(ch|sh|x|ss|z)es$", word):
        return word[:-2]
    if re.search(r"[^s]s$", word):
        return word[:-1]
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(ch|sh|x|s|z)$", word) else "s")
