"""Rows go up in waves: each is computed once, in any grouping the same, within a stated budget."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import resid_widgets as rw
from resid_widgets.models.hooks import foreign_hooks
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.reuse import engine as engine_module
from resid_widgets.models.reuse.blocks import cost, joins_at, replayed, row_bytes
from resid_widgets.models.reuse.edits import Edit
from resid_widgets.models.reuse.engine import WAVE_TOKENS, default_budget, engine_of
from resid_widgets.models.reuse.full_passes import full_pass
from resid_widgets.models.runs.recording import Recording
from resid_widgets.models.structure import relative_gap
from tests.architectures import FAMILIES

IDS = (5, 9, 33, 2, 8, 60, 7)
PLENTY = 10**9


@pytest.fixture(scope="module")
def recording(llama: ResidualModel) -> Recording:
    return Recording(llama, IDS)


def scaled(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda old: old * factor


def edit(component: str, layer: int, lo: int, hi: int | None = None, head: int | None = None, by: float = -1.5) -> Edit:
    return Edit(component, layer, lo, lo + 1 if hi is None else hi, head, None, scaled(by))


ROWS: list[list[Edit]] = [
    [edit("resid_pre", 0, 6)],
    [edit("resid_pre", 2, 3)],
    [edit("z", 1, 0, 7, head=2)],
    [edit("resid_post", 3, 4)],
    [edit("mlp_out", 3, 2)],
    [edit("resid_mid", 2, 5), edit("resid_post", 0, 3)],
    [edit("q", 1, 3, head=1), edit("pattern", 2, 4, head=0), edit("mlp_post", 3, 5, 7)],
    [edit("attn_out", 0, 1, 4)],
    [edit("resid_pre", 2, 3, by=0.5)],
    [edit("k", 2, 3, head=1), edit("v", 3, 3)],
]


@pytest.fixture(scope="module")
def expected(recording: Recording) -> list[Tensor]:
    """Each row by a full pass."""
    return [full_pass(recording.model, recording.ids, row) for row in ROWS]


def compare(found: Sequence[Sequence[Any]], expected: Sequence[Tensor], rows: Sequence[Sequence[Edit]] = ROWS) -> None:
    assert sorted(row.number for wave in found for row in wave) == list(range(len(rows)))
    for wave in found:
        for row in wave:
            assert row.start == min(e.lo for e in rows[row.number])
            assert row.final.shape == (len(IDS) - row.start, 32)
            assert relative_gap(row.final, expected[row.number][row.start :]) <= 1e-5


@pytest.mark.parametrize("tokens", [1, 4, 7, 15, PLENTY])
def test_the_same_numbers_however_they_are_grouped(recording: Recording, expected: list[Tensor], tokens: int) -> None:
    waves = list(replayed(recording, ROWS, budget=PLENTY, most_tokens=tokens))
    compare(waves, expected)
    for wave in waves:
        taken = sum(len(IDS) - row.start for row in wave)
        assert taken <= tokens or len(wave) == 1  # a wave has at least one row
    assert (len(waves) == 1) == (tokens == PLENTY)
    assert (len(waves) == len(ROWS)) == (tokens == 1)


@pytest.mark.parametrize("rows", [0.5, 1.5, 3, 100])
def test_the_budget_decides_as_well(recording: Recording, expected: list[Tensor], rows: float) -> None:
    budget = int(rows * row_bytes(recording, 0))
    waves = list(replayed(recording, ROWS, budget=budget, most_tokens=PLENTY))
    compare(waves, expected)
    for wave in waves:
        assert sum(row_bytes(recording, row.start) for row in wave) <= budget or len(wave) == 1
    assert (len(waves) == 1) == (rows == 100)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(range(len(ROWS))), tokens=st.integers(1, 40), count=st.integers(0, len(ROWS)))
def test_any_rows_in_any_order(
    recording: Recording, expected: list[Tensor], order: list[int], tokens: int, count: int
) -> None:
    chosen = order[:count]
    rows = [ROWS[n] for n in chosen]
    waves = list(replayed(recording, rows, budget=PLENTY, most_tokens=tokens))
    compare(waves, [expected[n] for n in chosen], rows)


def test_the_shortest_come_first_and_each_wave_reads_each_block_once(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int, int]] = []
    call = Recording.call

    def noting(self: Recording, layer: int, hidden: Tensor, prefix: Any, *rest: Any) -> Tensor:
        calls.append((layer, prefix.seen, hidden.shape[0]))
        return call(self, layer, hidden, prefix, *rest)

    monkeypatch.setattr(Recording, "call", noting)
    rows = [[edit("resid_pre", layer, pos)] for layer in range(4) for pos in (0, 3, 5)]
    waves = replayed(recording, rows, budget=PLENTY, most_tokens=PLENTY)
    (wave,) = waves
    assert [row.start for row in wave] == [5] * 4 + [3] * 4 + [0] * 4
    # The batch of each group grows as the cells of each layer join it; the groups take turns at each block.
    assert calls == [(layer, start, layer + 1) for layer in range(4) for start in (5, 3, 0)]


def test_a_row_joins_where_it_differs() -> None:
    assert joins_at([edit("resid_pre", 2, 0)]) == joins_at([edit("z", 2, 0)]) == 2
    assert joins_at([edit("resid_post", 2, 0)]) == 3
    assert joins_at([edit("resid_post", 2, 0), edit("mlp_out", 1, 4)]) == 1


def test_the_cost_is_layers_times_positions(recording: Recording) -> None:
    assert cost(recording, [edit("resid_pre", 0, 0)]) == 4 * 7
    assert cost(recording, [edit("z", 2, 5)]) == 2 * 2
    assert cost(recording, [edit("z", 2, 5), edit("resid_post", 0, 3)]) == 3 * 4
    assert cost(recording, [edit("resid_post", 3, 0)]) == 0


def test_a_change_of_the_final_stream_runs_no_block(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recording, "call", None)
    ((row,),) = replayed(recording, [[edit("resid_post", 3, 4, by=2.0)]], budget=PLENTY, most_tokens=PLENTY)
    assert torch.equal(row.final[0], recording.stream[-1][4] * 2)
    assert torch.equal(row.final[1:], recording.stream[-1][5:])


def test_no_rows_give_no_waves(recording: Recording) -> None:
    assert list(replayed(recording, [], budget=PLENTY, most_tokens=PLENTY)) == []


def test_the_recording_is_left_as_it_was(recording: Recording) -> None:
    before = [value.clone() for value in recording.tensors]
    for _ in range(2):
        list(replayed(recording, ROWS, budget=PLENTY, most_tokens=PLENTY))
    assert all(torch.equal(a, b) for a, b in zip(before, recording.tensors, strict=True))


# --- stopping --------------------------------------------------------------------------------------------------------


class StopError(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_check_that_raises_stops_at_once(llama: ResidualModel, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rw.run(llama, IDS)
    engine = engine_of(run, {edit.component for row in ROWS for edit in row})
    calls: list[int] = []
    call = Recording.call
    monkeypatch.setattr(Recording, "call", lambda self, layer, *rest: calls.append(layer) or call(self, layer, *rest))
    asked: list[None] = []

    def check() -> None:
        asked.append(None)
        if len(asked) > after:
            raise StopError

    with pytest.raises(StopError):
        list(engine.rows(ROWS, check=check))
    assert len(calls) <= after  # asked before each block
    assert foreign_hooks(llama) == []
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in engine.recording.bare.root.modules()
    )
    assert llama.lock.acquire(blocking=False)
    llama.lock.release()


@pytest.mark.parametrize("component", ["resid_pre", "z", "pattern", "mlp_out"])
def test_a_failure_inside_a_block_leaves_nothing(llama: ResidualModel, component: str) -> None:
    run = rw.run(llama, IDS)
    engine = engine_of(run, {component})
    before = [list(module._forward_hooks) for module in llama.modules()]

    def fail(old: Tensor) -> Tensor:
        raise StopError

    with pytest.raises(StopError):
        list(engine.rows([[Edit(component, 1, 2, 4, None, None, fail)]]))
    assert [list(module._forward_hooks) for module in llama.modules()] == before
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in engine.recording.bare.root.modules()
    )
    found = rw.intervene(run, [])
    assert torch.equal(found.final_logits, rw.run(llama, IDS).final_logits)


def test_a_sweep_that_is_left_half_way_holds_no_lock(llama: ResidualModel) -> None:
    engine = engine_of(rw.run(llama, IDS), {"resid_pre"})
    waves = engine.rows([[edit("resid_pre", 0, pos)] for pos in range(7)], wave_tokens=1)
    next(waves)
    assert foreign_hooks(llama) == []
    assert llama.lock.acquire(blocking=False)
    llama.lock.release()
    waves.close()


# --- memory ----------------------------------------------------------------------------------------------------------


def peak_tensors(call: Callable[[], Any]) -> int:
    """Bytes that PyTorch's allocator had handed out at the peak, above what it had before."""
    gc.collect()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events: Any = profile.profiler.kineto_results.events()
    alive = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


