"""From text or ids to what is fed, and back to text that can be shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resid_widgets.errors import InputError
from resid_widgets.models.tokenize import Tokens, bos_added_by_default, piece_text, single_token_id, tokenize
from resid_widgets.tokens import visible
from tests.models.small_tokenizers import D_VOCAB, bert_like, byte_level, sentence_piece, slow, word_level

WORDS = word_level()
BYTES = byte_level()
PIECES = sentence_piece()


def tokens(tokenizer: Any, prompt: object, bos: bool | None = None, n_ctx: int | None = None) -> Tokens:
    return tokenize(tokenizer, prompt, bos=bos, d_vocab=D_VOCAB, n_ctx=n_ctx)


class TestBos:
    """The tokenizer's own default is followed, can be overridden, and is always said."""

    def test_follows_the_tokenizer(self) -> None:
        assert tokens(WORDS, " the cat") == Tokens((1, 3, 4), "BOS added")
        assert tokens(word_level(bos=False), " the cat") == Tokens((3, 4), "no BOS")
        assert bos_added_by_default(WORDS)
        assert not bos_added_by_default(word_level(bos=False))
        assert not bos_added_by_default(BYTES)

    def test_override(self) -> None:
        assert tokens(WORDS, " the", bos=False) == Tokens((3,), "BOS left out as asked")
        assert tokens(WORDS, " the", bos=True) == Tokens((1, 3), "BOS added")
        bare = word_level(bos=False)
        assert tokens(bare, " the", bos=True) == Tokens((1, 3), "BOS added as asked")
        assert tokens(bare, " the", bos=False) == Tokens((3,), "no BOS")

    def test_cls_stands_for_bos_where_there_is_none(self) -> None:
        assert tokens(bert_like(), "the cat") == Tokens((2, 4, 5, 3), "BOS added")
        assert tokens(bert_like(), "the cat", bos=False) == Tokens((4, 5, 3), "BOS left out as asked")

    def test_no_bos_token(self) -> None:
        nameless = word_level(bos=False, specials={"unk_token": "<unk>"})
        assert tokens(nameless, " the").bos == "no BOS"
        with pytest.raises(InputError, match="this tokenizer has no BOS token"):
            tokens(nameless, " the", bos=True)

    def test_typed(self) -> None:
        bare = word_level(bos=False)
        typed = Tokens((1, 3), "BOS typed in the prompt")
        # What a person typed is used as it is: neither doubled nor taken away.
        assert [tokens(bare, "<bos> the", bos=bos) for bos in (None, True, False)] == [typed] * 3

    def test_twice(self) -> None:
        assert tokens(WORDS, "<bos> the") == Tokens((1, 1, 3), "BOS added", bos_twice=True)
        assert tokens(WORDS, "<bos> the", bos=False) == Tokens((1, 3), "BOS left out as asked")

    def test_a_tokenizer_whose_bos_is_its_unknown_token(self) -> None:
        """GPT-2's: "a" being unknown would otherwise read as a BOS that was added."""
        shared = word_level(bos=False, specials={"bos_token": "<unk>", "unk_token": "<unk>"})
        assert not bos_added_by_default(shared)

    def test_must_be_true_false_or_none(self) -> None:
        for bad in (1, "yes", 0):
            with pytest.raises(InputError, match=r"bos=.*must be True, False or None"):
                tokenize(WORDS, " the", bos=bad, d_vocab=9, n_ctx=None)


class TestUnknownWords:
    def test_each_is_named_with_its_position(self) -> None:
        assert tokens(WORDS, " the dog sat xyz").unknown == ((2, " dog"), (4, " xyz"))
        assert tokens(WORDS, " the dog", bos=False).unknown == ((1, " dog"),)
        assert tokens(word_level(bos=False), " dog", bos=True).unknown == ((1, " dog"),)

    def test_the_unknown_token_itself_is_known(self) -> None:
        assert tokens(WORDS, " the<unk>").unknown == ()

    def test_without_offsets(self) -> None:
        assert tokens(slow(), "the dog cat") == Tokens((1, 2, 0, 3), "BOS added", ((2, "a word"),))
        assert tokens(slow(), "the <unk>").unknown == ()

    def test_byte_tokenizers_know_everything(self) -> None:
        assert tokens(BYTES, "Zürich 😀<|endoftext|>").unknown == ()
        assert tokens(PIECES, "Zürich 😀").unknown == ()


