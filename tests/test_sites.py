"""Names of places in a model."""

from __future__ import annotations

from typing import Any

import pytest

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
