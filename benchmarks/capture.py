"""What `rw.run` costs on SmolLM2-135M: against Hugging Face's own model, and against TransformerLens' run_with_cache.

Time: all contenders in one process, in interleaved rounds; ratios are taken within a round. The Hugging Face model is a
second copy that no bridge has touched. Memory is measured twice over: what PyTorch's allocator hands out, and what the
kernel counts as resident in a fresh process. Run it on a machine that does little else.
"""

from __future__ import annotations

import ctypes
import gc
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _timing import interleaved, machine, ratios, spread

import resid_widgets as rw
from resid_widgets.models.loading.gguf import dense_folder
from resid_widgets.models.loading.packaged import packaged_file

MODEL = "smollm2-135m"
LENGTHS = {16: 20.0, 128: 20.0, 512: 40.0}
"""Tokens, and seconds spent on timing them."""

RUN, RUN_LOGITS = "rw.run", "rw.run, logits everywhere"
EAGER, EAGER_LAST = "eager", "eager, last logits"
DEFAULT, DEFAULT_LAST = "default attention", "default attention, last logits"
CACHE = "run_with_cache"
RESIDENT = (RUN, EAGER, CACHE)
CONTENDERS = (RUN, RUN_LOGITS, EAGER, EAGER_LAST, DEFAULT, DEFAULT_LAST, CACHE)
STREAM = ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"]


def hugging_face() -> Any:
    """The model as transformers loads it, apart from any bridge."""
    from transformers import AutoModelForCausalLM

    folder = dense_folder(packaged_file(MODEL), progress=False)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def contender(name: str, model: rw.ResidualModel | None, plain: Any, ids: list[int]) -> Callable[[], Any]:
    """One forward pass of a contender, whose result is returned and so held."""
    tokens = torch.tensor([ids])
    if model is not None and name == RUN:
        return lambda: rw.run(model, ids)
    if model is not None and name == RUN_LOGITS:
        return lambda: rw.run(model, ids, keep=[*STREAM, "logits"])
    if model is not None and name == CACHE:
        return torch.no_grad()(lambda: model.bridge.run_with_cache(tokens))
    attention = "eager" if name in (EAGER, EAGER_LAST) else "sdpa"
    options = {"logits_to_keep": 1} if name in (EAGER_LAST, DEFAULT_LAST) else {}

    @torch.no_grad()
    def forward() -> torch.Tensor:
        plain.set_attn_implementation(attention)
        return plain(tokens, use_cache=False, **options).logits

    return forward


def prompt(length: int) -> list[int]:
    """Token ids, the same on every call; time and memory do not depend on what they say."""
    generator = random.Random(length)
    return [generator.randrange(40_000) for _ in range(length)]


def compare_times(model: rw.ResidualModel, plain: Any) -> None:
    print("\nTime: median of the ratios of one round (middle half of the rounds)")
    for length, seconds in LENGTHS.items():
        ids = prompt(length)
        calls = {name: contender(name, model, plain, ids) for name in CONTENDERS}
        times = interleaved(calls, seconds=seconds)
        same = torch.equal(calls[EAGER]()[0], calls[RUN_LOGITS]().logits)
        rounds = len(times[RUN])
        print(
            f"\n  {length} tokens, {rounds} rounds; logits equal Hugging Face's to the bit: {'yes' if same else 'NO'}"
        )
        for name in CONTENDERS:
            print(f"    {name:32}{statistics.median(times[name]) * 1e3:8.1f} ms")
        for of, to in (
            (RUN, EAGER),
            (RUN, EAGER_LAST),
            (RUN_LOGITS, EAGER),
            (RUN, DEFAULT),
            (RUN, DEFAULT_LAST),
            (RUN, CACHE),
            (RUN_LOGITS, CACHE),
        ):
            print(f"    {of + ' / ' + to:58}{spread(ratios(times, of, to))}")


def compare_memory(model: rw.ResidualModel, plain: Any) -> None:
    print("\nPeak memory above the loaded model, with the result held")
    print("  tensors: bytes alive in PyTorch's allocator, by its own record; the same on every run")
    print("  resident: the kernel's high-water mark of a fresh process, all else included; differs by some megabytes")
    resident = {name: in_a_fresh_process(name) for name in RESIDENT}
    for length in LENGTHS:
        calls = {name: contender(name, model, plain, prompt(length)) for name in CONTENDERS}
        tensors = {name: peak_tensors(call) for name, call in calls.items()}
        of_length = {name: peaks[str(length)] for name, peaks in resident.items()}
        print(f"\n  {length} tokens{'tensors':>32}{'resident':>14}")
        for name in CONTENDERS:
            more = f"{of_length[name] / 1e6:11.1f} MB" if name in of_length else ""
            print(f"    {name:32}{tensors[name] / 1e6:8.1f} MB{more}")
        for of, to in ((RUN, CACHE), (RUN_LOGITS, CACHE), (RUN, EAGER)):
            more = f"{of_length[of] / of_length[to]:11.2f}" if of in of_length and to in of_length else ""
            print(f"    {of + ' / ' + to:42}{tensors[of] / tensors[to]:.2f}{more}")
        print(f"    rw.run says that it holds {contender(RUN, model, plain, prompt(length))().memory / 1e6:.1f} MB")


def in_a_fresh_process(name: str) -> dict[str, float]:
    """Peak resident memory of one contender, by length."""
    command = [sys.executable, __file__, "--memory", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"measuring the memory of {name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_memory(name: str) -> None:
    """In a process of its own: print the peaks of one contender as JSON."""
    model = None if name == EAGER else rw.load_model(MODEL, device="cpu", progress=False)
    plain = hugging_face() if name == EAGER else None
    calls = {length: contender(name, model, plain, prompt(length)) for length in LENGTHS}
    print(json.dumps({length: peak_resident(call) for length, call in calls.items()}))


def peak_resident(call: Callable[[], Any]) -> float:
    """Bytes by which the process's resident memory rose at most, or NaN where the kernel does not tell."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        return float("nan")
    call()  # what a first call of this length sets up for good belongs to no contender
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # give freed memory back, or it would be used again unseen
    clear.write_text("5")  # the high-water mark starts anew
    before = _kilobytes(status, "VmRSS")
    result = call()
    rise = _kilobytes(status, "VmHWM") - before
    del result
    return rise * 1024.0


def _kilobytes(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))


def peak_tensors(call: Callable[[], Any]) -> float:
    """Bytes that PyTorch's CPU allocator had handed out at the peak, above what it had before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = call()
    assert profile.profiler is not None and profile.profiler.kineto_results is not None
    events: list[Any] = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    del result
    return float(peak)


def main() -> None:
    try:
        packaged_file(MODEL)
    except rw.InputError as error:
        print(f"Nothing measured: {error}")
        return
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(sys.argv[2])
        return
    print(machine("torch", "transformers", "transformer-lens", "resid-widgets"))
    print(f"{MODEL}, float32, CPU, {torch.get_num_threads()} threads")
    model, plain = rw.load_model(MODEL, device="cpu", progress=False), hugging_face()
    compare_times(model, plain)
    compare_memory(model, plain)


if __name__ == "__main__":
    main()
