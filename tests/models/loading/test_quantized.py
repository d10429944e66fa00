"""Quantised models: those whose passes are a function of each token's past run as they are, others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

from resid_widgets.errors import InputError
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.runs.run import run
from tests.architectures import build

pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # the libraries' own

IDS = [5, 9, 33, 2]


def logits(hf_model: Any) -> torch.Tensor:
    with torch.no_grad():
        return hf_model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]


def same(given: Any, expected: torch.Tensor) -> None:
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


def wide_llama() -> Any:
    """As wide as bitsandbytes needs where the processor has AVX-512 with bfloat16: its blocks of 64 numbers."""
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=97, num_hidden_layers=2, **sizes))


def quantised(folder: Path, **options: Any) -> Any:
    wide_llama().save_pretrained(folder)
    settings = BitsAndBytesConfig(**options)
    more = {"attn_implementation": "eager", "device_map": "cpu"}
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=settings, **more).eval()


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("options", [{"load_in_4bit": True}, {"load_in_8bit": True, "llm_int8_threshold": 0.0}])
def test_as_it_is(options: dict[str, Any], copy: bool, tmp_path: Path) -> None:
    given = quantised(tmp_path, **options)
    expected = logits(given)
    same(run(load_model((given, None), copy=copy), IDS, keep="logits").logits, expected)


def test_in_a_folder(tmp_path: Path) -> None:
    given = quantised(tmp_path / "base", load_in_4bit=True)
    given.save_pretrained(tmp_path / "small")
    recorded = run(load_model(tmp_path / "small", tokenizer=None, progress=False), IDS, keep="logits")
    same(recorded.logits, logits(given))


def test_it_is_not_cast(tmp_path: Path) -> None:
    given = quantised(tmp_path, load_in_4bit=True)
    with pytest.raises(InputError, match=r"dtype='torch.float64': this model cannot be cast or moved"):
        load_model((given, None), dtype="float64")


def test_eight_bit_looks_at_all_tokens_of_a_pass(tmp_path: Path) -> None:
    given = quantised(tmp_path / "base", load_in_8bit=True)
    rule = r"outliers, which it looks for in all tokens.*hf_model\.dequantize\(\)"
    with pytest.raises(InputError, match=rule):
        load_model((given, None))
    given.save_pretrained(tmp_path / "small")
    with pytest.raises(InputError, match=rule):
        load_model(tmp_path / "small", tokenizer=None, progress=False)
    plain = quantised(tmp_path / "base", load_in_8bit=True).dequantize()
    same(run(load_model((plain, None)), IDS, keep="logits").logits, logits(plain))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_layers_of_torch_ao() -> None:
    given = torch.ao.quantization.quantize_dynamic(build("llama"), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(InputError, match=r"quantised Linear of torch\.ao.*before it was quantised"):
        load_model((given, None))


def test_layers_of_hqq() -> None:
    hqq = pytest.importorskip("hqq.core.quantize")
    given = build("llama")
    settings = hqq.BaseQuantizeConfig(nbits=4, group_size=16)
    for layer in given.model.layers:
        options = {"compute_dtype": torch.float32, "device": "cpu"}
        layer.mlp.down_proj = hqq.HQQLinear(layer.mlp.down_proj, settings, **options)
    expected = logits(given)
    same(run(load_model((given, None)), IDS, keep="logits").logits, expected)


def test_a_folder_of_a_kind_that_is_not_there(tmp_path: Path) -> None:
    hf_model = build("llama")
    hf_model.config.quantization_config = {"quant_method": "gptq", "bits": 4, "group_size": 16}
    hf_model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"quantised, and cannot be loaded here.*dequantize\(\)\.save_pretrained"):
        load_model(tmp_path, tokenizer=None, progress=False)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
def test_an_adapter_on_four_bits_stays_unmerged(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    tuned = peft.get_peft_model(quantised(tmp_path, load_in_4bit=True), peft.LoraConfig(target_modules=["down_proj"]))
    with torch.no_grad():
        for name, parameter in tuned.eval().named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.2)
    expected = logits(tuned)
    recorded = run(load_model((tuned, None)), IDS, keep="logits")
    same(recorded.logits, expected)
    assert not any("merged" in check.text for check in recorded.checks)