class TestIds:
    @pytest.mark.parametrize(
        "given_ids",
        [
            [5, 9, 3],
            (5, 9, 3),
            [[5, 9, 3]],
            np.array([5, 9, 3]),
            np.array([5, 9, 3], dtype=np.uint8),
            torch.tensor([5, 9, 3]),
            torch.tensor([[5, 9, 3]], dtype=torch.int32),
            [torch.tensor(5), torch.tensor(9), torch.tensor(3)],
            range(5, 6),
            {"input_ids": [5, 9, 3]},
        ],
        ids=repr,
    )
    def test_used_exactly_as_given(self, given_ids: Any) -> None:
        found = tokens(WORDS, given_ids)
        assert found == Tokens((5, 9, 3) if len(found.ids) == 3 else (5,), "ids as given")

    def test_need_no_tokenizer(self) -> None:
        assert tokens(None, [5]) == Tokens((5,), "ids as given")
        with pytest.raises(InputError, match="this model has no tokenizer"):
            tokens(None, "the")

    def test_take_no_bos_option(self) -> None:
        with pytest.raises(InputError, match="used exactly as given"):
            tokens(WORDS, [5], bos=True)

    @pytest.mark.parametrize(
        ("bad", "rule"),
        [
            ([], "it is empty"),
            ([[]], "it is empty"),
            ([[1, 2], [3, 4]], r"ids must be \[pos\] or \[1, pos\]"),
            ([[[1]]], r"ids must be \[pos\] or \[1, pos\]"),
            (7, r"ids must be \[pos\] or \[1, pos\]"),
            ([[1, 2], [3]], "rows differ in length"),
            ([1.0, 2.0], "whole-number token ids are needed"),
            ([True, False], "whole-number token ids are needed"),
            (["the", "cat"], "whole-number token ids are needed"),
            (None, "whole-number token ids are needed"),
            ({"ids": [1]}, "it has 'ids', and no 'input_ids', 'text' or 'prompt'"),
            (b"the", "whole-number token ids are needed"),
            ([2**70], "must lie in 0 .. 399"),
            ([-1], "must lie in 0 .. 399"),
            ([400], "must lie in 0 .. 399"),
            (torch.ones(3), "whole-number token ids are needed"),
            (torch.ones(3, dtype=torch.bfloat16), "no array of whole numbers"),
            (torch.ones(3).long().to_sparse(), "no array of whole numbers"),
        ],
        ids=repr,
    )
    def test_bad(self, bad: object, rule: str) -> None:
        with pytest.raises(InputError, match=rule):
            tokens(WORDS, bad)


class TestText:
    @pytest.mark.parametrize("tokenizer", [WORDS, BYTES, PIECES, slow()], ids=["words", "bytes", "pieces", "slow"])
    def test_empty(self, tokenizer: Any) -> None:
        with pytest.raises(InputError, match="it is empty"):
            tokens(tokenizer, "")

    def test_spaces_are_tokens_where_the_tokenizer_says_so(self) -> None:
        assert len(tokens(BYTES, "  ").ids) == 2
        with pytest.raises(InputError, match="makes no token of it"):  # a BOS alone is not a prompt
            tokens(slow(), "  ")

    @pytest.mark.parametrize("tokenizer", [WORDS, BYTES, PIECES], ids=["words", "bytes", "pieces"])
    def test_half_a_surrogate_pair(self, tokenizer: Any) -> None:
        with pytest.raises(InputError, match=r"at 4 it holds .* half of a surrogate pair"):
            tokens(tokenizer, "the \ud800")

    def test_context(self) -> None:
        assert len(tokens(WORDS, " the cat", n_ctx=3).ids) == 3
        with pytest.raises(InputError, match=r"'5 tokens'.*context holds 3 tokens\. Shorten it by 2 tokens"):
            tokens(WORDS, " the cat sat on", n_ctx=3)
        with pytest.raises(InputError, match="context holds 3 tokens"):
            tokens(WORDS, [3, 3, 3, 3], n_ctx=3)

    def test_a_tokenizer_larger_than_the_model(self) -> None:
        with pytest.raises(InputError, match=r"token id=4: must lie in 0 \.\. 3"):
            tokenize(WORDS, " cat", bos=None, d_vocab=4, n_ctx=None)


