"""A local folder looked over before anything is built from it: what it lacks, damage, code of its own, wrong kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from resid_widgets.errors import InputError, UnsupportedModelError

_AGAIN = "Save the model again: hf_model.save_pretrained(folder)."


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be a model, before transformers meets it.

    Raises
    ------
    InputError
        If it lacks config.json or safetensors weights, or one of them is damaged or does not fit the other.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise InputError.about("source", str(folder), "it has no config.json", "Give a folder in Hugging Face format.")
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError.about("source", str(folder), f"its config.json is damaged ({error})", _AGAIN) from error
    if not isinstance(settings, dict):
        raise InputError.about("source", str(folder), "its config.json is no table of settings", _AGAIN)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = [p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt")]
        rule = f"it holds pickled weights ({pickled[0]}), which can run code" if pickled else "it holds no weights"
        raise InputError.about("source", str(folder), rule, "Save safetensors: hf_model.save_pretrained(folder).")
    _check_sizes(folder, settings, [shape for file in files for shape in _shapes(file)])


def _shapes(file: Path) -> list[tuple[int, ...]]:
    """Shape of each tensor, from the file's header."""
    try:
        with safe_open(file, framework="pt") as weights:
            return [tuple(weights.get_slice(name).get_shape()) for name in weights.keys()]  # noqa: SIM118  # no dict
    except (SafetensorError, OSError) as error:
        rule = f"its {file.name} is damaged or cut short ({error})"
        raise InputError.about("source", str(file.parent), rule, "Copy or download it again.") from error


def _check_sizes(folder: Path, settings: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    """Refuse sizes that the weights do not have: a model of any size would be built before they were compared."""
    layers, width = settings.get("num_hidden_layers"), settings.get("hidden_size")
    if isinstance(layers, int) and not 0 < layers <= len(shapes):
        rule = f"its config.json speaks of {layers} layers, its weights hold {len(shapes)} tensors"
        raise InputError.about("source", str(folder), rule, _AGAIN)
    if isinstance(width, int) and not any(width in shape for shape in shapes):
        rule = f"its config.json says hidden_size {width}, which none of its weights has"
        raise InputError.about("source", str(folder), rule, _AGAIN)


def check_kind(name: str, config: Any) -> None:
    """Refuse a model that does not predict a next token, before it is loaded as something that it is not.

    Raises
    ------
    UnsupportedModelError
        Naming the kind of model.
    """
    from transformers.models.auto import modeling_auto

    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        reason = "it has an encoder and a decoder, so two residual streams; only decoders are shown"
    elif kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and getattr(config, "is_decoder", None) is False:
        reason = "it is an encoder: read as a next-token model, each token would be cut off from those after it"
    elif kind not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        reason = "it does not predict a next token; only such models are shown"
    else:
        return
    raise UnsupportedModelError(f"{name}: this {kind} model cannot be shown: {reason}.")
