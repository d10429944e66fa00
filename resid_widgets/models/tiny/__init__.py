"""The bundled model: a small Llama trained on a grammar whose ground truth the package owns."""

from __future__ import annotations

from pathlib import Path

from resid_widgets.errors import InputError

WEIGHTS = Path(__file__).parent / "weights"


def checkpoints() -> list[str]:
    """Names of the earlier checkpoints that ship beside the trained model, in the order of training."""
    return sorted(folder.name for folder in WEIGHTS.glob("step-*") if (folder / "config.json").is_file())


def folder(checkpoint: str | None = None) -> Path:
    """The local folder (Hugging Face layout) of the trained model, or of one of its `checkpoints`.

    Raises
    ------
    InputError
        If there is no such checkpoint.
    """
    if checkpoint is None:
        return WEIGHTS
    if checkpoint not in checkpoints():
        raise InputError.about(
            "checkpoint", checkpoint, "the tiny model ships no such checkpoint", f"Choose from {checkpoints()}."
        )
    return WEIGHTS / checkpoint