class TestPieceText:
    def test_byte_level(self) -> None:
        text = "the € Paris\n"
        pieces = [piece_text(BYTES, i) for i in tokens(BYTES, text).ids]
        assert pieces == ["the", " ", "<0xE2>", "<0x82>", "<0xAC>", " Paris", "\n"]
        assert visible(pieces[2]) == "⟨0xE2⟩"

    def test_sentence_piece(self) -> None:
        pieces = [piece_text(PIECES, i) for i in tokens(PIECES, "the capital is € the\n").ids]
        assert pieces == ["<s>", " the", " capital", " ", "is", " ", "<0xE2>", "<0x82>", "<0xAC>", " the", "\n"]
        assert visible(pieces[6]) == "⟨0xE2⟩"

    def test_several_spaces_in_one_piece(self) -> None:
        (two,) = PIECES.convert_tokens_to_ids(["▁▁"])
        assert piece_text(PIECES, two) == "  "

    def test_words_keep_their_space(self) -> None:
        assert [piece_text(WORDS, i) for i in (1, 2, 3)] == ["<bos>", "<unk>", " the"]

    def test_no_tokenizer(self) -> None:
        assert piece_text(None, 12) == "[12]"

    @pytest.mark.parametrize("tokenizer", [WORDS, BYTES, PIECES, slow()], ids=["words", "bytes", "pieces", "slow"])
    def test_ids_that_only_pad_the_vocabulary(self, tokenizer: Any) -> None:
        assert piece_text(tokenizer, D_VOCAB - 1) == f"[{D_VOCAB - 1}]"

    def test_pieces_of_a_text_join_to_the_text(self) -> None:
        for text in ("the capital of France is Paris", " the  capital\n\nof"):
            assert "".join(piece_text(BYTES, i) for i in tokens(BYTES, text).ids) == text
            words = [piece_text(PIECES, i) for i in tokens(PIECES, text, bos=False).ids]
            assert "".join(words).strip() == text.strip()


class TestSingleToken:
    def test_a_string_is_used_exactly_as_given(self) -> None:
        assert single_token_id(WORDS, " cat", D_VOCAB) == 4
        assert single_token_id(WORDS, "<bos>", D_VOCAB) == 1

    def test_an_id(self) -> None:
        assert single_token_id(None, 7, D_VOCAB) == 7
        assert single_token_id(None, int(np.int64(7)), D_VOCAB) == 7
        for bad in (-1, D_VOCAB):
            with pytest.raises(InputError, match=rf"token={bad}: ids lie in 0 \.\. 399"):
                single_token_id(WORDS, bad, D_VOCAB)

    @pytest.mark.parametrize(
        ("tokenizer", "token", "message"),
        [
            (WORDS, "cat", r"does not know it\. Try ' cat', which it knows"),
            (WORDS, " dog", r"does not know it\. Use a word of its vocabulary"),
            (WORDS, " cat sat", r"it is 2 tokens \[' cat', ' sat'\], one is needed"),
            (BYTES, "Paris", r"it is . tokens \['P.* one is needed\. Try ' Paris', which is one token"),
            (BYTES, " xyz", r"it is 4 tokens .* Use a word that is one token"),
            (BYTES, "€", r"it is 3 tokens \['<0xE2>', '<0x82>', '<0xAC>'\]"),
            (WORDS, "", "non-empty string or a token id is needed"),
            (WORDS, "\ud800", "half of a surrogate pair"),
            (None, " cat", r"no tokenizer\. Give the token's id"),
            (slow(), "dog", "does not know it"),
        ],
    )
    def test_says_what_it_falls_into_and_what_would_do(self, tokenizer: Any, token: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            single_token_id(tokenizer, token, D_VOCAB)


anything = st.one_of(
    st.text(max_size=20),
    st.text(alphabet=st.sampled_from(" \n\t<>bosunkthecat▁Ġ\ud800\u200b\u202e\x00é😀"), max_size=12),
    st.lists(st.integers(-3, D_VOCAB + 3), max_size=6),
    st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=3),
    st.lists(st.floats(), max_size=3),
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=4),
)


@settings(max_examples=150, deadline=None)
@given(
    tokenizer=st.sampled_from([WORDS, BYTES, PIECES, None]), prompt=anything, bos=st.sampled_from([None, True, False])
)
def test_anything_gives_valid_tokens_or_an_input_error(tokenizer: Any, prompt: Any, bos: bool | None) -> None:
    try:
        found = tokens(tokenizer, prompt, bos, n_ctx=32)
    except InputError:
        return
    assert found.ids
    assert all(0 <= i < D_VOCAB for i in found.ids)
    assert len(found.ids) <= 32
    assert all(visible(piece_text(tokenizer, i)) for i in found.ids)
    if isinstance(prompt, str) and tokenizer is not None:
        assert (found.ids[0] == tokenizer.bos_token_id) == found.bos.startswith(("BOS added", "BOS typed")) or (
            bos is False
        )
