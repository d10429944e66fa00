"""What is free, and a refusal that says what to do."""

from __future__ import annotations

import psutil
import pytest
import torch

from resid_widgets.errors import InputError
from resid_widgets.models import memory
from resid_widgets.models.memory import free_bytes, human, require_memory

CPU = torch.device("cpu")


def test_free_bytes_are_the_machine_s() -> None:
    assert 0 < free_bytes(CPU) <= psutil.virtual_memory().total


def test_free_bytes_of_cuda_are_the_device_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (123, 1000))
    assert free_bytes(torch.device("cuda", 0)) == 123


def test_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    require_memory(1000, CPU, "a run", "Buy more.")
    with pytest.raises(InputError, match=r"a run='1.0 kB': only 1.0 kB are free on cpu\. Buy more\."):
        require_memory(1001, CPU, "a run", "Buy more.")


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (55_296, "55 kB"),
        (1_500_000, "1.5 MB"),
        (2_500_000_000, "2.5 GB"),
        (3 * 10**12, "3.0 TB"),
        (4 * 10**15, "4000.0 TB"),
    ],
)
def test_human(n_bytes: int, text: str) -> None:
    assert human(n_bytes) == text
