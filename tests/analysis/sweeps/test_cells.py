"""Which sites a sweep visits, and in which order they stand in its array."""

from __future__ import annotations

from typing import Any

import pytest

import resid_widgets as rw
from resid_widgets.analysis.sweeps.cells import cells_of
from resid_widgets.errors import InputError, UnsupportedModelError

SHAPES = {
    "resid_pre": (("layer", "pos"), (4, 7)),
    "resid_mid": (("layer", "pos"), (4, 7)),
    "resid_post": (("layer", "pos"), (4, 7)),
    "attn_out": (("layer", "pos"), (4, 7)),
    "mlp_out": (("layer", "pos"), (4, 7)),
    "z": (("layer", "head"), (4, 4)),
    "q": (("layer", "head"), (4, 4)),
    "k": (("layer", "kv_head"), (4, 2)),
    "v": (("layer", "kv_head"), (4, 2)),
    "pattern": (("layer", "head"), (4, 4)),
}


@pytest.fixture(scope="module")
def llama(make_model: Any) -> Any:
    return make_model("llama")


@pytest.mark.parametrize("component", SHAPES)
def test_one_cell_a_layer_and_position_or_head(llama: Any, component: str) -> None:
    dims, shape = SHAPES[component]
    cells = cells_of(llama, component, 7)
    assert (cells.component, cells.dims, cells.shape, len(cells)) == (component, dims, shape, shape[0] * shape[1])
    for index, site in cells:
        second = site.pos if dims[1] == "pos" else site.head
        assert index == (site.layer, second)
        assert site == rw.Site(component, index[0], *((index[1],) if dims[1] == "pos" else (None, index[1])))
    assert [index for index, _ in cells] == sorted(index for index, _ in cells)


@pytest.mark.parametrize("component", ["z", "q", "k", "v", "pattern"])
def test_heads_by_position_have_the_head_last(llama: Any, component: str) -> None:
    name, count = ("kv_head", 2) if component in "kv" else ("head", 4)
    cells = cells_of(llama, component, 7, "head_pos")
    assert (cells.dims, cells.shape) == (("layer", "pos", name), (4, 7, count))
    places = dict(cells)
    assert places[2, 5, 1] == rw.Site(component, 2, 5, 1)
    assert cells_of(llama, component, 7, "head") == cells_of(llama, component, 7)


def test_chosen_layers_and_neurons(llama: Any) -> None:
    cells = cells_of(llama, "mlp_post", 7, layers=[3, 1], neurons=[5, 40, 5])
    assert (cells.dims, cells.coords) == (("layer", "neuron"), ((3, 1), (5, 40)))
    assert dict(cells)[0, 1] == rw.Site("mlp_post", 3, neuron=40)
    assert cells_of(llama, "mlp_post", 7, layers=[0]).shape == (1, 48)
    assert cells_of(llama, "resid_post", 7, layers=[2]).coords == ((2,), tuple(range(7)))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"component": "resid_past"}, "component='resid_past': must be one of .*resid_post"),
        ({"component": "resid_post", "by": "head"}, "by='head': .*are meant for q, k, v, z and pattern. Leave it out"),
        ({"component": "z", "by": "pos"}, "by='pos': 'head' or 'head_pos'"),
        ({"component": "mlp_post"}, r"layers=None: a sweep over neurons needs its layers. For example layers=\[2\]"),
        ({"component": "z", "neurons": [1]}, r"neurons=\[1\]: z has no neurons"),
        ({"component": "mlp_post", "layers": [0], "neurons": [48]}, "neurons=48: a whole number from 0 to 47"),
        ({"component": "mlp_post", "layers": [0], "neurons": []}, r"neurons=\[\]: it names nothing"),
        ({"component": "z", "layers": [4]}, "layers=4: a whole number from 0 to 3"),
        ({"component": "z", "layers": [-1]}, "layers=-1: a whole number from 0 to 3"),
        ({"component": "z", "layers": []}, r"layers=\[\]: it names nothing. Leave it out for all"),
    ],
)
def test_what_does_not_fit_is_named(llama: Any, arguments: dict[str, Any], text: str) -> None:
    component, by = arguments.pop("component"), arguments.pop("by", None)
    with pytest.raises(InputError, match=text):
        cells_of(llama, component, 7, by, **arguments)


def test_what_a_model_has_not_or_cannot_write(make_model: Any) -> None:
    with pytest.raises(InputError, match=r"component='resid_mid': .*parallel.*Use 'resid_pre' or 'resid_post'"):
        cells_of(make_model("gpt_neox"), "resid_mid", 7)
    with pytest.raises(UnsupportedModelError, match="pattern cannot be written"):
        cells_of(make_model("opt"), "pattern", 7)
    with pytest.raises(InputError, match=r"no layer of .* has any: a mixture of experts"):
        cells_of(make_model("mixtral"), "mlp_post", 7, layers=[0])
    assert cells_of(make_model("gpt_bigcode"), "k", 7).shape == (4, 1)
