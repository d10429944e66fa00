"""Neurons over prompts: every number against TransformerLens and numpy, and neurons whose meaning was put there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from tests.csv_tables import table

TEXTS = [
    "The dogs beside the red car run",
    "Mary and John went to the store",
    "The dog sees the old picture",
    "When Mary and John went to the store, John gave a drink to",
    "The birds",
    "The stars beside the old picture",
]
CLASSES = ["plural", "other", "singular", "other", "plural", "plural"]


@pytest.fixture(scope="module")
def patterns(tiny) -> Any:
    import resid_widgets as rw

    return rw.neuron_patterns(tiny, TEXTS, labels=CLASSES, top_k=5, context=3, sample=20, threshold=1.0)


def cached(model: Any, hook: str, texts: list[str] = TEXTS) -> list[np.ndarray[Any, Any]]:
    """TransformerLens' own activations of each text, ``[pos, neuron]``."""
    found = []
    for text in texts:
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            _, cache = model.bridge.run_with_cache(ids, names_filter=lambda name: name == hook)
        found.append(cache[hook][0].numpy())
    return found


@pytest.fixture(scope="module")
def reference(tiny) -> dict[int, list[np.ndarray[Any, Any]]]:
    return {layer: cached(tiny, f"blocks.{layer}.mlp.hook_post") for layer in range(4)}


def first(table: Any) -> tuple[int, int]:
    """Layer and neuron of a table's first row."""
    return int(table["layer"].iloc[0]), int(table["neuron"].iloc[0])


