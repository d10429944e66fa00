"""All heads at a glance: each score against its definition written out, pooled pictures, effects, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from resid_widgets.analysis.attention import glance
from resid_widgets.analysis.attention.head_scores import OF_PATTERNS, SCORES
from resid_widgets.analysis.attention.overview import attention_overview

REPEATED = [1, 5, 9, 20, 5, 9, 33, 5, 60, 9, 20]
SENTENCE = "When Mary and John went to the store, John gave a drink to"


def written_out(pattern: np.ndarray, ids: list[int]) -> dict[str, float]:
    """The scores of one head, a row at a time."""
    n = len(ids)
    found: dict[str, list[float]] = {name: [] for name in OF_PATTERNS}
    for q in range(n):
        earlier = [k for k in range(q) if ids[k] == ids[q]]
        after = [k + 1 for k in earlier if k + 1 < q]
        if earlier:
            found["duplicate_token"].append(sum(pattern[q, k] for k in earlier))
        if after:
            found["induction"].append(sum(pattern[q, k] for k in after))
        if q:
            found["previous_token"].append(pattern[q, q - 1])
            found["first_token"].append(pattern[q, 0])
            p = pattern[q][pattern[q] > 0]
            found["entropy"].append(float(-(p * np.log(p)).sum()))
    return {name: float(np.mean(values)) if values else np.nan for name, values in found.items()}


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "bloom"])
def test_scores_are_their_definitions_written_out(make_model, family):
    import resid_widgets as rw

    run = rw.run(make_model(family), REPEATED, keep=["resid_post", "pattern"])
    found = attention_overview(rw.run(make_model(family), REPEATED))
    for layer in run.layers:
        for head, pattern in enumerate(run.tensor("pattern", layer).double().numpy()):
            for name, value in written_out(pattern, REPEATED).items():
                mine = float(found.score(name).sel(layer=layer, head=head))
                assert mine == pytest.approx(value, rel=1e-5, abs=1e-7), name
            np.testing.assert_allclose(found.thumbnails[layer, head], pattern, atol=1e-6)
            assert float(found.sinks.sel(layer=layer, head=head)) == pytest.approx(
                pattern[:, list(run.marked)].sum(1).mean()
            )
    assert found.block == 1
    assert next(c for c in found.checks if c.name == "rows").level == "green"


def test_where_no_token_repeats_there_is_no_induction_score(llama_run):
    found = attention_overview(llama_run)
    assert np.isnan(found.score("induction")).all()
    assert np.isnan(found.score("duplicate_token")).all()
    assert np.isfinite(found.score("previous_token")).all()
    assert len(found.order("induction")) == 16  # all are there, in order of layer and head
    assert found.order("induction") == sorted(found.heads)


def test_a_pixel_is_the_largest_weight_of_its_block(make_model):
    import resid_widgets as rw

    ids = [(7 * n) % 90 + 1 for n in range(23)]
    run = rw.run(make_model("llama"), ids, keep=["resid_post", "pattern"])
    found = attention_overview(run, size=4)
    assert found.block == 6
    assert found.thumbnails.shape == (4, 4, 4, 4)
    pattern = run.tensor("pattern", 2)[1].numpy()
    for q in range(4):
        for k in range(4):
            block = pattern[6 * q : 6 * q + 6, 6 * k : 6 * k + 6]
            assert found.thumbnails[2, 1, q, k] == pytest.approx(block.max())
    assert "6 x 6 positions" in found.sentence


def test_patterns_are_never_held(make_model, monkeypatch):
    import resid_widgets as rw

    held = []
    look = glance.Glance.look

    def counted(self, layer, pattern):
        look(self, layer, pattern)
        held.append(pattern.shape)

    monkeypatch.setattr(glance.Glance, "look", counted)
    run = rw.run(make_model("llama"), REPEATED)
    before = run.memory
    attention_overview(run)
    assert held == [(4, 11, 11)] * 4  # a layer at a time
    assert run.memory == before
    assert not run.holds("pattern")


def test_the_scale_is_one_for_all_and_leaves_out_the_marked_positions(tiny):
    import resid_widgets as rw

    found = attention_overview(rw.run(tiny, SENTENCE))
    assert (found.scale.low, found.marked) == (0.0, (0,))
    assert 0 < found.scale.high <= 1
    check = next(check for check in found.checks if check.name == "marked positions")
    assert "position 0 left out of the scale" in check.text
    assert float(found.sinks.sel(layer=3, head=3)) > 0.5


def test_the_tiny_models_induction_head_is_first_in_order(tiny):
    import resid_widgets as rw

    found = attention_overview(rw.run(tiny, SENTENCE))
    assert found.order("induction")[0] == (1, 0)
    sharp = found.order("entropy")
    entropies = [float(found.score("entropy").sel(layer=layer, head=head)) for layer, head in sharp]
    assert entropies == sorted(entropies)


def test_effects_are_those_of_their_own_functions(tiny):
    import resid_widgets as rw

    run, metric = rw.run(tiny, SENTENCE), rw.logit_diff(" Mary", " John")
    found = attention_overview(run, metric)
    np.testing.assert_allclose(
        found.score("direct").values, rw.direct_logit_attribution(run, metric, by="head").values.values, rtol=1e-6
    )
    np.testing.assert_allclose(
        found.score("causal").values, rw.ablation_sweep(run, metric, "z", "mean", progress=False).values.values
    )
    assert found.metric == "logit difference ·Mary − ·John"
    assert found.order("causal")[0] == (0, 0)  # by size, whatever the sign
    assert attention_overview(run, metric, effects="direct").known == (*OF_PATTERNS, "direct")
    assert attention_overview(run, metric, effects=()).known == OF_PATTERNS
    table = found.to_dataframe()
    assert len(table) == 16
    assert set(table) == {"layer", "head", "sinks", *OF_PATTERNS, "direct", "causal"}


@pytest.mark.parametrize("held", [glance.HELD, 1])
def test_change_is_the_largest_difference_from_the_base_run(make_model, monkeypatch, held):
    import resid_widgets as rw

    monkeypatch.setattr(glance, "HELD", held)
    base = rw.run(make_model("llama"), REPEATED, keep=["resid_post", "pattern"])
    edited = rw.intervene(base, [rw.zero(rw.Site("z", 1, head=2)), rw.zero(rw.Site("resid_post", 2, pos=4))])
    found = attention_overview(edited).score("change")
    for layer in base.layers:
        difference = (edited.tensor("pattern", layer) - base.tensor("pattern", layer)).abs().amax((1, 2))
        np.testing.assert_allclose(found.sel(layer=layer), difference, atol=1e-6)
    assert float(found.sel(layer=slice(0, 1)).max()) == 0.0
    assert float(found.sel(layer=3).min()) > 0
    with pytest.raises(rw.InputError, match="these are known"):
        attention_overview(base).score("change")


def test_learned_sinks_are_said_and_nothing_is_scaled_up(make_model):
    import resid_widgets as rw

    found = attention_overview(rw.run(make_model("gpt_oss"), REPEATED))
    check = next(check for check in found.checks if check.name == "rows")
    assert check.level == "amber"
    assert "nothing is scaled up" in check.text
    assert found.thumbnails.max() < 1


def test_its_script_makes_the_same_numbers(tiny, capsys):
    import resid_widgets as rw

    found = attention_overview(rw.run(tiny, SENTENCE))
    exec(compile(found.code(), "overview", "exec"), {})  # noqa: S102
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("1 induction")]
    printed = [float(value) for value in lines[0].split("[")[1].strip("]").split(",")]
    np.testing.assert_allclose(printed, found.score("induction").sel(layer=1), atol=1e-4)


def test_it_is_drawn_and_told(tiny, tmp_path):
    import resid_widgets as rw

    found = attention_overview(rw.run(tiny, SENTENCE))
    assert found.to_png(tmp_path / "heads.png").stat().st_size > 10_000
    texts = {text.get_text() for text in found.plot().texts}
    assert {"1.0", "0.98", "3.3"} <= texts
    assert "AttentionOverview of tiny" in str(found)
    assert all(SCORES[name].sentence for name in found.known)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 40}, "size"),
        ({"effects": "direct"}, "an effect is one on a metric"),
        ({"effects": "indirect", "metric": True}, "there are direct and causal"),
        ({"metric": "Mary"}, "metric"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(llama_run, monkeypatch, arguments, says):
    import resid_widgets as rw

    def never(*_):
        raise AssertionError("it ran")

    monkeypatch.setattr(glance, "each_layer", never)
    if arguments.get("metric") is True:
        arguments = {**arguments, "metric": rw.logit_diff(7, 8)}
    with pytest.raises(rw.InputError, match=says):
        attention_overview(llama_run, **arguments)


def test_one_token_is_refused(make_model):
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match="one token can look only at itself"):
        attention_overview(rw.run(make_model("llama"), [5]))
    with pytest.raises(rw.InputError, match="a Run is needed"):
        attention_overview("text")
