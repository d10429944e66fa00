"""What all sweeps share: progress, stopping, what is not computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resid_widgets as rw
from resid_widgets.analysis.sweeps import sweep as module
from resid_widgets.analysis.sweeps.cells import cells_of
from resid_widgets.analysis.sweeps.sweep import Cell, Progress, fixed, run_cells, sweeping, work_of
from resid_widgets.errors import InputError
from resid_widgets.models.hooks import foreign_hooks
from resid_widgets.models.reuse.blocks import cost
from resid_widgets.models.reuse.edits import Edit, constant, edit_for
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.runs.run import Run

METRIC = rw.logit_diff(7, 11)


@pytest.fixture
def small_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tokens a wave, so that there is something to report in between."""
    monkeypatch.setattr("resid_widgets.models.reuse.engine.WAVE_TOKENS", {"cpu": 14})


def swept(run: Run, **options: Any) -> Any:
    return rw.ablation_sweep(run, METRIC, "resid_post", "zero", **({"progress": False} | options))


@pytest.fixture(scope="module")
def whole(llama_run: Run) -> np.ndarray:
    return swept(llama_run).raw.values


class TestProgress:
    def test_told_after_each_wave(self, llama_run: Run, small_waves: None, whole: np.ndarray) -> None:
        seen: list[Progress] = []
        result = swept(llama_run, progress=seen.append)
        assert len(seen) > 5
        assert [p.done for p in seen] == sorted({p.done for p in seen})
        assert {p.total for p in seen} == {seen[-1].done}
        assert seen[-1].seconds_left == 0
        assert all(p.seconds_left > 0 for p in seen[:-1])
        known = [int(np.isfinite(p.values).sum()) for p in seen]
        assert known == sorted(known)
        assert known[0] < known[-1] == 28
        np.testing.assert_array_equal(seen[-1].values, result.raw.values)
        for p in seen:  # what is known is final, and what was handed over stays as it was
            there = np.isfinite(p.values)
            np.testing.assert_allclose(p.values[there], whole[there], atol=1e-6)

    def test_the_work_is_what_goes_through_blocks(self, llama_run: Run) -> None:
        seen: list[Progress] = []
        swept(llama_run, progress=seen.append)
        layers = sum(3 - layer for layer in range(4))
        assert seen[-1].total == layers * sum(range(1, 8)) + 7  # each cell of the last layer counts as one

    def test_the_estimate_is_from_what_was_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter([100.0, 110.0, 130.0])
        monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
        seen: list[Progress] = []
        tracker = sweeping(seen.append)
        tracker.total = 40
        tracker.advance(10, np.zeros(3))
        tracker.advance(10, np.zeros(3))
        assert [p.seconds_left for p in seen] == [30.0, 30.0]

    def test_a_failure_of_the_reporter_is_the_caller_s(self, llama_run: Run) -> None:
        def fail(progress: Progress) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            swept(llama_run, progress=fail)
        assert foreign_hooks(llama_run.model) == []

    @pytest.mark.parametrize("bad", ["yes", 3, [True]])
    def test_what_it_may_be(self, bad: Any) -> None:
        with pytest.raises(InputError, match=r"progress=.*: True, False or a function is needed. True shows a bar"):
            sweeping(bad)


