"""Fine-tunes with an adapter: the PeftModel, the folder it is saved in, and what cannot be merged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.runs.run import run
from tests.architectures import build
from tests.models.small_tokenizers import word_level

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks transformers 5

IDS = [5, 9, 33, 2]
TARGETS = ["q_proj", "o_proj", "down_proj"]


def logits(hf_model: Any) -> torch.Tensor:
    with torch.no_grad():
        return hf_model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]


def trained(hf_model: Any) -> Any:
    """Give every adapter weights that do something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in hf_model.named_parameters():
            if any(word in name for word in ("lora_", "ia3_", "vera_", "oft_", "modules_to_save")):
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return hf_model.eval()


def lora(hf_model: Any = None, **options: Any) -> Any:
    config = peft.LoraConfig(**{"r": 4, "target_modules": TARGETS, "task_type": "CAUSAL_LM", **options})
    return trained(peft.get_peft_model(build("llama") if hf_model is None else hf_model, config))


def found(source: Any, **options: Any) -> torch.Tensor:
    logits = run(load_model(source, progress=False, **options), IDS, keep="logits").logits
    assert logits is not None
    return logits


def same(given: Any, expected: torch.Tensor) -> None:
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


CONFIGS = {
    "dora": lambda: lora(use_dora=True),
    "gpt2 bias": lambda: lora(build("gpt2"), target_modules=["c_proj"], lora_bias=True, fan_in_fan_out=True),
    "head in full": lambda: lora(modules_to_save=["lm_head"]),
    "embeddings": lambda: lora(target_modules=["embed_tokens", "v_proj"]),
    "tokens": lambda: lora(trainable_token_indices=[5, 9]),
    "gpt2": lambda: lora(build("gpt2"), target_modules=["c_attn", "c_proj"], fan_in_fan_out=True),
    "ia3": lambda: trained(
        peft.get_peft_model(build("llama"), peft.IA3Config(target_modules=TARGETS, feedforward_modules=["down_proj"]))
    ),
}


