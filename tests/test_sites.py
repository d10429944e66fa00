"""Names of places in a model."""

from __future__ import annotations

from typing import Any

import pytest

from resid_widgets import sites
from resid_widgets.errors import InputError
from resid_widgets.sites import COMPONENTS, INNER, RESIDUAL, STREAM, WRITES, Site, require_component


def test_the_names_are_transformer_lens_own() -> None:
    assert STREAM == ("resid_pre", "resid_mid", "resid_post")
    assert RESIDUAL == STREAM + WRITES
    assert COMPONENTS == RESIDUAL + INNER
    assert len(set(COMPONENTS)) == len(COMPONENTS)


@pytest.mark.parametrize("component", COMPONENTS)
def test_known_components_pass(component: str) -> None:
    assert require_component(component) == component


def test_unknown_component_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"component='resid_past': must be one of .*Did you mean 'resid_post'\?"):
        require_component("resid_past")
    with pytest.raises(InputError, match=r"component='xyzzy': must be one of .*Choose one of these"):
        require_component("xyzzy")
    with pytest.raises(InputError, match="must be one of resid_pre, resid_mid, resid_post, attn_out, mlp_out"):
        require_component("z", RESIDUAL)


@pytest.mark.parametrize("bad", [None, 3, ("resid_post",), ["resid_post"], b"resid_post", ""])
def test_no_name_at_all(bad: object) -> None:
    with pytest.raises(InputError, match="must be one of"):
        require_component(bad)


def test_site_is_a_value() -> None:
    assert Site("z", 2, pos=-1, head=3) == Site("z", 2, -1, 3)
    assert len({Site("resid_post", 0), Site("resid_post", 0), Site("resid_post", 1)}) == 2
    assert str(Site("z", 2, pos=-1, head=3)) == "z[layer 2, pos -1, head 3]"
    assert str(Site("mlp_post", 0, neuron=7)) == "mlp_post[layer 0, neuron 7]"
    assert str(Site("resid_post", 5)) == "resid_post[layer 5]"
    with pytest.raises(AttributeError):
        Site("z", 2).layer = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"component": "resid", "layer": 0}, "must be one of"),
        ({"component": "z", "layer": -1}, "layer=-1: must be a whole number from 0"),
        ({"component": "z", "layer": True}, "layer=True: must be a whole number from 0"),
        ({"component": "z", "layer": 0, "pos": True}, "pos=True: must be a whole number or None"),
        ({"component": "resid_post", "layer": 0, "head": 1}, "resid_post has no heads"),
        ({"component": "mlp_post", "layer": 0, "head": 1}, "mlp_post has no heads"),
        ({"component": "z", "layer": 0, "neuron": 1}, "z has no neurons"),
    ],
)
def test_impossible_sites(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Site(**fields)


@pytest.mark.parametrize("component", sites.COMPONENTS)
def test_the_names_that_people_have_in_their_notebooks(component: str) -> None:
    hook = sites.HOOK_NAMES[component].format(layer=10)
    for name in (hook, f"{component}.10"):
        assert Site(name) == Site(component, 10) == sites.as_site(name) == sites.named_site(name)
        assert Site(name, pos=-1) == Site(component, 10, pos=-1) == Site(name, 10, -1)
    assert sites.as_site(Site(component, 1)) == Site(component, 1)
    assert sites.named_site(component) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resid_post", r"a Site is needed\. For example rw\.Site\(\"resid_post\", layer=10\), or \"resid_post\.10\""),
        ("blocks.3.hook_resid_last", r"it is none of blocks\.3\.hook_resid_pre"),
        ("resid_pots.3", "Did you mean 'resid_post'"),
        ("blocks.x.hook_resid_post", "must be one of"),
        ("", "must be one of"),
        (3, "a Site is needed"),
        (None, "a Site is needed"),
    ],
)
def test_names_of_nothing(name: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sites.as_site(name)


def test_a_name_and_another_layer() -> None:
    with pytest.raises(InputError, match=r"layer=2: 'resid_post\.10' names layer 10"):
        Site("resid_post.10", 2)


def test_names_are_taken_wherever_a_site_is(tiny: Any) -> None:
    import resid_widgets as rw

    assert rw.zero("blocks.2.attn.hook_z") == rw.zero(Site("z", 2))
    assert rw.add("resid_post.1", [1.0] * 4) == rw.add(Site("resid_post", 1), [1.0] * 4)
    with pytest.raises(InputError, match="no meaning on a pattern"):
        rw.mean("pattern.1")
    clean, corrupt = [5, 6, 7, 8], [5, 9, 7, 8]
    options = {"progress": False, "metric": rw.logit_diff(9, 10)}
    named = rw.path_patch(tiny, clean, corrupt, sender="blocks.0.hook_attn_out", receivers=["q.2"], **options)
    site = rw.path_patch(tiny, clean, corrupt, sender=Site("attn_out", 0), receivers=[Site("q", 2)], **options)
    assert named.receivers == site.receivers and named.values.equals(site.values)
    mediated = [
        rw.causal_mediation(tiny, clean, corrupt, mediator=mediator, **options).values
        for mediator in ("blocks.1.hook_resid_post", Site("resid_post", 1), ["resid_post.1"])
    ]
    assert mediated[0].equals(mediated[1]) and mediated[1].equals(mediated[2])
