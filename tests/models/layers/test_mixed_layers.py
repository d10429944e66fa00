"""Layers need not be alike: each is read, written, proved and refused as what it is, against plain PyTorch hooks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.layers import writes
from resid_widgets.models.layers.alike import groups
from resid_widgets.models.layers.shapes import head_count, layers_with, site_shape, split
from resid_widgets.models.layers.writes import write_test
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import relative_gap
from resid_widgets.sites import COMPONENTS
from tests.architectures import MIXED, refused_writes
from tests.models.plain_interventions import Plain, Where, plain_edit

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than every window, and than what the self-tests run on
WIDE, KEYS, SECOND = "gemma4_text wide heads", "gemma4_text keys as values", "qwen3_moe every second"


@pytest.fixture(scope="module")
def made(fresh: Callable[..., ResidualModel]) -> Callable[[str], ResidualModel]:
    """Return a function from a family to its one model of this file; its tests leave it as it was."""
    return cache(fresh)


def effects(run: Any, plain: Plain, site: rw.Site) -> tuple[torch.Tensor, torch.Tensor]:
    """What silencing a site does to the logits of all positions, by the package and by plain hooks."""
    where = Where(site.component, site.layer, site.pos, site.head, site.neuron)
    true, _ = plain.run(IDS, [plain_edit(plain, IDS, "zero", where, {})])
    return rw.intervene(run, rw.zero(site)).logits - run.logits, true - plain.run(IDS)[0]


@pytest.mark.parametrize("family", MIXED)
def test_every_site_of_every_layer_does_what_plain_hooks_do(family: str, made: Callable[[str], ResidualModel]) -> None:
    model, plain = made(family), Plain(family)
    run = rw.run(model, IDS, keep=["resid_post", "logits"])
    refused = refused_writes(family, model.n_layers)
    for layer in run.layers:
        for component in COMPONENTS:
            inner: dict[str, int] = {"neuron": 3} if component == "mlp_post" else {}
            if component in ("q", "k", "v", "z", "pattern"):
                inner = {"head": 0, "pos": 7}
            for more in ({"pos": 6}, inner or {"pos": 7}, {}):  # one neuron at one position does next to nothing
                site = rw.Site(component, layer, **more)
                if (component, layer) in refused:
                    with pytest.raises((InputError, UnsupportedModelError), match=component):
                        rw.intervene(run, rw.zero(site))
                    continue
                found, true = effects(run, plain, site)
                assert float(true.abs().max()) > 1e-3, site
                assert relative_gap(found, true) <= 1e-3, site


@pytest.mark.parametrize("family", MIXED)
def test_reuse_is_exact_or_not_made(family: str, made: Callable[[str], ResidualModel]) -> None:
    """What looks both ways never takes a prefix from another run."""
    run = rw.run(made(family), IDS, reuse=True)
    found = rw.intervene(run, rw.zero(rw.Site("resid_pre", 0, 10)), keep="resid_post")
    (check,) = [check for check in found.checks if check.name == "exact reuse"]
    if "both ways" in family:
        assert check.level == "amber" and "a later token changes what comes before it" in check.text
        assert run.recording is None
        assert not torch.equal(found.tensor("resid_post", 0)[:10], run.tensor("resid_post", 0)[:10])
    else:
        assert check.level == "green", check.text
        assert torch.equal(found.tensor("resid_post", -1)[:10], run.tensor("resid_post", -1)[:10])


def test_shapes_are_those_of_the_layer(made: Callable[[str], ResidualModel]) -> None:
    wide, keys, second = made(WIDE), made(KEYS), made(SECOND)
    assert [site_shape(wide, "z", n) for n in range(4)] == [(4, 8), (4, 16), (4, 8), (4, 16)]
    assert [head_count(keys, "k", n) for n in range(4)] == [2, 1, 2, 1]
    assert layers_with(keys, "v") == (0, 2)
    assert layers_with(second, "mlp_post") == (0, 2)
    with pytest.raises(InputError, match=r"layer 1 of .* has none: a mixture of experts .* Layers 0, 2 have it"):
        site_shape(second, "mlp_post", 1)


def test_what_is_no_one_array_is_refused_and_each_layer_can_be_had(made: Callable[[str], ResidualModel]) -> None:
    plain = Plain(WIDE)
    run = rw.run(made(WIDE), IDS, keep=["z", "pattern", "mlp_post"])
    with pytest.raises(InputError, match=r"no one array: \[4, 8\] at layers 0, 2; \[4, 16\] at layers 1, 3.*\[1, 3\]"):
        run.residual("z")
    _, seen = plain.run(IDS)
    for layer in run.layers:
        assert relative_gap(run.tensor("z", layer), seen["z", layer]) <= 1e-5
    upper = run.residual("z", layers=[1, 3])
    assert upper.shape == (2, 12, 4, 16) and upper["layer"].values.tolist() == [1, 3]
    assert relative_gap(torch.from_numpy(upper.sel(layer=3).values), seen["z", 3]) <= 1e-5
    assert run.residual("pattern").shape == (4, 4, 12, 12)


def test_heads_that_differ_in_number_are_no_one_picture(fresh: Callable[..., ResidualModel]) -> None:
    model = fresh("llama")
    run = rw.run(model, IDS)
    model._shared.facts["shapes"]["z", 1] = (2, 16)
    with pytest.raises(InputError, match=r"no one array: \[4\] at layers 0, 2, 3; \[2\] at layer 1.*shown='stream'"):
        rw.ablation(run, [], shown="heads")
    assert rw.ablation(run, []).values.shape == (4, 12)


class TestSweeps:
    def test_heads_of_two_widths(self, made: Callable[[str], ResidualModel]) -> None:
        plain = Plain(WIDE)
        run = rw.run(made(WIDE), IDS)
        found = rw.ablation_sweep(run, rw.logit_diff(7, 8), "z", "zero", progress=False)
        assert found.values.shape == (4, 4)
        for layer, head in ((0, 1), (1, 2), (3, 3)):
            logits, _ = plain.run(IDS, [plain_edit(plain, IDS, "zero", Where("z", layer, None, head), {})])
            assert float(found.raw[layer, head]) == pytest.approx(float(logits[-1, 7] - logits[-1, 8]), abs=1e-4)

    def test_layers_that_have_it(self, made: Callable[[str], ResidualModel]) -> None:
        plain = Plain(KEYS)
        run = rw.run(made(KEYS), IDS)
        metric = rw.logit_diff(7, 8)
        with pytest.raises(InputError, match=r"none at layers 1, 3 .*layers=\[0, 2\]"):
            rw.ablation_sweep(run, metric, "v", "zero", progress=False)
        with pytest.raises(InputError, match=r"\[2\] at layers 0, 2; \[1\] at layers 1, 3"):
            rw.ablation_sweep(run, metric, "k", "zero", progress=False)
        for component, layers, shape in (("v", [0, 2], (2, 2)), ("k", [1, 3], (2, 1))):
            found = rw.ablation_sweep(run, metric, component, "zero", layers=layers, progress=False)
            assert found.values.shape == shape and found.values["layer"].values.tolist() == layers
            edit = plain_edit(plain, IDS, "zero", Where(component, layers[1], None, 0), {})
            logits, _ = plain.run(IDS, [edit])
            assert float(found.raw[1, 0]) == pytest.approx(float(logits[-1, 7] - logits[-1, 8]), abs=1e-4)

    def test_patches_by_gradient(self, made: Callable[[str], ResidualModel]) -> None:
        found = rw.patch_sweep(
            made(WIDE), IDS, [1, *IDS[1:]], rw.logit_diff(7, 8), component="z", method="attribution", progress=False
        )
        assert found.values.shape == (4, 4) and bool(np.isfinite(found.values).all())


class TestNeurons:
    @pytest.mark.parametrize("family", ["mixtral", "granitemoe", "gemma4_text experts beside"])
    def test_a_mixture_s_output_is_never_given_as_neurons(self, family: str, fresh: Callable[..., Any]) -> None:
        model = fresh(family)
        for call in (
            lambda: rw.run(model, IDS, keep=["mlp_post"]),
            lambda: rw.collect(model, [IDS], ["mlp_post"], "last", progress=False),
            lambda: rw.neuron_patterns(model, [IDS], progress=False),
            lambda: rw.ablation_sweep(rw.run(model, IDS), rw.rank(7), "mlp_post", "zero", layers=[1], progress=False),
        ):
            with pytest.raises(InputError, match="mixture of experts"):
                call()

    def test_layers_that_have_them(self, made: Callable[[str], ResidualModel]) -> None:
        model = made(SECOND)
        _, seen = Plain(SECOND).run(IDS)
        run = rw.run(model, IDS, keep=["mlp_post"])
        for layer in (0, 2):
            assert relative_gap(run.tensor("mlp_post", layer), seen["mlp_post", layer]) <= 1e-5
        with pytest.raises(InputError, match=r"layer 1 of .*mixture of experts"):
            run.tensor("mlp_post", 1)
        with pytest.raises(InputError, match=r"none at layers 1, 3 \(a mixture of experts.*layers=\[0, 2\]"):
            run.residual("mlp_post")
        edited = rw.intervene(run, rw.zero(rw.Site("mlp_post", 2, 6)))
        assert edited.tensor("mlp_post", 0).shape == (12, 48)

        with pytest.raises(InputError, match=r"layers=\[0, 2\]"):
            rw.collect(model, [IDS], ["mlp_post"], "all", progress=False)
        held = rw.collect(model, [IDS, IDS[::-1]], ["mlp_post"], "all", layers=[0, 2], progress=False)
        assert relative_gap(torch.from_numpy(held.matrix(2)[:12]), seen["mlp_post", 2]) <= 1e-5

        with pytest.raises(InputError, match=r"layers=\[0, 2\]"):
            rw.neuron_patterns(model, [IDS], progress=False)
        patterns = rw.neuron_patterns(model, [IDS], layers=[0, 2], stat="max", progress=False)
        marked = list(run.marked)
        left = torch.from_numpy(np.delete(seen["mlp_post", 2].numpy(), marked, axis=0))
        assert relative_gap(torch.from_numpy(patterns.values.sel(layer=2).values), left.amax(0)) <= 1e-5
        assert {check.level for check in patterns.checks} <= {"green", "amber"}

        with pytest.raises(InputError, match=r"For example layers=\[2\]"):
            rw.ablation_sweep(run, rw.rank(7), "mlp_post", "zero", progress=False)


class TestGroups:
    def test_layers_that_are_alike(self, made: Callable[[str], ResidualModel], llama: ResidualModel) -> None:
        assert groups(llama) == [(0, 1, 2, 3)]
        assert groups(made(SECOND)) == [(0, 2), (1, 3)]
        assert all(len({layer % 2 for layer in group}) == 1 for group in groups(made(WIDE)))
        assert groups(made("smollm3 some without positions")) == [(0, 2), (1, 3)]

    def test_one_proof_for_each_group(
        self, fresh: Callable[..., ResidualModel], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried: list[Any] = []
        compare = writes._compare
        monkeypatch.setattr(writes, "_compare", lambda *a: tried.append(a[1:3]) or compare(*a))
        for family, expected in (("llama", [0, 2]), (SECOND, [0, 2, 1, 3])):
            model = fresh(family)
            for layer in (*range(4), 1):
                assert write_test(model, "z", layer).works
            assert tried == [("z", layer) for layer in expected]
            tried.clear()

    def test_a_layer_of_another_class_or_with_a_forward_of_its_own_is_in_no_group(
        self, fresh: Callable[..., ResidualModel]
    ) -> None:
        model = fresh("llama")
        mlp = model.bridge.original_model.model.layers[3].mlp._original_component
        mlp.forward = lambda hidden: hidden * 0
        assert groups(model) == [(0, 1, 2), (3,)]


def test_positions_never_take_up_what_does_not_fit() -> None:
    assert split(torch.zeros(2, 3, 8), 2, 3, (2, 4)).shape == (2, 3, 2, 4)
    assert split(torch.zeros(6, 8), 2, 3, (8,)).shape == (2, 3, 8)
    for value in (torch.zeros(2, 3, 8), torch.zeros(1, 3, 16), torch.zeros(2, 6, 4), torch.zeros(4, 4)):
        with pytest.raises(UnsupportedModelError, match="a hook point shows"):
            split(value, 2, 3, (16,))
