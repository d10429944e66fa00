"""The tokenizer beside a model: transformers' own, a bare one, a name or folder; anything else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from resid_widgets.errors import InputError
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.runs.run import run
from tests.architectures import build
from tests.models.small_tokenizers import byte_level, word_level

WORDS = "w0 w1 w2"


def test_a_bare_tokenizer_gives_its_own_ids() -> None:
    raw: Tokenizer = word_level(WORDS).backend_tokenizer
    raw.enable_truncation(2)
    raw.enable_padding(length=9)
    state = raw.to_str()
    model = load_model((build("llama"), raw))
    recorded = run(model, " w0 w2 strange")
    raw.no_truncation()
    raw.no_padding()
    assert recorded.token_ids == tuple(raw.encode(" w0 w2 strange").ids)
    assert recorded.tokens[1:3] == [" w0", " w2"]
    assert recorded.unknown == (3,)
    assert load_model((build("llama"), None), tokenizer=raw).adds_bos
    raw.enable_truncation(2)
    raw.enable_padding(length=9)
    assert raw.to_str() == state


def test_a_bare_tokenizer_of_bytes() -> None:
    raw: Tokenizer = byte_level().backend_tokenizer
    text = "the capital"
    model = load_model((build("gpt2"), raw))
    ids = tuple(raw.encode(text).ids)
    assert max(ids) >= 97 or run(model, text).token_ids == ids
    assert model.token_strings(ids) == [raw.decode([n]) for n in ids]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder(kind: Any, tmp_path: Path) -> None:
    word_level(WORDS).save_pretrained(tmp_path)
    place = kind(tmp_path)
    for model in (
        load_model((build("llama"), place)),
        load_model((build("llama"), None), tokenizer=place),
        load_model(load_model((build("llama"), None)), tokenizer=place),
    ):
        assert run(model, " w0 w1").token_ids == (1, 3, 4)


@pytest.mark.parametrize("wrong", [3, "", " ", [1, 2], {"a": 1}, object, lambda text: [1]])
def test_no_tokenizer(wrong: Any) -> None:
    message = r"tokenizer=.*a transformers tokenizer, a tokenizers\.Tokenizer, a name, a folder or None is needed"
    hf_model = build("llama")
    for source, options in (
        ((hf_model, wrong), {}),
        ((hf_model, None), {"tokenizer": wrong}),
        (None, {"tokenizer": wrong}),
    ):
        with pytest.raises(InputError, match=message):
            load_model(source, **options)


def test_no_such_name(tmp_path: Path) -> None:
    for name in ("no-org/no-tokenizer", str(tmp_path)):
        with pytest.raises(InputError, match=r"^tokenizer=.*(cannot be loaded|it has no tokenizer)"):
            load_model((build("llama"), name))
