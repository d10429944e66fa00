"""`intervene` against interventions written a second time as plain hooks, and what the new run says and holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import resid_widgets as rw
from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse.edits import ORDER
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import relative_gap
from resid_widgets.sites import COMPONENTS
from tests.architectures import FAMILIES, PARALLEL, REFUSED, REFUSED_WRITES, build
from tests.models.plain_interventions import D_HEAD, Plain, Where, plain_edit

IDS = (5, 9, 33, 2, 8, 60, 7)  # longer than the sliding windows of some families
SAME_LENGTH, SHORTER = (1, 40, 3, 77, 12, 60, 8), (4, 50, 6, 20)
N_POS, N_LAYERS = len(IDS), 4
LIMIT = 1e-4


class Both(NamedTuple):
    """A family twice: through the bridge, and as Hugging Face ships it."""

    family: str
    model: ResidualModel
    run: Run
    other: Run
    plain: Plain
    components: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]


def both(family: str) -> Both:
    model, plain = load_model((build(family), None), copy=False), Plain(family)
    refused = REFUSED_WRITES.get(family, set()) | ({"resid_mid"} if family in PARALLEL else set())
    components = tuple(c for c in COMPONENTS if c not in refused)
    _, seen = plain.run(IDS)
    shapes = {c: tuple(seen[c, 0].shape[1:]) for c in components}
    return Both(family, model, rw.run(model, IDS), rw.run(model, SAME_LENGTH), plain, components, shapes)


@pytest.fixture(scope="module", params=[family for family in FAMILIES if family not in REFUSED])
def pair(request: pytest.FixtureRequest) -> Both:
    return both(request.param)


@pytest.fixture(scope="module")
def llamas() -> Both:
    return both("llama")


# --- any mix of interventions, on any architecture -------------------------------------------------------------------


class Described(NamedTuple):
    """An intervention as plain data, from which both sides make their own."""

    op: str
    where: Where
    options: dict[str, Any]


def built(pair: Both, item: Described) -> rw.Intervention:
    site, options = rw.Site(*(vars(item.where).values())), dict(item.options)
    if item.op == "patch" and options["source"] == SAME_LENGTH and options.pop("as_run"):
        options["source"] = pair.other
    options.pop("as_run", None)
    return getattr(rw, item.op)(site, **options)


def plain_edits(pair: Both, items: Sequence[Described], ids: Sequence[int] = IDS) -> list[Any]:
    return [plain_edit(pair.plain, ids, *item) for item in items]


def expected(pair: Both, items: Sequence[Described]) -> tuple[torch.Tensor, dict[tuple[str, int], torch.Tensor]]:
    return pair.plain.run(IDS, plain_edits(pair, items))


@st.composite
def described(draw: st.DrawFn, components: tuple[str, ...], shapes: dict[str, tuple[int, ...]]) -> Described:
    component = draw(st.sampled_from(components))
    layer, pos = draw(st.integers(0, N_LAYERS - 1)), draw(st.none() | st.integers(-N_POS, N_POS - 1))
    head = neuron = None
    if component in ("q", "k", "v", "z"):
        head = draw(st.none() | st.integers(0, shapes[component][0] - 1))
    elif component == "pattern":
        head = draw(st.none() | st.integers(0, shapes["z"][0] - 1))
    elif component == "mlp_post":
        neuron = draw(st.none() | st.integers(0, shapes[component][0] - 1))
    where = Where(component, layer, pos, head, neuron)
    ops = ["zero", "resample", "clamp", "set_to", "patch"]
    ops += [] if component == "pattern" else ["mean", "noise"]
    ops += [] if component == "pattern" or neuron is not None else ["project_out", "add"]
    op = draw(st.sampled_from(ops))
    seed = draw(st.integers(0, 9))
    vector = np.random.default_rng(seed).normal(size=shapes[component][-1])
    sources = (
        [SAME_LENGTH]
        if component == "pattern"
        else draw(st.sampled_from([[SAME_LENGTH], [SHORTER], [SHORTER, SAME_LENGTH]]))
    )
    fits = pos is not None and 0 <= pos % N_POS < len(SHORTER) and component != "pattern"
    # A constant stream has no variance: what a LayerNorm makes of it is rounding, another one in each implementation.
    stream = component.startswith("resid_")
    as_vector = stream or (component != "pattern" and neuron is None and draw(st.booleans()))
    options: dict[str, Any] = {
        "zero": {},
        "mean": {"over": draw(st.none() | st.just(sources))},
        "resample": {"source": sources, "seed": seed},
        "noise": {"sigma": draw(st.sampled_from([0.3, 2.0])), "seed": seed},
        "clamp": {"low": -0.2, "high": draw(st.none() | st.just(0.1))},
        "set_to": {"value": vector if as_vector else draw(st.sampled_from([0.25, -1.5]))},
        "project_out": {"direction": vector},
        "add": {"direction": vector, "alpha": draw(st.sampled_from([-1.0, 0.5]))},
        "patch": {"source": SHORTER if fits and draw(st.booleans()) else SAME_LENGTH, "as_run": draw(st.booleans())},
    }[op]
    where = Where(component, layer, None if pos is None else pos % N_POS, head, neuron) if op == "patch" else where
    return Described(op, where, options)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_interventions_give_what_plain_pytorch_gives(pair: Both, data: st.DataObject) -> None:
    items = data.draw(st.lists(described(pair.components, pair.shapes), min_size=1, max_size=4))
    kept = data.draw(st.sampled_from(pair.components))
    found = rw.intervene(pair.run, [built(pair, item) for item in items], keep=["logits", kept])
    logits, seen = expected(pair, items)
    assert relative_gap(found.logits, logits) <= LIMIT
    assert torch.equal(found.final_logits, found.logits[-1])
    for layer in range(N_LAYERS):
        assert relative_gap(found.tensor(kept, layer), seen[kept, layer]) <= LIMIT
    levels = {check.name: check.level for check in found.checks}
    assert levels["exact reuse"] == levels["interventions"] == "green"


def test_every_kind_of_site_of_every_architecture(pair: Both) -> None:
    """Each whole and as its smallest part, so that no family lacks one by chance."""
    for component in pair.components:
        inner = {"head": min(1, pair.shapes[component][0] - 1)} if component in ("q", "k", "v", "z") else {}
        inner = {"head": 1} if component == "pattern" else {"neuron": 5} if component == "mlp_post" else inner
        items = [
            Described("zero", Where(component, 1), {}),
            Described("patch", Where(component, 2, 4, **inner), {"source": SAME_LENGTH, "as_run": True}),
        ]
        for item in items:
            found = rw.intervene(pair.run, built(pair, item), keep="logits")
            gap = relative_gap(found.logits, expected(pair, [item])[0])
            assert gap <= LIMIT, (pair.family, item.where, gap)
            assert found.checks[0].level == "green", (pair.family, item.where, found.checks[0].text)
            assert not torch.equal(found.logits[-1], pair.run.final_logits), (pair.family, item.where)


def test_what_cannot_be_written_is_refused(pair: Both) -> None:
    for component in set(COMPONENTS) - set(pair.components):
        with pytest.raises(UnsupportedModelError, match=f"{component} cannot be written"):
            rw.intervene(pair.run, rw.zero(rw.Site(component, 1)))


# --- the order of composition ----------------------------------------------------------------------------------------


def test_sites_are_changed_in_the_order_of_the_computation(llamas: Both) -> None:
    """However they are listed: layer by layer, and in a layer as the docstring of the module says."""
    told = "resid_pre, q, k, v, pattern, z, attn_out, resid_mid, mlp_post, mlp_out, resid_post"
    from resid_widgets import interventions

    assert tuple(told.split(", ")) == ORDER
    assert told in interventions.__doc__.replace("\n", " ")
    every = [
        Described("noise", Where(c, n, 3), {"sigma": 0.5, "seed": n}) for n in (1, 2) for c in ORDER if c != "pattern"
    ]
    every += [Described("clamp", Where("pattern", n), {"low": 0.1, "high": None}) for n in (1, 2)]
    logits, _ = expected(llamas, every)
    for seed in range(4):
        shuffled = list(np.random.default_rng(seed).permutation(len(every)))
        items = [built(llamas, every[n]) for n in shuffled]
        found = rw.intervene(llamas.run, items, keep="logits")
        assert relative_gap(found.logits, logits) <= LIMIT
        assert found.interventions == tuple(items)


@pytest.mark.parametrize("component", ORDER)
def test_those_of_one_site_as_they_are_listed(llamas: Both, component: str) -> None:
    first = Described("set_to", Where(component, 1, 3), {"value": 0.5})
    second = Described("clamp", Where(component, 1), {"low": None, "high": 0.2})
    results = []
    for items in ([first, second], [second, first]):
        found = rw.intervene(llamas.run, [built(llamas, item) for item in items], keep="logits")
        assert relative_gap(found.logits, expected(llamas, items)[0]) <= LIMIT
        results.append(found.logits)
    assert relative_gap(results[0], results[1]) > 1e-3


def test_overlapping_parts_of_a_component(llamas: Both) -> None:
    items = [
        Described("set_to", Where("z", 1, None, 2), {"value": 0.5}),
        Described("zero", Where("z", 1, 4), {}),
        Described("add", Where("z", 1, 4, 2), {"direction": np.ones(D_HEAD), "alpha": 0.7}),
    ]
    found = rw.intervene(llamas.run, [built(llamas, item) for item in items], keep=["z", "logits"])
    assert relative_gap(found.logits, expected(llamas, items)[0]) <= LIMIT
    z = found.tensor("z", 1)
    assert torch.allclose(z[4, 2], torch.full((D_HEAD,), 0.7))
    assert not z[4, [0, 1, 3]].any()
    assert (z[[0, 1, 2, 3, 5, 6], 2] == 0.5).all()


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2"])
def test_the_same_edit_listed_twice(family: str, llamas: Both) -> None:
    pair = llamas if family == "llama" else both(family)
    item = Described("add", Where("mlp_out", 2, 3), {"direction": np.ones(32), "alpha": 0.5})
    twice = rw.intervene(pair.run, [built(pair, item)] * 2, keep="logits")
    assert relative_gap(twice.logits, expected(pair, [item, item])[0]) <= LIMIT


# --- runs upon runs --------------------------------------------------------------------------------------------------


def test_an_edited_run_is_edited_again(llamas: Both) -> None:
    """Both sets act at once, and means, spreads and the base stay those of the run without any."""
    first = Described("noise", Where("resid_post", 0, 2), {"sigma": 1.0, "seed": 1})
    second = [
        Described("mean", Where("mlp_out", 2, 5), {"over": None}),
        Described("clamp", Where("resid_post", 0, 2), {"low": -0.1, "high": 0.1}),
    ]
    once = rw.intervene(llamas.run, built(llamas, first))
    again = rw.intervene(once, [built(llamas, item) for item in second], keep="logits")
    assert again.base is once.base is llamas.run
    assert again.interventions == (built(llamas, first), *(built(llamas, item) for item in second))
    assert relative_gap(again.logits, expected(llamas, [first, *second])[0]) <= LIMIT


def test_values_of_an_edited_run_can_be_put_into_another(llamas: Both) -> None:
    edit = Described("zero", Where("resid_post", 0, 2), {})
    source = rw.intervene(llamas.other, built(llamas, edit))
    plain_source = (SAME_LENGTH, plain_edits(llamas, [edit], SAME_LENGTH))
    for where in (Where("resid_post", 2, 4), Where("z", 1, None, 3), Where("pattern", 2), Where("k", 3, 6)):
        item = rw.patch(rw.Site(*vars(where).values()), source)
        assert item.option("source").plain is False
        found = rw.intervene(llamas.run, item, keep="logits")
        edits = [plain_edit(llamas.plain, IDS, "patch", where, {"source": plain_source})]
        assert relative_gap(found.logits, llamas.plain.run(IDS, edits)[0]) <= LIMIT


def test_nothing_to_do_gives_the_base(llamas: Both) -> None:
    found = rw.intervene(llamas.run, [])
    assert torch.equal(found.final_logits, llamas.run.final_logits)
    for component in found.components:
        for layer in found.layers:
            assert found.tensor(component, layer) is llamas.run.tensor(component, layer)
    assert found.interventions == () and found.base is llamas.run


def test_the_base_run_is_left_as_it_was(llamas: Both) -> None:
    run = rw.run(llamas.model, IDS)
    before = {key: value.clone() for key, value in run._recorded.items()}
    rw.intervene(run, [rw.zero(rw.Site("resid_pre", 0)), rw.noise(rw.Site("z", 1)), rw.zero(rw.Site("resid_post", 3))])
    assert all(torch.equal(run._recorded[key], value) for key, value in before.items())
    assert torch.equal(rw.intervene(run, []).final_logits, run.final_logits)


# --- what the new run holds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["resid_pre", "resid_mid", "z", "mlp_post", "mlp_out", "resid_post", "pattern"])
def test_what_cannot_have_changed_is_the_base_s_own(llamas: Both, component: str) -> None:
    layer, pos = 2, 3
    found = rw.intervene(llamas.run, rw.zero(rw.Site(component, layer, pos)), keep=list(COMPONENTS))
    base = rw.run(llamas.model, IDS, keep=list(COMPONENTS))
    for name in COMPONENTS:
        for n in found.layers:
            old, new = base.tensor(name, n), found.tensor(name, n)
            before = (slice(None), slice(0, pos)) if name == "pattern" else (slice(0, pos),)
            assert torch.equal(new[before], old[before]), (name, n)
            if n < layer:
                assert torch.equal(new, old)
    for name in llamas.run.components:  # below the first edited layer not even copied
        for n in range(layer):
            assert found.tensor(name, n) is llamas.run.tensor(name, n)
    changed = found.tensor("resid_post", N_LAYERS - 1)[pos:] != base.tensor("resid_post", N_LAYERS - 1)[pos:]
    assert changed.any(dim=1).all()


def test_activations_that_were_not_kept_are_recorded_again(llamas: Both) -> None:
    item = Described("noise", Where("resid_mid", 1, 2), {"sigma": 0.5, "seed": 0})
    _, seen = expected(llamas, [item])
    found = rw.intervene(llamas.run, built(llamas, item), keep="resid_post")
    assert found.components == ("resid_post",)
    with pytest.raises(InputError, match="this run kept resid_post"):
        found.tensor("z", 1)
    before = found.memory
    for component in ("resid_post", "z", "pattern", "mlp_out"):
        for layer in found.layers:
            assert relative_gap(found.activation(component, layer), seen[component, layer]) <= LIMIT
    assert found.memory > before
    assert len(found._more) == 2  # the latest two


def test_by_default_it_keeps_what_the_run_keeps(llamas: Both) -> None:
    base = rw.run(llamas.model, IDS, keep=["z", "logits"])
    found = rw.intervene(base, rw.zero(rw.Site("mlp_out", 1)))
    assert found.components == ("z",)
    assert found.logits.shape == (N_POS, 97)
    assert found.provenance.options["keep"] == ("z", "logits")
    narrow = rw.intervene(base, rw.zero(rw.Site("mlp_out", 1)), keep="resid_post")
    assert rw.intervene(narrow, rw.zero(rw.Site("mlp_out", 2))).components == ("resid_post",)


def test_memory_is_stated(llamas: Both) -> None:
    run = rw.run(llamas.model, IDS)
    alone = run.memory
    found = rw.intervene(run, rw.zero(rw.Site("resid_post", 1, 3)))
    assert run.recording is not None
    assert run.memory == alone + run.recording.memory
    stream, key = (N_LAYERS + 1) * N_POS * 32 * 4, 2 * N_LAYERS * N_POS * 2 * D_HEAD * 4
    assert run.recording.memory == stream + key
    assert found.recording is None
    assert found.memory <= alone * 2
    source = rw.intervene(run, rw.patch(rw.Site("z", 1, 3), SAME_LENGTH))
    assert run.memory > alone + run.recording.memory  # a run of another prompt is held for the next time
    assert len(run.sources) == 1 and source.sources == {}


def test_few_sources_are_held(llamas: Both) -> None:
    run = rw.run(llamas.model, IDS)
    for token in range(12):
        rw.intervene(run, rw.patch(rw.Site("resid_post", 1, 3), [token, *IDS[1:]]))
    assert len(run.sources) == 8


def test_provenance_says_what_was_done(llamas: Both) -> None:
    items = [rw.zero(rw.Site("resid_post", 1, 3)), rw.noise(rw.Site("z", 2, None, 1), 0.5, seed=4)]
    found = rw.intervene(llamas.run, items, keep="resid_post").provenance
    base = llamas.run.provenance
    assert found.options["interventions"] == (
        "zero resid_post[layer 1, pos 3]",
        "noise z[layer 2, head 1], seed=4, sigma=0.5",
    )
    assert found.options["keep"] == ("resid_post",)
    assert (found.token_ids, found.weights_hash, found.model) == (base.token_ids, base.weights_hash, base.model)
    assert "interventions" not in base.options


def test_marks_are_those_of_the_new_run(llamas: Both) -> None:
    large = rw.set_to(rw.Site("resid_post", 1, 4), 500.0)
    assert llamas.run.marked == (0,)
    assert rw.intervene(llamas.run, large).marked == (0, 4)


# --- fired once, and with an effect ----------------------------------------------------------------------------------


def test_each_is_said_to_have_fired_once(llamas: Both) -> None:
    items = [rw.zero(rw.Site("resid_pre", 0, 3)), rw.clamp(rw.Site("z", 1), -1.0, 1.0), rw.zero(rw.Site("mlp_out", 3))]
    check = next(c for c in rw.intervene(llamas.run, items).checks if c.name == "interventions")
    assert (check.level, check.value, check.limit) == ("green", 3.0, 3.0)


@pytest.mark.parametrize("times", [0, 2])
def test_not_fired_exactly_once_is_refused(llamas: Both, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from resid_widgets.models.reuse import block_actions

    rw.intervene(llamas.run, rw.zero(rw.Site("z", 1)))  # what is to be proved of the model is proved before
    applied = block_actions.applied
    repeated = lambda value, edits, start: [applied(value, edits, start) for _ in range(times)] or [value]  # noqa: E731
    monkeypatch.setattr(block_actions, "applied", lambda value, edits, start: repeated(value, edits, start)[0])
    with pytest.raises(UnsupportedModelError, match=rf"zero z\[layer 1\] fired {times} times in one pass"):
        rw.intervene(llamas.run, rw.zero(rw.Site("z", 1)))


@pytest.mark.parametrize(
    "idle",
    [
        lambda pair: rw.patch(rw.Site("resid_post", 1, 3), pair.run),
        lambda pair: rw.patch(rw.Site("pattern", 1), pair.run),
        lambda pair: rw.clamp(rw.Site("mlp_post", 2), -1e6, 1e6),
        lambda pair: rw.noise(rw.Site("z", 1), sigma=0.0),
        lambda pair: rw.add(rw.Site("resid_mid", 1), np.ones(32), alpha=0.0),
        lambda pair: rw.set_to(rw.Site("resid_post", 2, 3), pair.run.tensor("resid_post", 2)[3]),
        lambda pair: rw.patch(rw.Site("resid_pre", 0, 5), SAME_LENGTH),  # the same token stands in both
    ],
    ids=["itself", "pattern", "clamp", "noise", "add", "set_to", "same token"],
)
def test_one_that_changes_nothing_says_so(llamas: Both, idle: Callable[[Both], rw.Intervention]) -> None:
    item = idle(llamas)
    found = rw.intervene(llamas.run, item, keep="logits")
    check = next(c for c in found.checks if c.name == "no effect")
    assert check.level == "amber"
    assert check.text == f"no change by {item}: what it puts there stands there already"
    assert relative_gap(found.logits[-1], llamas.run.final_logits) <= 1e-5
    both_at_once = rw.intervene(llamas.run, [item, rw.zero(rw.Site("mlp_out", 3, 1))])
    assert next(c for c in both_at_once.checks if c.name == "no effect").value == 1.0


def test_an_effective_one_says_nothing(llamas: Both) -> None:
    found = rw.intervene(llamas.run, rw.zero(rw.Site("mlp_out", 0, 1)))
    assert [c.name for c in found.checks] == ["exact reuse", "interventions"]


# --- bad input -------------------------------------------------------------------------------------------------------

BAD = {
    "layer": (lambda pair: rw.zero(rw.Site("z", 4)), r"layer=4: the model has layers 0 \.\. 3"),
    "pos": (lambda pair: rw.zero(rw.Site("z", 1, 7)), r"pos=7: the prompt has positions 0 \.\. 6"),
    "pos from the end": (lambda pair: rw.zero(rw.Site("z", 1, -8)), r"pos=-8: the prompt has positions"),
    "head": (lambda pair: rw.zero(rw.Site("z", 1, head=4)), r"head=4: layer 1 has heads 0 \.\. 3\. Choose one"),
    "negative head": (lambda pair: rw.zero(rw.Site("q", 1, head=-1)), r"head=-1: layer 1 has heads"),
    "kv head": (lambda pair: rw.zero(rw.Site("k", 1, head=2)), r"head=2: layer 1 has key-value heads 0 \.\. 1"),
    "neuron": (
        lambda pair: rw.zero(rw.Site("mlp_post", 1, neuron=48)),
        r"neuron=48: the MLP of layer 1 has neurons 0 \.\. 47",
    ),
    "direction": (
        lambda pair: rw.project_out(rw.Site("resid_post", 1), np.ones(31)),
        r"direction=\[31\]: a direction in resid_post has 32 numbers. Give one of that length",
    ),
    "direction of a head": (
        lambda pair: rw.add(rw.Site("z", 1, head=1), np.ones(32)),
        r"direction=\[32\]: a direction in z has 8 numbers",
    ),
    "direction of a neuron": (
        lambda pair: rw.add(rw.Site("mlp_post", 1, neuron=3), np.ones(48)),
        r"direction=\[48\]: a direction in mlp_post of one neuron has 1 numbers",
    ),
    "value": (
        lambda pair: rw.set_to(rw.Site("resid_post", 1), np.ones(31)),
        r"value=array\[31\].*shape \[31\] does not fit \[7, 32\].*Give one number, or numbers of that shape",
    ),
    "value at a position": (
        lambda pair: rw.set_to(rw.Site("resid_post", 1, 2), np.ones((7, 32))),
        r"value=array\[7, 32\].*does not fit \[1, 32\]",
    ),
    "source length": (
        lambda pair: rw.patch(rw.Site("resid_post", 1), SHORTER),
        "source='4 tokens': the run has 7, and values are taken at the same positions. Use prompts of the same length",
    ),
    "source too short": (lambda pair: rw.patch(rw.Site("resid_post", 1, 5), SHORTER), "source='4 tokens'"),
    "pattern of another length": (
        lambda pair: rw.resample(rw.Site("pattern", 1), [SHORTER]),
        r"a pattern needs a source of as many tokens \(7, this has 4\)",
    ),
}


@pytest.mark.parametrize(("make", "text"), BAD.values(), ids=BAD.keys())
def test_bad_input_names_value_rule_and_remedy(llamas: Both, make: Callable[[Both], Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        rw.intervene(llamas.run, make(llamas))
    assert relative_gap(rw.run(llamas.model, IDS).final_logits, llamas.run.final_logits) == 0


def test_a_source_run_of_another_model(llamas: Both, fresh: Callable[..., ResidualModel]) -> None:
    other = rw.run(fresh("qwen2"), IDS)
    with pytest.raises(InputError, match=r"source='\w+': the source run is of another model, or of other weights"):
        rw.intervene(llamas.run, rw.patch(rw.Site("resid_post", 1, 3), other))


def test_what_is_no_run_or_intervention(llamas: Both) -> None:
    import inspect

    intervene = inspect.unwrap(rw.intervene)
    with pytest.raises(InputError, match=r"run=.*a Run is needed\. Make one first: run = rw\.run\(model, prompt\)"):
        intervene(llamas.model, [])
    for bad in ("zero", rw.Site("z", 1), [rw.zero(rw.Site("z", 1)), "zero"], 3):
        with pytest.raises(InputError, match="interventions are needed"):
            intervene(llamas.run, bad)
    with pytest.raises(InputError, match="nothing"):
        intervene(llamas.run, [], keep=["nothing"])


def test_the_public_names_are_these() -> None:
    from resid_widgets.models.reuse.intervene import intervene

    assert rw.intervene is intervene