def unmarked(found: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    return np.concatenate([x[1:] for x in found]).astype(np.float64)


# --- parity -----------------------------------------------------------------------------------------------------------


def test_every_statistic_is_that_of_transformer_lens_and_numpy(patterns, reference) -> None:
    for layer, found in reference.items():
        x = unmarked(found)
        expected = {
            "max": x.max(0),
            "min": x.min(0),
            "mean": x.mean(0),
            "std": x.std(0),
            "kurtosis": stats.kurtosis(x, axis=0, fisher=False),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(patterns.stats[name].values[layer], values, rtol=2e-4, atol=2e-5, err_msg=name)
        for name, threshold in (("active", 0.0), ("above", 1.0)):
            clear = (np.abs(x - threshold) > 1e-4).all(0)  # not where rounding decides
            assert clear.mean() > 0.9
            np.testing.assert_allclose(patterns.stats[name].values[layer][clear], (x > threshold).mean(0)[clear])
    assert patterns.stats.attrs["n"] == len(unmarked(reference[0]))
    np.testing.assert_array_equal(patterns.values, patterns.stats["max"].astype(np.float32))
    assert patterns.values.dims == ("layer", "neuron")


def test_correlations_are_those_of_scipy(patterns, reference) -> None:
    for layer, found in reference.items():
        last = np.stack([x[-1] for x in found])  # each text's last position
        for label in ("other", "plural", "singular"):
            of_class = np.array([c == label for c in CLASSES])
            for neuron in range(0, 336, 41):
                r = patterns.stats["correlation"].sel(label=label).values[layer, neuron]
                assert r == pytest.approx(stats.pointbiserialr(of_class, last[:, neuron]).statistic, abs=2e-4)
                u = stats.mannwhitneyu(last[of_class, neuron], last[~of_class, neuron]).statistic
                auroc = patterns.stats["auroc"].sel(label=label).values[layer, neuron]
                assert auroc == pytest.approx(u / (of_class.sum() * (~of_class).sum()))


@pytest.mark.parametrize("label_at", ["mean", "max", "position"])
def test_numbers_as_labels_and_other_rules(tiny, reference, label_at) -> None:
    import resid_widgets as rw

    numbers = [0.5, 1.0, -2.0, 7.0, 3.5, 0.0]
    found = rw.neuron_patterns(tiny, TEXTS, labels=numbers, label_at=label_at, layers=[2], neurons=[7, 3])
    assert found.labels == ("label",)
    assert found.neurons == (3, 7)
    assert "auroc" not in found.stats
    pool = {"mean": lambda x: x[1:].mean(0), "max": lambda x: x[1:].max(0), "position": lambda x: x[-1]}[label_at]
    pooled = np.stack([pool(x) for x in reference[2]])
    for place, neuron in enumerate(found.neurons):
        expected = stats.pearsonr(pooled[:, neuron], numbers).statistic
        assert found.stats["correlation"].values[0, 0, place] == pytest.approx(expected, abs=2e-4)


def test_histograms_count_every_unmarked_position(patterns, reference) -> None:
    for layer in (0, 3):
        x = unmarked(reference[layer])
        for neuron in (0, 100, 335):
            counts, edges = patterns.histogram(layer, neuron)
            assert counts.sum() == len(x)
            assert counts[0] > 0 < counts[-1]
            clear = np.abs(x[:, neuron][:, None] - edges).min() > 1e-5
            if clear:
                np.testing.assert_array_equal(counts, np.histogram(x[:, neuron], edges)[0])
            np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
            np.testing.assert_allclose(edges / (edges[1] - edges[0]), np.round(edges / (edges[1] - edges[0])))


@pytest.mark.parametrize("which", ["top", "bottom"])
def test_contexts_are_the_extremes_with_what_is_around_them(patterns, reference, tiny, which) -> None:
    for layer, neuron in ((0, 0), (1, 200), (3, 335)):
        found = patterns.contexts(layer, neuron, which=which)
        assert len(found) == 5
        everything = np.sort(unmarked(reference[layer])[:, neuron])
        wanted = everything[::-1][:5] if which == "top" else everything[:5]
        np.testing.assert_allclose([c.activation for c in found], wanted, rtol=1e-4, atol=1e-5)
        for context in found:
            x = reference[layer][context.prompt][:, neuron]
            start, stop = max(0, context.pos - 3), min(len(x), context.pos + 4)
            np.testing.assert_allclose(context.activations, x[start:stop], rtol=1e-4, atol=1e-5)
            assert context.start == start
            ids = tiny.tokenizer(TEXTS[context.prompt])["input_ids"]
            assert list(context.tokens) == tiny.token_strings(ids[start:stop])
            assert context.activations[context.center] == context.activation
            assert context.marked == ((0,) if start == 0 else ())
            assert "[" in str(context)


def test_the_sample_is_whole_prompts_and_can_be_cut_by_activation(patterns, reference) -> None:
    found = patterns.contexts(1, 20, which="sample")
    prompts = {context.prompt for context in found}
    assert sum(len(reference[1][n]) for n in prompts) <= 20
    assert len(found) == sum(len(reference[1][n]) - 1 for n in prompts) > 3
    np.testing.assert_allclose(
        [c.activation for c in found], [reference[1][c.prompt][c.pos, 20] for c in found], rtol=1e-4, atol=1e-5
    )
    low, high = np.percentile([c.activation for c in found], [20, 80])
    kept = patterns.contexts(1, 20, which="sample", between=(low, high))
    assert [(c.prompt, c.pos) for c in kept] == [(c.prompt, c.pos) for c in found if low <= c.activation <= high]
    assert len(patterns.contexts(1, 20, 2, which="sample")) == 2


@pytest.mark.parametrize("component", ["resid_post", "resid_pre", "mlp_out", "attn_out", "resid_mid"])
def test_dimensions_of_the_stream_count_as_neurons(tiny, component) -> None:
    import resid_widgets as rw

    found = rw.neuron_patterns(tiny, TEXTS, component=component, layers=2, stat="mean")
    x = unmarked(cached(tiny, f"blocks.2.hook_{component}"))
    np.testing.assert_allclose(found.values.values[0], x.mean(0), rtol=1e-4, atol=1e-4)
    effect: Any = found.logit_effect(2, 5, 3)
    row = tiny.bridge.W_U.detach()[5]
    assert effect["effect"][0] == pytest.approx(float(row.max()))
    assert effect["token_id"][0] == int(row.argmax())


def test_batches_change_nothing(tiny, monkeypatch) -> None:
    import resid_widgets as rw
    from resid_widgets.analysis.neurons import collect as neuron_collect

    whole = rw.neuron_patterns(tiny, TEXTS, labels=CLASSES, layers=[1, 2])
    monkeypatch.setattr(neuron_collect, "BATCH_TOKENS", 1)  # one prompt at a time
    monkeypatch.setattr(neuron_collect, "CHUNK_BYTES", 8 * 672 * 3)  # three positions at a time
    parts = rw.neuron_patterns(tiny, TEXTS, labels=CLASSES, layers=[1, 2])
    for name in whole.stats:
        np.testing.assert_allclose(whole.stats[name], parts.stats[name], rtol=1e-4, atol=1e-5, err_msg=str(name))
    for neuron in (0, 50):
        for a, b in zip(whole.contexts(1, neuron), parts.contexts(1, neuron), strict=True):
            assert a.activation == pytest.approx(b.activation, abs=1e-5)


def test_one_neuron_is_read_at_all_positions(patterns, reference) -> None:
    table = patterns.read(2, 11)
    x = np.concatenate([found[:, 11] for found in reference[2]])
    np.testing.assert_allclose(table["activation"], x, rtol=1e-4, atol=1e-5)
    assert table["marked"].tolist() == [pos == 0 for found in reference[2] for pos in range(len(found))]
    assert table["prompt"].tolist() == [n for n, found in enumerate(reference[2]) for _ in found]
    assert table["token"][1].strip() == "The"


def test_a_text_of_your_own(patterns, tiny) -> None:
    import resid_widgets as rw

    text = "Mary sees the dogs"
    found = patterns.activations_of(text, 2, 11)
    np.testing.assert_allclose(found, cached(tiny, "blocks.2.mlp.hook_post", [text])[0][:, 11], rtol=1e-4, atol=1e-5)
    assert found.attrs["marked"] == rw.run(tiny, text).marked
    assert found.coords["token"].values[1] == "Mary"


def test_massive_positions_are_left_out_as_a_run_marks_them(make_model) -> None:
    import resid_widgets as rw

    hf = __import__("tests.architectures", fromlist=["build"]).build("gpt2")
    with torch.no_grad():
        hf.transformer.wte.weight[7] *= 300
    model = rw.load_model((hf, None))
    prompts = [[1, 5, 7, 9, 3, 4], [2, 7, 8, 11, 13, 17], [3, 4, 5, 6, 8, 9]]
    found = rw.neuron_patterns(model, prompts)
    for number, ids in enumerate(prompts):
        assert found.kept.marked[number] == rw.run(model, ids).marked
    assert 2 in found.kept.marked[0]
    assert found.stats.attrs["n"] == 18 - 3 - 2
    check = next(check for check in found.checks if check.name == "marked positions")
    assert "5 of 18" in check.text
    assert all(c.pos not in found.kept.marked[c.prompt] for c in found.contexts(0, 0, which="top"))


# --- what was put there is found --------------------------------------------------------------------------------------

TOKEN, PROMOTED, LAYER, NEURON = 17, 42, 1, 9


@pytest.fixture(scope="module")
def planted() -> Any:
    """A random model in which one neuron fires at token 17 alone, and writes what token 42 reads."""
    import resid_widgets as rw
    from tests.architectures import build

    hf = build("gpt2")
    with torch.no_grad():
        hf.transformer.wpe.weight.zero_()
        for block in hf.transformer.h:
            block.attn.c_proj.weight.zero_()  # no position sees another one
            block.attn.c_proj.bias.zero_()
        first, second = hf.transformer.h[0], hf.transformer.h[LAYER]
        first.mlp.c_proj.weight.zero_()
        first.mlp.c_proj.bias.zero_()
        normed = second.ln_2(hf.transformer.wte.weight)
        here = normed[TOKEN]
        second.mlp.c_fc.weight[:, NEURON] = here
        size = float(here.square().sum())
        second.mlp.c_fc.bias[NEURON] = -0.85 * size
        assert int((normed @ here < 0.8 * size).sum()) == len(normed) - 1
        second.mlp.c_proj.weight[NEURON] = hf.lm_head.weight[PROMOTED]
    return rw.load_model((hf, None))


@pytest.fixture(scope="module")
def planted_prompts() -> list[list[int]]:
    generator = np.random.default_rng(0)
    prompts = [[i if i != TOKEN else 1 for i in generator.integers(0, 97, 8).tolist()] for _ in range(30)]
    for number in range(0, 30, 3):
        prompts[number][4] = TOKEN
    return prompts


def test_a_planted_neuron_is_found_with_its_token(planted, planted_prompts) -> None:
    import resid_widgets as rw

    found = rw.neuron_patterns(planted, planted_prompts, top_k=10)
    best = found.top("activation", token=TOKEN)
    assert first(best) == (LAYER, NEURON)
    for context in found.contexts(LAYER, NEURON):
        assert (context.pos, context.tokens[context.center]) == (4, f"[{TOKEN}]")
    assert first(found.top("kurtosis", layer=LAYER, k=1)) == (LAYER, NEURON)
    assert found.stats["above"].values[LAYER, NEURON] == pytest.approx(10 / 210)
    mine = found.activations_of([1, 2, TOKEN, 3], LAYER, NEURON)
    assert int(mine.values.argmax()) == 2


def test_a_planted_neuron_is_found_for_its_class(planted, planted_prompts) -> None:
    import resid_widgets as rw

    labels = ["yes" if TOKEN in ids else "no" for ids in planted_prompts]
    found = rw.neuron_patterns(planted, planted_prompts, labels=labels, label_at="max")
    best = found.top(label="yes", k=1)
    assert first(best) == (LAYER, NEURON)
    assert float(best["score"].iloc[0]) == pytest.approx(1, abs=1e-3)
    assert found.stats["auroc"].sel(label="yes").values[LAYER, NEURON] == 1
    assert found.stats["auroc"].sel(label="no").values[LAYER, NEURON] == 0
    check = next(check for check in found.checks if check.name == "correlation beyond chance")
    assert check.level == "green"


def test_what_a_neuron_writes_is_found(planted, planted_prompts) -> None:
    import resid_widgets as rw

    found = rw.neuron_patterns(planted, planted_prompts)
    effect: Any = found.logit_effect(LAYER, NEURON, 5)
    w_out = planted.bridge.blocks[LAYER].mlp.W_out.detach()[NEURON]
    everything = (w_out @ planted.bridge.W_U.detach()).numpy()
    assert effect.query("side == 'promoted'")["token_id"].tolist() == everything.argsort()[::-1][:5].tolist()
    assert effect.query("side == 'suppressed'")["token_id"].tolist() == everything.argsort()[:5].tolist()
    assert effect["token_id"][0] == PROMOTED
    np.testing.assert_allclose(effect["effect"], everything[effect["token_id"]], rtol=1e-5)
    best = found.top(token=PROMOTED, k=1)
    assert first(best) == (LAYER, NEURON)


def test_random_labels_are_not_taken_for_a_finding(tiny) -> None:
    import resid_widgets as rw

    texts = [prompt.text for prompt in rw.tasks.load("agreement", tiny, n=60).prompts]
    beyond = 0
    for seed in range(5):
        labels = np.random.default_rng(seed).permutation([0, 1] * 30).astype(str).tolist()
        found = rw.neuron_patterns(tiny, texts, labels=labels, layers=[2, 3], sample=0)
        check = next(check for check in found.checks if check.name == "correlation beyond chance")
        beyond += check.level == "green"
    assert beyond <= 1


def test_a_task_brings_its_labels_and_positions(tiny) -> None:
    import resid_widgets as rw

    task = rw.tasks.load("agreement", tiny, n=40)
    found = rw.neuron_patterns(tiny, task, layers=3)
    assert found.labels == ("plural", "singular")
    best: Any = found.top(label="plural", k=1)
    assert best["score"][0] > found.stats.attrs["chance"]
    no_bos = rw.neuron_patterns(tiny, task, layers=3, bos=False)
    assert no_bos.prompts.positions == tuple(prompt.position - 1 for prompt in task.prompts)


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_bigcode"])
@pytest.mark.parametrize("reads", ["v", "q", "k"])
def test_composition_is_the_published_formula(make_model, family, reads) -> None:
    import resid_widgets as rw

    model = make_model(family)
    found = rw.neuron_patterns(model, [[1, 5, 9, 20]])
    layer, head = 2, 3
    attention = model.bridge.blocks[layer].attn
    q, k, v, o = (getattr(attention, name).detach().double().numpy() for name in ("W_Q", "W_K", "W_V", "W_O"))
    group = head // (len(q) // len(k))
    matrix = {"v": v[group] @ o[head], "q": q[head] @ k[group].T, "k": k[group] @ q[head].T}[reads]
    table = found.top(head=(layer, head), reads=reads, k=10**6)
    assert set(table["layer"]) == {0, 1}  # those below
    for _, row in table.iloc[::37].iterrows():
        w = model.bridge.blocks[int(row["layer"])].mlp.W_out.detach().double().numpy()[int(row["neuron"])]
        expected = np.linalg.norm(w @ matrix) / (np.linalg.norm(w) * np.linalg.norm(matrix))
        assert row["score"] == pytest.approx(expected, rel=1e-6)
    assert table["score"].is_monotonic_decreasing
    assert f"head {layer}.{head}" in table.attrs["score"]


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "falcon", "bloom", "phi3", "gpt_bigcode"])
def test_the_matrices_of_a_head_are_those_that_the_model_uses(make_model, family) -> None:
    """The weights by head give queries, keys, values and what attention adds, so a score is about the right head."""
    model = make_model(family)
    attention = model.bridge.blocks[1].attn
    read: list[torch.Tensor] = []

    def watch(_: Any, args: Any, kwargs: Any) -> None:
        read.append(args[0] if args else kwargs["hidden_states"])

    hook = attention.register_forward_pre_hook(watch, with_kwargs=True)
    names = {name: f"blocks.1.attn.hook_{name}" for name in "qkvz"} | {"out": "blocks.1.hook_attn_out"}
    try:
        with torch.no_grad():
            _, seen = model.bridge.run_with_cache(
                torch.tensor([[1, 5, 9, 20]]), names_filter=lambda name: name in names.values()
            )
    finally:
        hook.remove()
    for name in "QKV":
        weight, bias = getattr(attention, f"W_{name}").detach(), getattr(attention, f"b_{name}", None)
        made = torch.einsum("bpm,hmd->bphd", read[0], weight)
        made = made if bias is None else made + bias.detach()
        torch.testing.assert_close(made, seen[names[name.lower()]].reshape(made.shape), rtol=1e-4, atol=1e-5)
    written = torch.einsum("bphd,hdm->bpm", seen[names["z"]].reshape(1, 4, 4, 8), attention.W_O.detach())
    bias = getattr(attention, "b_O", None)
    written = written if bias is None else written + bias.detach()
    torch.testing.assert_close(written, seen[names["out"]], rtol=1e-3, atol=1e-4)


