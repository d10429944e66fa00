"""One cell, read in every quick way: the same numbers as the pictures' own."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("component", ["resid_pre", "resid_post", "mlp_out"])
def test_a_cell_has_the_numbers_of_the_maps(llama_run, component):
    from resid_widgets.analysis.lens.logit_lens import logit_lens
    from resid_widgets.analysis.maps.activation_map import activation_map
    from resid_widgets.analysis.maps.cell_reading import cell_reading, simple_stats

    maps = [activation_map(llama_run, component, name, top=5) for name in simple_stats()]
    lens = logit_lens(llama_run, 4, component)
    for layer in range(4):
        for pos in (0, 3, 6):
            cell = cell_reading(llama_run, component, layer, pos, top=5, top_k=4)
            assert [label for label, _ in cell.stats] == [one.scale.label for one in maps]
            expected = [one.values.values[layer, pos] for one in maps]
            assert np.allclose([value for _, value in cell.stats], expected, rtol=1e-5, equal_nan=True)
            assert [token for token, _ in cell.top] == lens.tokens.values[layer, pos].tolist()
            assert np.allclose([prob for _, prob in cell.top], lens.probs.values[layer, pos], rtol=1e-4)


def test_negative_places_count_from_the_end(llama_run):
    from resid_widgets.analysis.maps.cell_reading import cell_reading

    assert cell_reading(llama_run, "resid_post", -1, -2) == cell_reading(llama_run, "resid_post", 3, 5)


def test_more_dimensions_and_tokens_than_there_are_is_all_of_them(llama_run):
    from resid_widgets.analysis.maps.cell_reading import cell_reading

    cell = cell_reading(llama_run, "resid_post", 1, 1, top=1000, top_k=1000)
    assert dict(cell.stats)["share of the top 32"] == pytest.approx(1)
    assert len(cell.top) == 97
    assert sum(prob for _, prob in cell.top) == pytest.approx(1, rel=1e-4)


def test_what_is_not_finite_has_no_likeliest_tokens(llama_run, edited):
    from resid_widgets.analysis.maps.cell_reading import cell_reading

    broken = edited(llama_run, "resid_post", 1, lambda h: h.index_fill(0, h.new_tensor([2]).long(), float("nan")))
    cell = cell_reading(broken, "resid_post", 1, 2)
    assert cell.top == ()
    assert np.isnan(dict(cell.stats)["norm"])
    assert cell_reading(broken, "resid_post", 1, 3).top


@pytest.mark.parametrize(("layer", "pos", "component"), [(4, 0, "resid_post"), (0, 7, "resid_post"), (0, 0, "z")])
def test_a_cell_that_is_not_there_is_refused(llama_run, layer, pos, component):
    from resid_widgets.analysis.maps.cell_reading import cell_reading
    from resid_widgets.errors import InputError

    with pytest.raises(InputError):
        cell_reading(llama_run, component, layer, pos)
