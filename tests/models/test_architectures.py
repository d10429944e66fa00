"""Every family gives Hugging Face's own logits and adds up, or is refused by name with the reason."""

from __future__ import annotations

import pytest
import torch

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.capabilities import capabilities
from resid_widgets.models.forward import forward
from resid_widgets.models.layers.writes import Write, require_writable, write_matrix
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.runs.run import run
from resid_widgets.models.structure import relative_gap, structure_of
from tests.architectures import FAMILIES, MIXED, PARALLEL, REFUSED, build, refused_writes

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41]

TESTED = [family for family in FAMILIES | MIXED if family not in REFUSED]
POST_NORM = {"gemma2", "gemma3_text", "olmo2", "olmo3"} | {f for f in MIXED if f.startswith("gemma")}
ONE_KEY_PER_HEAD = {"gpt2", "gpt_neo", "gptj", "gpt_neox", "opt", "bloom", "gpt_neox sequential"} | {
    "falcon sequential alibi"
}


@pytest.mark.parametrize("family", TESTED)
def test_family_is_true_to_hugging_face(family: str) -> None:
    plain = build(family)
    model = load_model((plain, None))
    with torch.no_grad():
        expected = plain(input_ids=torch.tensor([IDS]), use_cache=False, output_hidden_states=True)

    assert relative_gap(forward(model, IDS, last_only=False), expected.logits[0]) < 1e-5
    recorded = run(model, IDS, keep=["resid_pre", "resid_post", "logits"])
    assert [c.level for c in recorded.checks] == ["green", "green"]
    # An independent record of the same stream: hidden_states[l] enters block l (the last one is after ln_final).
    for layer in range(model.n_layers):
        assert relative_gap(recorded.tensor("resid_pre", layer), expected.hidden_states[layer][0]) < 1e-5
    lens = model.unembed(recorded.tensor("resid_post", -1))
    assert relative_gap(lens, expected.logits[0]) < 1e-5

    structure, found = structure_of(model), capabilities(model)
    assert structure.parallel == found.parallel_blocks == (family in PARALLEL)
    assert found.post_norm == (family in POST_NORM)
    assert found.grouped_query_attention == (family not in ONE_KEY_PER_HEAD)
    assert found.soft_cap == (family == "gemma2")
    assert found.neurons == (not any(name == "mlp_post" for name, _ in refused_writes(family, model.n_layers)))
    assert found.gradients and found.encoder_only == ("both ways" in family)
    assert found.attention_patterns == (family != "gpt_oss")  # whose rows leave a share to a sink that is no token


@pytest.mark.parametrize("family", TESTED)
def test_writes_do_what_plain_pytorch_does(family: str) -> None:
    plain = build(family)
    model = load_model((plain, None))
    against_plain_model = write_matrix(model, plain)
    refused = refused_in(against_plain_model)
    assert refused == refused_writes(family, model.n_layers)
    # The test that every user's own model gets has no plain copy to compare with, and must come to the same.
    without_copy = write_matrix(model)
    assert refused_in(without_copy) == refused
    for component, layer in refused:
        with pytest.raises(UnsupportedModelError, match=f"{component} cannot be written at layer {layer}"):
            require_writable(model, component, layer)


def refused_in(matrix: dict[str, dict[tuple[int, ...], Write]]) -> set[tuple[str, int]]:
    return {(name, n) for name, of in matrix.items() for group, write in of.items() if not write.works for n in group}


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_refused_with_the_reason(family: str) -> None:
    with pytest.raises(UnsupportedModelError, match=REFUSED[family]):
        load_model((build(family), None))


def test_a_bridge_that_gives_other_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from resid_widgets.models.loading import load_model as loading

    monkeypatch.setattr(loading, "_plain_logits", lambda hf_model, ids: torch.ones(len(ids), 97))
    with pytest.raises(UnsupportedModelError, match="other logits than Hugging Face"):
        load_model((build("llama"), None))


def test_a_lying_hook_point_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """TransformerLens' own hook_resid_mid reaches only the MLP: written naively it must not pass."""
    model = load_model((build("llama"), None))
    aliased = dict(model.hooks)
    aliased["blocks.0.hook_attn_out"] = aliased["blocks.0.hook_resid_mid"]
    monkeypatch.setitem(model.__dict__, "hooks", aliased)
    (outcome,) = write_matrix(model)["resid_mid"].values()
    assert not outcome.works and "plain PyTorch" in outcome.reason
