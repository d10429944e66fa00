"""What adds up is found out by running; what does not is refused, or red where the data are to blame."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models import structure
from resid_widgets.models.hooks import foreign_hooks
from resid_widgets.models.model import ResidualModel, shared_state
from resid_widgets.models.runs.run import run
from resid_widgets.models.structure import identity_gap, probe_ids, relative_gap, structure_of, worst_gap
from resid_widgets.sites import RESIDUAL


class TestGaps:
    def test_relative_gap(self) -> None:
        reference = torch.tensor([1.0, -4.0])
        assert relative_gap(reference, reference) == 0.0
        assert relative_gap(torch.tensor([1.0, -3.0]), reference) == pytest.approx(0.25)
        assert relative_gap(torch.tensor([0.5]), torch.tensor([0.0])) == 0.5
        assert math.isnan(relative_gap(torch.tensor([math.nan, 1.0]), reference))
        assert math.isnan(relative_gap(reference, torch.tensor([math.nan, 1.0])))
        assert relative_gap(torch.tensor([math.inf]), torch.tensor([1.0])) == math.inf
        infinite = torch.tensor([math.inf, 1.0])
        assert relative_gap(infinite, infinite) == 0.0

    def test_nan_is_never_lost(self) -> None:
        assert worst_gap(0.1, 0.3, 0.2) == 0.3
        for gaps in ((math.nan, 0.1), (0.1, math.nan), (math.inf, math.nan)):
            assert math.isnan(worst_gap(*gaps))

    def test_identity(self) -> None:
        pre, attn, mlp = torch.randn(3, 1, 4, 8)
        parts = {"resid_pre": pre, "attn_out": attn, "mlp_out": mlp, "resid_mid": pre + attn}
        parts["resid_post"] = parts["resid_mid"] + mlp
        assert identity_gap(False, parts) == 0.0
        assert identity_gap(True, parts | {"resid_post": pre + attn + mlp}) == 0.0
        assert identity_gap(False, parts | {"resid_mid": pre}) > 0.1
        assert identity_gap(False, parts | {"resid_post": pre}) > 0.1
        assert math.isnan(identity_gap(False, parts | {"mlp_out": mlp * math.nan}))
        assert math.isnan(identity_gap(False, parts | {"resid_pre": pre * math.nan}))


def test_probe_ids_fit_any_model() -> None:
    assert probe_ids(97, None) == probe_ids(97, 64)
    assert len(probe_ids(97, 3)) == 3
    assert all(0 <= i < 2 for i in probe_ids(2, None))


class TestFound:
    def test_sequential(self, llama: ResidualModel) -> None:
        found = structure_of(llama)
        assert (found.parallel, found.components, found.causal) == (False, RESIDUAL, True)
        assert found.gap <= 1e-6 and found.lens_gap <= 1e-6

    def test_remembered_for_the_bridge(self, llama: ResidualModel, monkeypatch: pytest.MonkeyPatch) -> None:
        found = structure_of(llama)
        monkeypatch.setattr(structure, "_find", lambda model: pytest.fail("found out twice"))
        assert structure_of(ResidualModel(llama.bridge)) is found

    def test_other_people_s_hooks_are_not_part_of_the_model(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        shared_state(model.bridge).facts.pop("structure")
        ablated = model.hooks["blocks.1.hook_mlp_out"]
        ablated.add_hook(lambda value, hook: value * 0)
        plain = model.bridge.original_model.register_forward_hook(lambda module, args, output: None)
        order = [list(m._forward_hooks) for m in model.modules()]
        assert structure_of(model).gap <= 1e-6
        assert [list(m._forward_hooks) for m in model.modules()] == order, "each is back in its place"
        assert len(foreign_hooks(model)) == 2
        plain.remove()
        model.bridge.reset_hooks()
        assert foreign_hooks(model) == []


class Doubled(nn.Module):
    """What a family that scales its attention's write would look like to a hook that sits before the scale."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.inner(value) * 2


class TestRefused:
    def test_blocks_that_do_not_add_up(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        shared_state(model.bridge).facts.pop("structure")
        model.bridge.blocks[2].mlp.hook_out = Doubled(model.bridge.blocks[2].mlp.hook_out).eval()
        with pytest.raises(UnsupportedModelError, match=r"at layer 2 attention and MLP do not add up .*limit 1e-04"):
            structure_of(model)

    def test_a_lens_that_is_not_the_model_s(self, fresh: Callable[..., ResidualModel]) -> None:
        """Gemma 2 caps its logits: a lens that forgot it would look right and be wrong."""
        model = fresh("gemma2")
        shared_state(model.bridge).facts.pop("structure")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model.bridge.adapter, "apply_output_logits_transform", lambda logits: logits)
            with pytest.raises(
                UnsupportedModelError, match="unembedding the last layer does not give the model's logits"
            ):
                structure_of(model)
        assert structure_of(model).lens_gap <= 1e-6

    def test_no_attention(self, fresh: Callable[..., ResidualModel]) -> None:
        import transformers

        from resid_widgets.models.loading.load_model import load_model

        config = transformers.MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=4)
        with pytest.raises(UnsupportedModelError, match=r"MambaForCausalLM cannot be shown: .* offers no attn_out"):
            load_model((transformers.MambaForCausalLM(config).eval(), None))


class TestNotFinite:
    """Broken numbers are no broken structure: such a model is shown, in red."""

    @pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
    def test_all_weights(self, family: str, fresh: Callable[..., ResidualModel]) -> None:
        from resid_widgets.models.loading.load_model import load_model
        from tests.architectures import build

        hf_model = build(family)
        for parameter in hf_model.parameters():
            nn.init.constant_(parameter, math.nan)
        model = load_model((hf_model, None))
        recorded = run(model, [1, 2, 3])
        levels = {check.name: check.level for check in recorded.checks}
        assert levels == {"residual identity": "red", "finite": "red", "last lens = logits": "red"}
        assert bool(torch.isnan(recorded.tensor("resid_post", 0)).all()), "shown as it is"

    def test_not_remembered(self, fresh: Callable[..., ResidualModel]) -> None:
        model = fresh()
        shared_state(model.bridge).facts.pop("structure")
        weight = next(model.bridge.original_model.parameters())
        kept = weight.detach().clone()
        nn.init.constant_(weight, math.nan)
        assert math.isnan(structure_of(model).gap)
        with torch.no_grad():
            weight.copy_(kept)
        assert structure_of(model).gap <= 1e-6 and structure_of(model).causal