# --- checks and other models ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "phi", "granite", "gemma2", "stablelm parallel"])
def test_the_weights_that_logit_effects_read_are_those_that_the_model_runs(make_model, family) -> None:
    import resid_widgets as rw

    found = rw.neuron_patterns(make_model(family), [[1, 5, 9, 20, 3], [4, 8, 15]])
    check = next(check for check in found.checks if check.name == "neurons add up")
    assert check.level == ("amber" if family == "gemma2" else "green")
    alone = next(check for check in found.checks if check.name == "batch = alone")
    assert alone.level == "green"


def test_wrong_weights_are_a_red_check() -> None:
    import resid_widgets as rw
    from resid_widgets.analysis.neurons import weights as neuron_weights
    from tests.architectures import build

    model = rw.load_model((build("llama"), None))  # nobody has asked it anything yet
    run = rw.run(model, [1, 5, 9], keep=["mlp_post", "mlp_out"])
    assert neuron_weights.written_check(run, (0, 1)).level == "green"
    run._recorded["mlp_post", 1] = run.tensor("mlp_post", 1).roll(1, dims=-1)
    assert neuron_weights.written_check(run, (0, 1)).level == "red"


def test_a_mixture_of_experts_has_no_neurons_here_but_a_stream(make_model) -> None:
    import resid_widgets as rw

    model = make_model("mixtral")
    with pytest.raises(rw.InputError, match="mixture of experts"):
        rw.neuron_patterns(model, [[1, 2, 3]])
    assert rw.neuron_patterns(model, [[1, 2, 3]], component="resid_post").values.shape == (4, 32)


