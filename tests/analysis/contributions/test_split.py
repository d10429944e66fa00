"""What parts have written along what a metric reads adds up to the metric, in every family; so do heads and neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis.contributions.direction import logit_directions
from resid_widgets.analysis.contributions.rows import rows_of_prompts, rows_of_runs
from resid_widgets.analysis.contributions.split import (
    along_component,
    along_inside,
    along_sources,
    layers_inside,
)
from resid_widgets.errors import ResidWidgetsError
from resid_widgets.models.hooks import without_foreign_hooks
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.prompt_list import read_prompts
from tests.architectures import ALL, REFUSED, build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than each window
CAPPED = {"gemma2"}
TESTED = [family for family in ALL if family not in REFUSED and family not in CAPPED]


@pytest.fixture(scope="module", params=TESTED)
def recorded(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A family, and a run of it."""
    return request.param, rw.run(load_model((build(request.param), None)), IDS)


def at(run: Any, metric: Any) -> tuple[Any, Any]:
    """Return the rows that a metric reads, and what it reads of them."""
    reading = metric.bound(run)
    rows = rows_of_runs([run], [reading.positions])
    weights = tuple(zip(reading.token_ids, metric.coefficients, strict=True))
    stream = rows.at("resid_post", run.model.n_layers - 1)
    return rows, logit_directions(run.model, stream, [weights] * len(rows), reading.label)


def components(run: Any, rows: Any, vectors: Any) -> dict[str, Any]:
    """Return what each component has written along directions."""
    places = {"embed": ("resid_pre", 0)}
    places |= {f"{layer}.{name}": (name, layer) for layer in run.layers for name in ("attn_out", "mlp_out")}
    return {name: along_component(rows, *place, vectors) for name, place in places.items()}


def inside_of(rows: Any, *place: Any) -> Any:
    with rows.model.lock, without_foreign_hooks(rows.model):
        return along_inside(rows, *place)


def test_parts_and_bias_are_the_metric(recorded: tuple[str, Any]) -> None:
    _, run = recorded
    for metric in (rw.logit_diff(11, 40), rw.logit_diff(17, 5, pos=[3, -1]), rw.logit(8), rw.weighted_logits({8: 2})):
        rows, found = at(run, metric)
        parts = components(run, rows, found.vectors)
        total = np.mean(sum(parts.values()) + found.bias.numpy())
        size = max(float(np.abs(value).max()) for value in parts.values())
        assert total == pytest.approx(metric.bound(run).of_base(), abs=1e-4 * max(size, 1.0))
        assert float(found.total.mean()) == pytest.approx(metric.bound(run).of_base(), abs=1e-5 * max(size, 1.0))


def test_heads_and_neurons_are_their_sublayer(recorded: tuple[str, Any]) -> None:
    family, run = recorded
    rows, found = at(run, rw.logit_diff(11, 40, pos=[7, -1]))
    whole = components(run, rows, found.vectors)
    assert layers_inside(run.model, "attn_out"), family
    for component in ("attn_out", "mlp_out"):
        for layer in layers_inside(run.model, component):
            inside = inside_of(rows, component, layer, found.vectors)
            size = np.maximum(np.abs(inside.values).sum(-1), 1e-3)
            gaps = np.abs(inside.values.sum(-1) + inside.bias - whole[f"{layer}.{component}"]) / size
            assert gaps.max() <= 1e-4


NORMED_VALUES = {"bitnet"} | {family for family in TESTED if family.startswith("gemma4")}
"""Families in which something stands between values, patterns and heads; and those whose values are no rows."""
NO_VALUES = {family for family in TESTED if family.startswith("deepseek")}


def test_sources_are_their_head(recorded: tuple[str, Any]) -> None:
    family, run = recorded
    rows, found = at(run, rw.logit_diff(11, 40, pos=[7, -1]))
    if family in NORMED_VALUES | NO_VALUES:
        heads = inside_of(rows, "attn_out", 0, found.vectors)
        with pytest.raises(ResidWidgetsError, match=r"not their pattern times their values|has any"):
            along_sources(run, 0, rows.positions, heads)
        return
    for layer in layers_inside(run.model, "attn_out"):
        heads = inside_of(rows, "attn_out", layer, found.vectors)
        sources = along_sources(run, layer, rows.positions, heads)
        np.testing.assert_allclose(sources.sum(-1), heads.values, atol=1e-4 * max(np.abs(heads.values).max(), 1e-3))


def test_capped_logits_are_refused() -> None:
    capped = rw.run(load_model((build("gemma2"), None)), IDS)
    with pytest.raises(rw.InputError, match="caps its logits"):
        at(capped, rw.logit_diff(11, 40))


def test_a_direction_is_the_closed_form(tiny: Any) -> None:
    """The unembedding's two columns through the norm's weights at its own scale, as TransformerLens has them."""
    run = rw.run(tiny, "The girl near the dogs")
    rows, found = at(run, rw.logit_diff(" is", " are"))
    final = run.tensor("resid_post", -1)[-1].double()
    answer, foil = (tiny.token_id(token) for token in (" is", " are"))
    weights = tiny.bridge.unembed.W_U.detach().double()
    norm = tiny.bridge.ln_final.original_component
    scale = (final.square().mean() + norm.variance_epsilon).rsqrt()
    expected = (weights[:, answer] - weights[:, foil]) * norm.weight.detach().double() * scale
    np.testing.assert_allclose(found.vectors[0].numpy(), expected.numpy(), rtol=1e-4, atol=1e-6)
    stack, labels = tiny.bridge.run_with_cache(torch.tensor([run.token_ids]))[1].decompose_resid(
        layer=-1, return_labels=True, apply_ln=True, pos_slice=-1
    )
    theirs = (stack.squeeze(1).double() * norm.weight.detach()) @ (weights[:, answer] - weights[:, foil])
    ours = components(run, rows, found.vectors)
    for label, value in zip(labels, theirs.tolist(), strict=True):
        name = "embed" if label == "embed" else label.replace("_attn_out", ".attn_out").replace("_mlp_out", ".mlp_out")
        assert ours[name][0] == pytest.approx(value, rel=1e-3, abs=1e-3), label


def test_prompts_together_are_as_each_alone(tiny: Any) -> None:
    prompts = ["The girl near the dogs", "The dogs near the girl", "Anna gave a drink to"]
    runs = [rw.run(tiny, prompt) for prompt in prompts]
    positions = [(-1 % run.n_pos, 2) for run in runs]
    alone = rows_of_runs(runs, positions)
    names = ("resid_post", "attn_out", "z", "mlp_post")
    places = [(name, 3) for name in names]
    together = rows_of_prompts(
        tiny, read_prompts(tiny, prompts, None), positions, places, runs[0].provenance.weights_hash
    )
    assert (
        (together.prompts, together.positions) == (alone.prompts, alone.positions) == ((0, 0, 1, 1, 2, 2), (5, 2) * 3)
    )
    for name in names:
        torch.testing.assert_close(together.at(name, 3), alone.at(name, 3), rtol=1e-4, atol=1e-5)