@pytest.mark.parametrize(
    "family",
    ["llama", "gpt2", "gpt_neox", "bloom", "falcon", "gemma2", "opt", "mixtral", "qwen2_moe", "gpt_bigcode", "phi"],
)
@pytest.mark.parametrize("start", [0, 40])
def test_a_row_needs_no_more_than_is_said(family: str, start: int, fresh: Callable[..., ResidualModel]) -> None:
    assert family in FAMILIES
    recording = Recording(fresh(family), [(7 * n) % 97 for n in range(60)])
    rows = [[edit("resid_pre", 0, start, by=1 + n / 8)] for n in range(8)]
    said = 8 * row_bytes(recording, start)
    used = peak_tensors(lambda: list(replayed(recording, rows, budget=PLENTY, most_tokens=PLENTY)))
    assert said / 20 < used <= said


@pytest.fixture(scope="module")
def deep() -> ResidualModel:
    """Thirty layers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=500, hidden_size=48, intermediate_size=96, num_hidden_layers=30, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    return load_model((LlamaForCausalLM(config).eval(), None), copy=False)


@pytest.mark.parametrize("length", [64, 256])
def test_a_sweep_stays_within_its_budget_whatever_the_length(deep: ResidualModel, length: int) -> None:
    run = rw.run(deep, [(11 * n) % 500 for n in range(length)], keep="resid_post")
    engine = engine_of(run, {"resid_post"})
    one = row_bytes(engine.recording, 0)
    layers, places = range(6, 30, 2), (0, length // 2)
    rows = [[edit("resid_post", layer, pos)] for layer in layers for pos in places]

    def sweep(budget: int) -> int:
        done = []

        def go() -> None:
            for wave in engine.rows(rows, budget=budget, wave_tokens=PLENTY):
                done.extend(row.number for row in wave)

        used = peak_tensors(go)
        assert sorted(done) == list(range(len(rows)))
        return used

    small, large = sweep(2 * one), sweep(12 * one)
    assert small <= 2 * one
    assert 2 * small < large <= 12 * one  # what is allowed is used


def test_the_whole_of_a_sweep_s_budget(deep: ResidualModel) -> None:
    """Through the public function, at its default wave, at 256 tokens."""
    run = rw.run(deep, [(11 * n) % 500 for n in range(256)], keep="resid_post")
    rw.intervene(run, rw.zero(rw.Site("resid_post", 28, 250)))  # recorded before
    metric, options = rw.logit_diff(7, 8), {"layers": [28], "progress": False}
    one = row_bytes(run.recording, 0)
    result: list[Any] = []
    used = peak_tensors(
        lambda: result.append(rw.ablation_sweep(run, metric, "resid_post", "zero", budget=2 * one, **options))
    )
    cells = 256 * 48 * 4 * 4  # the numbers that stand in the cells, and what is put there
    assert used <= 2 * one + cells
    expected = rw.ablation_sweep(run, metric, "resid_post", "zero", **options)
    torch.testing.assert_close(torch.tensor(result[0].raw.values), torch.tensor(expected.raw.values), atol=1e-5, rtol=0)


def test_by_default_a_quarter_of_what_is_free(llama: ResidualModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rw.run(llama, IDS)
    monkeypatch.setattr(engine_module, "free_bytes", lambda device: 4_000)
    assert default_budget(run) == 1_000
    budgets: list[int] = []
    replay = engine_module.replayed
    monkeypatch.setattr(
        engine_module,
        "replayed",
        lambda *a, budget, most_tokens, **k: (
            budgets.append((budget, most_tokens)) or replay(*a, budget=budget, most_tokens=most_tokens, **k)
        ),
    )
    engine = engine_of(run, {"resid_pre"})
    list(engine.rows([[edit("resid_pre", 0, 3)]]))
    list(engine.rows([[edit("resid_pre", 0, 3)]], budget=77, wave_tokens=9))
    assert budgets == [(1_000, WAVE_TOKENS["cpu"]), (77, 9)]
