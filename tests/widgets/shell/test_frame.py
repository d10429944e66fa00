"""The wire: bytes for arrays, plain data for the rest, one value for one picture."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape)


def resized(result: Any, values: Any) -> Any:
    """Return a result of another shape, as a large model and a long prompt would give it."""
    n_layers, n_pos = values.shape
    array = xr.DataArray(
        values, dims=("layer", "pos"), coords={"layer": range(n_layers), "pos": range(n_pos)}, name="norm"
    )
    return replace(result, values=array, tokens_visible=tuple(f"·w{n % 5000}" for n in range(n_pos)), marked=(0,))


def encode(result: Any, number: int, lens: Any = None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a heat map's frame and its buffers, as a widget makes them."""
    from resid_widgets.widgets.shell.frame import Words, framed, told
    from resid_widgets.widgets.shell.heatmap import heatmap

    checks = [told(check) for check in result.checks]
    words = Words(result.title, result.sentence, result.provenance.describe(), checks)
    return framed(number, words, {"heatmap": heatmap(result, lens)})


def size(frame: dict[str, Any], buffers: dict[str, bytes]) -> int:
    """Return the bytes that a frame is on the wire."""
    from ipywidgets.widgets.widget import _remove_buffers

    rest, _, inside = _remove_buffers(frame)
    return len(json.dumps(rest)) + sum(map(len, inside)) + sum(map(len, buffers.values()))


@pytest.fixture
def norm(llama_run) -> Any:
    from resid_widgets.analysis.maps.activation_map import activation_map

    return activation_map(llama_run)


def test_a_frame_carries_the_result_and_nothing_else(norm, llama_run):

    frame, buffers = encode(norm, 7)
    assert buffers == {}
    assert frame["id"] == 7
    assert list(frame["parts"]) == ["heatmap"]
    assert frame["buffers"] == ["heatmap.data"]
    assert frame["footer"] == norm.provenance.describe()
    assert [check["text"] for check in frame["checks"]] == [check.text for check in norm.checks]
    frame = frame["parts"]["heatmap"]
    assert (frame["axes"], frame["cols"]) == (["layer", "pos"], None)
    assert frame["shape"] == [4, 7]  # layers, positions: transposed would not fit
    assert (frame["dtype"], frame["row_name"]) == ("float32", "layer")
    assert frame["rows"] == [0, 1, 2, 3]
    assert frame["tokens"] == list(norm.tokens_visible)
    assert frame["marked"] == list(llama_run.marked)
    assert frame["text"] is None
    assert frame["top"] is None
    assert frame["scale"]["low"] == norm.scale.low
    values = np.frombuffer(frame["data"], "<f4").reshape(frame["shape"])
    assert np.array_equal(values, norm.values.values)


def test_no_array_travels_as_a_list(norm):

    frame, _ = encode(resized(norm, noise(20, 30)), 1)
    longest = max(len(value) for value in frame["parts"]["heatmap"].values() if isinstance(value, list))
    assert longest == 30  # the tokens


def test_a_large_picture_is_within_a_tenth_of_four_bytes_a_cell(norm):

    frame, buffers = encode(resized(norm, noise(48, 2048)), 1)
    cells = 48 * 2048
    assert list(buffers) == ["heatmap.data"]
    assert frame["parts"]["heatmap"]["data"] is None
    assert 4 * cells <= size(frame, buffers) <= 1.1 * 4 * cells


@pytest.mark.parametrize(("shape", "inside"), [((8, 8192), True), ((8, 8193), False)])
def test_the_limit_of_the_trait_is_256_kib(norm, shape, inside):
    from resid_widgets.widgets.shell.frame import TRAIT_LIMIT, restored

    assert TRAIT_LIMIT == 8 * 8192 * 4
    frame, buffers = encode(resized(norm, noise(*shape)), 1)
    assert (frame["parts"]["heatmap"]["data"] is not None) is inside
    assert (buffers == {}) is inside
    assert len(restored(frame, buffers)["parts"]["heatmap"]["data"]) == 4 * shape[0] * shape[1]


