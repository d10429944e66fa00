"""Padding and end tokens: a mask is respected everywhere, pads without one are said, and "last" is never a pad."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import processors

import resid_widgets as rw
from resid_widgets.models.padding import Padding, padding_of_ids, trailing_pads
from resid_widgets.models.tokenize import tokenize
from tests.models.small_tokenizers import D_VOCAB, bert_like, word_level

SHORT, LONG = [5, 6, 7], [8, 9, 10, 11, 12]


def tokenizer(pad: int | None = 0, eos: int | None = 2, bos: int | None = 1, cls: int | None = None) -> Any:
    sep = None if cls is None else 3
    return SimpleNamespace(
        pad_token_id=pad, eos_token_id=eos, bos_token_id=bos, cls_token_id=cls, sep_token_id=sep,
        convert_ids_to_tokens=lambda i: f"<{i}>",
    )  # fmt: skip


OWN, END, ALL, NONE = tokenizer(), tokenizer(pad=2), tokenizer(2, 2, 2), tokenizer(None, 2, 1)


@pytest.mark.parametrize(
    ("of", "ids", "wanted"),
    [
        (OWN, [1, 5, 6], Padding()),
        (OWN, [0, 0, 1, 5], Padding(before=2, pad="<0>")),
        (OWN, [5, 6, 0], Padding(after=1, pad="<0>")),
        (OWN, [0, 5, 0, 0], Padding(before=1, after=2, pad="<0>")),
        (OWN, [5, 2, 0, 0], Padding(after=2, pad="<0>")),  # the text's own end token stays
        (OWN, [5, 2], Padding(end="<2>")),
        (OWN, [5, 2, 2, 2], Padding(after=3, pad="<2>")),  # another tokenizer's padding
        (OWN, [5, 0, 6], Padding()),
        (END, [2, 2, 5], Padding(before=2, pad="<2>")),
        (END, [5, 2], Padding(after=1, pad="<2>")),
        (NONE, [5, 2, 2], Padding(after=2, pad="<2>")),
        (ALL, [2, 5, 6], Padding()),  # one BOS is no pad
        (ALL, [2, 2, 2, 5], Padding(before=2, pad="<2>")),
        (ALL, [2], Padding()),
        (ALL, [2, 2], Padding(after=2, pad="<2>")),
        (tokenizer(0, None, None, cls=4), [4, 5, 3, 0, 0], Padding(after=2, pad="<0>")),
        (tokenizer(0, 3, 4, cls=4), [4, 5, 3], Padding()),  # an encoder's own
        (None, [0, 0, 5], Padding()),
    ],
)
def test_pads_are_seen_and_a_beginning_is_none(of: Any, ids: list[int], wanted: Padding) -> None:
    assert padding_of_ids(of, ids, None) == wanted
    assert trailing_pads(of, ids) == wanted.after


def test_what_a_mask_keeps_is_no_padding() -> None:
    assert padding_of_ids(ALL, [2, 2, 5], (3, 0)) == Padding(left_out=3)
    assert padding_of_ids(OWN, [5, 2], (0, 1)) == Padding(left_out=1, end="<2>")
    assert padding_of_ids(None, [5], (1, 1)) == Padding(left_out=2)


def padded(side: str, pad: int = 0) -> dict[str, torch.Tensor]:
    fill, hide = [pad] * 2, [0] * 2
    short = fill + SHORT if side == "left" else SHORT + fill
    mask = hide + [1] * 3 if side == "left" else [1] * 3 + hide
    return {"input_ids": torch.tensor([short, LONG]), "attention_mask": torch.tensor([mask, [1] * 5])}


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mask_makes_a_run_of_the_real_tokens(tiny: Any, side: str) -> None:
    batch = padded(side)
    plain = rw.run(tiny, SHORT, keep=["resid_post", "pattern"])
    made = rw.run(tiny, {name: rows[0] for name, rows in batch.items()}, keep=["resid_post", "pattern"])
    assert made.token_ids == tuple(SHORT)
    for component in ("resid_post", "pattern"):
        assert torch.equal(made.tensor(component, 1), plain.tensor(component, 1))
    hf = tiny.bridge.original_model(torch.tensor([SHORT])).logits[0, -1]
    assert torch.allclose(made.final_logits, hf, atol=1e-4)
    (check,) = (check for check in made.checks if check.name == "padding")
    assert (check.level, check.value) == ("green", 2.0) and "position 0 is the first real token" in check.text
    assert not any(check.name == "padding" for check in plain.checks)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mask_is_respected_wherever_prompts_are_taken(tiny: Any, side: str) -> None:
    batch, bare = padded(side), [SHORT, LONG]
    quiet: dict[str, Any] = {"progress": False}
    for rule in ("last", "all", "not_first", -2, [[0], [4]]):
        found, wanted = (rw.collect(tiny, prompts, positions=rule, **quiet) for prompts in (batch, bare))
        assert np.array_equal(found.matrix(2), wanted.matrix(2))
        assert found.samples["pos"].tolist() == wanted.samples["pos"].tolist()
    (check,) = (check for check in found.checks if check.name == "padding")
    assert check.level == "green" and "2 padded positions of 1 prompts" in check.text
    run, site = rw.run(tiny, LONG[::-1]), rw.Site("resid_post", 1, pos=-1)
    assert rw.mean(site, batch) == rw.mean(site, bare) and rw.resample(site, batch) == rw.resample(site, bare)
    assert (
        rw.ablation(run, rw.mean(site, batch), rw.prob(9)).after
        == rw.ablation(run, rw.mean(site, bare), rw.prob(9)).after
    )
    one, other = ({name: rows[n] for name, rows in batch.items()} for n in range(2))
    assert rw.patch(site, one) == rw.patch(site, SHORT)
    patterns, plain = (rw.neuron_patterns(tiny, prompts, layers=1, **quiet) for prompts in (batch, bare))
    assert np.array_equal(patterns.values.values, plain.values.values)
    assert any(check.name == "padding" and check.level == "green" for check in patterns.checks)
    swept = [
        rw.patch_sweep(tiny, clean, corrupt, rw.logit_diff(9, 10), **quiet).raw.values
        for clean, corrupt in ((one, [6, 6, 7]), (SHORT, [6, 6, 7]))
    ]
    assert np.array_equal(*swept)
    pairs = rw.patch_sweep(tiny, batch, [[6, 6, 7], LONG[::-1]], rw.logit_diff(9, 10), component="z", **quiet)
    lists = rw.patch_sweep(tiny, bare, [[6, 6, 7], LONG[::-1]], rw.logit_diff(9, 10), component="z", **quiet)
    assert np.array_equal(pairs.raw.values, lists.raw.values)
    assert rw.counterfactual(tiny, one, other).cases[0].after == rw.counterfactual(tiny, SHORT, LONG).cases[0].after


def test_pads_without_a_mask_are_said_and_last_is_no_pad(tiny: Any) -> None:
    pad = tiny.tokenizer.pad_token_id
    pad = tiny.tokenizer.eos_token_id if pad is None else pad
    right, left = padded("right", pad)["input_ids"], padded("left", pad)["input_ids"]
    wanted = rw.collect(tiny, [SHORT, LONG], progress=False)
    found = rw.collect(tiny, right, progress=False)
    assert np.allclose(found.matrix(2), wanted.matrix(2), atol=1e-5)  # a causal model does not see what comes after
    (check,) = (check for check in found.checks if check.name == "padding")
    assert check.level == "amber" and "prompt 0 has pad tokens" in check.text and "at positions 3 .. 4" in check.text
    everything = rw.collect(tiny, right, positions="all", progress=False)
    assert everything.n_samples == 10
    from resid_widgets.analysis.probing.positions import kept_positions, last_positions

    rows = kept_positions(everything.samples, "last", last_positions(everything))
    assert everything.samples.iloc[rows]["pos"].tolist() == [2, 4]
    patterns = rw.neuron_patterns(tiny, right, layers=1, labels=[0, 1])
    assert patterns.prompts.positions == (2, 4)
    (check,) = (check for check in rw.collect(tiny, left, progress=False).checks if check.name == "padding")
    assert "pad tokens" in check.text and "mask" in check.text
    (check,) = (check for check in rw.run(tiny, right[0]).checks if check.name == "padding")
    assert check.level == "amber" and "positions 3 .. 4" in check.text


def ending(specials: dict[str, str], *, bos: bool = False) -> Any:
    made = word_level(bos=False, specials={"unk_token": "<unk>", **specials})
    single = "<bos> $A <pad>" if bos else "$A <pad>"
    tokens = [("<bos>", 1), ("<pad>", 0)] if bos else [("<pad>", 0)]
    made._tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=tokens)
    return made


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("asked", [None, True, False])
def test_an_end_token_that_the_tokenizer_appends_is_said(bos: bool, asked: bool | None) -> None:
    specials = {"eos_token": "<pad>", "pad_token": "<pad>", "bos_token": "<bos>"}
    made = tokenize(ending(specials, bos=bos), " the cat", bos=asked, d_vocab=D_VOCAB, n_ctx=None)
    assert made.padding == Padding(end="<pad>", appended=True) and made.ids[-1] == 0
    assert made.last == len(made.ids) - 1  # what the tokenizer puts there is fed, and read
    assert (made.ids[0] == 1) == (asked is True or (bos and asked is None))


def test_an_encoders_ends_are_its_own_and_a_typed_one_is_seen_by_who_typed_it() -> None:
    assert tokenize(bert_like(), "the cat", bos=None, d_vocab=D_VOCAB, n_ctx=None).padding == Padding()
    plain = word_level(specials={"eos_token": " mat", "unk_token": "<unk>", "bos_token": "<bos>"})
    assert tokenize(plain, " the mat", bos=None, d_vocab=D_VOCAB, n_ctx=None).padding == Padding()