def test_numbers_that_are_not_finite_are_left_out_in_red(make_model) -> None:
    import resid_widgets as rw
    from resid_widgets.analysis.neurons.collect import Batch, Collection, finite_checks

    found = rw.neuron_patterns(make_model("llama"), [[1, 5, 9, 20]])
    plan = found.kept.plan
    kept = Collection(plan, found.prompts)
    x = torch.rand(plan.rows, 1, 4)
    x[3, 0, 2] = torch.nan
    kept.take(Batch((0,), x, torch.tensor([[True, False, False, False]])))
    assert kept.moments.n == 2
    assert kept.moments.mean.isfinite().all()
    assert finite_checks(kept)[0].level == "red"


# --- as a result ------------------------------------------------------------------------------------------------------


def test_it_prints_draws_and_leaves(patterns, tmp_path) -> None:
    assert "NeuronPatterns of tiny" in str(patterns)
    frame = patterns.to_dataframe()
    assert len(frame) == 4 * 336
    assert frame.columns[:3].tolist() == ["layer", "neuron", "max"]
    assert {"correlation plural", "auroc plural"} <= set(frame.columns)
    assert frame.loc[700, "correlation plural"] == patterns.stats["correlation"].sel(label="plural").values.flat[700]
    assert len(table(patterns.to_csv(tmp_path / "x.csv"))) == len(frame)
    patterns.to_png(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000
    assert patterns.provenance.options["prompts"] == 6
    assert len(patterns.provenance.token_ids) == int(patterns.prompts.starts[-1])


def test_its_code_gives_its_numbers(patterns) -> None:
    space: dict[str, Any] = {}
    exec(patterns.code(), space)  # noqa: S102
    np.testing.assert_allclose(space["largest"], patterns.stats["max"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(space["mean"], patterns.stats["mean"], rtol=1e-4, atol=1e-5)


def test_top_by_a_statistic_and_by_layer(patterns) -> None:
    table = patterns.top(k=5)
    assert table["score"].tolist() == sorted(patterns.stats["max"].values.ravel(), reverse=True)[:5]
    assert patterns.top("active", layer=2, k=3)["layer"].tolist() == [2, 2, 2]
    assert patterns.largest == first(table)
    assert patterns.top("max").attrs["score"] == "largest activation"


def test_memory_does_not_grow_with_the_prompts(make_model) -> None:
    import resid_widgets as rw

    model = make_model("llama")
    rows = np.random.default_rng(0).integers(0, 97, (1200, 20)).tolist()

    def held(count: int) -> int:
        kept = rw.neuron_patterns(model, rows[:count]).kept
        parts = [vars(part) for part in (kept.moments, kept.histograms, kept.top, kept.bottom, kept.correlations)]
        tensors = [value for part in parts for value in part.values() if isinstance(value, torch.Tensor)]
        return sum(tensor.untyped_storage().nbytes() for tensor in [*tensors, *kept.sampled.values()])

    small, large = held(100), held(1200)
    assert large == small > 5 * 10**5


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"component": "z"}, "has no neurons"),
        ({"layers": 4}, "from 0 to 3"),
        ({"neurons": [1, 1]}, "only once"),
        ({"neurons": []}, "names none"),
        ({"neurons": 336}, "from 0 to 335"),
        ({"labels": ["a"] * 5}, "there are 6 prompts"),
        ({"labels": ["a"] * 6}, "all the same"),
        ({"labels": [1, 2, 3, 4, 5, float("nan")]}, "not finite"),
        ({"labels": "abcdef"}, "there are 6 prompts"),
        ({"label_at": "first"}, "no such rule"),
        ({"stat": "median"}, "no such statistic"),
        ({"threshold": float("inf")}, "finite number"),
        ({"top_k": 0}, "from 1"),
        ({"context": -1}, "from 0"),
        ({"bins": 2}, "from 4"),
        ({"progress": "yes"}, "True, False or a function"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(tiny, changes, says, monkeypatch) -> None:
    import resid_widgets as rw
    from resid_widgets.analysis.neurons import neuron_patterns as module

    monkeypatch.setattr(module, "collect_neurons", lambda *_: pytest.fail("it ran"))
    with pytest.raises(rw.InputError, match=says):
        rw.neuron_patterns(tiny, TEXTS, **changes)


def test_progress_is_told_and_can_stop(tiny) -> None:
    import resid_widgets as rw

    seen: list[tuple[int, int]] = []
    rw.neuron_patterns(tiny, TEXTS, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(TEXTS), len(TEXTS))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rw.neuron_patterns(tiny, TEXTS, progress=stop)


@pytest.mark.parametrize(
    ("prompts", "says"), [("The dog", "several prompts"), ([], "there are none"), ([[3], [4]], "first position")]
)
def test_bad_prompts_are_refused(tiny, prompts, says) -> None:
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match=says):
        rw.neuron_patterns(tiny, prompts)


def test_too_much_to_keep_is_refused(tiny) -> None:
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match="memory of the patterns"):
        rw.neuron_patterns(tiny, TEXTS, sample=10**7, bins=4096, top_k=1000, context=1000)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda p: p.contexts(4, 0), "layers 0 .. 3"),
        (lambda p: p.contexts(0, 336), "neurons 0 .. 335"),
        (lambda p: p.contexts(0, 0, which="all"), "no such list"),
        (lambda p: p.contexts(0, 0, 0), "from 1"),
        (lambda p: p.contexts(0, 0, between=(2, 1)), "must not be above"),
        (lambda p: p.contexts(0, 0, between=3), "two numbers"),
        (lambda p: p.logit_effect(0, 0, 0), "from 1"),
        (lambda p: p.top("median"), "no such statistic"),
        (lambda p: p.top(token=" dog", label="plural"), "one question"),
        (lambda p: p.top(token=" dog dog"), "one is needed"),
        (lambda p: p.top("max", token=" dog"), "no such order"),
        (lambda p: p.top("activation", token=" horse"), "no unmarked position"),
        (lambda p: p.top(label="nobody"), "no such label"),
        (lambda p: p.top("max", label="plural"), "no such order"),
        (lambda p: p.top(head=3), "a layer and a head"),
        (lambda p: p.top(head=(1, True)), "from 0 to 3"),
        (lambda p: p.top(head=(1, 4)), "from 0 to 3"),
        (lambda p: p.top(head=(0, 0)), "in the stream before it"),
        (lambda p: p.top(head=(1, 0), reads="o"), "values, queries or keys"),
        (lambda p: p.top("max", head=(1, 0)), "one order"),
        (lambda p: p.activations_of("", 0, 0), "it is empty"),
    ],
)
def test_bad_questions_are_refused(patterns, ask, says) -> None:
    import resid_widgets as rw

    with pytest.raises(rw.InputError, match=says):
        ask(patterns)


def test_changed_weights_are_noticed(make_model) -> None:
    import resid_widgets as rw
    from tests.architectures import build

    model = rw.load_model((build("llama", seed=3), None))
    found = rw.neuron_patterns(model, [[1, 5, 9, 20]])
    with torch.no_grad():
        next(model.bridge.original_model.parameters()).mul_(1.5)
    for ask in (
        lambda: found.logit_effect(0, 0),
        lambda: found.top(token=3),
        lambda: found.activations_of([1, 2], 0, 0),
        lambda: found.read(0, 0),
    ):
        with pytest.raises(rw.InputError, match="has changed since these patterns were made"):
            ask()


def test_a_prompt_needs_no_text(make_model) -> None:
    import resid_widgets as rw

    prompts = [SimpleNamespace(text=[1, 5, 9], label="a", position=1), SimpleNamespace(text=[2, 6, 10], label="b")]
    found = rw.neuron_patterns(make_model("llama"), prompts)
    assert found.labels == ("a", "b")
    assert found.prompts.positions == (1, 2)
