"""From any source to a model, or an error that says what is wrong with the source and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.runs.run import run
from tests.architectures import build
from tests.models.small_tokenizers import word_level

IDS = [5, 9, 33, 2]
WORDS = "w0 w1 w2"


def logits(hf_model: Any) -> torch.Tensor:
    with torch.no_grad():
        return hf_model(torch.tensor([IDS]), use_cache=False).logits[0]


def same(found: Any, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama with a tokenizer, as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("models") / "small"
    build("llama").save_pretrained(folder)
    word_level(WORDS).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of `saved` to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "spoilt"))


def settings(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


class TestPair:
    def test_the_caller_s_model_is_left_alone(self) -> None:
        hf_model, tokenizer = build("llama"), word_level(WORDS)
        before, kinds = logits(hf_model), [type(m) for m in hf_model.modules()]
        config = hf_model.config.to_dict()
        model = load_model((hf_model, tokenizer))
        same(run(model, IDS, keep="logits").logits, before)
        assert torch.equal(logits(hf_model), before)
        assert [type(m) for m in hf_model.modules()] == kinds
        assert hf_model.config.to_dict() == config
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in hf_model.modules())
        with torch.no_grad():
            hf_model.model.layers[0].mlp.down_proj.weight.zero_()
        same(run(model, IDS, keep="logits").logits, before)

    def test_the_tokenizer_is_left_alone(self) -> None:
        tokenizer = word_level(WORDS, bos=False, specials={"bos_token": "<bos>", "unk_token": "<unk>"})
        before = (tokenizer(" w0")["input_ids"], tokenizer.pad_token, dict(tokenizer.init_kwargs))
        model = load_model((build("llama"), tokenizer))
        assert (tokenizer(" w0")["input_ids"], tokenizer.pad_token, dict(tokenizer.init_kwargs)) == before
        assert model.tokenizer is tokenizer
        assert run(model, " w0 w1").token_ids == (3, 4)  # TransformerLens' own default would put a BOS before it

    def test_copy_false_takes_the_model_itself(self) -> None:
        hf_model = build("llama")
        before = logits(hf_model)
        model = load_model((hf_model, None), copy=False)
        assert model.bridge.original_model is hf_model
        same(run(model, IDS, keep="logits").logits, before)

    def test_without_tokenizer_ids_only(self) -> None:
        model = load_model((build("llama"), None))
        assert model.tokenizer is None
        recorded = run(model, IDS)
        assert recorded.tokens == ["[5]", "[9]", "[33]", "[2]"]
        assert list(recorded.residual("resid_post")["token"].values) == recorded.tokens
        with pytest.raises(InputError, match=r"no tokenizer\. Give token ids, or load it with tokenizer="):
            run(model, "some words")
        with pytest.raises(InputError, match="no tokenizer"):
            model.token_id(" w0")

    def test_tokenizer_option_wins(self) -> None:
        tokenizer = word_level(WORDS)
        assert load_model((build("llama"), None), tokenizer=tokenizer).tokenizer is tokenizer
        assert load_model((build("llama"), tokenizer), tokenizer=None).tokenizer is None

    def test_stays_in_its_dtype_unless_asked(self) -> None:
        half = build("llama").to(torch.bfloat16)
        assert load_model((half, None)).dtype == torch.bfloat16
        assert load_model((half, None), dtype="float32").dtype == torch.float32
        assert half.dtype == torch.bfloat16

    def test_train_mode_is_kept_and_refused_at_the_run(self) -> None:
        model = load_model((build("llama").train(), None))
        with pytest.raises(InputError, match=r"in train mode .*Call model\.bridge\.eval\(\)"):
            run(model, IDS)
        model.bridge.eval()
        assert run(model, IDS).checks[0].level == "green"

    def test_a_model_that_was_asked_for_hidden_states_before(self) -> None:
        """Transformers leaves its own recording hooks on such a model."""
        hf_model = build("llama")
        hf_model(torch.tensor([IDS]), output_hidden_states=True)
        assert run(load_model((hf_model, None)), IDS).checks[0].level == "green"

    def test_other_hooks_are_copied_and_named(self) -> None:
        hf_model = build("llama")
        hf_model.model.layers[1].register_forward_hook(lambda module, args, output: None)
        model = load_model((hf_model, None))
        with pytest.raises(InputError, match=r"hooks that are not ours, on blocks\.1"):
            run(model, IDS)
        for module in model.modules():
            module._forward_hooks.clear()

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (lambda: build("llama"), r"LlamaForCausalLM.*a tokenizer must come with it\. Give \(hf_model, tokenizer"),
            (lambda: (build("llama"), None, None), r"a pair is \(hf_model, tokenizer\)"),
            (lambda: (None, build("llama")), r"a pair is \(hf_model, tokenizer\)"),
            (lambda: (nn.Linear(2, 2), None), r"a pair is \(hf_model, tokenizer\)"),
            (list, r"a pair is \(hf_model, tokenizer\)"),
            (lambda: 3, "a name, a folder, a .gguf file"),
            (lambda: nn.Linear(2, 2), "a name, a folder, a .gguf file"),
        ],
    )
    def test_no_pair(self, source: Callable[[], object], message: str) -> None:
        with pytest.raises(InputError, match=message):
            load_model(source())

    def test_a_model_inside_a_bridge_is_refused(self, llama: ResidualModel) -> None:
        """Bridged anew it would take the first bridge apart."""
        for copy in (True, False):
            with pytest.raises(InputError, match=r"already lives in a TransformerBridge\. Give the bridge itself"):
                load_model((llama.bridge.original_model, None), copy=copy)
        assert run(llama, IDS).checks[0].level == "green"


class TestKinds:
    """What is no next-token model is refused by name, with a plain reason, from wherever it comes."""

    bert = transformers.BertConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
    )
    t5 = transformers.T5Config(vocab_size=97, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    vit = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=32, patch_size=8
    )

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda: transformers.BertForMaskedLM(TestKinds.bert), "this bert model .* it is an encoder"),
            (lambda: transformers.BertModel(TestKinds.bert), "this bert model .* it is an encoder"),
            (lambda: transformers.T5ForConditionalGeneration(TestKinds.t5), "an encoder and a decoder"),
            (lambda: transformers.ViTForImageClassification(TestKinds.vit), "does not predict a next token"),
        ],
        ids=["bert", "bert without head", "t5", "vit"],
    )
    def test_folder(self, make: Callable[[], Any], reason: str, tmp_path: Path) -> None:
        make().save_pretrained(tmp_path)
        with pytest.raises(UnsupportedModelError, match=reason):
            load_model(tmp_path, tokenizer=None, progress=False)

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda: transformers.BertForMaskedLM(TestKinds.bert), "do not add up to the stream"),
            (lambda: transformers.BertModel(TestKinds.bert), "this bert model .* it is an encoder"),
            (lambda: transformers.T5ForConditionalGeneration(TestKinds.t5), "an encoder and a decoder"),
            (lambda: transformers.ViTForImageClassification(TestKinds.vit), "does not predict a next token"),
            (lambda: build("llama").model, r"LlamaModel gives no logits\. Load it with its language-model head"),
        ],
        ids=["bert", "bert without head", "t5", "vit", "llama without head"],
    )
    def test_pair(self, make: Callable[[], Any], reason: str) -> None:
        with pytest.raises(UnsupportedModelError, match=reason):
            load_model((make().eval(), None))


class TestFolder:
    def test_the_weights_in_it(self, saved: Path) -> None:
        model = load_model(saved, progress=False)
        assert (model.name, model.n_layers, model.dtype) == ("small", 4, torch.float32)
        assert not model.bridge.training
        recorded = run(model, " w0 w2", keep=["resid_post", "logits"])
        assert recorded.token_ids == (1, 3, 5)
        with torch.no_grad():
            expected = build("llama")(torch.tensor([[1, 3, 5]])).logits[0]
        same(recorded.logits, expected)

    def test_as_text_and_without_tokenizer(self, saved: Path) -> None:
        model = load_model(str(saved), tokenizer=None, progress=False)
        assert run(model, IDS).tokens[0] == "[5]"

    def test_half_precision_becomes_float32_unless_asked(self, tmp_path: Path) -> None:
        build("llama").to(torch.bfloat16).save_pretrained(tmp_path)
        assert load_model(tmp_path, tokenizer=None, progress=False).dtype == torch.float32
        kept = load_model(tmp_path, tokenizer=None, dtype=torch.bfloat16, progress=False)
        assert kept.dtype == torch.bfloat16
        assert run(kept, IDS).provenance.dtype == "bfloat16"

    def test_a_tied_base_model_is_whole(self, tmp_path: Path) -> None:
        """GPT-2's head is its embedding: a folder of the bare GPT2Model lacks nothing."""
        hf_model = build("gpt2")
        hf_model.transformer.save_pretrained(tmp_path)
        model = load_model(tmp_path, tokenizer=None, progress=False)
        same(run(model, IDS, keep="logits").logits, logits(hf_model))

    def test_weights_that_are_not_used_are_said(self, folder: Path) -> None:
        settings(folder, num_hidden_layers=2)
        model = load_model(folder, progress=False)
        assert model.n_layers == 2
        check = next(c for c in run(model, IDS).checks if c.name == "loading")
        assert check.level == "amber"
        assert check.text.startswith("18 weights of its files are not used (model.layers.2.")

    def test_progress(self, saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
        load_model(saved, progress=False)
        assert "Loading" not in capfd.readouterr().err
        load_model(saved, progress=True)
        assert "Loading weights" in capfd.readouterr().err


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def only_a_pickle(folder: Path) -> None:
    no_weights(folder)
    shutil.copy(folder / "config.json", folder / "pytorch_model.bin")


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def lying_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")


def another_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights.safetensors")


def index(folder: Path, content: str) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(content)


def lost_shard(folder: Path) -> None:
    index(folder, json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}))


