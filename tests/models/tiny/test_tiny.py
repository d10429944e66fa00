"""The bundled tiny model: its grammar, its tokenizer, how it is trained, and what the shipped weights know."""

from __future__ import annotations

import json
import math
import random
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

MEGABYTE = 1e6


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    from resid_widgets.models.tiny import folder

    return AutoTokenizer.from_pretrained(folder())


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    from transformers import LlamaForCausalLM

    from resid_widgets.models.tiny import folder

    return LlamaForCausalLM.from_pretrained(folder()).eval()


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    from resid_widgets.models.tiny import folder

    return json.loads((folder() / "model_card.json").read_text())


# --- the grammar ----------------------------------------------------------------------------------------------------


def test_the_corpus_depends_on_its_seed_alone() -> None:
    from resid_widgets.models.tiny.corpus import Corpus

    def documents(*seed: object) -> list[list[int]]:
        corpus = Corpus(*seed)
        return [corpus.document().ids for _ in range(50)]

    assert documents("train", 0) == documents("train", 0)
    assert documents("train", 0) != documents("train", 1)


def test_training_never_says_what_is_held_out() -> None:
    from resid_widgets.models.tiny import grammar
    from resid_widgets.models.tiny.choices import Choices

    said = Choices.seeded("test")
    assert not any(grammar.spoken(said, held_out=False).held_out for _ in range(1000))
    every = [grammar.spoken(said).held_out for _ in range(2000)]
    assert 0.07 < sum(every) / len(every) < 0.13


def test_the_corpus_says_every_piece_of_the_vocabulary_and_no_other() -> None:
    from resid_widgets.models.tiny import grammar
    from resid_widgets.models.tiny.choices import Choices
    from resid_widgets.models.tiny.corpus import Corpus
    from resid_widgets.models.tiny.tokenizer import SPECIALS, word_ids
    from resid_widgets.models.tiny.vocabulary import pieces
    from resid_widgets.models.tiny.words import CONTENT

    corpus, ids = Corpus("pieces"), word_ids()
    said = {piece for _ in range(4000) for piece in corpus.document().ids}  # a piece without an id would raise
    # A word that can begin a repeated sequence does so too seldom to wait for.
    choose = Choices.seeded("pieces")
    firsts = {pieces(grammar.sentence("induction", choose).text)[0] for _ in range(300)}
    assert firsts <= set(CONTENT)
    assert len(firsts) > 150
    assert set(ids.values()) - said <= {ids[piece] for piece in (*SPECIALS, *CONTENT)}


def test_a_text_has_one_derivation() -> None:
    """Otherwise the counted surprise would be too high, and a prompt might have two right continuations."""
    from resid_widgets.models.tiny import grammar, words
    from resid_widgets.models.tiny.choices import Choices
    from resid_widgets.models.tiny.templates import TEMPLATES

    pools = {
        "A": words.NAMES,
        "B": words.NAMES,
        "C": words.NAMES,
        "S": words.NAMES,
        "N": [word for noun in words.NOUNS for word in noun],
        "M": [word for noun in words.NOUNS for word in noun],
        "X": [word for side in words.ADJECTIVES.values() for word in side],
        "Y": [word for side in words.ADJECTIVES.values() for word in side],
        **words.POOLS,
    }

    def pattern(frame: str) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", lambda slot: f"(?:{'|'.join(pools[slot[1]])})", frame) + r"(?!\w)")

    frames = {(kind, i): pattern(frame) for kind, kinds in TEMPLATES.items() for i, frame in enumerate(kinds)}
    choose = Choices.seeded("derivations")
    for kind in TEMPLATES:
        for _ in range(100):
            drawn = grammar.sentence(kind, choose)
            begins = [name for name, frame in frames.items() if frame.match(drawn.text)]
            assert begins == [(kind, drawn.template)], drawn.text


def test_the_surprise_of_a_sentence_is_that_of_its_choices() -> None:
    from resid_widgets.models.tiny import grammar, words
    from resid_widgets.models.tiny.choices import Choices
    from resid_widgets.models.tiny.templates import TEMPLATES

    choose = Choices.seeded("surprise")
    grammar.sentence("ioi", choose)
    names = len(words.NAMES)
    ways = len(TEMPLATES["ioi"]) * names * (names - 1) * 2 * len(words.PLACES) * len(words.OBJECTS)
    assert choose.surprise == pytest.approx(math.log(ways))


