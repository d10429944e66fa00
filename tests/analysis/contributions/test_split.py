"""What parts have written along what a metric reads adds up to the metric, in every family; so do heads and neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis.contributions.direction import directions_of
from resid_widgets.analysis.contributions.split import (
    along_components,
    along_inside,
    along_sources,
    layers_inside,
)
from resid_widgets.errors import ResidWidgetsError
from resid_widgets.models.loading.load_model import load_model
from tests.architectures import ALL, REFUSED, build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than each window
CAPPED = {"gemma2"}
TESTED = [family for family in ALL if family not in REFUSED and family not in CAPPED]


@pytest.fixture(scope="module", params=TESTED)
def recorded(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A family, and a run of it."""
    return request.param, rw.run(load_model((build(request.param), None)), IDS)


def test_parts_and_bias_are_the_metric(recorded: tuple[str, Any]) -> None:
    _, run = recorded
    for metric in (rw.logit_diff(11, 40), rw.logit_diff(17, 5, pos=[3, -1])):
        reading = metric.bound(run)
        found = directions_of(reading)
        parts = [along_components(run, at) for at in found]
        total = np.mean([sum(each.values()) + at.bias for each, at in zip(parts, found, strict=True)])
        size = max(abs(value) for each in parts for value in each.values())
        assert total == pytest.approx(reading.of_base(), abs=1e-4 * max(size, 1.0))


def test_heads_and_neurons_are_their_sublayer(recorded: tuple[str, Any]) -> None:
    family, run = recorded
    (at,) = directions_of(rw.logit_diff(11, 40, pos=7).bound(run))
    whole = along_components(run, at)
    assert layers_inside(run, "attn_out"), family
    for component in ("attn_out", "mlp_out"):
        for layer in layers_inside(run, component):
            inside = along_inside(run, component, layer, at)
            size = max(float(np.abs(inside.values).sum()), 1e-3)
            assert inside.values.sum() + inside.bias == pytest.approx(whole[f"{layer}.{component}"], abs=1e-4 * size)


NORMED_VALUES = {"bitnet"} | {family for family in TESTED if family.startswith("gemma4")}
"""Families in which something stands between values, patterns and heads; and those whose values are no rows."""
NO_VALUES = {family for family in TESTED if family.startswith("deepseek")}


def test_sources_are_their_head(recorded: tuple[str, Any]) -> None:
    family, run = recorded
    if family in NORMED_VALUES | NO_VALUES:
        (at,) = directions_of(rw.logit_diff(11, 40, pos=7).bound(run))
        heads = along_inside(run, "attn_out", 0, at)
        with pytest.raises(ResidWidgetsError, match=r"not their pattern times their values|has any"):
            along_sources(run, 0, at, heads)
        return
    (at,) = directions_of(rw.logit_diff(11, 40, pos=7).bound(run))
    for layer in layers_inside(run, "attn_out"):
        heads = along_inside(run, "attn_out", layer, at)
        sources = along_sources(run, layer, at, heads)
        np.testing.assert_allclose(sources.sum(-1), heads.values, atol=1e-4 * max(np.abs(heads.values).max(), 1e-3))


def test_what_is_not_linear_is_refused() -> None:
    run = rw.run(load_model((build("llama"), None)), IDS)
    with pytest.raises(rw.InputError, match="it is not linear in the logits"):
        directions_of(rw.log_prob(11).bound(run))
    capped = rw.run(load_model((build("gemma2"), None)), IDS)
    with pytest.raises(rw.InputError, match="caps its logits"):
        directions_of(rw.logit_diff(11, 40).bound(capped))


def test_a_direction_is_the_closed_form(tiny: Any) -> None:
    """The unembedding's two columns through the norm's weights at its own scale, as TransformerLens has them."""
    run = rw.run(tiny, "The girl near the dogs")
    metric = rw.logit_diff(" is", " are")
    (at,) = directions_of(metric.bound(run))
    final = run.tensor("resid_post", -1)[-1].double()
    answer, foil = (tiny.token_id(token) for token in (" is", " are"))
    weights = tiny.bridge.unembed.W_U.detach().double()
    norm = tiny.bridge.ln_final.original_component
    scale = (final.square().mean() + norm.variance_epsilon).rsqrt()
    expected = (weights[:, answer] - weights[:, foil]) * norm.weight.detach().double() * scale
    np.testing.assert_allclose(at.vector.numpy(), expected.numpy(), rtol=1e-4, atol=1e-6)
    stack, labels = tiny.bridge.run_with_cache(torch.tensor([run.token_ids]))[1].decompose_resid(
        layer=-1, return_labels=True, apply_ln=True, pos_slice=-1
    )
    theirs = (stack.squeeze(1).double() * norm.weight.detach()) @ (weights[:, answer] - weights[:, foil])
    ours = along_components(run, at)
    for label, value in zip(labels, theirs.tolist(), strict=True):
        name = "embed" if label == "embed" else label.replace("_attn_out", ".attn_out").replace("_mlp_out", ".mlp_out")
        assert ours[name] == pytest.approx(value, rel=1e-3, abs=1e-3), label
