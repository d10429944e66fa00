"""What a task is made of, prompts and pairs, as one tokenizer spells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.tiny.grammar import Sentence


@dataclass(frozen=True)
class Prompt:
    """One labelled prompt.

    Attributes
    ----------
    text
        What the model reads. It stops just before the word that the task asks for.
    label
        The class a probe is to find.
    group
        Sentence frame and deciding words; cross-validation folds must not cut a group in two.
    position
        Index of the token to read at: the last one of the text. It counts the BOS token where the tokenizer adds one
        by its own default, as `resid_widgets.run` does.
    """

    text: str
    label: str
    group: str
    position: int


@dataclass(frozen=True)
class Pair:
    """A clean and a corrupt prompt of the same number of tokens, for patching.

    Attributes
    ----------
    clean, corrupt
        The two prompts. They differ in the words that decide the answer and in nothing else.
    answer
        What should follow `clean`: one token, the one by which it continues the prompt. It has a leading space
        except where the tokenizer adds that space itself.
    foil
        What should follow `corrupt`, likewise.
    """

    clean: str
    corrupt: str
    answer: str
    foil: str


class Spelling:
    """How one tokenizer spells words and sentences.

    Parameters
    ----------
    source
        The tokenizer, or a model that holds one.

    Raises
    ------
    InputError
        If there is no tokenizer.
    """

    def __init__(self, source: Any) -> None:
        self._tokenizer = tokenizer = _tokenizer_of(source)
        self._unknown = getattr(tokenizer, "unk_token_id", None)
        marks = (getattr(tokenizer, f"{mark}_token_id", None) for mark in ("bos", "eos", "sep", "cls", "pad"))
        self._marks = {mark for mark in marks if mark is not None}

    def prompt(self, drawn: Sentence) -> Prompt:
        """The sentence up to its answer, labelled."""
        return self.cut(drawn.prompt, drawn.label, drawn.group)

    def cut(self, text: str, label: str, group: str) -> Prompt:
        """A text that is read at its last token."""
        ids = list(self._tokenizer(text)["input_ids"])
        while ids[-1] in self._marks:  # what some tokenizers add at the end
            ids.pop()
        return Prompt(text, label, group, len(ids) - 1)

    def pair(self, drawn: Sentence) -> Pair | None:
        """The sentence and its corrupt twin, or None where this tokenizer does not cut them alike."""
        if len(self._ids(drawn.prompt)) != len(self._ids(drawn.corrupt)):
            return None
        answer, foil = self._alone(drawn.prompt, drawn.answer), self._alone(drawn.corrupt, drawn.foil)
        return None if answer is None or foil is None else Pair(drawn.prompt, drawn.corrupt, answer, foil)

    def knows(self, words: Sequence[str]) -> bool:
        """Whether each of the words is a single known token, inside a sentence and as an answer by itself."""
        return all(self._alone("The", f" {word}") is not None for word in words)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _alone(self, before: str, word: str) -> str | None:
        """The string (`word`, or without its space) that by itself is the one known token that continues `before`."""
        start, both = self._ids(before), self._ids(before + word)
        if both[:-1] != start or both[-1] == self._unknown:
            return None
        return next((text for text in (word, word.strip()) if self._ids(text) == both[-1:]), None)


def _tokenizer_of(source: Any) -> Any:
    """The tokenizer itself, or the one that a model holds."""
    tokenizer = source if hasattr(source, "convert_ids_to_tokens") else getattr(source, "tokenizer", None)
    if not callable(tokenizer):
        raise InputError.about(
            "model_or_tokenizer",
            source,
            "a task is written for a tokenizer, and this has none",
            "Give a Hugging Face tokenizer, or a model that was loaded with one.",
        )
    return tokenizer
