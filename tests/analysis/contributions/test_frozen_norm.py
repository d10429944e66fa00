"""A frozen norm is the norm at its vector, and linear: its parts add up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from resid_widgets.analysis.contributions.frozen_norm import frozen
from resid_widgets.errors import UnsupportedModelError


def gemma_norm(d: int) -> nn.Module:
    from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm

    return Gemma2RMSNorm(d)


NORMS = {
    "LayerNorm": lambda d: nn.LayerNorm(d),
    "without bias": lambda d: nn.LayerNorm(d, bias=False),
    "without weights": lambda d: nn.LayerNorm(d, elementwise_affine=False),
    "large epsilon": lambda d: nn.LayerNorm(d, eps=1e-2),
    "RMSNorm": lambda d: nn.RMSNorm(d, eps=1e-6),
    "one plus weight": gemma_norm,
}


@pytest.mark.parametrize("d", [48, 31])
@pytest.mark.parametrize("name", NORMS)
def test_it_is_the_norm_with_its_scale_held(name: str, d: int) -> None:
    norm = NORMS[name](d)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    parts = torch.randn(5, d) * torch.tensor([[1e-2], [1.0], [30.0], [2.0], [0.5]]) + 1.5
    x = parts.sum(0)
    held = frozen(norm, x[None], "final norm", 1e-4)
    assert held.centred == ("RMS" not in name and "one plus" not in name)
    with torch.no_grad():
        whole = norm(x).double()
    torch.testing.assert_close(held.of(parts).sum(0) + held.bias, whole, rtol=1e-5, atol=1e-5)
    # a closed form: the scale is that of the whole vector, also for a part
    mean = parts.mean(-1, keepdim=True) if held.centred else 0.0
    spread = x.var(correction=0) if held.centred else x.square().mean()
    weight: Any = getattr(norm, "weight", None)
    weight = torch.ones(d) if weight is None else weight.detach() + (1 if name == "one plus weight" else 0)
    expected = weight * (parts - mean) / (spread + getattr(norm, "eps", 0.0)).sqrt()
    torch.testing.assert_close(held.of(parts), expected.double(), rtol=1e-4, atol=1e-5)
    direction = torch.randn(d)
    torch.testing.assert_close(held.of(parts) @ direction.double(), parts.double() @ held.read(direction)[0])


def test_each_row_has_its_own_scale() -> None:
    norm, x = nn.LayerNorm(48), torch.randn(3, 48) * torch.tensor([[0.1], [1.0], [900.0]])
    held = frozen(norm, x, "final norm", 1e-4)
    for row, one in enumerate(x):
        torch.testing.assert_close(held.gain[row], frozen(norm, one[None], "final norm", 1e-4).gain[0])
    with torch.no_grad():
        torch.testing.assert_close(held.of(x) + held.bias, norm(x).double(), rtol=1e-5, atol=1e-5)


def test_what_is_no_such_norm_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="The final norm is neither LayerNorm nor RMSNorm"):
        frozen(lambda x: torch.tanh(0.3 * x), torch.randn(2, 48), "final norm", 1e-4)