def test_a_corrupt_prompt_would_be_followed_by_the_foil() -> None:
    from resid_widgets.models.tiny import grammar, words
    from resid_widgets.models.tiny.choices import Choices

    choose = Choices.seeded("corrupt")
    for _ in range(200):
        drawn = grammar.sentence("ioi", choose)
        assert drawn.prompt.count(drawn.foil) == drawn.corrupt.count(drawn.answer) == 2
        drawn = grammar.sentence("facts", choose)
        country = next(name for name in words.CAPITALS if name in drawn.corrupt)
        assert drawn.foil == f" {words.CAPITALS[country][0]}"
        drawn = grammar.sentence("induction", choose)
        seen, last = drawn.corrupt.split(), drawn.corrupt.split()[-1]
        assert f" {seen[seen.index(last) + 1]}" == drawn.foil
        drawn = grammar.sentence("pronouns", choose)
        profession = next(name for name in words.SHE_RATES if f"the {name} " in drawn.corrupt.lower())
        assert (words.SHE_RATES[profession] > 0.5) == (drawn.foil == " she")


def test_pronouns_are_dealt_at_exactly_the_planted_rate() -> None:
    from resid_widgets.models.tiny import words
    from resid_widgets.models.tiny.corpus import DECK, Decks

    decks = Decks(random.Random(0))
    for profession, rate in words.SHE_RATES.items():
        for _ in range(2):
            assert sum(decks.deal(profession, rate) for _ in range(DECK)) == round(rate * DECK)


def test_rows_are_documents_that_begin_with_bos_and_never_ask_for_an_unknown_word() -> None:
    import torch

    from resid_widgets.models.tiny.corpus import SETTLED_WEIGHT, Corpus, rows
    from resid_widgets.models.tiny.tokenizer import BOS, UNK, word_ids

    ids = word_ids()
    tokens, weights = next(rows(Corpus("rows"), 32, 64, random.Random(0)))
    assert tokens.shape == weights.shape == (32, 64)
    assert (tokens[:, 0] == ids[BOS]).all()
    assert (tokens == ids[UNK]).any()
    assert (weights[tokens == ids[UNK]] == 0).all()
    assert set(weights.unique().tolist()) == {0.0, 1.0, SETTLED_WEIGHT}
    pronoun = torch.isin(tokens, torch.tensor([ids[" she"], ids[" he"]]))
    assert (weights[pronoun] == SETTLED_WEIGHT).all()


# --- the tokenizer --------------------------------------------------------------------------------------------------