def climbing_index(folder: Path) -> None:
    index(folder, json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": "../../../../etc/passwd"}}))


def without_head(folder: Path) -> None:
    build("llama").model.save_pretrained(folder)


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": ')


def foreign_tokenizer(folder: Path) -> None:
    no_tokenizer(folder)
    code = {"AutoTokenizer": ["evil.Tokenizer", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Evil", "auto_map": code}))


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "config.json").unlink(), r"no config\.json\. Give a folder in Hugging Face format"),
    (lambda f: (f / "config.json").write_text('{"model_type": '), r"config\.json is damaged"),
    (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), r"config\.json is damaged"),
    (lambda f: (f / "config.json").write_text("[" * 100_000), r"config\.json is damaged"),
    (lambda f: (f / "config.json").write_text("[]"), r"config\.json is no table"),
    (lambda f: settings(f, num_hidden_layers=6), r"lack 18 of the model's parameters \(model\.layers\.4\."),
    (lambda f: settings(f, num_hidden_layers=10**6), "speaks of 1000000 layers, its weights hold 39 tensors"),
    (lambda f: settings(f, num_hidden_layers=0), "speaks of 0 layers"),
    (lambda f: settings(f, hidden_size=10**7), "hidden_size 10000000, which none of its weights has"),
    (lambda f: settings(f, vocab_size=50), "cannot be loaded"),
    (lambda f: settings(f, num_attention_heads=0), "cannot be loaded"),
    (lambda f: settings(f, quantization_config={"quant_method": "gptq", "bits": 4}), "cannot be loaded"),
    (no_weights, r"it holds no weights\. Save safetensors"),
    (only_a_pickle, r"it holds pickled weights \(pytorch_model\.bin\), which can run code\. Save safetensors"),
    (cut, r"its model\.safetensors is damaged or cut short"),
    (lying_header, r"its model\.safetensors is damaged or cut short"),
    (another_name, "cannot be loaded"),
    (lost_shard, "cannot be loaded"),
    (climbing_index, "cannot be loaded"),
    (lambda f: index(f, "{"), "cannot be loaded"),
    (without_head, r"lack 1 of the model's parameters \(lm_head\.weight.*random numbers"),
    (no_tokenizer, r"tokenizer.*Pass tokenizer=None to work with token ids"),
    (damaged_tokenizer, r"tokenizer.*Pass tokenizer=None to work with token ids"),
    (foreign_tokenizer, r"code of its own, which is never run\. Pass tokenizer=None"),
]


