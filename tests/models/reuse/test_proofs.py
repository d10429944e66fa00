"""Exact reuse proves itself, and where a proof fails full passes are made: said, and with the right numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import resid_widgets as rw
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models import bare
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse import engine, proofs
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.reuse.proofs import proof_of
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import relative_gap
from resid_widgets.results import Check
from tests.architectures import build
from tests.models.plain_interventions import Plain, Where, plain_edit

IDS = (5, 9, 33, 2, 8, 60, 7)
KINDS = ("resid_pre", "z", "mlp_out", "resid_post")


def respell(module: Any, forward: Callable[..., Any]) -> None:
    """Give one module another forward, which is called with the module and the one it had."""
    old = type(module)
    new = type(f"Spoiled{old.__name__}", (old,), {"forward": lambda self, *a, **k: forward(self, old.forward, *a, **k)})
    module.__class__ = new


# --- models that are made to fail exactly one proof ------------------------------------------------------------------


def only_in_a_whole_pass(hf_model: Any) -> None:
    """The last MLP doubles what it writes if the model's rotary embedding was called before it, in the same pass."""
    begun = []

    def embedding(module: Any, old: Any, *args: Any, **kwargs: Any) -> Any:
        begun.append(True)
        return old(module, *args, **kwargs)

    def mlp(module: Any, old: Any, hidden: Tensor) -> Tensor:
        whole = bool(begun)
        begun.clear()
        return old(module, hidden) * (2 if whole else 1)

    respell(hf_model.model.rotary_emb, embedding)
    respell(hf_model.model.layers[-1].mlp, mlp)


def mean_over_positions(layer: int) -> Callable[[Any], None]:
    """An MLP that reads earlier positions, which no keys and values carry: causal, and another model of a suffix."""

    def spoil(hf_model: Any) -> None:
        def mlp(module: Any, old: Any, hidden: Tensor) -> Tensor:
            count = torch.arange(1, hidden.shape[1] + 1)[:, None]
            return old(module, hidden.cumsum(1) / count)

        respell(hf_model.model.layers[layer].mlp, mlp)

    return spoil


def mean_over_the_batch(layer: int) -> Callable[[Any], None]:
    """An MLP that mixes rows, and does nothing to a lone one."""

    def spoil(hf_model: Any) -> None:
        respell(
            hf_model.model.layers[layer].mlp,
            lambda module, old, hidden: old(module, hidden.mean(0, keepdim=True).expand_as(hidden)),
        )

    return spoil


def one_row_only(hf_model: Any) -> None:
    """An MLP that will not take several rows."""

    def mlp(module: Any, old: Any, hidden: Tensor) -> Tensor:
        if len(hidden) > 1:
            raise RuntimeError("one row, please")
        return old(module, hidden)

    respell(hf_model.model.layers[1].mlp, mlp)


