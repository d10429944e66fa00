"""One recorded pass: the right numbers, only what was asked for, its checks, and refusals before work is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import resid_widgets
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models import memory
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs import run as run_module
from resid_widgets.models.runs.run import Run, run
from resid_widgets.models.runs.run_memory import estimate_memory, kept_memory
from resid_widgets.sites import COMPONENTS, INNER, RESIDUAL
from tests.architectures import build
from tests.models.small_tokenizers import byte_level, word_level

IDS = [5, 9, 33, 2, 8, 60, 7]


def levels(recorded: Run) -> dict[str, str]:
    return {check.name: check.level for check in recorded.checks}


@pytest.fixture(scope="module")
def everything(llama: ResidualModel) -> Run:
    return run(llama, IDS, keep=[*COMPONENTS, "logits"])


class TestValues:
    """Against Hugging Face's own record, on a model that no bridge has touched."""

    @pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
    def test_hidden_states(self, family: str, fresh: Callable[..., ResidualModel]) -> None:
        with torch.no_grad():
            expected = build(family)(torch.tensor([IDS]), output_hidden_states=True)
        recorded = run(fresh(family), IDS, keep=["resid_pre", "resid_post", "logits"])
        for layer in range(4):
            torch.testing.assert_close(
                recorded.tensor("resid_pre", layer), expected.hidden_states[layer][0], rtol=1e-5, atol=1e-5
            )
        for layer in range(3):  # the last of Hugging Face's has gone through ln_final
            torch.testing.assert_close(
                recorded.tensor("resid_post", layer), expected.hidden_states[layer + 1][0], rtol=1e-5, atol=1e-5
            )
        torch.testing.assert_close(recorded.logits, expected.logits[0], rtol=1e-5, atol=1e-5)

    def test_transformer_lens_own_record(self, llama: ResidualModel, everything: Run) -> None:
        _, cache = llama.bridge.run_with_cache(torch.tensor([IDS]))
        for component in COMPONENTS:
            for layer in (0, 3):
                expected = cache[llama.hook_name(component, layer)][0]
                found = everything.tensor(component, layer)
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, msg=component)

    def test_recorded_values_are_not_written_afterwards(self, llama: ResidualModel, everything: Run) -> None:
        """A model that adds in place must not change what was recorded."""
        names = {(c, n): llama.hook_name(c, n) for c in COMPONENTS for n in range(4)}
        copies: dict[tuple[str, int], torch.Tensor] = {}

        def keep(key: tuple[str, int]) -> Callable[[torch.Tensor], None]:
            return lambda value: copies.update({key: value[0].clone()})

        from resid_widgets.models.forward import forward

        forward(llama, IDS, {name: keep(key) for key, name in names.items()})
        for (component, layer), value in copies.items():
            torch.testing.assert_close(everything.tensor(component, layer), value, rtol=1e-5, atol=1e-5)

    def test_logits(self, llama: ResidualModel, everything: Run) -> None:
        without = run(llama, IDS)
        assert without.logits is None
        assert without.final_logits.shape == (97,)
        assert everything.logits.shape == (7, 97)
        assert torch.equal(everything.final_logits, everything.logits[-1])
        torch.testing.assert_close(without.final_logits, everything.final_logits, rtol=1e-5, atol=1e-5)

    def test_one_token(self, llama: ResidualModel) -> None:
        recorded = run(llama, [5])
        assert recorded.residual("resid_post").shape == (4, 1, 32)
        assert recorded.marked == (0,)
        assert levels(recorded) == {"residual identity": "green", "last lens = logits": "green"}

    def test_whole_context(self, llama: ResidualModel) -> None:
        assert run(llama, [5] * 64, keep="resid_post").n_pos == 64
        with pytest.raises(InputError, match=r"'65 tokens'.*context holds 64 tokens"):
            run(llama, [5] * 65)

    def test_a_bare_bridge_and_other_kinds_of_ids(self, llama: ResidualModel) -> None:
        expected = run(llama, IDS).final_logits
        for ids in (tuple(IDS), [IDS], np.array(IDS), torch.tensor(IDS), torch.tensor([IDS])):
            assert torch.equal(run(llama.bridge, ids).final_logits, expected)

    @pytest.mark.parametrize("setting", [torch.enable_grad, torch.no_grad, torch.inference_mode])
    def test_no_gradient_is_recorded(self, setting: Callable[[], Any], llama: ResidualModel) -> None:
        with setting():
            recorded = run(llama, IDS)
        assert not recorded.final_logits.requires_grad
        assert not recorded.tensor("resid_post", 0).requires_grad


