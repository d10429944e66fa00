"""Attention of every family against Hugging Face's own model: patterns, norms, gradients and cuts, exact or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.loading.load_model import load_model
from tests.analysis.attention.plain_attention import FACTORS, IDS, POST_NORMS, PlainAttention
from tests.analysis.plain import script_result
from tests.architectures import ALL, REFUSED, build, refused_writes

METRIC = rw.logit_diff(11, 40)
FAMILIES = sorted(set(ALL) - set(REFUSED))
WEIGHTED = sorted({"llama", "mistral", "qwen2", "qwen3", "gemma", "gpt_oss", "cohere2", *POST_NORMS, *FACTORS})
CUT = {  # of each kind of attention one, and an edge within its window
    "llama": (1, 2, 9, 4),
    "mistral": (1, 0, 9, 7),
    "gemma2": (2, 3, 10, 8),
    "gemma3_text": (1, 1, 10, 9),
    "gemma3_text both ways": (1, 1, 10, 11),
    "granite": (0, 2, 8, 0),
    "olmo2": (2, 0, 11, 5),
    "qwen3": (1, 3, 5, 5),
    "gpt_oss": (2, 2, 11, 9),
}
NO_VALUES = {
    "bitnet": "not their pattern times their values",
    "deepseek_v3": "TransformerLens shows .* there, not one row a position",
    "gemma4_text wide heads": "not their pattern times their values",
    "gemma4_text keys as values": "layer 3 of .* has none",
}


def _run(family: str) -> Any:
    return rw.run(load_model((build(family), None)), IDS)


@pytest.mark.parametrize("family", FAMILIES)
def test_patterns_and_gradients_are_hugging_faces_own(family: str) -> None:
    run = _run(family)
    given = build(family)(input_ids=torch.tensor([IDS]), output_attentions=True, use_cache=False)
    layers = list(layers_with(run.model, "pattern"))
    theirs = dict(zip(layers, given.attentions, strict=True))
    for layer in layers:
        found = rw.attention(run, layer)
        np.testing.assert_allclose(found.values, theirs[layer][0].detach(), atol=2e-6)
        (check,) = [check for check in found.checks if "rows" in check.name]
        assert check.level == ("amber" if family == "gpt_oss" else "green")
        if family != "gpt_oss":
            np.testing.assert_allclose(found.values.sum("key_pos"), 1, atol=1e-5)
    layer = layers[len(layers) // 2]
    if ("pattern", layer) in refused_writes(family, run.model.n_layers):
        for kind in ("gradient", "integrated", "knockout"):
            with pytest.raises(rw.UnsupportedModelError, match=f"pattern cannot be written at layer {layer}"):
                rw.attention(run, layer, kind=kind, metric=METRIC)
        return
    found = rw.attention(run, layer, kind="gradient", metric=METRIC).values
    (gradient,) = torch.autograd.grad(given.logits[0, -1, 11] - given.logits[0, -1, 40], theirs[layer])
    expected = (gradient * theirs[layer])[0].detach()
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.abs().max()))
    assert float(expected.abs().max()) > 1e-2


@pytest.mark.parametrize("family", WEIGHTED)
def test_norms_are_those_of_what_is_written(family: str) -> None:
    """Pattern times values through the output matrix, and what stands behind it, written out."""
    run, plain = _run(family), PlainAttention(family)
    for layer in (0, 3):
        written = plain.written(layer)
        found = rw.attention(run, layer, kind="value_weighted")
        np.testing.assert_allclose(found.values, written.norm(dim=-1), rtol=1e-4, atol=1e-6)
        # They are what is added to the stream: with the bias, which is of no head, all that attention writes.
        bias = plain.layers[layer].self_attn.o_proj.bias
        rest = run.activation("attn_out", layer).double() - written.sum((0, 2))
        assert float((rest if bias is None else rest - bias.detach()).abs().max()) < 1e-4
        again = script_result(found.code(), run.model.bridge)
        np.testing.assert_allclose(np.asarray(again), found.values, atol=1e-5)


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("family", list(CUT))
def test_cuts_are_those_of_a_mask_or_of_a_share_that_is_lost(family: str, renormalise: bool) -> None:
    """Against a score of minus infinity in the model's own mask: a sink grows as the other tokens do."""
    layer, head, query, key = CUT[family]
    run, plain = _run(family), PlainAttention(family)
    asked = {"renormalise": renormalise, "pos": query, "progress": False}
    found = rw.attention(run, layer, head, "knockout", METRIC, **asked)
    with torch.no_grad():
        before, after = plain.patterns()[1], plain.cut(layer, head, query, key, renormalise)
    change = (after - before)[-1]
    expected = float(change[11] - change[40])
    assert abs(expected) > 1e-4
    assert float(found.values.sel(pos=query, key_pos=key)) == pytest.approx(expected, abs=2e-6, rel=1e-3)
    again = np.asarray(script_result(found.code(), run.model.bridge))
    np.testing.assert_allclose(again, found.values, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("family", "reaches"), [("gemma3_text both ways", True), ("gemma3_text", False)])
def test_later_tokens_matter_where_a_model_looks_both_ways(family: str, reaches: bool) -> None:
    run, plain = _run(family), PlainAttention(family)
    metric = rw.logit_diff(11, 40, pos=9)
    found = rw.attention(run, 1, 1, "knockout", metric, pos=10, progress=False).values.sel(pos=10, key_pos=8)
    change = (plain.cut(1, 1, 10, 8, renormalise=True) - plain.patterns()[1].detach())[9]
    assert float(found) == pytest.approx(float(change[11] - change[40]), abs=2e-6, rel=1e-3)
    assert (abs(float(found)) > 1e-4) == reaches


@pytest.mark.parametrize("family", list(NO_VALUES))
def test_what_a_head_takes_from_a_token_is_exact_or_refused(family: str) -> None:
    with pytest.raises((rw.UnsupportedModelError, rw.InputError), match=NO_VALUES[family]):
        rw.attention(_run(family), 3, kind="value_weighted")


def test_layers_without_attention_are_named() -> None:
    run = _run("olmo_hybrid")
    assert rw.attention(run, 3).values.shape == (4, 12, 12)
    with pytest.raises(rw.InputError, match=r"layer 0 of .* has none"):
        rw.attention(run, 0)
    with pytest.raises(rw.InputError, match="layer 0 has no pattern to be rolled out over"):
        rw.attention(run, 3, kind="rollout")
