"""A vector of the stream, split along a direction: it adds up at every site, and its script gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.models.loading.load_model import load_model
from tests.analysis.plain import script_result
from tests.architectures import build

IDS = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]  # longer than each window
BY = ("component", "layer", "head", "neuron", "source")
SITES = (None, rw.Site("resid_pre", 2, pos=6), rw.Site("resid_mid", 1), "resid_post.0", "blocks.3.hook_resid_pre")


@pytest.fixture(scope="module", params=["gpt2", "gemma3_text", "granite"])
def run(request: pytest.FixtureRequest) -> Any:
    return rw.run(load_model((build(request.param), None)), IDS)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("site", SITES, ids=str)
def test_a_vector_adds_up(run: Any, site: Any, by: str) -> None:
    direction = np.random.default_rng(0).normal(size=run.model.d_model)
    found = rw.along(run, direction, site, by)
    at = rw.Site("resid_post", 3) if site is None else rw.Site(site) if isinstance(site, str) else site
    stream = run.tensor(at.component, at.layer)[-1 if at.pos is None else at.pos].double().numpy()
    assert found.total == pytest.approx(float(stream @ direction), rel=1e-5)
    assert found.bias == 0
    size = float(np.abs(np.nan_to_num(found.values.values)).max()) or 1.0
    assert float(found.values.sum() + found.rest.sum()) == pytest.approx(found.total, abs=1e-4 * max(size, 1))
    assert found.units == ""
    again = script_result(found.code(), run.model.bridge).numpy()
    np.testing.assert_allclose(again, found.values.values, atol=1e-4 * size, equal_nan=True)


@pytest.mark.parametrize("site", SITES, ids=str)
def test_a_token_is_what_the_lens_reads(run: Any, site: Any) -> None:
    found = rw.along(run, 17, site)
    at = rw.Site("resid_post", 3) if site is None else rw.Site(site) if isinstance(site, str) else site
    stream = run.tensor(at.component, at.layer)[-1 if at.pos is None else at.pos]
    assert found.total == pytest.approx(float(run.model.unembed(stream)[17]), rel=1e-5, abs=1e-5)
    assert float(found.values.sum()) + found.bias == pytest.approx(found.total, abs=1e-3)
    assert found.units == "logits"
    np.testing.assert_allclose(script_result(found.code(), run.model.bridge), found.values, atol=1e-5)


def test_the_final_token_is_direct_logit_attribution(tiny: Any) -> None:
    run = rw.run(tiny, "The girl near the dogs")
    for by in BY:
        ours = rw.along(run, " is", by=by)
        np.testing.assert_allclose(ours.values, rw.direct_logit_attribution(run, rw.logit(" is"), by).values)


def test_what_is_above_has_not_written_yet(tiny: Any) -> None:
    run = rw.run(tiny, "The girl near the dogs")
    below = rw.along(run, " is", rw.Site("resid_mid", 1)).values.component.values
    assert list(below) == ["embed", "0.attn_out", "0.mlp_out", "1.attn_out"]
    assert list(rw.along(run, " is", rw.Site("resid_pre", 0)).values.component.values) == ["embed"]
    with pytest.raises(rw.InputError, match=r"layers=2.*Choose among \[0, 1\]"):
        rw.along(run, " is", rw.Site("resid_mid", 1), "head", layers=[2])
    with pytest.raises(rw.InputError, match="nothing has written there but the embedding"):
        rw.along(run, " is", rw.Site("resid_pre", 0), "head")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda run: rw.along("run", " is"), "a Run is needed"),
        (lambda run: rw.along(run, np.zeros(128)), "a direction cannot be the zero vector"),
        (lambda run: rw.along(run, np.ones(64)), r"direction=\[64\]: it is not of shape \[128\]"),
        (lambda run: rw.along(run, np.full(128, np.nan)), "every number must be finite"),
        (lambda run: rw.along(run, None), "an array of numbers is needed"),
        (lambda run: rw.along(run, " is are"), "' is are'"),
        (lambda run: rw.along(run, " is", rw.Site("z", 1)), "z is no state of the stream"),
        (lambda run: rw.along(run, " is", rw.Site("resid_post", 7)), "layer=7"),
        (lambda run: rw.along(run, " is", rw.Site("resid_post", 1, pos=99)), "pos=99"),
        (lambda run: rw.along(run, " is", "resid_post"), "a Site is needed"),
        (lambda run: rw.along(run, " is", by="part"), "there is no such split"),
    ],
)
def test_bad_input_is_named(tiny: Any, make: Any, text: str) -> None:
    with pytest.raises(rw.InputError, match=text):
        make(rw.run(tiny, "The girl near the dogs"))


def test_tensors_of_any_dtype_are_directions(tiny: Any) -> None:
    run = rw.run(tiny, "The girl near the dogs")
    vector = torch.randn(128, generator=torch.Generator().manual_seed(0))
    totals = [rw.along(run, vector.to(dtype)).total for dtype in (torch.float32, torch.float64, torch.bfloat16)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    assert totals[0] == pytest.approx(totals[2], rel=0.05, abs=1.0)
