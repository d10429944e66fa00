"""A store survives a kill at any moment, grows safely, and refuses what does not belong to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

import resid_widgets as rw
from resid_widgets.errors import InputError
from resid_widgets.models.collecting import store as store_module

# Four batches: two lengths, at most eight tokens at once.
IDS = [[5, 9, 33, 2], [8, 60, 7], [7, 41, 12, 3], [3, 3, 3], [11, 12, 13, 14], [9, 8, 7], [1, 2, 3, 4]]
MORE = [[40, 41, 42], [50, 51, 52, 53, 54]]
OPTIONS: dict[str, Any] = {"positions": "all", "batch_tokens": 8, "progress": False}


def collect(model: Any, folder: Path, ids: Any = IDS, **options: Any) -> rw.Activations:
    return rw.collect(model, ids, ["resid_post", "mlp_post"], store=folder, **{**OPTIONS, **options})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the lock."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != ".lock"}


@pytest.fixture
def full(llama: Any, tmp_path: Path) -> Path:
    """A finished store."""
    collect(llama, tmp_path / "full")
    return tmp_path / "full"


def test_holds_what_is_collected_in_memory(llama: Any, full: Path) -> None:
    held = rw.collect(llama, IDS, ["resid_post", "mlp_post"], **OPTIONS)
    for opened in (rw.open_activations(full), rw.open_activations(str(full), llama), collect(llama, full)):
        for component in held.components:
            for layer in held.layers:
                assert np.array_equal(opened.matrix(layer, component), held.matrix(layer, component))
            lazy = opened.array(component)
            assert np.array_equal(lazy[2, [20, 1, 7], ::3].to_numpy(), held.matrix(2, component)[[20, 1, 7], ::3])
        assert opened.samples.equals(held.samples)
        assert (opened.checks, opened.provenance, opened.widths) == (held.checks, held.provenance, held.widths)
        assert opened.memory == 0 and opened.path == full
    assert rw.open_activations(full).model is None and rw.open_activations(full, llama).model is llama
    names = [f"shard-0000-{n:06}.safetensors" for n in range(4)]
    assert list(contents(full)) == ["manifest.json", "plan-0000.json", *names]


def test_opens_without_reading_the_numbers(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    once = store_module.Store.read
    monkeypatch.setattr(store_module.Store, "read", lambda *args: read.append(args[1:]) or once(*args))
    opened = rw.open_activations(full)
    values = opened.array("resid_post").sel(layer=1).isel(sample=slice(0, 3))
    assert not read
    values.to_numpy()  # the samples of the first prompt stand in one shard
    assert read == [(0, 2, ("resid_post", 1))]


def test_says_what_it_holds(llama: Any, full: Path) -> None:
    manifest = json.loads((full / "manifest.json").read_text())
    assert manifest["header"]["weights_hash"] == llama.weights_hash
    assert manifest["header"]["versions"]["torch"] == torch.__version__
    assert manifest["header"]["dtype"] == "float32"
    assert manifest["header"]["widths"] == {"resid_post": 32, "mlp_post": 48}
    assert json.loads((full / "plan-0000.json").read_text())["ids"] == IDS


def test_the_same_again_writes_nothing(llama: Any, full: Path) -> None:
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in full.iterdir() if p.name != ".lock"}
    collect(llama, full)
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in full.iterdir() if p.name != ".lock"} == before


# --- kill -9 ------------------------------------------------------------------------------------------------------

KILLS = r'''
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)  # no threads, so that a fork is a whole process
import resid_widgets as rw
from resid_widgets.models.collecting import store as store_module
from resid_widgets.models.loading.load_model import load_model
from tests.architectures import build
from tests.models.collecting.test_store import IDS, MORE, OPTIONS, collect, contents

root = Path(sys.argv[1])
model = load_model((build("llama"), None), copy=False)
replace = os.replace
os.fsync = lambda file: None  # a killed process loses nothing that it has written: the machine goes on

def undisturbed(folder):
    collect(model, folder)
    collect(model, folder, MORE, append=True)

def killed(folder, fatal, when):
    """In a process of its own: die at the `fatal`-th file, while it is written or after it has taken its place."""
    child = os.fork()
    if child == 0:
        seen = [0]
        def dying_replace(source, target):
            seen[0] += 1
            if when == "while" and seen[0] == fatal:  # half a file
                data = Path(source).read_bytes()
                Path(source).write_bytes(data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
            if seen[0] == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        store_module.os.replace = dying_replace
        try:
            undisturbed(folder)
        finally:
            os._exit(0)  # not killed: there were no more files
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

undisturbed(root / "whole")
expected = contents(root / "whole")
assert len(expected) == 1 + 2 + 4 + 2, list(expected)
moments = 0
for when in ("while", "after"):
    fatal = 0
    while True:
        fatal += 1
        folder = root / f"{when}-{fatal}"
        if not killed(folder, fatal, when):
            break
        moments += 1
        left = contents(folder)
        assert left != expected or when == "after"
        undisturbed(folder)
        assert contents(folder) == expected, (when, fatal, sorted(left))
        assert rw.open_activations(folder, model).n_samples == 25 + 8
    # a plan and a first manifest for each part, and a shard and a manifest for each batch
    assert fatal - 1 == 2 * (1 + 1) + 2 * (4 + 2), (when, fatal)
print("killed", moments)
'''


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_no_trace(tmp_path: Path) -> None:
    """SIGKILL around each file that takes its place; the same calls again end in the bytes of an undisturbed store."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", KILLS, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["killed", "32"]


