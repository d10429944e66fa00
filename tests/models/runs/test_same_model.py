"""What is computed from a run comes from the model that made it, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import resid_widgets as rw
from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import structure_of

IDS = [5, 17, 33, 8, 60, 12, 44, 9]
METRIC = rw.logit_diff(3, 4)
VOLUME = {"now": 1.0}

USES: dict[str, Callable[[rw.Run], Any]] = {
    "intervene": lambda run: rw.intervene(run, rw.zero(rw.Site("mlp_out", 1, pos=3))),
    "ablation": lambda run: rw.ablation(run, [rw.zero(rw.Site("z", 1))], METRIC),
    "ablation_sweep": lambda run: rw.ablation_sweep(run, METRIC, progress=False),
    "a component that was not kept": lambda run: run.activation("z", 1),
    "an intervention on an intervened run": lambda run: rw.intervene(
        rw.intervene(run, rw.zero(rw.Site("z", 1))), rw.zero(rw.Site("z", 2))
    ),
}


def mlp_of(model: ResidualModel) -> Any:
    return model.bridge.blocks[1].mlp.original_component


@contextmanager
def unseen(model: ResidualModel) -> Iterator[None]:
    """A global that a function reads: nothing on the model changes."""
    VOLUME["now"] = 1.5
    try:
        yield
    finally:
        VOLUME["now"] = 1.0


@contextmanager
def other_activation(model: ResidualModel) -> Iterator[None]:
    mlp = mlp_of(model)
    before = mlp.act_fn
    mlp.act_fn = nn.GELU().eval()
    try:
        yield
    finally:
        mlp.act_fn = before


@pytest.fixture
def model(fresh: Callable[..., ResidualModel]) -> ResidualModel:
    from tests.architectures import build

    plain = build("llama")
    mlp = plain.model.layers[1].mlp
    inner = mlp.forward
    mlp.forward = lambda x: inner(x) * VOLUME["now"]
    return rw.load_model((plain, None), copy=False, progress=False)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_setting_changed_since(model: ResidualModel, use: Callable[[rw.Run], Any]) -> None:
    run = rw.run(model, IDS)
    with other_activation(model), pytest.raises(InputError, match=r"has changed since this run was made\. Run again"):
        use(run)
    use(run)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_nobody_can_see_shows_in_the_logits(model: ResidualModel, use: Callable[[rw.Run], Any]) -> None:
    run = rw.run(model, IDS)
    with unseen(model), pytest.raises(InputError, match=r"it gives other logits|the model gives other logits"):
        use(run)
    use(run)


def test_full_passes_compare_too(model: ResidualModel) -> None:
    hook = mlp_of(model).register_forward_hook(lambda _, args, output: output * 2)
    run = rw.run(model, IDS, allow_hooks=True)
    rw.intervene(run, rw.zero(rw.Site("z", 1)))
    hook.remove()
    with pytest.raises(InputError, match=r"other logits .*: a hook, or a function"):
        rw.intervene(run, rw.zero(rw.Site("z", 1)))


def test_gradients_compare_too(model: ResidualModel) -> None:
    from resid_widgets.models.runs.gradients import gradients_of

    run = rw.run(model, IDS)

    def measure(logits: Any) -> Any:
        return logits[:, 0, 3]

    gradients_of(run, "resid_post", [1], [len(IDS) - 1], measure)
    with unseen(model), pytest.raises(InputError, match="other logits"):
        gradients_of(run, "resid_post", [1], [len(IDS) - 1], measure)


def test_a_store_takes_no_rows_of_another_state(model: ResidualModel, tmp_path: Any) -> None:
    found = rw.collect(model, [IDS, IDS[::-1]], layers=[1], store=tmp_path / "store", progress=False)
    before = found.matrix(1, "resid_post").copy()
    with other_activation(model), pytest.raises(InputError, match=r"other|changed"):
        rw.collect(model, [IDS[2:]], layers=[1], store=tmp_path / "store", append=True, progress=False)
    assert np.array_equal(rw.open_activations(tmp_path / "store").matrix(1, "resid_post"), before)


def test_what_was_found_out_is_forgotten(model: ResidualModel) -> None:
    before = structure_of(model)
    rw.run(model, IDS)
    assert structure_of(model) is before
    with other_activation(model):
        rw.run(model, IDS)
        assert structure_of(model) is not before


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it
def test_an_adapter_switched_off_for_a_while(fresh: Callable[..., ResidualModel]) -> None:
    peft = pytest.importorskip("peft")

    from tests.architectures import build

    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"])
    tuned = peft.get_peft_model(build("llama"), config).eval()
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora" in name:
                parameter.normal_(0, 0.2)
    model = rw.load_model((tuned.base_model.model, None), copy=False, progress=False)
    with tuned.disable_adapter():
        run = rw.run(model, IDS)
        rw.intervene(run, rw.zero(rw.Site("mlp_out", 1)))
    for use in USES.values():
        with pytest.raises(InputError, match="has changed since this run was made"):
            use(run)
    with tuned.disable_adapter():
        rw.intervene(run, rw.zero(rw.Site("mlp_out", 1)))