def without_cache(hf_model: Any) -> None:
    """Attention that will not keep keys and values."""

    def attention(module: Any, old: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("cache", kwargs.get("past_key_values")) is not None:
            raise ValueError("no cache here")
        return old(module, *args, **kwargs)

    respell(hf_model.model.layers[1].self_attn, attention)


SPOILED = {
    "replay": (only_in_a_whole_pass, r"the base run replayed differs from a full pass \(gap "),
    "suffix": (mean_over_positions(1), r"a suffix over recorded keys and values differs from a full pass \(gap "),
    "suffix, first layer": (mean_over_positions(0), "a suffix over recorded keys and values differs from a full pass"),
    "two rows": (mean_over_the_batch(2), r"two rows in one batch differs from a full pass \(gap "),
    "two rows, first layer": (mean_over_the_batch(0), "two rows in one batch differs from a full pass"),
    "does not run": (one_row_only, r"two rows in one batch does not run \(RuntimeError: one row, please\)"),
    "no recording": (without_cache, r"its run cannot be recorded \(ValueError: no cache here\)"),
}


def spoiled(how: Callable[[Any], None]) -> tuple[ResidualModel, Plain]:
    through_the_bridge, plain = build("llama"), build("llama")
    how(through_the_bridge)
    how(plain)
    return load_model((through_the_bridge, None), copy=False), Plain("llama", plain)


def reuse(checks: Any) -> Check:
    return next(check for check in checks if check.name == "exact reuse")


def holds(run: Run, plain: Plain, component: str, watched: str = "attn_out") -> Run:
    """Assert that intervening gives what plain hooks give, and return the last run."""
    found = run
    for where in (Where(component, 1, 4), Where(component, 2)):
        found = rw.intervene(run, rw.zero(rw.Site(component, where.layer, where.pos)), keep=["logits", watched])
        logits, seen = plain.run(IDS, [plain_edit(plain, IDS, "zero", where, {})])
        assert relative_gap(found.logits, logits) <= 1e-4
        for layer in run.layers:
            assert relative_gap(found.tensor(watched, layer), seen[watched, layer]) <= 1e-4
    return found


@pytest.mark.parametrize("name", SPOILED)
def test_a_model_that_fails_a_proof_is_run_in_full(name: str) -> None:
    spoil, text = SPOILED[name]
    model, plain = spoiled(spoil)
    run = rw.run(model, IDS)
    assert {check.level for check in run.checks} == {"green"}
    assert relative_gap(run.final_logits, plain.run(IDS)[0][-1]) <= 1e-5
    for component in KINDS:
        check = reuse(holds(run, plain, component).checks)
        assert (check.level, check.value) == ("amber", None)
        assert check.text.startswith("computed by full runs, which is slow, because ")
        assert re.search(text, check.text), check.text
    assert run.recording is None


@pytest.mark.parametrize("name", ["replay", "suffix", "two rows"])
def test_only_that_proof_fails(name: str) -> None:
    """Each of these models passes the proofs before: what is shown above is that very proof at work."""
    model, _ = spoiled(SPOILED[name][0])
    recording = proofs.Recording(model, proofs.probe_ids(model.d_vocab, model.n_ctx))
    gaps = {"replay": proofs.base_replay, "suffix": proofs.suffix, "two rows": proofs.two_rows}
    for step, gap in gaps.items():
        if step == name:
            assert gap(recording) > 1e-2
            break
        assert gap(recording) <= 1e-5


@pytest.mark.parametrize("component", ["z", "mlp_out", "q", "attn_out"])
def test_a_hook_place_that_lies_fails_the_proof_of_its_own_kind_of_site(
    component: str, fresh: Callable[..., ResidualModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the bare model it then sits elsewhere: edits of that kind are made in full passes, others still reuse."""
    model = fresh()
    others = bare.bare_components(model)
    assert component in others
    made = bare.BareModel.__init__

    def lying(self: Any, of: ResidualModel) -> None:
        made(self, of)
        point = of.hooks[of.hook_name(component, 2)]
        layer = self.root.model.layers[2]
        self._places[id(point)] = (layer.self_attn.k_proj, "in") if component != "mlp_out" else (layer.self_attn, "out")

    monkeypatch.setattr(bare.BareModel, "__init__", lying)
    run = rw.run(model, IDS)
    plain = Plain("llama")
    check = reuse(holds(run, plain, component, "k").checks)
    assert check.level == "amber"
    assert f"because an edit of {component} d" in check.text  # differs, or does not run
    for other in ("resid_pre", "v", "mlp_post"):
        assert reuse(holds(run, plain, other, "k").checks).level == "green"
    both = rw.intervene(run, [rw.zero(rw.Site("v", 1)), rw.zero(rw.Site(component, 2))])
    assert reuse(both.checks).level == "amber"


@pytest.mark.parametrize("name", ["replay", "suffix", "two rows"])
def test_sweeps_fall_back_as_well(name: str) -> None:
    model, plain = spoiled(SPOILED[name][0])
    run = rw.run(model, IDS)
    swept = rw.ablation_sweep(run, rw.logit_diff(7, 8), "mlp_out", "zero", progress=False)
    assert reuse(swept.checks).level == "amber"
    for layer in run.layers:
        for pos in (0, 3, 6):
            logits, _ = plain.run(IDS, [plain_edit(plain, IDS, "zero", Where("mlp_out", layer, pos), {})])
            assert float(swept.raw[layer, pos]) == pytest.approx(float(logits[-1, 7] - logits[-1, 8]), abs=1e-4)


def test_without_the_fallback_the_numbers_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the tests above test something."""
    for name in ("replay", "suffix"):
        model, plain = spoiled(SPOILED[name][0])
        monkeypatch.setattr("resid_widgets.models.reuse.engine.proof_of", lambda model, components: proofs.Proof(0.0))
        with pytest.raises(AssertionError):
            holds(rw.run(model, IDS), plain, "resid_pre")


# --- what holds, and how often it is proved --------------------------------------------------------------------------


def test_a_model_that_passes_says_how_well(llama: ResidualModel) -> None:
    proof = proof_of(llama, set(KINDS))
    assert proof.failed == ""
    assert 0 <= proof.gap <= 1e-5
    run = rw.run(llama, IDS)
    check = engine_of(run, set(KINDS)).check
    assert (check.level, check.limit) == ("green", 1e-4)
    assert check.text.startswith("equals full runs, gap ")
    assert run.recording is not None
    assert engine_of(run, {"z"}).recording is run.recording  # recorded once


def test_proved_once_a_model_until_a_weight_changes(
    fresh: Callable[..., ResidualModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fresh()
    proved: list[list[str]] = []
    prove = proofs._prove
    monkeypatch.setattr(proofs, "_prove", lambda model, missing: proved.append(missing) or prove(model, missing))
    run = rw.run(model, IDS)
    for _ in range(2):
        rw.intervene(run, rw.zero(rw.Site("z", 1)))
    rw.intervene(rw.run(model.bridge, IDS), rw.zero(rw.Site("z", 1)))  # another wrapper of the same bridge
    assert proved == [["", "z"]]
    rw.intervene(run, rw.zero(rw.Site("mlp_out", 1)))
    assert proved == [["", "z"], ["mlp_out"]]
    with torch.no_grad():
        model.bridge.original_model.model.layers[2].mlp.down_proj._original_component.weight[0, 0] += 0.1
    rw.intervene(rw.run(model, IDS), rw.zero(rw.Site("z", 1)))
    assert proved[2:] == [["", "z"]]


def test_an_edit_without_effect_proves_nothing(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh()
    recording = proofs.Recording(model, proofs.probe_ids(model.d_vocab, model.n_ctx))
    same = proofs.Edit("mlp_out", 2, 0, recording.n_pos, None, None, lambda old: old)
    with pytest.raises(proofs.UnsupportedModelError, match="an edit changed nothing"):
        proofs._against_full(recording, [same])


def test_not_a_number_is_no_proof(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh()
    torch.nn.init.constant_(model.bridge.original_model.model.layers[2].mlp.down_proj.weight, math.nan)
    proof = proof_of(model, {"z"})
    assert "differs from a full pass (gap nan)" in proof.failed
    with pytest.raises(proofs.UnsupportedModelError, match=r"resid_pre cannot be written.*gap nan"):
        rw.intervene(rw.run(model, IDS), rw.zero(rw.Site("resid_pre", 1)))


# --- models in a state that is not their own -------------------------------------------------------------------------


def test_hooks_of_others_are_refused(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh()
    run = rw.run(model, IDS)
    rw.intervene(run, rw.zero(rw.Site("z", 1)))
    model.hooks["blocks.1.hook_mlp_out"].add_hook(lambda value, hook: value * 0)
    try:
        with pytest.raises(InputError, match=r"hooks that are not ours, on blocks\.1\.hook_mlp_out"):
            rw.intervene(run, rw.zero(rw.Site("z", 1)))
        with pytest.raises(InputError, match="not ours"):
            rw.ablation_sweep(run, rw.logit_diff(7, 8), progress=False)
    finally:
        model.bridge.reset_hooks()


def test_hooks_put_on_in_the_middle_are_refused(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh()
    run = rw.run(model, IDS)

    def intrude(progress: Any) -> None:
        model.hooks["blocks.3.hook_mlp_out"].add_hook(lambda value, hook: value * 0)

    try:
        with pytest.raises(InputError, match="not ours"):
            rw.ablation_sweep(run, rw.logit_diff(7, 8), progress=intrude)
    finally:
        model.bridge.reset_hooks()


def test_hooks_that_are_allowed_act_in_every_pass(fresh: Callable[..., ResidualModel]) -> None:
    """Full passes through the hooked model: an MLP is off in the base run and in the edited one."""
    model, plain = fresh(), Plain("llama")
    off = plain_edit(plain, IDS, "zero", Where("mlp_out", 1), {})
    model.hooks["blocks.1.hook_mlp_out"].add_hook(lambda value, hook: value * 0)
    try:
        run = rw.run(model, IDS, allow_hooks=True)
        for component in KINDS:
            found = rw.intervene(run, rw.zero(rw.Site(component, 2, 4)), keep="logits")
            edit = plain_edit(plain, IDS, "zero", Where(component, 2, 4), {})
            assert relative_gap(found.logits, plain.run(IDS, [off, edit])[0]) <= 1e-4
            check = reuse(found.checks)
            assert check.level == "amber"
            assert "the model may bear other people's hooks" in check.text
            assert found.provenance.options["foreign_hooks"] == ("blocks.1.hook_mlp_out",)
        source = rw.intervene(run, rw.patch(rw.Site("resid_pre", 2, 3), [1, *IDS[1:]]), keep="logits")
        _, other = plain.run([1, *IDS[1:]], [off])
        put = ("resid_pre", 2, lambda value: value[3].copy_(other["resid_pre", 2][3]))
        assert relative_gap(source.logits, plain.run(IDS, [off, put])[0]) <= 1e-4
        sweep = rw.ablation_sweep(run, rw.logit_diff(7, 8), "resid_post", "zero", layers=[2], progress=False)
        assert reuse(sweep.checks).level == "amber"
        zeroed = rw.intervene(run, rw.zero(rw.Site("resid_post", 2, 4))).final_logits
        assert float(sweep.raw[0, 4]) == pytest.approx(float(zeroed[7] - zeroed[8]), abs=1e-5)
    finally:
        model.bridge.reset_hooks()


@pytest.mark.filterwarnings("ignore")
def test_folded_weights_are_run_in_full(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh("gpt2")
    model.bridge.enable_compatibility_mode(disable_warnings=True)
    assert model.folded
    run = rw.run(model, IDS)
    found = rw.intervene(run, rw.zero(rw.Site("mlp_out", 1, 4)), keep=["logits", "resid_post"])
    check = reuse(found.checks)
    assert check.level == "amber"
    assert "TransformerLens has folded the weights" in check.text

    def off(value: Tensor, hook: Any) -> Tensor:
        value = value.clone()
        value[:, 4] = 0
        return value

    with torch.no_grad():
        hooked = model.bridge.run_with_hooks(torch.tensor([IDS]), fwd_hooks=[("blocks.1.hook_mlp_out", off)])
    assert relative_gap(found.logits, hooked[0]) <= 1e-4


def test_weights_that_have_changed_since_are_refused(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh()
    run = rw.run(model, IDS)
    rw.intervene(run, rw.zero(rw.Site("z", 1)))
    with torch.no_grad():
        model.bridge.original_model.model.layers[0].mlp.down_proj._original_component.weight[0, 0] += 0.1
    for call in (
        lambda: rw.intervene(run, rw.zero(rw.Site("z", 1))),
        lambda: rw.ablation_sweep(run, rw.logit_diff(7, 8), progress=False),
    ):
        with pytest.raises(InputError, match=r"has changed since this run was made\. Run again: rw\.run"):
            call()
    rw.intervene(rw.run(model, IDS), rw.zero(rw.Site("z", 1)))


def test_train_mode_is_refused(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh()
    run = rw.run(model, IDS)
    model.bridge.original_model.train()
    with pytest.raises(InputError, match="train mode"):
        rw.intervene(run, rw.zero(rw.Site("z", 1)))
    model.bridge.original_model.eval()
    assert torch.isfinite(rw.intervene(run, rw.zero(rw.Site("z", 1))).final_logits).all()


def test_a_run_that_cannot_be_recorded_is_run_whole(
    fresh: Callable[..., ResidualModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that does without its cache where the prompt is long: short ones do not show it."""
    model = fresh()
    inner = engine.Recording

    def short_ones_only(model: ResidualModel, ids: Any, *args: Any, **kwargs: Any) -> Any:
        if len(ids) > 30:
            raise UnsupportedModelError("no cache")
        return inner(model, ids, *args, **kwargs)

    edit = rw.zero(rw.Site("z", 1, pos=3))
    long = [(7 * n) % 90 + 3 for n in range(40)]
    wanted = rw.intervene(rw.run(model, long), edit)
    monkeypatch.setattr(engine, "Recording", short_ones_only)
    found = rw.intervene(rw.run(model, long), edit)
    check = next(check for check in found.checks if check.name == "exact reuse")
    assert check.level == "amber"
    assert "cannot be recorded (no cache)" in check.text
    assert relative_gap(found.final_logits, wanted.final_logits) <= 1e-5