class TestStop:
    def test_by_the_reporter(self, llama_run: Run, small_waves: None, whole: np.ndarray) -> None:
        calls: list[Progress] = []
        result = swept(llama_run, progress=lambda p: calls.append(p) or len(calls) < 3)
        assert len(calls) == 3
        known = np.isfinite(result.raw.values)
        assert 0 < known.sum() < 28
        assert (np.isfinite(result.values.values) == known).all()
        np.testing.assert_allclose(result.raw.values[known], whole[known], atol=1e-6)
        (check,) = [c for c in result.checks if c.name == "complete"]
        assert (check.level, check.value, check.limit) == ("amber", float(known.sum()), 28.0)
        assert check.text == f"stopped: {known.sum()} of 28 cells are known, the others are empty"

    def test_by_asking(self, llama_run: Run, small_waves: None) -> None:
        asked: list[None] = []
        result = swept(llama_run, stop=lambda: asked.append(None) or len(asked) > 12)
        assert len(asked) == 13  # not asked again
        assert 0 < np.isfinite(result.values.values).sum() < 28

    def test_before_it_began(self, llama_run: Run) -> None:
        result = swept(llama_run, stop=lambda: True)
        assert np.isnan(result.values.values).all()
        assert next(c for c in result.checks if c.name == "complete").value == 0.0
        assert result.plot() is not None
        assert "stopped: 0 of 28" in str(result)

    def test_at_the_very_end_it_is_complete(self, llama_run: Run) -> None:
        result = swept(llama_run, progress=lambda p: p.done < p.total)
        assert np.isfinite(result.values.values).all()
        assert [c for c in result.checks if c.name == "complete"] == []

    def test_it_leaves_nothing_behind(self, llama_run: Run, small_waves: None) -> None:
        before = [list(m._forward_hooks) for m in llama_run.model.modules()]
        swept(llama_run, progress=lambda p: False)
        assert [list(m._forward_hooks) for m in llama_run.model.modules()] == before
        assert llama_run.model.lock.acquire(blocking=False)
        llama_run.model.lock.release()