def test_a_lens_carries_each_token_once(words):
    from resid_widgets.analysis.lens.logit_lens import logit_lens
    from resid_widgets.tokens import visible

    lens = logit_lens(words, top_k=3)
    frame, _ = encode(lens, 1, lens)
    assert frame["buffers"] == [f"heatmap.{name}" for name in ("data", "text.index", "top.index", "top.probs")]
    frame = frame["parts"]["heatmap"]
    text, top = frame["text"], frame["top"]
    assert len(set(text["strings"])) == len(text["strings"])
    index = np.frombuffer(text["index"], "<u4").reshape(frame["shape"])
    assert [[text["strings"][i] for i in row] for row in index] == lens.cell_text.tolist()
    assert top["k"] == 3
    index = np.frombuffer(top["index"], "<u4").reshape(4, 10, 3)
    assert top["strings"][index[2, 5, 1]] == visible(str(lens.tokens.values[2, 5, 1]))
    assert np.array_equal(np.frombuffer(top["probs"], "<f4").reshape(4, 10, 3), lens.probs.values)


def test_a_large_lens_leaves_nothing_in_the_trait_and_can_be_put_together_again(words):
    from resid_widgets.analysis.lens.logit_lens import logit_lens
    from resid_widgets.widgets.shell import frame as wire

    lens = logit_lens(words)
    whole, none = encode(lens, 1, lens)
    assert none == {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "TRAIT_LIMIT", 0)
        frame, buffers = encode(lens, 1, lens)
    assert list(buffers) == frame["buffers"] == whole["buffers"]
    heatmap = frame["parts"]["heatmap"]
    assert heatmap["data"] is None
    assert heatmap["text"]["index"] is None
    assert heatmap["top"]["strings"] == whole["parts"]["heatmap"]["top"]["strings"]
    assert wire.restored(frame, buffers) == whole


def test_what_json_cannot_say_stays_out_of_it(norm):
    from resid_widgets.results import Check

    values = norm.values.values.copy()
    values[1, 2], values[2, 3] = np.nan, np.inf
    odd = replace(
        norm,
        values=norm.values.copy(data=values),
        scale=replace(norm.scale, low=float("nan"), high=float("inf")),
        checks=(Check("gap", "red", float("nan"), float("inf"), "broken \ud800"),),
    )
    frame, _ = encode(odd, 1)
    shown = np.frombuffer(frame["parts"]["heatmap"].pop("data"), "<f4").reshape(4, 7)
    assert np.isnan(shown[1, 2])
    assert shown[2, 3] == np.inf
    assert [frame["parts"]["heatmap"]["scale"][end] for end in ("low", "high")] == [None, None]
    assert (frame["checks"][0]["value"], frame["checks"][0]["limit"]) == (None, None)
    json.dumps(frame, allow_nan=False).encode("utf-8")
    assert frame["checks"][0]["text"].encode("utf-8") == b"broken \\ud800"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.floats(width=32).map(np.float32),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(anything)
@settings(max_examples=200, deadline=None)
def test_plain_is_always_strict_json(value):
    from resid_widgets.widgets.shell.frame import plain

    text = json.dumps(plain(value), allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")
    assert plain(json.loads(text)) == plain(value)


def test_plain_refuses_what_does_not_belong_in_a_message():
    from resid_widgets.widgets.shell.frame import plain

    with pytest.raises(TypeError, match="ndarray"):
        plain({"values": np.zeros(3)})


@given(st.tuples(st.integers(1, 6), st.integers(1, 9)), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_strings_survive_their_index(shape, seed):
    from resid_widgets.widgets.shell.heatmap import indexed

    rng = np.random.default_rng(seed)
    strings = np.array(["", "a", "·b", "\u202e", "🙂"], dtype=object)[rng.integers(0, 5, shape)]
    packed = indexed(strings)
    index = np.frombuffer(packed["index"], "<u4").reshape(shape)
    assert [[packed["strings"][i] for i in row] for row in index] == strings.tolist()
