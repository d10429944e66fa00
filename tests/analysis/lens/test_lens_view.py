"""A lens through another of its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def lens(worded) -> Any:
    from resid_widgets.analysis.lens.logit_lens import logit_lens
    from resid_widgets.models.runs.run import run

    return logit_lens(run(worded, [1, 3, 5, 3, 9]), targets=[" Mary", " gave"])


def expected(lens: Any, quantity: str, target: int) -> Any:
    return {
        "probability": lens.values.values,
        "entropy": lens.entropy.values,
        "kl": lens.kl.values,
        "rank": np.log10(1 + lens.rank.values[..., target]),
        "target_probability": lens.target_probs.values[..., target],
    }[quantity]


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("quantity", ["probability", "entropy", "kl", "rank", "target_probability"])
def test_what_is_drawn_is_the_lens_own_number_and_its_script_gives_it(lens, worded, quantity, target):
    from resid_widgets.analysis.lens.lens_view import lens_view

    view = lens_view(lens, quantity, target)
    assert np.array_equal(view.values.values, expected(lens, quantity, target))
    assert view.values.dims == ("layer", "pos")
    assert view.cell_text is not None
    assert lens.cell_text.tolist() == view.cell_text.tolist()
    assert view.to_dataframe().equals(lens.to_dataframe())
    assert view.plot().get_axes()
    space: dict[str, Any] = {"bridge": worded.bridge}
    exec(view.code(), space)  # noqa: S102
    assert np.allclose(space["values"].cpu().numpy(), view.values.values, atol=1e-5)


def test_the_colours_fit_the_quantity(lens):
    from resid_widgets.analysis.lens.lens_view import lens_view

    for quantity in ("entropy", "kl"):
        scale = lens_view(lens, quantity).scale
        assert scale.units == "nats"
        assert 0 <= scale.low < scale.high <= expected(lens, quantity, 0).max() * 1.05  # to a round number
    probability, rank = lens_view(lens, "target_probability", 1).scale, lens_view(lens, "rank", 1).scale
    assert (probability.low, probability.high) == (0, 1)
    assert rank.low == 0
    assert rank.high >= expected(lens, "rank", 1).max()
    assert "·gave" in rank.label


def test_the_picture_says_which_number_and_which_token(lens):
    from resid_widgets.analysis.lens.lens_view import lens_view

    view = lens_view(lens, "rank", 0)
    assert view.title.endswith("rank of ·Mary")
    assert "·Mary" in view.sentence
    assert view.provenance.options["quantity"] == "rank"
    assert view.provenance.options["target"] == "·Mary"
    assert (view.checks, view.marked, view.component) == (lens.checks, lens.marked, lens.component)


def test_probability_is_the_lens_itself(lens):
    from resid_widgets.analysis.lens.lens_view import lens_view

    assert lens_view(lens) is lens


@pytest.mark.parametrize(("quantity", "target"), [("perplexity", 0), ("rank", 2), ("rank", -1), ("rank", True)])
def test_what_is_not_there_is_refused(lens, quantity, target):
    from resid_widgets.analysis.lens.lens_view import lens_view
    from resid_widgets.errors import InputError

    with pytest.raises(InputError):
        lens_view(lens, quantity, target)


def test_a_lens_that_follows_no_token_has_no_rank(llama_run):
    from resid_widgets.analysis.lens.lens_view import lens_view
    from resid_widgets.analysis.lens.logit_lens import logit_lens
    from resid_widgets.errors import InputError

    with pytest.raises(InputError, match="follows no token"):
        lens_view(logit_lens(llama_run), "rank")
