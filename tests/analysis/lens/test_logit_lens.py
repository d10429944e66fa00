"""The lens against a direct computation, the model's own logits and TransformerLens; its memory; its answers' names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformer_lens.tools.analysis import logit_lens as their_logit_lens

from resid_widgets.analysis.lens import lens_reading
from resid_widgets.analysis.lens.logit_lens import LogitLens, logit_lens
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run, run
from tests.analysis.conftest import IDS, WORDS
from tests.csv_tables import table

TARGETS = [3, 90, 17]
quick = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def direct(recorded: Run, component: str) -> np.ndarray:
    """All logits at once, float64: what the lens may not do."""
    h = torch.stack([recorded.tensor(component, layer) for layer in recorded.layers])
    return recorded.model.unembed(h).double().numpy()


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize("component", ["resid_post", "resid_pre", "resid_mid", "attn_out", "mlp_out"])
def test_equals_the_direct_computation(llama_run: Run, component: str) -> None:
    lens = logit_lens(llama_run, top_k=6, component=component, targets=TARGETS)
    logits = direct(llama_run, component)
    log_probs = log_softmax(logits)
    final = log_softmax(direct(llama_run, "resid_post"))[-1]
    order = np.argsort(-logits, axis=-1)
    np.testing.assert_array_equal(lens.token_ids, order[..., :6])
    tight: Any = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(lens.logits, np.take_along_axis(logits, order[..., :6], -1), **tight)
    np.testing.assert_allclose(lens.probs, np.exp(np.take_along_axis(log_probs, order[..., :6], -1)), **tight)
    np.testing.assert_allclose(lens.entropy, -(np.exp(log_probs) * log_probs).sum(-1), **tight)
    np.testing.assert_allclose(lens.kl, (np.exp(final) * (final - log_probs)).sum(-1), rtol=1e-4, atol=2e-6)
    np.testing.assert_array_equal(lens.rank, np.argsort(order, axis=-1)[..., TARGETS])
    np.testing.assert_allclose(lens.target_logits, logits[..., TARGETS], **tight)
    np.testing.assert_allclose(lens.target_probs, np.exp(log_probs[..., TARGETS]), **tight)
    np.testing.assert_array_equal(lens.values, lens.probs[..., 0])


def test_entropy_and_kl_are_in_nats(llama_run: Run, edited: Callable[..., Run]) -> None:
    flat = edited(llama_run, "resid_post", 1, torch.zeros_like)  # no bias: all logits 0, a uniform answer
    lens = logit_lens(flat)
    np.testing.assert_allclose(lens.entropy[1], np.log(97), rtol=1e-6)
    np.testing.assert_allclose(lens.kl[1], np.log(97) - lens.entropy[-1], rtol=1e-5)
    assert (lens.entropy.attrs["units"], lens.kl.attrs["units"]) == ("nats", "nats")


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "cohere"])
def test_the_last_layer_is_the_model(make_model: Callable[..., ResidualModel], family: str) -> None:
    model = make_model(family)
    lens = logit_lens(run(model, IDS), top_k=97)
    with torch.no_grad():
        expected = model.bridge.original_model(torch.tensor([IDS])).logits[0].numpy()
    last = np.empty((7, 97), dtype=np.float32)
    np.put_along_axis(last, lens.token_ids.values[-1], lens.logits.values[-1], axis=-1)
    np.testing.assert_allclose(last, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(lens.kl[-1], 0, atol=1e-6)
    check = next(check for check in lens.checks if check.name == "last lens = logits")
    assert check.level == "green"
    assert check.value is not None
    assert check.value < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "cohere"])
def test_parity_with_transformer_lens(make_model: Callable[..., ResidualModel], family: str) -> None:
    model = make_model(family)
    lens = logit_lens(run(model, IDS), top_k=5, targets=TARGETS)
    common: Any = {"cache": None, "positions": None}
    # Their stack is 0_pre .. (N-1)_pre, final_post: ours without the embedding is its rows 1 to N.
    theirs = their_logit_lens(model.bridge, torch.tensor([IDS]), top_k=5, **common).readout
    np.testing.assert_allclose(lens.logits, theirs.values[1:, 0], rtol=1e-4, atol=1e-5)
    assert theirs.top_ids is not None
    np.testing.assert_array_equal(lens.token_ids, theirs.top_ids[1:, 0])
    np.testing.assert_allclose(lens.entropy, theirs.entropy[1:, 0], rtol=1e-5)
    theirs = their_logit_lens(model.bridge, torch.tensor([IDS]), targets=TARGETS, return_type="probs", **common).readout
    assert theirs.target_ranks is not None
    np.testing.assert_array_equal(lens.rank, theirs.target_ranks[1:, 0])
    np.testing.assert_allclose(lens.target_probs, theirs.values[1:, 0], rtol=1e-4, atol=1e-7)


def test_the_soft_cap_is_applied(make_model: Callable[..., ResidualModel]) -> None:
    lens = logit_lens(run(make_model("gemma2"), IDS))
    assert float(np.abs(lens.logits).max()) < 0.5  # final_logit_softcapping of the family's config


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else (out,):
            if isinstance(made, torch.Tensor):
                self.numel = max(self.numel, made.numel())
        return out


class TestMemory:
    """Chunks keep every tensor small, whatever the prompt's length, and change no number."""

    ROW = lens_reading.WIDE_TENSORS * 4 * 97

    @pytest.mark.parametrize("rows", [1, 2, 5, 7, 14, 21, 1000])
    def test_chunks_change_nothing(self, llama_run: Run, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = logit_lens(llama_run, targets=TARGETS)
        monkeypatch.setattr(lens_reading, "CHUNK_BYTES", rows * self.ROW)
        cut = logit_lens(llama_run, targets=TARGETS)
        np.testing.assert_array_equal(whole.token_ids, cut.token_ids)
        np.testing.assert_array_equal(whole.rank, cut.rank)
        for name in ("values", "logits", "entropy", "kl", "target_probs"):
            np.testing.assert_allclose(getattr(whole, name), getattr(cut, name), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(("rows", "calls"), [(1, 7 + 28), (7, 1 + 4), (14, 1 + 2), (28, 1 + 1)])
    def test_unembedding_sees_as_many_rows_as_the_budget_allows(
        self, llama_run: Run, rows: int, calls: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[int] = []
        unembed = ResidualModel.unembed

        def spy(model: ResidualModel, h: torch.Tensor) -> torch.Tensor:
            seen.append(h.numel() // 32)
            return unembed(model, h)

        monkeypatch.setattr(ResidualModel, "unembed", spy)
        monkeypatch.setattr(lens_reading, "CHUNK_BYTES", rows * self.ROW)
        logit_lens(llama_run)
        assert max(seen) <= rows
        assert len(seen) == calls

    def test_no_tensor_grows_with_layers_times_positions(
        self, make_model: Callable[..., ResidualModel], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorded = run(make_model("llama"), list(range(60)))
        monkeypatch.setattr(lens_reading, "CHUNK_BYTES", 8 * self.ROW)
        with Largest() as largest:
            logit_lens(recorded, targets=TARGETS)
        assert largest.numel <= 97 * 32  # the unembedding matrix itself, not 4 x 60 x 97
        assert largest.numel < 4 * 60 * 97

    def test_the_default_budget_holds_for_a_large_vocabulary(self) -> None:
        rows = lens_reading.row_chunks(2048, lens_reading.WIDE_TENSORS * 4 * 256_000, lens_reading.CHUNK_BYTES)
        assert rows[0].stop * 256_000 * 4 * lens_reading.WIDE_TENSORS <= 128 * 2**20
        assert rows[-1].stop == 2048


class TestNames:
    def test_tokens_are_raw_strings_and_ids(self, worded: ResidualModel) -> None:
        lens = logit_lens(run(worded, [1, *range(6, 16)]), top_k=97)
        assert lens.tokens.dims == ("layer", "pos", "k")
        for id_, text in zip(lens.token_ids.values.ravel(), lens.tokens.values.ravel(), strict=True):
            assert text == (WORDS[id_] if id_ < len(WORDS) else f" w{id_}")

    def test_trailing_nul_characters_stay(self, llama_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ResidualModel, "token_strings", lambda model, ids: [f"{id_}\0" for id_ in ids])
        assert all(text.endswith("\0") for text in logit_lens(llama_run).tokens.values.ravel())

    def test_each_token_is_decoded_once(self, llama_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []
        monkeypatch.setattr(ResidualModel, "token_strings", lambda model, ids: asked.extend(ids) or ["x"] * len(ids))
        logit_lens(llama_run, top_k=90)
        assert len(asked) == len(set(asked))

    def test_exports_show_every_token_on_one_line(self, worded: ResidualModel, tmp_path: Any) -> None:
        lens = logit_lens(run(worded, [1, *range(6, 16)]), top_k=97, targets=["\n", " Mary"])
        frame = lens.to_dataframe()
        assert len(frame) == 4 * 11
        assert {"layer", "pos", "token", "probability", "entropy", "kl", "token_0", "prob_96", "logit_3"} < set(frame)
        assert {"rank of ↵", "prob of ·Mary", "logit of ·Mary"} < set(frame)
        np.testing.assert_array_equal(frame["rank of ·Mary"].to_numpy().reshape(4, 11), lens.rank[..., 1])
        path = lens.to_csv(tmp_path / "lens.csv")
        text = path.read_text(encoding="utf-8")
        assert len(table(path)) == 44 and list(table(path)) == list(frame)
        assert not set(text) & set("\t\u200b\u202e\u200d")

    def test_cell_text(self, worded: ResidualModel) -> None:
        lens = logit_lens(run(worded, [1, 6, 7]))
        assert lens.cell_text.shape == (4, 3)
        assert lens.cell_text[2, 1] == str(lens.tokens.values[2, 1, 0]).replace(" ", "·")

    def test_sentence_and_colours(self, llama_run: Run) -> None:
        stream, write = logit_lens(llama_run), logit_lens(llama_run, component="mlp_out")
        assert "if the model stopped here" in stream.sentence
        assert "the MLP writes" in write.sentence
        assert (stream.scale.low, stream.scale.high, stream.scale.kind) == (0.0, 1.0, "sequential")
        marked = next(check.text for check in stream.checks if check.name == "marked positions")
        assert marked.startswith("position 0 marked (norm ")  # the scale is fixed: nothing was left out of it
        assert repr(stream).startswith("LogitLens of LlamaForCausalLM")


class TestTargets:
    def test_strings_and_ids_mix(self, worded: ResidualModel) -> None:
        lens = logit_lens(run(worded, " Mary gave"), targets=[" Mary", 5, np.int64(6)])
        assert list(lens.rank.coords["target"].values) == [" Mary", " gave", "\n"]
        assert list(lens.rank.coords["target_id"].values) == [3, 5, 6]
        np.testing.assert_array_equal(lens.rank.sel(target=" gave"), lens.rank[..., 1])
        assert lens.provenance.options["target_ids"] == (3, 5, 6)

    @pytest.mark.parametrize("one", [" Mary", 3, [3], (3,), np.array([3]), torch.tensor([3])], ids=repr)
    def test_one_target(self, worded: ResidualModel, one: Any) -> None:
        assert logit_lens(run(worded, " Mary gave"), targets=one).rank.shape == (4, 2, 1)

    @pytest.mark.parametrize("none", [None, [], ()])
    def test_no_target(self, llama_run: Run, none: Any) -> None:
        lens = logit_lens(llama_run, targets=none)
        assert lens.rank.shape == lens.target_probs.shape == lens.target_logits.shape == (4, 7, 0)
        assert lens.rank.dims == ("layer", "pos", "target")

    def test_two_ids_of_one_string_keep_apart(self, llama_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ResidualModel, "token_strings", lambda model, ids: ["�"] * len(ids))
        assert list(logit_lens(llama_run, targets=[3, 4]).rank.coords["target"].values) == ["� [3]", "� [4]"]

    @pytest.mark.parametrize(
        ("targets", "text"),
        [
            (" Mary gave", "token=' Mary gave': it is 2 tokens"),
            ("blorf", "the tokenizer does not know it"),
            ("", "non-empty string"),
            (97, "ids lie in 0 .. 96"),
            (-1, "ids lie in 0 .. 96"),
            ([3, " Mary"], "token 3 is there twice"),
            ([True], "a target is a string or a token id"),
            ([3.5], "a target is a string or a token id"),
            (3.5, "tokens are needed"),
            (torch.tensor(1.5), "tokens are needed"),
        ],
    )
    def test_bad_targets(self, worded: ResidualModel, targets: Any, text: str) -> None:
        with pytest.raises(InputError, match=text):
            logit_lens(run(worded, " Mary gave"), targets=targets)

    def test_without_tokenizer_only_ids(self, llama_run: Run) -> None:
        assert list(logit_lens(llama_run, targets=[3]).rank.coords["target"].values) == ["[3]"]
        with pytest.raises(InputError, match="no tokenizer"):
            logit_lens(llama_run, targets=" Mary")

    def test_the_likelier_spelling_is_suggested(self, worded: ResidualModel) -> None:
        recorded = run(worded, " Mary gave")
        order = (" Mary", "Mary") if recorded.final_logits[3] > recorded.final_logits[4] else ("Mary", " Mary")

        def doubts(targets: Any) -> list[str]:
            return [c.text for c in logit_lens(recorded, targets=targets).checks if c.name == "spelling of targets"]

        likelier, other = (text.replace(" ", "·") for text in order)
        assert doubts([order[1]]) == [f'"{likelier}" is likelier next than the "{other}" used']
        assert doubts([order[0]]) == []
        assert doubts(list(order)) == []  # both are there: nothing to suggest
        assert doubts([3, 4]) == []  # ids are meant as they are
        assert doubts([" gave"]) == []  # "gave" is no token


class TestNotFinite:
    @pytest.mark.parametrize("bad", [torch.nan, torch.inf])
    def test_no_token_is_invented(self, llama_run: Run, edited: Callable[..., Run], bad: float) -> None:
        def spoil(h: torch.Tensor) -> torch.Tensor:
            h[5, 3] = bad
            return h

        clean = logit_lens(llama_run, targets=TARGETS)
        lens = logit_lens(edited(llama_run, "resid_post", 1, spoil), targets=TARGETS)
        assert list(lens.tokens.values[1, 5]) == [""] * 5
        assert list(lens.token_ids.values[1, 5]) == [-1] * 5
        for name in ("values", "probs", "logits", "entropy", "kl", "rank", "target_probs", "target_logits"):
            found, expected = getattr(lens, name).values, getattr(clean, name).values
            assert np.isnan(found[1, 5]).all(), name
            rest = np.ones((4, 7), dtype=bool)
            rest[1, 5] = False
            np.testing.assert_allclose(found[rest], expected[rest], rtol=1e-5, atol=1e-6)
        check = next(check for check in lens.checks if check.name == "finite")
        assert (check.level, check.value) == ("red", 1)
        assert "layer 1, position 5" in check.text
        assert lens.cell_text[1, 5] == ""

    def test_nothing_is_compared_with_a_broken_answer(self, llama_run: Run, edited: Callable[..., Run]) -> None:
        def spoil(h: torch.Tensor) -> torch.Tensor:
            h[-1] = torch.nan
            return h

        lens = logit_lens(edited(llama_run, "resid_post", 3, spoil))
        assert np.isnan(lens.kl.values[:, -1]).all()
        assert np.isfinite(lens.kl.values[:, :-1]).all()
        assert np.isfinite(lens.entropy.values[:3]).all()
        levels = {check.name: check.level for check in lens.checks}
        assert (levels["finite"], levels["last lens = logits"]) == ("red", "red")

    def test_masked_words_of_the_vocabulary_are_fine(self, llama_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        unembed = ResidualModel.unembed
        mask = torch.zeros(97).masked_fill(torch.arange(97) >= 90, -torch.inf)
        monkeypatch.setattr(ResidualModel, "unembed", lambda model, h: unembed(model, h) + mask)
        lens = logit_lens(llama_run, targets=[95])
        assert np.isfinite(lens.entropy).all()
        assert np.isfinite(lens.kl).all()
        np.testing.assert_array_equal(lens.target_probs, 0)
        np.testing.assert_array_equal(lens.rank, 90)


def test_a_changed_model_is_noticed(llama_run: Run) -> None:
    hf_model: Any = llama_run.model.bridge.original_model
    weight = hf_model.get_output_embeddings().weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(1.5)
        try:
            check = next(check for check in logit_lens(llama_run).checks if check.name == "last lens = logits")
        finally:
            weight.copy_(before)
    assert check.level == "red"


def test_all_logits_are_compared_where_the_run_has_them(make_model: Callable[..., ResidualModel]) -> None:
    recorded = run(make_model("llama"), IDS, keep=["resid_post", "logits"])
    assert recorded.logits is not None
    recorded.logits[2, 5] += 1  # not the last position
    check = next(check for check in logit_lens(recorded).checks if check.name == "last lens = logits")
    assert check.level == "red"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"top_k": 0}, "top_k=0: a whole number from 1 to 97 is needed. The vocabulary has 97 tokens."),
        ({"top_k": 98}, "top_k=98"),
        ({"top_k": True}, "top_k=True"),
        ({"component": "resid_past"}, "component='resid_past'"),
        ({"component": "z"}, "component='z'"),
    ],
)
def test_bad_arguments(llama_run: Run, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        logit_lens(llama_run, **arguments)


def test_the_final_stream_is_needed(make_model: Callable[..., ResidualModel]) -> None:
    with pytest.raises(InputError, match="resid_post"):
        logit_lens(run(make_model("llama"), IDS, keep=["attn_out"]), component="attn_out")


anything = st.one_of(st.none(), st.booleans(), st.integers(-3, 120), st.floats(), st.text(max_size=5))


@quick
@given(
    top_k=anything,
    component=st.sampled_from(["resid_post", "attn_out", "q"]) | anything,
    targets=anything | st.lists(anything, max_size=3),
)
def test_any_arguments_give_a_lens_or_an_input_error(worded_run: Run, **arguments: Any) -> None:
    try:
        lens = inspect.unwrap(logit_lens)(worded_run, **arguments)
    except InputError as error:
        name, shown = str(error).split("=", 1)
        assert name in ("top_k", "component", "targets", "token")
        assert ". " in shown
    else:
        assert isinstance(lens, LogitLens)
        assert lens.probs.shape == (4, 2, arguments["top_k"])


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("component", ["resid_post", "attn_out"])
def test_code_makes_the_same_numbers(make_model: Callable[..., ResidualModel], family: str, component: str) -> None:
    lens = logit_lens(run(make_model(family), IDS), top_k=3, component=component, targets=TARGETS)
    names: dict[str, Any] = {"bridge": make_model(family).bridge}
    exec(lens.code(), names)  # noqa: S102
    np.testing.assert_array_equal(names["token_ids"], lens.token_ids)
    np.testing.assert_array_equal(names["rank"], lens.rank)
    for name in ("values", "probs", "logits", "entropy", "kl"):
        np.testing.assert_allclose(names[name], getattr(lens, name), rtol=1e-4, atol=1e-5)


def test_code_loads_a_model_from_its_folder(tokenizer: Any, tmp_path: Any) -> None:
    from resid_widgets.models.loading.load_model import load_model
    from tests.architectures import build

    build("llama").save_pretrained(tmp_path / "a model's folder")
    tokenizer.save_pretrained(tmp_path / "a model's folder")
    lens = logit_lens(run(load_model(tmp_path / "a model's folder", progress=False), " Mary gave"), targets=[" Mary"])
    names: dict[str, Any] = {}
    exec(lens.code(), names)  # noqa: S102
    np.testing.assert_array_equal(names["token_ids"], lens.token_ids)
    np.testing.assert_allclose(names["values"], lens.values, rtol=1e-5)