def test_a_shard_is_on_disk_before_the_manifest_counts_it(
    llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut asks for: flush, take the place, flush the folder; the manifest last."""
    steps: list[tuple[str, str]] = []
    sync, replace = store_module._sync, os.replace
    monkeypatch.setattr(store_module, "_sync", lambda path: steps.append(("sync", path.name)) or sync(path))
    monkeypatch.setattr(os, "replace", lambda old, new: steps.append(("replace", new.name)) or replace(old, new))
    collect(llama, tmp_path / "s", IDS[:1])
    expected = [
        step
        for name in ("plan-0000.json", "manifest.json", "shard-0000-000000.safetensors", "manifest.json")
        for step in (("sync", f"{name}.tmp"), ("replace", name), *([] if "manifest" in name else [("sync", "s")]))
    ]
    assert steps == expected


def test_an_unfinished_store_is_not_opened_and_goes_on(llama: Any, tmp_path: Path, full: Path) -> None:
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(llama, tmp_path / "half", progress=stop)
    with pytest.raises(InputError, match=r"cut short after 2 of 4 batches. Run the same rw.collect"):
        rw.open_activations(tmp_path / "half")
    with pytest.raises(InputError, match="cut short after 2 of 4 batches"):
        collect(llama, tmp_path / "half", MORE, append=True)
    collect(llama, tmp_path / "half", progress=lambda done, total: seen.append(done))
    assert seen == [6, 9, 17, 25]
    assert contents(tmp_path / "half") == contents(full)


# --- more prompts -------------------------------------------------------------------------------------------------


def test_other_prompts_are_added_only_when_asked(llama: Any, full: Path) -> None:
    before = contents(full)
    for changes in ({"ids": MORE}, {"ids": IDS[1:]}, {"positions": "all", "ids": [*IDS[:-1], [1, 2, 3, 5]]}):
        with pytest.raises(InputError, match=r"other prompts, positions or batches. Pass append=True"):
            collect(llama, full, **changes)
    assert contents(full) == before
    both = collect(llama, full, MORE, append=True)
    assert {**contents(full), "manifest.json": b""}.items() >= {**before, "manifest.json": b""}.items()
    held = [rw.collect(llama, ids, ["resid_post", "mlp_post"], **OPTIONS) for ids in (IDS, MORE)]
    assert np.array_equal(both.matrix(3, "mlp_post"), np.concatenate([a.matrix(3, "mlp_post") for a in held]))
    assert both.samples["prompt"].tolist() == [n for n, ids in enumerate([*IDS, *MORE]) for _ in ids]
    assert both.n_prompts == 9 and both.provenance.token_ids == tuple(i for ids in [*IDS, *MORE] for i in ids)
    after = contents(full)
    assert collect(llama, full, MORE, append=True).n_samples == both.n_samples  # again: no duplicate
    assert collect(llama, full).n_samples == both.n_samples
    assert contents(full) == after


# --- what does not belong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [0, 1]}, "another layers"),
        ({"positions": "last"}, r"another options.positions \('all', now 'last'\)"),
        ({"batch_tokens": 4}, r"another options.batch_tokens \(8, now 4\)"),
    ],
)
def test_another_option_is_refused(llama: Any, full: Path, options: dict[str, Any], message: str) -> None:
    before = contents(full)
    for append in (False, True):
        with pytest.raises(InputError, match=message):
            collect(llama, full, append=append, **options)
    assert contents(full) == before


def test_another_model_is_refused(fresh: Any, full: Path, gpt2: Any) -> None:
    model = fresh("llama")
    assert rw.open_activations(full, model).n_samples == 25  # the same weights in another object
    with torch.no_grad():
        model.bridge.original_model.model.layers[0].mlp.original_component.up_proj.original_component.weight[0] += 1
    for other in (model, gpt2):
        with pytest.raises(InputError, match="with other weights than"):
            rw.open_activations(full, other)
        with pytest.raises(InputError, match="with other weights than"):
            collect(other, full)


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def test_another_version_is_refused(llama: Any, full: Path) -> None:
    change(full / "manifest.json", lambda m: m["header"]["versions"].update(torch="1.0"))
    with pytest.raises(InputError, match=r"another versions.torch \('1.0', now"):
        collect(llama, full)
    change(full / "manifest.json", lambda m: m.update(format=2))
    with pytest.raises(InputError, match="its format is 2, this version reads 1"):
        rw.open_activations(full)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def swap(path: Path) -> None:
    shutil.copy(path.with_name("shard-0000-000003.safetensors"), path)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("shard-0000-000001.safetensors", Path.unlink, "it is missing"),
        ("shard-0000-000001.safetensors", half, "it cannot be read"),
        ("shard-0000-000001.safetensors", lambda p: p.write_bytes(b""), "it cannot be read"),
        ("shard-0000-000001.safetensors", flip, "numbers of resid_post.3 have changed"),
        ("shard-0000-000002.safetensors", swap, "belongs to another"),
        ("plan-0000.json", half, "not the plan that the manifest names"),
        ("plan-0000.json", Path.unlink, "not the plan that the manifest names"),
        ("manifest.json", half, "it cannot be read"),
        ("manifest.json", lambda p: p.write_text("[]"), "it cannot be read"),
    ],
)
def test_damage_is_found(llama: Any, full: Path, name: str, damage: Callable[[Path], Any], message: str) -> None:
    damage(full / name)
    with pytest.raises(InputError, match=message) as caught:
        rw.open_activations(full).matrix(3, "resid_post")
    assert name in str(caught.value) and "Restore the file from a copy" in str(caught.value)


def test_only_one_writes_at_a_time(llama: Any, full: Path) -> None:
    with FileLock(full / ".lock"):
        with pytest.raises(InputError, match="another process is writing to it"):
            collect(llama, full, MORE, append=True)
        assert rw.open_activations(full).n_samples == 25  # reading is free
    collect(llama, full, MORE, append=True)


def test_a_folder_that_is_no_store_is_left_alone(llama: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files \('notes.txt'\)"):
        collect(llama, tmp_path)
    with pytest.raises(InputError, match="the name of a folder is needed"):
        rw.open_activations(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="it is a file"):
        collect(llama, tmp_path / "notes.txt")
    with pytest.raises(InputError, match=r"no' does not exist|does not exist"):
        collect(llama, tmp_path / "no" / "store")
    with pytest.raises(InputError, match=r"there is no store \(no manifest.json\)"):
        rw.open_activations(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    collect(llama, tmp_path / "empty")


def test_a_disk_that_is_full_is_said_before(llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10_000, 9_000, 1_000))
    with pytest.raises(InputError, match=r"it will take 32 kB, and only 1.0 kB are free there"):
        collect(llama, tmp_path / "s")