@pytest.mark.parametrize(("spoil", "rule"), DAMAGE, ids=[rule for _, rule in DAMAGE])
def test_damage_is_named(spoil: Callable[[Path], object], rule: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=rf"source='.*spoilt'.*{rule}"):
        load_model(folder, progress=False)


def test_unknown_architectures(folder: Path) -> None:
    settings(folder, model_type="unheard_of", architectures=["Unheard"])
    with pytest.raises(UnsupportedModelError, match=r"transformers does not know this architecture.*unheard_of"):
        load_model(folder, progress=False)


class TestHostile:
    """Nothing that comes with a model is ever executed."""

    def test_pickles_are_never_opened(self, folder: Path) -> None:
        proof = folder / "proof"
        attack = f"c__builtin__\nopen\n(S'{proof}'\nS'w'\ntR.".encode()  # protocol 0: opens a file for writing
        import pickle  # noqa: TID251  # to show that the attack is a real one

        pickle.loads(attack).close()  # noqa: S301
        proof.unlink()
        for name in ("pytorch_model.bin", "model.pt", "training_args.bin", "optimizer.pt", "tokenizer.pkl"):
            (folder / name).write_bytes(attack)
        load_model(folder, progress=False)  # beside safetensors
        (folder / "model.safetensors").unlink()
        with pytest.raises(InputError, match="pickled weights"):
            load_model(folder, progress=False)
        assert not proof.exists()

    @pytest.mark.parametrize("model_type", ["llama", "evil"])
    def test_code_in_the_folder_is_never_run(self, folder: Path, model_type: str) -> None:
        proof = folder / "proof"
        (folder / "evil.py").write_text(f"open({str(proof)!r}, 'w')\n")
        code = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"), "evil.Thing")
        settings(folder, model_type=model_type, auto_map=code)
        if model_type == "llama":  # known to transformers: its own class is taken
            assert load_model(folder, progress=False).n_layers == 4
        else:
            with pytest.raises(UnsupportedModelError, match="code of its own, which is never run"):
                load_model(folder, progress=False)
        assert not proof.exists()