class TestShapes:
    def test_stream(self, everything: Run) -> None:
        for component in RESIDUAL:
            array = everything.residual(component)
            assert (array.dims, array.shape) == (("layer", "pos", "d_model"), (4, 7, 32))
            assert (array.name, array.attrs["long_name"], str(array.dtype)) == (component, component, "float32")
            assert array.indexes.keys() == {"layer", "pos"}, "tokens are no index: they would align by string"
            assert list(array["layer"].values) == [0, 1, 2, 3]
            assert list(array["pos"].values) == list(range(7))
            assert list(array["token"].values) == [f"[{i}]" for i in IDS]
            for layer in range(4):
                assert np.array_equal(array.values[layer], everything.tensor(component, layer).numpy())

    @pytest.mark.parametrize(
        ("component", "dims", "shape"),
        [
            ("q", ("layer", "pos", "head", "d_head"), (4, 7, 4, 8)),
            ("k", ("layer", "pos", "kv_head", "d_head"), (4, 7, 2, 8)),
            ("v", ("layer", "pos", "kv_head", "d_head"), (4, 7, 2, 8)),
            ("z", ("layer", "pos", "head", "d_head"), (4, 7, 4, 8)),
            ("pattern", ("layer", "head", "pos", "key_pos"), (4, 4, 7, 7)),
            ("mlp_post", ("layer", "pos", "neuron"), (4, 7, 48)),
        ],
    )
    def test_inner(self, component: str, dims: tuple[str, ...], shape: tuple[int, ...], everything: Run) -> None:
        array = everything.residual(component)
        assert (array.dims, array.shape) == (dims, shape)
        assert "token" in array.coords

    def test_patterns_are_attention(self, everything: Run) -> None:
        pattern = everything.residual("pattern").values
        np.testing.assert_allclose(pattern.sum(-1), 1, rtol=1e-5)
        assert np.all(np.triu(pattern, k=1) == 0)

    def test_clean_minus_corrupt_keeps_every_cell(self, llama: ResidualModel) -> None:
        clean, corrupt = run(llama, IDS).residual(), run(llama, [5, 9, 34, 2, 8, 60, 7]).residual()
        assert (clean - corrupt).shape == (4, 7, 32)

    def test_neox_has_no_state_between(self, fresh: Callable[..., ResidualModel]) -> None:
        parallel = fresh("gpt_neox")
        recorded = run(parallel, IDS)
        assert recorded.components == ("resid_pre", "resid_post", "attn_out", "mlp_out")
        for ask in (lambda: recorded.residual("resid_mid"), lambda: run(parallel, IDS, keep="resid_mid")):
            with pytest.raises(InputError, match=r"adds attention and MLP in parallel, so there is no state between"):
                ask()