class TestLive:
    def test_merged_in_a_copy(self) -> None:
        tuned = lora()
        expected, kinds = logits(tuned), [type(module) for module in tuned.modules()]
        model = load_model((tuned, None))
        recorded = run(model, IDS, keep="logits")
        same(recorded.logits, expected)
        assert next(c.text for c in recorded.checks if c.name == "loading").startswith("adapter default is merged")
        assert [type(module) for module in tuned.modules()] == kinds
        assert torch.equal(logits(tuned), expected)
        base = build("llama").state_dict()["model.layers.1.mlp.down_proj.weight"]
        read = model.bridge.blocks[1].mlp.W_out.T
        layer = tuned.base_model.model.model.layers[1].mlp.down_proj
        torch.testing.assert_close(read, base + layer.get_delta_weight("default"))

    @pytest.mark.parametrize("kind", CONFIGS)
    def test_kinds(self, kind: str) -> None:
        tuned = CONFIGS[kind]()
        expected = logits(tuned)
        base = logits(build(kind.partition(" ")[0] if "gpt2" in kind else "llama"))
        assert (expected - base).abs().max() > 1e-3
        same(found((tuned, None)), expected)

    def test_copy_false_takes_it_unmerged(self) -> None:
        tuned = lora()
        expected = logits(tuned)
        model = load_model((tuned, None), copy=False)
        same(run(model, IDS, keep="logits").logits, expected)
        assert model.bridge.original_model is tuned.base_model.model

    def test_the_active_adapter_counts(self) -> None:
        tuned = lora()
        tuned.add_adapter("other", peft.LoraConfig(r=2, target_modules=["v_proj"]))
        trained(tuned)
        for name in ("default", "other"):
            tuned.set_adapter(name)
            same(found((tuned, None)), logits(tuned))
        with tuned.disable_adapter():
            same(found((tuned, None)), logits(build("llama")))
        tuned.base_model.set_adapter(["default", "other"])
        same(found((tuned, None)), logits(tuned))

    def test_already_merged(self) -> None:
        tuned = lora()
        expected = logits(tuned)
        tuned.merge_adapter()
        same(found((tuned, None)), expected)
        with tuned.disable_adapter():
            same(found((tuned, None)), logits(build("llama")))
        same(found((lora().merge_and_unload(), None)), expected)

    def test_put_into_the_model_itself(self) -> None:
        hf_model = trained(peft.inject_adapter_in_model(peft.LoraConfig(target_modules=TARGETS), build("llama")))
        expected, base = logits(hf_model), logits(build("llama"))
        assert (expected - base).abs().max() > 1e-3
        same(found((hf_model, None)), expected)
        for module in hf_model.modules():
            if hasattr(module, "lora_A"):
                module.enable_adapters(False)
        same(found((hf_model, None)), base)

    def test_wrapped_twice(self) -> None:
        tuned = lora()
        same(found((torch.nn.DataParallel(tuned), None)), logits(tuned))

    def test_tied_weights_that_merging_would_change(self) -> None:
        hf_model = build("llama")
        hf_model.lm_head.weight = hf_model.model.embed_tokens.weight
        with pytest.raises(InputError, match=r"cannot be merged .*pass copy=False, which takes it unmerged"):
            load_model((lora(hf_model, target_modules=["lm_head"]), None))

    @pytest.mark.parametrize(
        "config",
        [
            lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
            lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        ],
    )
    def test_prompt_tuning_is_no_weight(self, config: Any) -> None:
        tuned = peft.get_peft_model(build("llama"), config()).eval()
        with pytest.raises(UnsupportedModelError, match=r"cannot be merged .*peft_model\.get_base_model\(\)"):
            load_model((tuned, None))
        same(found((tuned.get_base_model(), None)), logits(build("llama")))


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        build("llama").save_pretrained(tmp_path / "base")
        word_level("w0 w1 w2").save_pretrained(tmp_path / "base")
        hf_model: Any = type(build("llama")).from_pretrained(tmp_path / "base")
        lora(hf_model).save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter"

    def test_on_its_base(self, folder: Path) -> None:
        expected = logits(lora())
        model = load_model(folder, progress=False)
        same(run(model, IDS, keep="logits").logits, expected)
        assert (model.name, run(model, " w0").token_ids) == ("adapter", (1, 3))

    def test_its_own_tokenizer(self, folder: Path) -> None:
        word_level("w2 w1 w0").save_pretrained(folder)
        assert run(load_model(folder, progress=False), " w0").token_ids == (1, 5)

    def test_its_base_is_gone(self, folder: Path) -> None:
        shutil.rmtree(folder.parent / "base")
        with pytest.raises(InputError, match=r"its base model .* cannot be loaded.*PeftModel\.from_pretrained\(base"):
            load_model(folder, tokenizer=None, progress=False)
        tuned = peft.PeftModel.from_pretrained(build("llama"), folder).eval()
        same(found((tuned, None)), logits(lora()))

    def test_it_does_not_fit(self, folder: Path) -> None:
        build("gpt2").save_pretrained(folder.parent / "base")
        with pytest.raises(InputError, match=r"cannot be put on its base model.*PeftModel"):
            load_model(folder, tokenizer=None, progress=False)

    @pytest.mark.parametrize(
        ("spoil", "rule"),
        [
            (lambda f: (f / "adapter_config.json").write_text("{"), "damaged"),
            (lambda f: (f / "adapter_config.json").write_text("[]"), "damaged"),
            (lambda f: (f / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": None})), "base"),
            (lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"), "pickled"),
        ],
    )
    def test_damage(self, spoil: Any, rule: str, folder: Path) -> None:
        spoil(folder)
        with pytest.raises(InputError, match=rule):
            load_model(folder, tokenizer=None, progress=False)

    def test_without_peft(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("resid_widgets.models.loading.adapters.find_spec", lambda name: None)
        with pytest.raises(InputError, match=r"peft is needed\. Run: pip install peft"):
            load_model(folder, tokenizer=None, progress=False)
