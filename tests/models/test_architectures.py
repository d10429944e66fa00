"""Every family gives Hugging Face's own logits and adds up, or is refused by name with the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import resid_widgets as rw
from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.capabilities import capabilities
from resid_widgets.models.forward import forward
from resid_widgets.models.layers.alike import group_of
from resid_widgets.models.layers.writes import Write, require_writable, write_matrix
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import run
from resid_widgets.models.structure import blocks_path, relative_gap, structure_of
from tests.architectures import ALL, FULL_PASSES, MIXED, PARALLEL, REFUSED, TODAY, build, refused_writes

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than each window, and than what the self-tests run on

TESTED = [family for family in ALL if family not in REFUSED]
POST_NORM = {"gemma2", "gemma3_text", "olmo2", "olmo3", "glm4", "exaone4", "olmo_hybrid"} | {
    family for family in MIXED if family.startswith("gemma")
}
ONE_KEY_PER_HEAD = {"gpt2", "gpt_neo", "gptj", "gpt_neox", "opt", "bloom", "mpt", "xglm"} | {
    *("gpt_neox sequential", "falcon sequential alibi", "deepseek_v2", "deepseek_v3", "deepseek_v3 dense")
}
NO_PATTERNS = {
    "gpt_oss",
    "olmo_hybrid",
}  # rows that leave a share to a sink which is no token; layers without attention

Loaded = tuple[str, Any, ResidualModel]


@pytest.fixture(scope="module", params=TESTED)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    """A family, its Hugging Face model and the bridged one, for all tests of it and no longer."""
    plain = build(request.param)
    return request.param, plain, load_model((plain, None))


def test_family_is_true_to_hugging_face(loaded: Loaded) -> None:
    family, plain, model = loaded
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
    assert found.attention_patterns == (family not in NO_PATTERNS)


def test_an_edit_does_what_a_plain_hook_does(loaded: Loaded) -> None:
    family, plain, model = loaded
    before = rw.run(model, IDS, keep=["resid_pre", "logits"], reuse=True)
    after = rw.intervene(before, rw.zero(rw.Site("resid_pre", 0, 6)))
    (check,) = [check for check in after.checks if check.name == "exact reuse"]
    assert check.level == ("amber" if family in FULL_PASSES else "green"), check.text

    def silence(module: Any, args: Any, kwargs: Any) -> Any:
        hidden = (args[0] if args else kwargs["hidden_states"]).clone()
        hidden[:, 6] = 0
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

    hook = plain.get_submodule(blocks_path(model))[0].register_forward_pre_hook(silence, with_kwargs=True)
    with torch.no_grad():
        expected = plain(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
    hook.remove()
    moved = float((expected - before.logits).abs().max())
    assert moved > 1e-3
    assert float((after.logits - expected).abs().max()) < 1e-3 * moved


def test_writes_do_what_plain_pytorch_does(loaded: Loaded) -> None:
    family, plain, model = loaded
    refused = refused_in(write_matrix(model, plain))
    assert refused == refused_writes(family, model.n_layers)
    # The test that every user's own model gets has no plain copy to compare with, and must come to the same. (For the
    # other families all sites are edited, and compared with plain hooks, in the tests of interventions.)
    if family in TODAY:
        assert refused_in(write_matrix(model)) == refused
    for component, layer in {(name, group_of(model, layer)[0]) for name, layer in refused}:
        with pytest.raises(UnsupportedModelError, match=f"{component} cannot be written at layer {layer}"):
            require_writable(model, component, layer)


def refused_in(matrix: dict[str, dict[tuple[int, ...], Write]]) -> set[tuple[str, int]]:
    return {(name, n) for name, of in matrix.items() for group, write in of.items() if not write.works for n in group}


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_refused_with_the_reason(family: str) -> None:
    with pytest.raises(UnsupportedModelError, match=REFUSED[family]) as caught:
        load_model((build(family), None))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_bridge_that_gives_other_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from resid_widgets.models.loading import load_model as loading

    monkeypatch.setattr(loading, "_plain_logits", lambda hf_model, ids, name: torch.ones(len(ids), 97))
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