class TestKept:
    @pytest.mark.parametrize(
        "keep", ["resid_post", "pattern", "logits", ["z", "logits"], ("resid_pre",), {"q"}, ["z", "z"]], ids=str
    )
    def test_only_what_is_asked_for(self, keep: Any, llama: ResidualModel) -> None:
        wanted = {keep} if isinstance(keep, str) else set(keep)
        recorded = run(llama, IDS, keep=keep)
        assert set(recorded.components) == wanted - {"logits"}
        assert {component for component, _ in recorded._recorded} == wanted - {"logits"}
        assert (recorded.logits is not None) == ("logits" in wanted)
        assert levels(recorded) == {"residual identity": "green", "last lens = logits": "green"}
        with pytest.raises(InputError, match=r"this run kept .*Run again with keep=\[\.\.\., 'attn_out'\]"):
            recorded.residual("attn_out")

    def test_default_is_the_stream_and_its_writes(self, llama: ResidualModel) -> None:
        assert run(llama, IDS).components == RESIDUAL

    @pytest.mark.parametrize("keep", [None, "resid_post", "logits", RESIDUAL, INNER, [*COMPONENTS, "logits"]], ids=str)
    @pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
    def test_memory_is_stated_truly_and_foretold(
        self, family: str, keep: Any, request: pytest.FixtureRequest, fresh: Callable[..., ResidualModel]
    ) -> None:
        model = request.getfixturevalue(family) if family in ("llama", "gpt2") else fresh(family)
        if family == "gpt_neox" and keep is not None and not isinstance(keep, str):
            keep = [c for c in keep if c != "resid_mid"]
        recorded = run(model, IDS, keep=keep)
        tensors = [*recorded._recorded.values(), recorded._norms, recorded.final_logits]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        assert recorded.memory == sum(storages.values())
        kept = kept_memory(model, len(IDS), recorded.components, recorded.logits is not None)
        assert kept / 2 <= recorded.memory <= kept
        assert estimate_memory(model, len(IDS), recorded.components, recorded.logits is not None) > kept

    def test_stream_and_its_start_share_storage(self, llama: ResidualModel) -> None:
        both, one = run(llama, IDS, keep=["resid_pre", "resid_post"]), run(llama, IDS, keep="resid_post")
        assert both.memory - one.memory == 7 * 32 * 4  # one more layer, not four

    def test_refused_before_it_allocates(self, llama: ResidualModel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
        monkeypatch.setattr(run_module, "record", lambda *args, **options: pytest.fail("it ran"))
        with pytest.raises(InputError, match=r"memory of the run='.* kB': only 1.0 kB are free on cpu\. Keep fewer"):
            run(llama, IDS)

    @pytest.mark.parametrize(
        ("keep", "message"),
        [
            ("resid_past", r"component='resid_past'.*Did you mean 'resid_post'"),
            (["resid_post", "logit"], r"component='logit'.*Did you mean 'logits'"),
            ([], r"keep=\(\): it names nothing"),
            (3, "names of components are needed"),
            ([None], "must be one of"),
            ({"resid_post": 1, 5: 2}, "component=5"),
        ],
        ids=str,
    )
    def test_bad_keep(self, keep: object, message: str, llama: ResidualModel) -> None:
        with pytest.raises(InputError, match=message):
            run(llama, IDS, keep=keep)


class TestAccess:
    def test_layers_count_from_both_ends(self, everything: Run) -> None:
        assert [everything.layer(n) for n in (0, 3, -1, -4, np.int64(2))] == [0, 3, 3, 0, 2]
        assert torch.equal(everything.tensor("z", -1), everything.tensor("z", 3))
        for bad in (4, -5, True, 1.0, "1", None):
            with pytest.raises(InputError, match=r"layer=.*the model has layers 0 \.\. 3"):
                everything.layer(bad)

    def test_positions_count_from_both_ends(self, everything: Run) -> None:
        assert [everything.pos(n) for n in (0, 6, -1, -7)] == [0, 6, 6, 0]
        for bad in (7, -8, False, 0.5):
            with pytest.raises(InputError, match=r"pos=.*the prompt has positions 0 \.\. 6"):
                everything.pos(bad)

    def test_unknown_components(self, everything: Run) -> None:
        with pytest.raises(InputError, match="Did you mean 'mlp_out'"):
            everything.tensor("mlpout", 0)
        with pytest.raises(InputError, match="must be one of"):
            everything.residual("logits")

    def test_it_prints(self, llama: ResidualModel, everything: Run) -> None:
        assert "7 tokens · ids as given · float32" in repr(everything)
        assert "[green] stream adds up, gap" in repr(everything)
        assert "keeps logits (2.8 kB)" in repr(run(llama, IDS, keep="logits"))


class TestTokens:
    def test_strings_and_bos(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh(tokenizer=word_level("cat sat"))
        recorded = run(model, " cat sat")
        assert (recorded.token_ids, recorded.tokens) == ((1, 3, 4), ["<bos>", " cat", " sat"])
        assert list(recorded.residual()["token"].values) == ["<bos>", "·cat", "·sat"]
        assert recorded.provenance.bos == "BOS added"
        assert run(model, " cat sat", bos=False).provenance.bos == "BOS left out as asked"
        assert run(model, [3, 4]).provenance.bos == "ids as given"

    def test_unknown_words_are_marked_and_named(self, fresh: Callable[..., ResidualModel]) -> None:
        recorded = run(fresh(tokenizer=word_level("cat sat")), " cat dog sat bird")
        assert recorded.unknown == (2, 4)
        check = next(c for c in recorded.checks if c.name == "unknown words")
        assert (check.level, check.value) == ("amber", 2.0)
        assert check.text == "the tokenizer does not know 'dog' (position 2), 'bird' (position 4)"

    def test_bos_twice_is_said(self, fresh: Callable[..., ResidualModel]) -> None:
        recorded = run(fresh(tokenizer=word_level("cat sat")), "<bos> cat")
        assert levels(recorded)["BOS"] == "amber"

    def test_broken_characters(self) -> None:
        hf_model, tokenizer = build("llama"), byte_level()
        hf_model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        recorded = run(load_model((hf_model, tokenizer), copy=False), "€")
        assert recorded.tokens == ["<0xE2>", "<0x82>", "<0xAC>"]
        assert list(recorded.residual()["token"].values) == ["⟨0xE2⟩", "⟨0x82⟩", "⟨0xAC⟩"]

    def test_bad_prompts(self, llama: ResidualModel) -> None:
        for bad in ([], [[1], [2]], [97], [-1], [1.5], None, 3):
            with pytest.raises(InputError):
                run(llama, bad)


class TestMarked:
    def test_the_first_position(self, llama: ResidualModel) -> None:
        assert run(llama, IDS).marked == (0,)

    @pytest.mark.parametrize("keep", [None, "resid_post", "attn_out", "logits"], ids=str)
    def test_massive_positions_whatever_is_kept(self, keep: Any, fresh: Callable[..., ResidualModel]) -> None:
        hf_model = build("llama")
        with torch.no_grad():
            hf_model.get_input_embeddings().weight[60] *= 300
        assert run(load_model((hf_model, None), copy=False), IDS, keep=keep).marked == (0, 5)

    def test_ten_times_the_layer_s_median(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        nothing: Any = {model.hook_name(c, n): torch.zeros_like for c in ("attn_out", "mlp_out") for n in range(4)}

        def sized(*sizes: float) -> tuple[int, ...]:
            embedded = torch.zeros(1, len(sizes), 32)
            embedded[0, :, 0] = torch.tensor(sizes)
            edits = [(name, lambda value, hook: value * 0) for name in nothing]
            edits.append(("blocks.0.hook_resid_pre", lambda value, hook: embedded))
            with model.bridge.hooks(fwd_hooks=edits):
                return run(model, list(range(len(sizes))), allow_hooks=True).marked

        assert sized(1, 1, 1, 9.9, 1) == (0,)
        assert sized(1, 1, 1, 10.1, 1) == (0, 3)
        assert sized(50, 1, 1, 1, 50) == (0, 4)


class TestChecks:
    def test_green(self, everything: Run) -> None:
        assert levels(everything) == {"residual identity": "green", "last lens = logits": "green"}
        assert all(check.value <= check.limit == 1e-4 for check in everything.checks)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    @pytest.mark.parametrize("family", ["llama", "gpt2"])
    def test_half_precision_adds_up_in_its_own_dtype(
        self, family: str, dtype: str, fresh: Callable[..., ResidualModel]
    ) -> None:
        recorded = run(fresh(family, dtype=dtype), IDS)
        identity = recorded.checks[0]
        assert (identity.level, identity.value) == ("green", 0.0)
        assert str(recorded.tensor("resid_post", 0).dtype) == f"torch.{dtype}"

    @pytest.mark.parametrize("layer", [0, 3])
    @pytest.mark.parametrize("family", ["llama", "gpt_neox"])
    def test_not_a_number_is_red_and_shown(self, family: str, layer: int, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh(family)
        weight = [p for p in model.bridge.blocks[layer].mlp.parameters() if p.ndim == 2][-1]
        torch.nn.init.constant_(weight, float("nan"))
        recorded = run(model, IDS)
        assert levels(recorded) == {"residual identity": "red", "finite": "red", "last lens = logits": "red"}
        count = next(c.value for c in recorded.checks if c.name == "finite")
        assert count == (4 - layer) * 7 * 32
        assert int(np.isnan(recorded.residual("resid_post").values).sum()) == count
        assert recorded.marked == (0,)

    def test_infinities_are_counted(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        with model.bridge.hooks(fwd_hooks=[("blocks.3.hook_resid_post", lambda value, hook: value * np.inf)]):
            recorded = run(model, IDS, allow_hooks=True)
        check = next(c for c in recorded.checks if c.name == "finite")
        assert (check.level, check.value) == ("red", 7 * 32)

    def test_a_lens_that_has_come_apart_is_red(
        self, fresh: Callable[..., ResidualModel], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = fresh()
        assert levels(run(model, IDS))["last lens = logits"] == "green"
        monkeypatch.setitem(model.bridge._modules, "ln_final", torch.nn.Identity().eval())
        recorded = run(model, IDS)
        assert levels(recorded) == {"residual identity": "green", "last lens = logits": "red"}

    def test_a_model_with_other_weights_is_still_itself(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        before = run(model, IDS)
        with torch.no_grad():
            for parameter in model.bridge.ln_final.parameters():
                parameter.mul_(3)
        after = run(model, IDS)
        assert levels(after) == levels(before)
        assert after.provenance.weights_hash != before.provenance.weights_hash
        assert not torch.equal(after.final_logits, before.final_logits)


class TestHooks:
    """Refused by default; on request the hooked model is what is shown, and it is said."""

    @pytest.fixture
    def ablated(self, fresh: Callable[..., ResidualModel]) -> Iterator[ResidualModel]:
        model = fresh()
        model.hooks["blocks.1.hook_mlp_out"].add_hook(lambda value, hook: value * 0)
        yield model
        model.bridge.reset_hooks()

    def test_refused(self, ablated: ResidualModel) -> None:
        with pytest.raises(InputError, match=r"not ours, on blocks\.1\.hook_mlp_out\. Remove them .*allow_hooks=True"):
            run(ablated, IDS)

    def test_allowed(self, ablated: ResidualModel) -> None:
        recorded = run(ablated, IDS, keep=[*RESIDUAL, "logits"], allow_hooks=True)
        assert not recorded.tensor("mlp_out", 1).any()
        expected = ablated.bridge(torch.tensor([IDS]), return_type="logits")[0].detach()
        torch.testing.assert_close(recorded.logits, expected, rtol=1e-5, atol=1e-5)
        check = next(c for c in recorded.checks if c.name == "foreign hooks")
        assert (check.level, check.value) == ("amber", 1.0)
        assert check.text == "hooks that are not ours were on blocks.1.hook_mlp_out"
        assert recorded.provenance.options["allow_hooks"] is True
        assert recorded.provenance.options["foreign_hooks"] == ("blocks.1.hook_mlp_out",)
        assert run(ablated, IDS, allow_hooks=True).checks[0].level == "green"

    def test_allowed_without_any_says_nothing(self, llama: ResidualModel) -> None:
        recorded = run(llama, IDS, allow_hooks=True)
        assert levels(recorded) == {"residual identity": "green", "last lens = logits": "green"}
        assert recorded.provenance.options["foreign_hooks"] == ()

    def test_plain_hooks_are_seen_too(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        plain = run(model, IDS)
        block = model.bridge.original_model.model.layers[2]
        handle = block.register_forward_hook(lambda module, args, out: out * 2)
        recorded = run(model, IDS, allow_hooks=True)
        handle.remove()
        assert not torch.equal(recorded.final_logits, plain.final_logits)
        assert levels(recorded)["foreign hooks"] == "amber"

    def test_no_hook_is_left_after_any_failure(
        self, fresh: Callable[..., ResidualModel], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = fresh()
        plain = run(model, IDS)
        before = [list(m._forward_hooks) for m in model.modules()]
        target = model.bridge.original_model.model.layers[2].mlp._original_component
        with monkeypatch.context() as patch:
            patch.setattr(type(target), "forward", lambda *args: (_ for _ in ()).throw(RuntimeError("out of luck")))
            with pytest.raises(UnsupportedModelError, match=r"fails \(RuntimeError: out of luck\)"):
                run(model, IDS)
        assert [list(m._forward_hooks) for m in model.modules()] == before
        assert torch.equal(run(model, IDS).final_logits, plain.final_logits)


class TestThreads:
    def test_an_ablation_under_the_lock_is_never_seen(self, fresh: Callable[..., ResidualModel]) -> None:
        """A thread that takes the model's lock to ablate, and one that runs: each sees its own model only."""
        from resid_widgets.models.forward import forward

        model = fresh()
        plain = run(model, IDS).final_logits
        ablate: Any = {"blocks.0.hook_mlp_out": torch.zeros_like, "blocks.2.hook_attn_out": torch.zeros_like}
        without = forward(model, IDS, ablate)[0]
        assert not torch.allclose(plain, without, atol=1e-3)
        wrong: list[str] = []

        def work(name: str, compute: Callable[[], torch.Tensor], expected: torch.Tensor) -> None:
            try:
                if not all(torch.allclose(compute(), expected, atol=1e-5) for _ in range(12)):
                    wrong.append(name)
            except Exception as error:  # a thread's failure must reach the test
                wrong.append(f"{name}: {error!r}")

        def by_hand() -> torch.Tensor:
            with model.lock, model.bridge.hooks(fwd_hooks=[(n, lambda v, hook: v * 0) for n in ablate]):
                return model.bridge(torch.tensor([IDS]), return_type="logits")[0, -1].detach()

        jobs = [
            threading.Thread(target=work, args=("run", lambda: run(model, IDS).final_logits, plain)),
            threading.Thread(target=work, args=("second wrapper", lambda: run(model.bridge, IDS).final_logits, plain)),
            threading.Thread(target=work, args=("ours", lambda: forward(model, IDS, ablate)[0], without)),
            threading.Thread(target=work, args=("by hand", by_hand, without)),
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        assert wrong == []


class TestProvenance:
    def test_fields(self, llama: ResidualModel) -> None:
        found = run(llama, IDS, keep="resid_post").provenance
        assert found.model == "LlamaForCausalLM"
        assert found.token_ids == tuple(IDS)
        assert (found.bos, found.dtype, found.device) == ("ids as given", "float32", "cpu")
        assert found.weights_hash == llama.weights_hash
        assert found.versions["torch"] == torch.__version__
        assert set(found.versions) == {"resid-widgets", "transformer-lens", "transformers", "torch"}
        assert found.options["keep"] == ("resid_post",)
        assert found.options["weights"] == "raw"
        assert found.describe() == "LlamaForCausalLM · 7 tokens · ids as given · float32"

    def test_it_stays_what_was_run(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        recorded = run(model, IDS)
        before = (recorded.provenance.weights_hash, recorded.provenance.dtype)
        model.bridge.original_model.to(torch.bfloat16)
        assert (recorded.provenance.weights_hash, recorded.provenance.dtype) == before
        assert run(model, IDS).provenance.dtype == "bfloat16"

    def test_weights_hash(self, fresh: Callable[..., ResidualModel]) -> None:
        model, same = fresh(), fresh()
        first = run(model, IDS).provenance.weights_hash
        assert first == run(model, [1]).provenance.weights_hash == same.weights_hash
        with torch.no_grad():
            model.bridge.blocks[1].mlp.out.weight[0, 0] += 0.01
        assert run(model, IDS).provenance.weights_hash != first


class TestUnembed:
    def test_is_the_model_s_own_head(self, llama: ResidualModel, everything: Run) -> None:
        final = everything.tensor("resid_post", -1)
        torch.testing.assert_close(llama.unembed(final), everything.logits, rtol=1e-5, atol=1e-5)
        assert llama.unembed(final[0]).shape == (97,)
        assert llama.unembed(final[None, None]).shape == (1, 1, 7, 97)
        assert not llama.unembed(final.clone().requires_grad_()).requires_grad

    def test_half_precision_gives_float32(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh(dtype="bfloat16")
        assert model.unembed(run(model, IDS).tensor("resid_post", -1)).dtype == torch.float32


def test_the_public_names_are_these() -> None:
    assert resid_widgets.run is run
    assert resid_widgets.load_model is load_model
    assert resid_widgets.ResidualModel is ResidualModel


words = st.sampled_from(["", " ", " cat", " sat", "<bos>", "<unk>", " x", "\n", "\ud800"])
prompts = st.one_of(
    st.lists(words, max_size=6).map("".join),
    st.lists(st.integers(-1, 98), max_size=6),
    st.lists(st.lists(st.integers(0, 96), max_size=3), max_size=2),
    st.none() | st.floats() | st.booleans(),
)
keeps = st.one_of(
    st.none(),
    st.sampled_from([*COMPONENTS, "logits", "nothing", ""]),
    st.lists(st.sampled_from([*COMPONENTS, "logits", "nothing", None]), max_size=4),
    st.integers(),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=prompts, keep=keeps, bos=st.sampled_from([None, True, False]), allow_hooks=st.booleans())
def test_any_arguments_give_a_valid_run_or_an_input_error(
    worded: ResidualModel, prompt: Any, keep: Any, bos: bool | None, allow_hooks: bool
) -> None:
    try:
        recorded = run(worded, prompt, keep, bos=bos, allow_hooks=allow_hooks)
    except InputError:
        return
    assert len(recorded.tokens) == recorded.n_pos == len(recorded.token_ids) >= 1
    assert {"residual identity": "green", "last lens = logits": "green"}.items() <= levels(recorded).items()
    for component in recorded.components:
        assert recorded.residual(component).sizes["pos"] == recorded.n_pos
        assert recorded.residual(component).sizes["layer"] == 4
    assert bool(torch.isfinite(recorded.final_logits).all())


@pytest.fixture(scope="module")
def worded(fresh: Callable[..., ResidualModel]) -> ResidualModel:
    return fresh(tokenizer=word_level("cat sat"))
