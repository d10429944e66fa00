"""Activations on disk: safetensors shards, one whole batch each, and a manifest that is replaced atomically.

A shard counts from the moment when a manifest that counts it has taken the old one's place. Whatever was written before
that and is cut short is written again, the same bytes. A store holds one or more parts: the prompts of a first
collection, and of those that were appended to it; each part has a plan, which is written once.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.collecting.batch_plan import Plan, digest
from resid_widgets.models.collecting.batches import Place, place_name

FORMAT = 1
MANIFEST = "manifest.json"
_LOCK = ".lock"
_OURS = re.compile(r"\.lock|(manifest|plan-\d{4})\.json|shard-\d{4}-\d{6}\.safetensors|.*\.tmp")


class Store:
    """A folder of activations.

    Attributes
    ----------
    folder
        Where it is.
    manifest
        ``format``; ``header``, what all parts have in common (model, weights hash, dtype, versions, components, ...);
        and ``parts``, a list with, for each: its ``plan`` and the plan's ``digest``, the number of ``batches``, how
        many of them are ``done``, and what was found out meanwhile. Empty before the first collection.
    """

    def __init__(self, folder: Any) -> None:
        if not isinstance(folder, str | os.PathLike):
            raise InputError.about("store", folder, "the name of a folder is needed", "For example 'activations'.")
        self.folder = Path(folder).expanduser()
        self.manifest = self._read_manifest()
        self._plans: dict[int, Plan] = {}

    @property
    def header(self) -> dict[str, Any]:
        """What all parts have in common."""
        return self.manifest["header"]

    @property
    def parts(self) -> list[dict[str, Any]]:
        """One entry for each collection, in order."""
        return self.manifest.get("parts", [])

    @property
    def finished(self) -> list[dict[str, Any]]:
        """The parts that are whole: all, or all but the last."""
        return [part for part in self.parts if part["done"] == part["batches"]]

    def plan(self, part: int) -> Plan:
        """Return the plan of a part.

        Raises
        ------
        InputError
            If its file is missing or was changed.
        """
        if part not in self._plans:
            path = self.folder / self.parts[part]["plan"]
            data = path.read_bytes() if path.is_file() else b""
            if digest(data) != self.parts[part]["digest"]:
                raise _damaged(path, "it is not the plan that the manifest names")
            self._plans[part] = Plan.from_json(data)
        return self._plans[part]

    def require_folder(self) -> None:
        """Refuse a folder that cannot become a store.

        Raises
        ------
        InputError
            If what it would stand in does not exist, or if it holds other files.
        """
        if not self.folder.parent.is_dir():
            rule = f"the folder {str(self.folder.parent)!r} does not exist"
            raise InputError.about("store", str(self.folder), rule, "Create it first, or write elsewhere.")
        foreign = [p.name for p in self.folder.iterdir() if not _OURS.fullmatch(p.name)] if self.folder.exists() else []
        if foreign and not self.manifest:
            rule = f"the folder holds other files ({foreign[0]!r})"
            raise InputError.about("store", str(self.folder), rule, "Give a new folder, or an empty one.")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for this process alone; a process that dies lets go of it.

        Raises
        ------
        InputError
            If another one is writing, or if the folder cannot be a store.
        """
        self.require_folder()
        self.folder.mkdir(exist_ok=True)
        try:
            with FileLock(self.folder / _LOCK, timeout=0):
                self.manifest = self._read_manifest()  # another writer may just have finished
                for left in self.folder.glob("*.tmp"):
                    left.unlink()
                yield
        except Timeout as error:
            rule = "another process is writing to it"
            raise InputError.about(
                "store", str(self.folder), rule, "Wait until it is done, or write elsewhere."
            ) from error

    def begin(self, header: Mapping[str, Any], plan: Plan, facts: Mapping[str, Any], append: bool) -> int:
        """Return the number of the part that holds `plan`: a new one, or one that was begun before.

        Parameters
        ----------
        header
            What must be the same for all parts.
        facts
            What is kept with a new part.
        append
            Whether a plan that the store does not hold is added to those that it holds.

        Raises
        ------
        InputError
            If `header` is not that of the store, if the store holds another plan and `append` is False, or if its last
            part is not finished.
        """
        header = json.loads(json.dumps(header))
        if self.manifest:
            self._require_same(header)
            known = next((n for n, part in enumerate(self.parts) if part["digest"] == plan.digest), None)
            if known is not None:
                return known
            if not append:
                rule = "it holds activations of other prompts, positions or batches"
                raise InputError.about(
                    "store", str(self.folder), rule, "Pass append=True to add these, or another folder."
                )
            self.require_finished()
        part = {
            "plan": f"plan-{len(self.parts):04}.json",
            "digest": plan.digest,
            "batches": len(plan.batches),
            "done": 0,
            **facts,
        }
        _write(self.folder / part["plan"], plan.to_json())
        self._replace_manifest({"format": FORMAT, "header": header, "parts": [*self.parts, part]})
        return len(self.parts) - 1

    def commit(self, part: int, batch: int, tensors: Mapping[Place, Tensor], facts: Mapping[str, Any]) -> None:
        """Write the shard of one batch, the next one of its part, and count it.

        Parameters
        ----------
        facts
            Entries of the part that this batch has changed.
        """
        entry = self.parts[part]
        assert batch == entry["done"], "batches are committed in order"
        path = self._shard(part, batch)
        named = {place_name(place): value.contiguous() for place, value in sorted(tensors.items())}
        about = {
            "plan": entry["digest"],
            "batch": batch,
            "crc32": {name: _checksum(value) for name, value in named.items()},
        }
        temporary = path.with_name(path.name + ".tmp")
        # One entry: safetensors writes several in an order that differs between processes.
        save_file(named, temporary, metadata={"resid_widgets": json.dumps(about)})
        _take_place(temporary, path)
        parts = [dict(known) for known in self.parts]
        parts[part] |= {**facts, "done": batch + 1}
        self._replace_manifest({**self.manifest, "parts": parts})

    def read(self, part: int, batch: int, place: Place) -> Tensor:
        """Return what a shard holds of one place, ``[sample, width]``.

        Raises
        ------
        InputError
            If the shard is missing, cut short or damaged, or belongs elsewhere.
        """
        path, name = self._shard(part, batch), place_name(place)
        if not path.is_file():
            raise _damaged(path, "it is missing")
        try:
            with safe_open(path, framework="pt") as shard:
                about = json.loads((shard.metadata() or {})["resid_widgets"])
                tensor = shard.get_tensor(name)
                belongs = (about["plan"], about["batch"]) == (self.parts[part]["digest"], batch)
                whole = about["crc32"][name] == _checksum(tensor)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise _damaged(path, f"it cannot be read ({error})") from error
        if not belongs:
            raise _damaged(path, "it belongs to another store or place")
        if not whole:
            raise _damaged(path, f"the numbers of {name} have changed since they were written")
        return tensor

    def require_finished(self) -> None:
        """Refuse a store in which a collection was cut short.

        Raises
        ------
        InputError
            Saying how far it came.
        """
        for part in self.parts[len(self.finished) :]:
            rule = f"a collection was cut short after {part['done']} of {part['batches']} batches"
            remedy = "Run the same rw.collect(..., store=...) again: it goes on where it stopped."
            raise InputError.about("store", str(self.folder), rule, remedy)

    def _require_same(self, header: Mapping[str, Any]) -> None:
        old, new = _leaves(self.header), _leaves(header)
        # The same weights may be known under several names.
        for name in sorted((old.keys() | new.keys()) - {"model"}):
            if old.get(name) != new.get(name):
                rule = f"it was written with another {name} ({old.get(name)!r}, now {new.get(name)!r})"
                raise InputError.about("store", str(self.folder), rule, "Use the same one, or another folder.")

    def _shard(self, part: int, batch: int) -> Path:
        return self.folder / f"shard-{part:04}-{batch:06}.safetensors"

    def _read_manifest(self) -> dict[str, Any]:
        path = self.folder / MANIFEST
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError.about("store", str(self.folder), "it is a file", "Give the name of a folder.")
        if not path.exists():
            return {}
        try:
            manifest = json.loads(path.read_bytes())
            known = manifest["format"] == FORMAT and {"header", "parts"} <= manifest.keys()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, f"it cannot be read ({type(error).__name__}: {error})") from error
        if not known:
            rule = f"its format is {manifest['format']!r}, this version reads {FORMAT}"
            raise InputError.about("store", str(self.folder), rule, "Read it with the version that wrote it.")
        return manifest

    def _replace_manifest(self, manifest: dict[str, Any]) -> None:
        _write(self.folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
        self.manifest = manifest


def _leaves(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a header says, with the entries of its groups as ``group.entry``."""
    found = {}
    for name, value in header.items():
        found |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().view(torch.uint8).numpy().data)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    _take_place(temporary, path)


def _take_place(temporary: Path, path: Path) -> None:
    """Put a written file in its place: all of it or nothing, whenever the machine stops."""
    _sync(temporary)
    os.replace(temporary, path)  # noqa: PTH105  # as the atomic step, it is called by its own name
    # What a manifest counts must be there first; of two manifests either will do. (Windows opens no folders.)
    if path.name != MANIFEST and os.name != "nt":
        _sync(path.parent)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _damaged(path: Path, rule: str) -> InputError:
    return InputError.about("store", str(path), rule, "Restore the file from a copy, or collect into a new folder.")