class TestNames:
    @pytest.fixture
    def hub(self, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A cache of the hub that holds ``some-org/small``, as a download leaves it."""
        commit = "0123456789abcdef0123456789abcdef01234567"
        place = tmp_path / "models--some-org--small"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(commit)
        shutil.copytree(saved, place / "snapshots" / commit)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        return place / "snapshots" / commit

    def test_a_name_on_the_hub(self, hub: Path) -> None:
        model = load_model("some-org/small", progress=False)
        assert model.name == "some-org/small"
        assert run(model, " w0").token_ids == (1, 3)

    def test_a_hub_model_of_the_wrong_kind(self, hub: Path) -> None:
        transformers.T5ForConditionalGeneration(TestKinds.t5).save_pretrained(hub)
        with pytest.raises(UnsupportedModelError, match="some-org/small: this t5 model"):
            load_model("some-org/small", progress=False)

    def test_a_hub_model_without_safetensors(self, hub: Path) -> None:
        only_a_pickle(hub)
        with pytest.raises(InputError, match="some-org/small"):
            load_model("some-org/small", progress=False)

    @pytest.mark.parametrize("name", ["no-such-model", "some-org/no-such-model", "no good name\n", "a\0b"])
    def test_unknown(self, name: str, hub: Path) -> None:
        message = (
            r"no folder, installed model or \.gguf file.*the hub did not give it.*smollm2-135m.*bundled tiny model"
        )
        with pytest.raises(InputError, match=message):
            load_model(name)

    @pytest.mark.parametrize("path", ["./nothing", "/no/where", "a/b/c", "~/nothing-of-that-name", Path("nothing")])
    def test_no_such_folder(self, path: str | Path) -> None:
        with pytest.raises(InputError, match="there is no such folder or file"):
            load_model(path)

    @pytest.mark.parametrize("path", ["a" * 5000, "~nobody-of-that-name/model"])
    def test_impossible_paths(self, path: str) -> None:
        with pytest.raises(InputError, match=r"cannot be looked up|no such folder"):
            load_model(path)

    def test_empty(self) -> None:
        for empty in ("", "  "):
            with pytest.raises(InputError, match=r"it is empty\. Leave it out for the bundled tiny model"):
                load_model(empty)

    def test_a_file_that_is_no_model(self, saved: Path) -> None:
        with pytest.raises(InputError, match=r"a file must be a \.gguf\. Give the folder"):
            load_model(saved / "config.json")


class TestOptions:
    @pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16", torch.float64])
    def test_dtypes_hold_their_checks(self, dtype: str | torch.dtype) -> None:
        model = load_model((build("llama"), None), dtype=dtype)
        assert str(model.dtype).endswith(str(dtype).removeprefix("torch."))
        recorded = run(model, IDS)
        assert [c.level for c in recorded.checks] == ["green", "green"]
        assert recorded.tensor("resid_post", 0).dtype == model.dtype
        assert recorded.residual("resid_post").dtype == "float32"

    @pytest.mark.parametrize("dtype", ["int8", "double", "", torch.int8, torch.complex64])
    def test_no_dtype_to_compute_in(self, dtype: str | torch.dtype, saved: Path) -> None:
        with pytest.raises(InputError, match=r"dtype=.*must be one of float32, float64, bfloat16, float16"):
            load_model(saved, dtype=dtype)

    @pytest.mark.parametrize(
        ("device", "rule"),
        [("gpu", "torch does not know it"), ("", "torch does not know it"), ("meta", "torch cannot compute on it")],
    )
    def test_no_device(self, device: str, rule: str, saved: Path) -> None:
        with pytest.raises(InputError, match=rule):
            load_model(saved, device=device)

    def test_cuda_where_there_is_none(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(InputError, match=r"device='cuda:1': torch sees no cuda device here\. Use 'auto' or 'cpu'"):
            load_model(saved, device="cuda:1")

    def test_auto_takes_cuda_where_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from resid_widgets.models.loading.placement import device_of

        for there in (True, False):
            monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
            assert device_of("auto").type == ("cuda" if there else "cpu")

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no cuda device")
    def test_cuda(self, saved: Path) -> None:
        model = load_model(saved, device="cuda", progress=False)
        recorded = run(model, " w0 w1")
        assert recorded.tensor("resid_post", 0).device.type == "cuda"
        assert [c.level for c in recorded.checks] == ["green", "green"]
        here = run(load_model(saved, device="cpu", progress=False), " w0 w1")
        torch.testing.assert_close(recorded.final_logits.cpu(), here.final_logits, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def bridge() -> TransformerBridge:
    """A bridge that the user made."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    hf_model = build("llama")
    made = build_bridge_from_module(hf_model, "LlamaForCausalLM", hf_config=hf_model.config, tokenizer=None)
    return made.eval()


class TestLiveBridge:
    def test_everything_takes_it(self, bridge: TransformerBridge) -> None:
        model = load_model(bridge)
        assert model.bridge is bridge
        assert as_model(model) is model
        assert load_model(model).bridge is bridge
        expected = logits(build("llama"))
        for source in (bridge, model):
            same(run(source, IDS, keep="logits").logits, expected)

    def test_wrappers_share_one_lock(self, bridge: TransformerBridge) -> None:
        assert as_model(bridge).lock is load_model(bridge).lock

    def test_tokenizer_option(self, bridge: TransformerBridge) -> None:
        tokenizer = word_level(WORDS)
        assert run(load_model(bridge, tokenizer=tokenizer), " w0 w1").token_ids == (1, 3, 4)
        assert load_model(bridge, tokenizer=None).tokenizer is None

    def test_stays_where_it_is(self, bridge: TransformerBridge) -> None:
        with pytest.raises(InputError, match=r"a live bridge stays as it is\. Move it first"):
            load_model(bridge, dtype="bfloat16")
        with pytest.raises(InputError, match=r"a live bridge stays as it is\. Move it first"):
            load_model(bridge, device="cpu")

    @pytest.mark.parametrize("bad", ["llama", None, 3, nn.Linear(2, 2)], ids=str)
    def test_anything_else_is_no_model(self, bad: object) -> None:
        with pytest.raises(InputError, match=r"a ResidualModel or a TransformerBridge is needed.*rw\.load_model"):
            run(bad, IDS)

    def test_folded_weights_are_said(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh("gpt2")
        assert run(model, IDS).provenance.options["weights"] == "raw"
        model.bridge.enable_compatibility_mode()
        recorded = run(model, IDS)
        assert recorded.provenance.options["weights"] == "folded by TransformerLens"
        assert [c.level for c in recorded.checks if c.name == "weights"] == ["amber"]
        assert [c.level for c in recorded.checks if c.name != "weights"] == ["green", "green"]


def test_a_dropped_model_is_freed() -> None:
    import gc
    import weakref

    model = load_model((build("llama"), None))
    run(model, IDS)
    gone = [weakref.ref(model.bridge), weakref.ref(model.bridge.original_model)]
    del model
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
