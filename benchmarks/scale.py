"""100,000 token positions x all layers of the tiny model: collected and probed within a stated amount of memory.

Each step runs in a process of its own, so that the kernel's high-water mark of resident memory is that step's. The
collection is then killed in the middle (SIGKILL), taken up again, and compared with the undisturbed one byte by byte.

    python benchmarks/scale.py [positions]
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from _timing import machine

import resid_widgets as rw

POSITIONS = 100_000
TASKS = ("agreement", "ioi", "pronouns", "sentiment", "facts")


def prompts_for(model: rw.ResidualModel, positions: int) -> list[Any]:
    """Prompts of one grammatical task, then of others, until there are enough tokens; the task is the label."""
    found: list[Any] = []
    left, share = positions, 16
    for task in TASKS:
        n = max(10, left // share // 2 if task != TASKS[-1] else left // share)
        while True:
            try:
                drawn = rw.tasks.load(task, model, n).prompts
                break
            except rw.InputError:  # there are not so many different ones
                n = n * 2 // 3
        for prompt in drawn:
            if left > 0:
                found.append(Labelled(prompt.text, task, f"{task} {prompt.group}"))
                left -= prompt.position + 1
    number = 0
    while left > 0:  # the same sentences once more: what is measured does not depend on what they say
        found.append(found[number])
        left -= len(found[number].text.split()) + 1
        number += 1
    return found


class Labelled:
    """A prompt, whose label is its task."""

    def __init__(self, text: str, label: str, group: str) -> None:
        self.text, self.label, self.group = text, label, group


def collect(positions: int, folder: Path, kill_after: float = 1.0) -> dict[str, Any]:
    """Collect into a store; a part of the way only where `kill_after` is below 1, as the kill comes then."""
    model = rw.load_model(device="cpu", progress=False)
    prompts = prompts_for(model, positions)
    with tempfile.TemporaryDirectory() as place:  # what the first call of this size sets up for good
        rw.collect(model, prompts[:500], "resid_post", "all", store=Path(place) / "warm", progress=False)

    def told(done: int, total: int) -> None:
        if done >= kill_after * total:
            psutil.Process().kill()

    began = time.perf_counter()
    made: list[rw.Activations] = []
    progress = told if kill_after < 1 else False
    rise = peak_rise(
        lambda: made.append(rw.collect(model, prompts, "resid_post", "all", store=folder, progress=progress))
    )
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "seconds": time.perf_counter() - began,
        "samples": made[0].n_samples,
        "stated": made[0].peak,
        "rise": rise,
        "store": size,
        "levels": [check.level for check in made[0].checks],
    }


def probe(folder: Path) -> dict[str, Any]:
    """Probe all layers of a store for the task that a sentence is of, read at every token."""
    rw.probe({0: [[0.0], [1.0], [0.0], [1.0]] * 9}, labels=[0, 1] * 18, folds=2, progress=False)  # loads scikit-learn
    activations = rw.open_activations(folder)
    began = time.perf_counter()
    made: list[Any] = []
    options = {"folds": 2, "inner": 2, "seeds": (0,), "penalties": [0.01], "progress": False}
    rise = peak_rise(lambda: made.append(rw.probe(activations, **options)))
    return {
        "seconds": time.perf_counter() - began,
        "rise": rise,
        "stated": made[0].peak,
        "accuracy": made[0].accuracy.mean("fold").to_numpy().ravel().tolist(),
    }


def peak_rise(call: Callable[[], Any]) -> int | None:
    """Bytes by which this process's resident memory rose at most; None where the kernel does not tell."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        call()
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # give freed memory back, or it would be used again unseen
    clear.write_text("5")  # the high-water mark starts anew
    before = kilobytes(status, "VmRSS")
    call()
    return (kilobytes(status, "VmHWM") - before) * 1024


def kilobytes(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))


def apart(*arguments: Any) -> tuple[int, dict[str, Any]]:
    """Run one step in a process of its own; its exit status, and what it found."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode > 0:
        sys.exit(f"{arguments[0]} failed:\n{done.stderr}")
    return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def main(positions: int) -> None:
    print(machine("torch", "transformers", "resid-widgets", "scikit-learn"))
    with tempfile.TemporaryDirectory() as place:
        whole, cut = Path(place) / "whole", Path(place) / "cut"
        _, found = apart("collect", positions, whole)
        print(f"\ncollect: {found['samples']:,} positions x all layers in {found['seconds']:.1f} s, ")
        print(f"  {found['store'] / 1e6:.0f} MB on disk, checks {', '.join(found['levels'])}")
        print(f"  peak memory stated {found['stated'] / 1e6:.0f} MB, resident rise {megabytes(found['rise'])}")
        status, _ = apart("collect", positions, cut, 0.5)
        left = contents(cut)
        apart("collect", positions, cut)
        same = contents(cut) == contents(whole)
        print(f"kill -9 in the middle (exit {status}, {len(left)} files of {len(contents(whole))}), resumed: ", end="")
        print("byte-identical" if same else "DIFFERENT")
        _, found = apart("probe", whole)
        print(f"probe: all layers in {found['seconds']:.1f} s, accuracy {[round(a, 3) for a in found['accuracy']]}")
        print(f"  peak memory stated {megabytes(found['stated'])}, resident rise {megabytes(found['rise'])}")


def megabytes(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / 1e6:.0f} MB"


if __name__ == "__main__":
    if sys.argv[1:2] == ["collect"]:
        print(json.dumps(collect(int(sys.argv[2]), Path(sys.argv[3]), *map(float, sys.argv[4:]))))
    elif sys.argv[1:2] == ["probe"]:
        print(json.dumps(probe(Path(sys.argv[2]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else POSITIONS)