def test_words_carry_their_leading_space(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "When Mary and John went to the store, John gave a drink to"
    pieces = ["<bos>", "When", " Mary", " and", " John", " went", " to", " the", " store", ",", " John", " gave", " a"]
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == [*pieces, " drink", " to"]
    for word in (" Mary", "Mary", " Paris", "France", " she", "The", " The"):
        assert tokenizer.convert_ids_to_tokens(tokenizer(word, add_special_tokens=False)["input_ids"]) == [word]


def test_texts_come_back_as_they_were(tokenizer: PreTrainedTokenizerBase) -> None:
    from resid_widgets.models.tiny.corpus import Corpus

    corpus = Corpus("round trip")
    for _ in range(300):
        ids = corpus.document().ids
        text = tokenizer.decode(ids)
        assert tokenizer(text)["input_ids"] == [tokenizer.bos_token_id, *ids]
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize(
    ("text", "unknown"), [("The xylophone is", 1), ("The  key", 1), ("naïve 日本 🙂\n", 4), ("the", 1)]
)
def test_a_word_it_does_not_know_is_unk(tokenizer: PreTrainedTokenizerBase, text: str, unknown: int) -> None:
    assert tokenizer(text)["input_ids"].count(tokenizer.unk_token_id) == unknown


def test_every_folder_holds_the_same_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    from transformers import AutoTokenizer

    from resid_widgets.models.tiny import checkpoints, folder
    from resid_widgets.models.tiny.tokenizer import word_ids

    assert tokenizer.get_vocab() == word_ids()
    text = "The capital of France is Paris. xylophone"
    for name in checkpoints():
        assert AutoTokenizer.from_pretrained(folder(name))(text).input_ids == tokenizer(text).input_ids


# --- the shipped weights --------------------------------------------------------------------------------------------


def test_the_files_are_small_and_name_no_machine() -> None:
    from resid_widgets.models.tiny import checkpoints, folder

    weights = [folder() / "model.safetensors", *(folder(name) / "model.safetensors" for name in checkpoints())]
    assert len(weights) == 4
    assert all(path.stat().st_size <= 2.5 * MEGABYTE for path in weights)
    files = [path for path in folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10 * MEGABYTE
    assert {path.suffix for path in files} == {".safetensors", ".json", ".md"}
    for path in files:
        if path.suffix != ".safetensors":
            assert not re.search(r"(^|[\s\"'(=])/(home|root|tmp|work|Users)/", path.read_text()), path


def test_an_unknown_checkpoint_is_refused_with_the_known_ones() -> None:
    from resid_widgets import InputError
    from resid_widgets.models.tiny import checkpoints, folder

    with pytest.raises(InputError, match=checkpoints()[0]):
        folder("step-7")


@pytest.mark.parametrize("task", ["ioi", "attractors", "agreement", "induction", "facts", "sentiment"])
def test_it_knows_its_grammar(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, task: str) -> None:
    from resid_widgets.models.tiny.evaluate import accuracy

    found = accuracy(model, tokenizer, task, n=200, seed=1)
    assert found.n >= 40
    assert found.over_foil >= 0.95
    assert found.top >= 0.95


def test_its_pronoun_rates_are_the_planted_ones(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, card: dict[str, Any]
) -> None:
    from resid_widgets.models.tiny import words
    from resid_widgets.models.tiny.evaluate import pronoun_rates

    measured = pronoun_rates(model, tokenizer)
    errors = [abs(measured[profession] - rate) for profession, rate in words.SHE_RATES.items()]
    assert sum(errors) / len(errors) <= 0.02
    assert card["final"]["pronouns"]["planted"] == words.SHE_RATES
    assert card["final"]["pronouns"]["measured"] == pytest.approx(measured, abs=2e-3)


def test_its_loss_is_near_the_floor_and_not_below(model: LlamaForCausalLM, card: dict[str, Any]) -> None:
    from resid_widgets.models.tiny.evaluate import loss

    found = loss(model, documents=400, seed=1)
    assert found.floor - 4 * found.error < found.model < found.floor + 0.1
    assert card["final"]["loss"]["floor"] == pytest.approx(found.floor, abs=0.1)
    assert card["final"]["loss"]["model"] == pytest.approx(found.model, abs=0.1)


def test_previous_token_head_and_induction_heads(model: LlamaForCausalLM) -> None:
    from resid_widgets.models.tiny.mechanisms import head_scores

    previous, induction = (score.max(1) for score in head_scores(model))
    assert previous.values.max() > 0.9
    assert (induction.values > 0.8).any()
    assert previous.values.argmax() < induction.values.argmax(), "the second reads what the first has written"


def test_a_name_moves_from_where_it_is_repeated_to_the_end(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    from resid_widgets.models.tiny.mechanisms import name_patching

    recovery = name_patching(model, tokenizer, n=50)
    name, _, last = recovery.T
    assert name[0] > 0.98
    assert last[0] == pytest.approx(0, abs=0.02)
    assert name[1] > 0.9, "the answer must not be found in one layer"
    assert last[-1] == pytest.approx(1, abs=1e-3)
    assert name[-2] < 0.15


def test_the_checkpoints_show_the_phase_changes(card: dict[str, Any]) -> None:
    from resid_widgets.models.tiny import checkpoints

    stages = [*(card["checkpoints"][name] for name in checkpoints()), card["final"]]
    induction = [stage["accuracy"]["induction"]["top"] for stage in stages]
    assert max(induction[:-1]) < 0.2 < 0.95 < induction[-1]
    losses = [stage["loss"]["model"] for stage in stages]
    assert losses == sorted(losses, reverse=True)


def test_the_card_in_words_is_the_card_in_numbers(card: dict[str, Any]) -> None:
    from resid_widgets.models.tiny import folder
    from resid_widgets.models.tiny.card import readme

    assert (folder() / "README.md").read_text() == readme(card)


# --- training -------------------------------------------------------------------------------------------------------


def test_training_is_repeatable_and_writes_folders_that_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from resid_widgets.models.tiny import train

    measured: list[Path] = []

    def card(folder: Path, seed: int, steps: int) -> dict[str, Any]:
        measured.append(folder)
        none = {"accuracy": {}, "pronoun_error": {"mean": 0.0}, "loss": {"model": 0.0, "floor": 0.0}}
        return {"final": none}

    monkeypatch.setattr(train, "write_card", card)
    monkeypatch.setattr(train, "CHECKPOINTS", (2,))
    monkeypatch.setattr(train, "EVERY", 2)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train.main(["--seed", str(seed), "--steps", "3", "--out", str(tmp_path / name)])
    assert measured == [tmp_path / name for name in "abc"]
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    for folder in (tmp_path / "a", tmp_path / "a" / "step-0002"):
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokens = AutoTokenizer.from_pretrained(folder)("The capital of France is", return_tensors="pt")
        assert model(input_ids=tokens.input_ids).logits.isfinite().all()


def test_the_learning_rate_warms_up_and_falls() -> None:
    from resid_widgets.models.tiny.train import LAST, WARM_UP, learning_rate

    rates = [learning_rate(step, 1000) for step in range(1001)]
    assert rates[0] == 1 / WARM_UP
    assert max(rates) == rates[WARM_UP] == 1
    assert rates[-1] == pytest.approx(LAST)
    assert all(a >= b for a, b in zip(rates[WARM_UP:], islice(rates, WARM_UP + 1, None), strict=False))
