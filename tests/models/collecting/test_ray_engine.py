"""The Ray engine gives the bytes of the local engine, from models that its workers have built themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import resid_widgets as rw
from resid_widgets.errors import InputError
from resid_widgets.models.collecting.ray_engine import packed, sample_digest, unpacked
from resid_widgets.models.loading.load_model import load_model
from tests.architectures import build
from tests.models.collecting.test_store import IDS, OPTIONS, contents

PLACES = [("resid_post", 0), ("resid_post", 3), ("attn_out", 2)]


# Tied and untied weights, buffers that are no weights (rotary angles, masks), norms that are built differently.
@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        *((family, torch.float32) for family in ("gpt2", "llama", "gpt_neox", "gemma2", "bloom", "opt", "olmo2")),
        *((family, torch.bfloat16) for family in ("llama", "gpt2", "mixtral")),
    ],
)
def test_a_model_is_built_anew_to_the_bit(family: str, dtype: torch.dtype) -> None:
    model = load_model((build(family).to(dtype), None), copy=False)
    config, weights = packed(model)
    again = unpacked(config, weights)
    assert again.bridge is not model.bridge and again.dtype == dtype and again.name == model.name
    assert again.weights_hash == model.weights_hash
    digests = [sample_digest(m, PLACES, model.weights_hash) for m in (model, again)]
    assert digests[0] == digests[1]


def test_the_digest_sees_what_the_weights_do_not_show() -> None:
    model = load_model((build("llama"), None), copy=False)
    before = sample_digest(model, PLACES, model.weights_hash)
    model.bridge.original_model.model.layers[1].self_attn.original_component.scaling *= 2
    assert sample_digest(model, PLACES, model.weights_hash) != before


def test_ray_that_is_missing_is_said(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"Ray is not installed. pip install 'resid-widgets\[ray\]'"):
        rw.collect(llama, IDS, engine="ray", **OPTIONS)


class OwnModel(torch.nn.Module):
    """Not a class of transformers."""


def test_a_model_of_another_making_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    model = load_model((build("llama"), None), copy=False)
    monkeypatch.setattr(transformers, "LlamaForCausalLM", OwnModel)
    with pytest.raises(InputError, match="a worker cannot build a LlamaForCausalLM"):
        packed(model)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A small cluster on this machine, that calls nobody."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
        local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        ray.init(num_cpus=2, log_to_driver=False, logging_level="ERROR", **local)
        yield ray
        ray.shutdown()


@pytest.mark.slow
def test_gives_the_bytes_of_the_local_engine(ray: Any, llama: Any, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two workers then have room
    try:
        rw.collect(llama, IDS, ["resid_post", "mlp_post"], store=tmp_path / "local", **OPTIONS)
        seen: list[int] = []

        def stop(done: int, total: int) -> None:
            seen.append(done)
            if len(seen) == 1:
                raise KeyboardInterrupt

        options = {**OPTIONS, "engine": "ray", "workers": 2}
        with pytest.raises(KeyboardInterrupt):  # cut short, and taken up again
            rw.collect(llama, IDS, ["resid_post", "mlp_post"], store=tmp_path / "ray", **{**options, "progress": stop})
        rw.collect(llama, IDS, ["resid_post", "mlp_post"], store=tmp_path / "ray", **{**options, "progress": stop})
        assert seen == [6, 9, 17, 25]
        assert contents(tmp_path / "ray") == contents(tmp_path / "local")
        assert ray.is_initialized()  # it was not started by us
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_worker_that_computes_otherwise_is_refused(ray: Any) -> None:
    model = load_model((build("llama"), None), copy=False)
    model.bridge.original_model.model.layers[1].self_attn.original_component.scaling *= 2
    with pytest.raises(InputError, match="a worker's model gives other numbers than the model here"):
        rw.collect(model, IDS, engine="ray", workers=1, **OPTIONS)
