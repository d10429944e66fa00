"""Heads are found by score, by TransformerLens' detector and by ablation, and where they are known, all three agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis.attention.repeated import repeated_tokens, repeating_positions
from resid_widgets.models.loading.load_model import load_model
from tests.analysis.handmade import induction_model
from tests.analysis.plain import script_result
from tests.architectures import build

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def tiny_heads(tiny: Any) -> Any:
    return rw.find_heads(tiny, **QUIET)


def level(result: Any, name: str) -> str:
    (check,) = [check for check in result.checks if check.name == name]
    return check.level


def test_the_hand_wired_circuit_is_found() -> None:
    run = rw.run(load_model((induction_model(), None)), [7, 0, 1, 2, 3, 0, 1, 2])
    found = rw.find_heads(run, ("previous_token", "induction"), top=1, **QUIET)
    assert found.best == {"previous_token": [(0, 1)], "induction": [(1, 1)]}
    assert level(found, "induction heads") == level(found, "previous_token heads") == "green"
    assert float(found.values.sel(kind="induction", layer=1, head=1)) > 0.95
    assert found.together["induction"] > 1
    assert float(np.max(np.abs(found.random["induction"]))) < 0.1


def test_the_tiny_models_heads_are_found_and_the_three_agree(tiny: Any, tiny_heads: Any) -> None:
    """Three of the last layer, each of which stands in for the others: only without all of them the loss rises."""
    known = {(3, 0), (3, 1), (3, 3)}
    assert set(tiny_heads.best["induction"]) == known
    assert tiny_heads.best["previous_token"][0] == (2, 2)
    for kind in ("induction", "previous_token"):
        assert level(tiny_heads, f"{kind} heads") == "green"
    # Those that look back at the same word matter less than others of their layers, and it is said.
    assert level(tiny_heads, "duplicate_token heads") == "amber"
    detector = tiny_heads.to_dataframe().query("kind == 'induction'").nlargest(3, "detector")
    assert set(zip(detector["layer"], detector["head"], strict=True)) == known
    groups = tiny_heads.groups().set_index("kind")
    assert groups.loc["induction", "loss"] > 100 * abs(groups.loc["induction", "random"])
    assert float(tiny_heads.loss.sel(layer=3).max()) < 0.2 * groups.loc["induction", "loss"]
    sorted_by = rw.attention_overview(rw.run(tiny, tiny_ids(tiny))).order("induction")
    assert set(map(tuple, sorted_by[:3])) == known  # as the thumbnails are sorted


def tiny_ids(tiny: Any) -> list[int]:
    return repeated_tokens(tiny, 12, 0)


def test_scores_are_plain_means_over_patterns(tiny: Any) -> None:
    found = rw.find_heads(tiny, prompts=1, draws=1, **QUIET)
    ids = tiny_ids(tiny)
    begin, length = len(ids) % 2, len(ids) // 2
    _, cache = tiny.bridge.run_with_cache(torch.tensor([ids]))
    second = torch.arange(begin + length, len(ids))
    for layer in (0, 3):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0].double()
        here = found.values.sel(layer=layer)
        np.testing.assert_allclose(
            here.sel(kind="induction"), pattern[:, second, second - length + 1].mean(-1), atol=1e-6
        )
        np.testing.assert_allclose(
            here.sel(kind="duplicate_token"), pattern[:, second, second - length].mean(-1), atol=1e-6
        )
        q = torch.arange(1, len(ids))
        np.testing.assert_allclose(here.sel(kind="previous_token"), pattern[:, q, q - 1].mean(-1), atol=1e-6)
    np.testing.assert_allclose(script_result(found.code(), tiny.bridge), found.values, atol=1e-6)


def test_a_loss_is_that_of_a_plain_hook(tiny: Any) -> None:
    found = rw.find_heads(tiny, "induction", how="zero", prompts=1, draws=1, **QUIET)
    ids = tiny_ids(tiny)
    positions = repeating_positions(tuple(ids))
    wanted = torch.tensor(ids)[[pos + 1 for pos in positions]]

    def loss(*heads: tuple[int, int]) -> float:
        def without(head: int) -> Any:
            def hook(z: torch.Tensor, hook: Any) -> torch.Tensor:
                z = z.clone()
                z[:, :, head] = 0
                return z

            return hook

        hooks = [(f"blocks.{layer}.attn.hook_z", without(head)) for layer, head in heads]
        with torch.no_grad():
            logits = tiny.bridge.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)[0, positions].double()
        return float(torch.nn.functional.cross_entropy(logits, wanted))

    assert found.base == pytest.approx(loss(), abs=1e-4)
    for layer, head in ((3, 1), (0, 0), (2, 2)):
        assert float(found.loss.sel(layer=layer, head=head)) == pytest.approx(loss((layer, head)) - loss(), abs=1e-3)
    assert found.together["induction"] == pytest.approx(loss(*found.best["induction"]) - loss(), abs=1e-3)


def test_its_tables(tiny_heads: Any) -> None:
    table = tiny_heads.to_dataframe()
    assert len(table) == 3 * 16
    assert list(table["kind"].unique()) == ["previous_token", "duplicate_token", "induction"]
    induction = table[table["kind"] == "induction"]
    assert (np.diff(induction["score"]) <= 0).all()
    assert (induction["layer"].iloc[0], induction["head"].iloc[0]) == tiny_heads.best["induction"][0]
    assert {"detector", "loss", "others", "others_spread"} <= set(table)
    assert "nats" in tiny_heads.sentence


def test_the_same_seed_gives_the_same(tiny: Any, tiny_heads: Any) -> None:
    again, other = rw.find_heads(tiny, **QUIET), rw.find_heads(tiny, seed=5, prompts=1, **QUIET)
    np.testing.assert_array_equal(again.values, tiny_heads.values)
    np.testing.assert_array_equal(again.loss, tiny_heads.loss)
    assert not np.array_equal(other.values, tiny_heads.values)


@pytest.mark.parametrize("family", ["gpt2", "gpt_oss", "mistral", "gemma3_text", "bloom"])
def test_models_of_many_kinds(family: str) -> None:
    found = rw.find_heads(load_model((build(family), None)), length=5, prompts=1, draws=2, **QUIET)
    assert np.isfinite(found.values).all()
    assert np.isfinite(found.loss).all()
    assert level(found, "repeats") == "amber"  # random weights repeat nothing


def test_repeated_tokens_fit_the_context(tiny: Any) -> None:
    ids = repeated_tokens(tiny, 9, 3)
    assert ids[0] == tiny.tokenizer.bos_token_id
    assert ids[1:10] == ids[10:]
    assert len(set(ids[1:10])) == 9
    assert repeating_positions((5, 1, 2, 3, 1, 2, 4)) == [4]
    model = load_model((build("gpt2"), None))
    with pytest.raises(rw.InputError, match=r"length=4000: .* has room for"):
        rw.find_heads(model, length=4000)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda tiny: rw.find_heads(tiny, "copying"), "there is no such kind of head. Use some of previous_token"),
        (lambda tiny: rw.find_heads(tiny, []), "no such kind of head"),
        (lambda tiny: rw.find_heads(tiny, how="noise"), "there is no such ablation here"),
        (lambda tiny: rw.find_heads(tiny, top=0), "top=0"),
        (lambda tiny: rw.find_heads(tiny, length=1), "length=1"),
        (lambda tiny: rw.find_heads(tiny, draws=0), "draws=0"),
        (lambda tiny: rw.find_heads("tiny"), "Load it first"),
        (lambda tiny: rw.find_heads(rw.run(tiny, "The girl near")), "nowhere in it a repetition tells the next token"),
        (
            lambda tiny: rw.find_heads(rw.intervene(rw.run(tiny, "snow key snow key"), rw.zero(rw.Site("z", 0)))),
            "it has interventions already",
        ),
    ],
)
def test_bad_input_is_named(tiny: Any, make: Any, text: str) -> None:
    with pytest.raises(rw.InputError, match=text):
        make(tiny)


def test_the_figure_has_a_bar_a_kind_and_a_line_a_draw(tiny_heads: Any) -> None:
    (axes,) = tiny_heads.plot().axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(list(tiny_heads.together.values()))
    draws = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    assert [list(line) for line in draws] == [list(of) for of in tiny_heads.random.values()]
