"""Models and prompts whose causal graph is known, and whether the tools find it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import resid_widgets as rw
from resid_widgets.analysis.sweeps.sweep import Cell, run_cells, sweeping
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.reuse.edits import edit_for
from resid_widgets.models.reuse.engine import engine_of
from tests.analysis.handmade import induction_model

# --- a hand-wired induction circuit ----------------------------------------------------------------------------------

A, B, C, D, BOS = 0, 1, 2, 3, 7
CLEAN, CORRUPT = [BOS, A, B, C, D, A], [BOS, C, B, A, D, A]  # before b, then before d, stands the a that is asked about
METRIC = rw.logit_diff(B, D)
ONE = {"abs": 1e-3}


@pytest.fixture(scope="module")
def induction():
    return load_model((induction_model(), None))


def grid(model, component, clean=CLEAN, corrupt=CORRUPT, metric=METRIC, **options):
    return rw.patch_sweep(model, clean, corrupt, metric, component=component, progress=False, **options)


def assert_only(values, found):
    """Assert that a grid is `found` at the places named, and zero elsewhere."""
    expected = np.zeros(values.shape)
    for place, value in found.items():
        expected[place] = value
    np.testing.assert_allclose(values.values, expected, atol=1e-3)


def test_it_does_induction(induction):
    for a, b, c, d in itertools.permutations(range(4)):
        logits = rw.run(induction, [BOS, a, b, c, d, a]).final_logits
        assert int(logits.argmax()) == b
        assert float(logits[b] - logits[d]) == pytest.approx(10, abs=0.01)


def test_the_heads_of_the_circuit_are_found_and_no_others(induction):
    assert_only(grid(induction, "z").values, {(0, 1): 1, (1, 1): 1})
    # The first head's contribution arises before b and before d; with one of them, the two matches are alike.
    assert_only(grid(induction, "z", by="head_pos").values, {(0, 2, 1): 0.5, (0, 4, 1): 0.5, (1, 5, 1): 1})
    noise = grid(induction, "z", direction="noise").values
    assert_only(1 - noise, {(0, 1): 1, (1, 1): 1})


def test_what_passes_through_queries_keys_values_and_patterns(induction):
    assert_only(grid(induction, "q").values, {})
    assert_only(grid(induction, "k").values, {(1, 1): 1})
    assert_only(grid(induction, "v").values, {(0, 1): 1})
    assert_only(grid(induction, "pattern").values, {(1, 1): 1})


def test_the_stream_shows_where_it_goes(induction):
    assert_only(grid(induction, "resid_pre").values, {(0, 1): 0.5, (0, 3): 0.5, (1, 2): 0.5, (1, 4): 0.5})
    assert_only(grid(induction, "resid_post").values, {(0, 2): 0.5, (0, 4): 0.5, (1, 5): 1})
    assert_only(grid(induction, "attn_out").values, {(0, 2): 0.5, (0, 4): 0.5, (1, 5): 1})
    assert_only(grid(induction, "mlp_out").values, {})


def test_a_change_of_what_is_copied_goes_another_way(induction):
    """The token after the first a differs: the value that is copied, not where it is found."""
    pair, metric = ([BOS, A, B, C, D, A], [BOS, A, D, C, B, A]), rw.logit_diff(B, D)
    assert_only(grid(induction, "z", *pair, metric).values, {(1, 1): 1})
    assert_only(grid(induction, "k", *pair, metric).values, {})
    assert_only(grid(induction, "v", *pair, metric).values, {(1, 1): 1})
    assert_only(grid(induction, "resid_pre", *pair, metric).values, {(0, 2): 1, (1, 2): 1})


def test_the_mediator_carries_all_of_it(induction):
    for site, share in (
        (rw.Site("z", 0, head=1), 1),
        (rw.Site("k", 1, head=1), 1),
        (rw.Site("z", 0, head=0), 0),
        (rw.Site("q", 1, head=1), 0),
        (rw.Site("mlp_out", 0), 0),
    ):
        result = rw.causal_mediation(induction, CLEAN, CORRUPT, METRIC, site, progress=False)
        total, direct, indirect, _, both = result.values.values / float(result.values[0])
        assert (total, direct, indirect, both) == pytest.approx((1, 1 - share, share, 0), **ONE)


# --- oracles of patching ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_all_of_the_embedded_stream_decides_everything(tiny, direction):
    for pair in rw.tasks.load("ioi", tiny, n=2).pairs:
        clean, corrupt = rw.run(tiny, pair.clean), rw.run(tiny, pair.corrupt)
        base, source = (corrupt, clean) if direction == "denoise" else (clean, corrupt)
        everything = rw.intervene(base, rw.patch(rw.Site("resid_pre", 0), source))
        metric = rw.logit_diff(pair.answer, pair.foil)
        ends = [metric.bound(run).of_base() for run in (corrupt, clean)]
        value = (metric.bound(everything).of_base() - ends[0]) / (ends[1] - ends[0])
        assert value == pytest.approx(1 if direction == "denoise" else 0, abs=1e-5)


def test_the_clean_run_patched_from_itself_stays_clean(tiny):
    pair = rw.tasks.load("ioi", tiny, n=1).pairs[0]
    clean, corrupt = rw.run(tiny, pair.clean), rw.run(tiny, pair.corrupt)
    metric = rw.logit_diff(pair.answer, pair.foil)
    ends = [metric.bound(run).of_base() for run in (corrupt, clean)]
    for site in (rw.Site("resid_pre", 0), rw.Site("z", 2), rw.Site("mlp_out", 1, pos=-1), rw.Site("pattern", 3)):
        same = rw.intervene(clean, rw.patch(site, clean))
        value = (metric.bound(same).of_base() - ends[0]) / (ends[1] - ends[0])
        assert value == pytest.approx(1, abs=1e-5)


# --- indirect object identification on the bundled model -------------------------------------------------------------


@pytest.fixture(scope="module")
def ioi(tiny):
    """Pairs in which the receiver is named first (ABBA and BABA in turn), cut in two balanced halves."""
    pairs = rw.tasks.load("ioi", tiny, n=32, seed=1).pairs
    return pairs[:16], pairs[16:]


def giver_first(pair):
    """Whether the one who gives was named first."""
    return pair.clean.index(pair.foil.strip()) < pair.clean.index(pair.answer.strip())


def without(model, pairs, sets):
    """The logit difference of each pair with each set of heads mean-ablated, ``[set, pair]``."""
    found = np.zeros((len(sets), len(pairs)))
    for n, pair in enumerate(pairs):
        run = rw.run(model, pair.clean, keep=["resid_post", "z"])
        edits = {
            head: edit_for(run, rw.mean(rw.Site("z", head[0], head=head[1])))
            for head in {head for heads in sets for head in heads}
        }
        cells = [Cell((k,), tuple(edits[head] for head in heads)) for k, heads in enumerate(sets)]
        reading = rw.logit_diff(pair.answer, pair.foil).bound(run)
        found[:, n] = run_cells(engine_of(run, {"z"}), reading, cells, (len(sets),), sweeping(False), None)
    return found


def test_two_heads_carry_indirect_object_identification(tiny, ioi):
    half, other = ioi
    for pairs in ioi:
        assert sum(map(giver_first, pairs)) == len(pairs) / 2  # balanced
    heads = list(itertools.product(range(tiny.n_layers), range(tiny.n_heads)))
    alone = without(tiny, half, [(), *[(head,) for head in heads]]).mean(axis=1)
    removed = alone[0] - alone[1:]
    chosen = tuple(heads[k] for k in np.argsort(-removed)[:2])
    rest = [head for head in heads if head not in chosen]
    sets = list(itertools.combinations(rest, 2))
    after = without(tiny, other, [(), chosen, *sets])
    intact, ablated, others = after[0], after[1], after[2:]
    lost, lost_by_others = (intact - ablated).mean(), (intact - others).mean(axis=1)
    accuracy, left = (intact > 0).mean(), (ablated > 0).mean()
    beaten = (lost > lost_by_others).mean()
    print(
        f"heads {chosen} take {lost:.2f} of a mean logit difference of {intact.mean():.2f}, more than {beaten:.1%} of "
        f"{len(sets)} other pairs of heads (largest {lost_by_others.max():.2f}); accuracy {accuracy:.1%} before, "
        f"{left:.1%} after, {(others > 0).mean():.1%} without others; 50 % is chance between the two names"
    )
    assert accuracy >= 0.95
    assert beaten >= 0.95
    assert lost > 0.2 * intact.mean()


def test_the_answer_moves_from_the_repeated_name_to_the_last_token(tiny, ioi):
    at_name, at_end = [], []
    for pair in ioi[0][:8]:
        found = rw.patch_sweep(
            tiny, pair.clean, pair.corrupt, rw.logit_diff(pair.answer, pair.foil), component="resid_pre", progress=False
        )
        differs = found.values.token_clean.values != found.values.token_corrupt.values
        (repeated,) = np.flatnonzero(differs)  # the giver, named the second time
        at_name.append(found.values.values[:, repeated])
        at_end.append(found.values.values[:, -1])
    name, end = np.mean(at_name, axis=0), np.mean(at_end, axis=0)
    moved = int(np.argmax(end > name))
    print(f"at the repeated name {name.round(2)}, at the last token {end.round(2)} by layer: moved at layer {moved}")
    assert name[0] == pytest.approx(1, abs=1e-4)
    assert end[0] == pytest.approx(0, abs=1e-4)
    assert 2 <= moved <= 3  # the grammar's answer is looked up in the upper half of the model
    assert end[-1] > 0.8
    assert (np.diff(name) < 0.05).all()
    assert (np.diff(end) > -0.05).all()
