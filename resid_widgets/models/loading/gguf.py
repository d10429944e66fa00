"""GGUF files, converted once to an ordinary folder of safetensors in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from resid_widgets.errors import InputError

_CONVERTER = 1
"""Raised whenever the conversion changes, so that old folders are not used."""


def cache_folder() -> Path:
    """Where converted models are kept: ``$RESID_WIDGETS_CACHE``, or the user's cache folder."""
    given = os.environ.get("RESID_WIDGETS_CACHE")
    return Path(given).expanduser() if given else user_cache_path("resid-widgets")


def dense_folder(file: Path, *, progress: bool = True) -> Path:
    """Return a folder with the model of `file` in float32 safetensors, converting it on first use.

    The folder's name holds the file's sha256, and it appears under that name only when it is complete.

    Raises
    ------
    InputError
        If the file is missing, is no GGUF, or cannot be read to its end.
    """
    if not file.is_file():
        raise InputError.about("source", str(file), "there is no such file", "Check the path.")
    with file.open("rb") as handle:
        if handle.read(4) != b"GGUF":
            raise InputError.about("source", str(file), "it does not start like a GGUF file", "Download it again.")
        handle.seek(0)
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    folder = cache_folder() / f"{file.stem}-{digest[:16]}-v{_CONVERTER}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="converting-", dir=folder.parent))
    except OSError as error:
        rule = f"its converted copy cannot be written ({error})"
        raise InputError.about("source", str(file), rule, "Set RESID_WIDGETS_CACHE to another folder.") from error
    try:
        _convert(file, unfinished, progress)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process may have finished the same conversion first
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _convert(file: Path, folder: Path, progress: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers import modeling_gguf_pytorch_utils as reader
    from transformers.utils import logging as transformers_logging

    bars, readers_own = transformers_logging.is_progress_bar_enabled(), reader.__dict__["tqdm"]
    if not progress:
        transformers_logging.disable_progress_bar()
        reader.__dict__["tqdm"] = transformers_logging.tqdm  # its own bar does not know that
    try:
        model = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            # Without it the weights stay packed and the model cannot be saved.
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except Exception as error:  # the reader fails in as many ways as a file can be damaged
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise InputError.about(
            "source", str(file), f"it cannot be read ({type(error).__name__}: {first_line})", "Download it again."
        ) from error
    else:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    finally:
        reader.__dict__["tqdm"] = readers_own
        if bars:
            transformers_logging.enable_progress_bar()
