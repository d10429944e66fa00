"""The table that a result leaves: what its numbers are, where they come from, and texts as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import resid_widgets as rw
from resid_widgets.results import MOST_IDS
from tests.architectures import build
from tests.csv_tables import about, table


@pytest.fixture(scope="module")
def llama() -> Any:
    return rw.load_model((build("llama"), None), progress=False)


@pytest.fixture
def run(tiny: Any) -> Any:
    return rw.run(tiny, "The cat sat on")


def test_the_table_says_what_its_numbers_are_and_where_they_come_from(run: Any, tmp_path: Path) -> None:
    result = rw.activation_map(run)
    lines = about(result.to_csv(tmp_path / "norms.csv"))
    assert lines[0].startswith("ActivationMap of tiny · 5 tokens · BOS added")
    assert lines[1] == "values: norm (activation units)"
    assert "stat=norm" in lines[2] and "component=resid_post" in lines[2]
    assert lines[3].startswith(f"weights {run.model.weights_hash} on cpu, token ids {run.token_ids[0]} ")
    assert "torch " in lines[4]
    assert lines[5:] == [f"[{check.level}] {check.text}" for check in result.checks]


def test_z_scores_are_not_called_by_the_statistic_s_name(run: Any, tmp_path: Path) -> None:
    path = rw.activation_map(run, per_layer=True).to_csv(tmp_path / "z.csv")
    assert list(table(path)) == ["layer", "pos", "token", "norm_z"]
    assert about(path)[1] == "values: norm (standard deviations from the layer's mean)"


def test_texts_and_numbers_are_read_back_as_they_were(llama: Any, tmp_path: Path) -> None:
    result = rw.activation_map(rw.run(llama, [1, 2, 3, 4, 5]))
    texts = ["#", '"', "a,b", "NA", "=1+1"]
    odd = result.values.assign_coords(token=("pos", np.array(texts, dtype=object)))
    path = tmp_path / "odd.csv"
    object.__setattr__(result, "values", odd)
    found = table(result.to_csv(path))
    assert found["token"].tolist() == texts * 4
    pd.testing.assert_frame_equal(found, result.to_dataframe(), check_dtype=False, rtol=1e-6)


def test_of_many_token_ids_the_first_are_stated(llama: Any) -> None:
    result = rw.neuron_patterns(llama, [[n % 90 for n in range(40)]] * (MOST_IDS // 40 + 1))
    (line,) = [line for line in result.about() if "token ids" in line]
    n = len(result.provenance.token_ids)
    assert n > MOST_IDS and line.endswith(f"... ({n} in all)")