class TestFixed:
    """The outcome of a lone edit is known before it is made."""

    def test_what_changes_nothing_is_no_edit(self, llama_run: Run) -> None:
        same = llama_run.tensor("resid_post", 1)[2:4]
        assert fixed(llama_run, Edit("resid_post", 1, 2, 4, None, None, constant(same))) == ()
        clamped = edit_for(llama_run, rw.clamp(rw.Site("z", 1), -1e6, 1e6))
        assert fixed(llama_run, clamped) == ()
        pattern = edit_for(llama_run, rw.clamp(rw.Site("pattern", 1), 0.0, 1.0))
        assert fixed(llama_run, pattern) == ()

    @pytest.mark.parametrize("component", ["resid_post", "z", "pattern", "mlp_post"])
    def test_it_is_trimmed_to_what_changes(self, llama_run: Run, component: str) -> None:
        new = llama_run.activation(component, 1).clone()
        places = new.transpose(0, 1) if component == "pattern" else new
        places[3] += 1.0
        places[5] += 1.0
        (edit,) = fixed(llama_run, Edit(component, 1, 0, 7, None, None, constant(new)))
        assert (edit.lo, edit.hi, edit.component) == (3, 6, component)
        engine = engine_of(llama_run, {component})
        ((row,),) = engine.rows([[edit]])
        ((untrimmed,),) = engine.rows([[Edit(component, 1, 0, 7, None, None, constant(new))]])
        assert (row.start, untrimmed.start) == (3, 0)
        torch.testing.assert_close(row.final, untrimmed.final[3:], atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(
        ("family", "component"), [("llama", "mlp_out"), ("gpt_neox", "attn_out"), ("gpt_neox", "mlp_out")]
    )
    def test_what_is_only_added_is_an_edit_of_the_stream_behind(
        self, make_model: Any, family: str, component: str
    ) -> None:
        run = rw.run(make_model(family), [1, 5, 9, 20, 33, 4, 60])
        edit = edit_for(run, rw.zero(rw.Site(component, 1, 4)))
        (lean,) = fixed(run, edit)
        assert (lean.component, lean.layer, lean.lo, lean.hi) == ("resid_post", 1, 4, 5)
        engine = engine_of(run, {component, "resid_post"})
        rows = {row.number: row.final for wave in engine.rows([[edit], [lean]]) for row in wave}
        torch.testing.assert_close(rows[0], rows[1], atol=1e-5, rtol=1e-5)
        assert cost(engine.recording, [lean]) < cost(engine.recording, [edit])

    def test_attention_of_sequential_blocks_still_passes_the_mlp(self, llama_run: Run) -> None:
        (edit,) = fixed(llama_run, edit_for(llama_run, rw.zero(rw.Site("attn_out", 1, 4))))
        assert (edit.component, edit.layer) == ("attn_out", 1)

    def test_with_others_upstream_it_is_left_as_it_is(self, llama_run: Run) -> None:
        edit = edit_for(llama_run, rw.clamp(rw.Site("mlp_out", 1), -1e6, 1e6))
        assert fixed(llama_run, edit, lean=False) == (edit,)


class TestRunCells:
    def test_cells_that_change_nothing_are_not_computed(self, llama_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = engine_of(llama_run, {"resid_post"})
        edit = edit_for(llama_run, rw.zero(rw.Site("resid_post", 1, 4)))
        cells = [Cell((0,), ()), Cell((1,), fixed(llama_run, edit)), Cell((2,), ())]
        computed: list[int] = []
        rows = type(engine).rows
        monkeypatch.setattr(type(engine), "rows", lambda self, of, **k: computed.append(len(of)) or rows(self, of, **k))
        values = run_cells(engine, METRIC.bound(llama_run), cells, (3,), sweeping(False), None)
        base = METRIC.bound(llama_run).of_base()
        assert computed == [1]
        assert values[0] == values[2] == base != values[1]
        assert work_of(engine, cells) == cost(engine.recording, cells[1].edits)

    def test_other_cells_stay_as_they_were(self, llama_run: Run) -> None:
        engine = engine_of(llama_run, {"resid_post"})
        edit = edit_for(llama_run, rw.zero(rw.Site("resid_post", 1, 4)))
        known = np.array([5.0, np.nan, 6.0])
        values = run_cells(
            engine, METRIC.bound(llama_run), [Cell((1,), (edit,))], (3,), sweeping(False), None, known=known
        )
        assert values[[0, 2]].tolist() == [5.0, 6.0]
        assert np.isfinite(values[1])
        assert np.isnan(known[1])

    @pytest.mark.parametrize("pos", [0, 3, [1, 5], [6, 0]])
    def test_the_metric_reads_positions_before_the_change_from_the_base(self, llama_run: Run, pos: Any) -> None:
        metric = rw.log_prob(7, pos=pos)
        found = rw.ablation_sweep(llama_run, metric, "resid_post", "zero", progress=False)
        for layer, at in ((0, 2), (2, 5), (3, 3)):
            new = rw.intervene(llama_run, rw.zero(rw.Site("resid_post", layer, at)), keep="logits")
            places = [pos] if isinstance(pos, int) else pos
            expected = float(new.logits[places].double().log_softmax(-1)[:, 7].mean())
            assert float(found.raw[layer, at]) == pytest.approx(expected, abs=1e-5)


def test_a_grid_of_three_dims_is_drawn_by_its_largest_heads(llama_run: Run) -> None:
    found = rw.ablation_sweep(llama_run, METRIC, "z", "zero", by="head_pos", progress=False)
    drawn = found.drawn()
    assert drawn.values.dims == ("layer", "pos")
    for layer in range(4):
        for pos in range(7):
            heads = found.values.values[layer, pos]
            largest = np.abs(heads).argmax()
            assert float(drawn.values[layer, pos]) == heads[largest]
            assert float(drawn.raw[layer, pos]) == found.raw.values[layer, pos, largest]
    assert drawn.title.endswith("the head with the largest effect")
    assert list(drawn.values.token.values) == list(found.values.token.values)
    flat = swept(llama_run)
    assert flat.drawn() is flat


def test_where_nothing_changes_a_noised_head_is_not_the_largest(make_model: Any) -> None:
    """In noise direction 1 changes nothing: the head that is drawn is the one farthest from 1."""
    found = rw.patch_sweep(
        make_model("llama"), [1, 5, 9, 20], [1, 5, 40, 20], METRIC, component="z", by="head_pos", direction="noise",
        progress=False,
    )  # fmt: skip
    drawn = found.drawn().values.values
    expected = np.take_along_axis(found.values.values, np.abs(found.values.values - 1).argmax(-1)[..., None], -1)[
        ..., 0
    ]
    np.testing.assert_array_equal(drawn, expected)
    assert (np.abs(drawn - 1) > 1e-3).any()


def test_grids_of_every_shape_can_be_cut(make_model: Any) -> None:
    cells = cells_of(make_model("llama"), "resid_post", 3, layers=[1])
    assert [site.pos for _, site in cells] == [0, 1, 2]
