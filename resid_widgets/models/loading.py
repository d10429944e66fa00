"""load_model: from a name, a folder, a file or live objects to a ResidualModel."""

from __future__ import annotations

import copy as copying
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.forward import forward
from resid_widgets.models.gguf import dense_folder
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.packaged import PACKAGED, packaged_file
from resid_widgets.models.structure import probe_ids, relative_gap, structure_of

TINY = Path(__file__).parent / "tiny" / "weights"
"""The bundled model, an ordinary local folder."""

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def load_model(
    source: Any = None,
    *,
    tokenizer: Any = "auto",
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "auto",
    copy: bool = True,
    progress: bool = True,
) -> ResidualModel:
    """Load a model whose residual stream can be read, and prove that it adds up.

    Parameters
    ----------
    source
        None for the bundled tiny model; the name of an installed package's model (``"smollm2-135m"``); a local
        folder in Hugging Face format (safetensors); a ``.gguf`` file; a name on the Hugging Face hub; a pair
        ``(hf_model, tokenizer)`` with tokenizer possibly None; or a live ``TransformerBridge``.
    tokenizer
        ``"auto"`` loads the source's own. None: the model takes token ids only.
    dtype
        Default float32, also for checkpoints in half precision. A pair or live bridge stays as it is.
    device
        ``"auto"`` takes cuda where there is one.
    copy
        Whether an `hf_model` is copied first; the bridge rewrites the model it is given in place.
    progress
        Show progress bars while loading.

    Returns
    -------
    ResidualModel
        In eval mode, with raw weights as the model ships them.

    Raises
    ------
    InputError
        If the source is not found, has no safetensors weights, is damaged, or an option is invalid. Pickled
        weights are never loaded and remote code is never run.
    UnsupportedModelError
        If TransformerLens has no adapter for it, or its parts do not add up.
    """
    wanted_dtype = _dtype(dtype)
    wanted_device = _device(device)
    if source is None:
        return _from_folder(TINY, "tiny", tokenizer, wanted_dtype, wanted_device, progress)
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], PreTrainedModel):
        hf_model, own = source
        if copy:
            hf_model = copying.deepcopy(hf_model)
        hf_model = hf_model.to(device=None if device == "auto" else wanted_device, dtype=dtype and wanted_dtype)
        chosen = own if tokenizer == "auto" else tokenizer
        return _bridge(hf_model, chosen, hf_model.config.name_or_path or type(hf_model).__name__)
    if not isinstance(source, (str, Path)):
        if dtype is not None or device != "auto":
            raise InputError.about(
                "dtype/device", (dtype, device), "a live bridge stays as it is", "Move it first: bridge.to(...)."
            )
        return _proved(as_model(source))
    if str(source) in PACKAGED:
        folder = dense_folder(packaged_file(str(source)), progress=progress)
        return _from_folder(folder, str(source), tokenizer, wanted_dtype, wanted_device, progress)
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        folder = dense_folder(path, progress=progress)
        return _from_folder(folder, path.stem, tokenizer, wanted_dtype, wanted_device, progress)
    if path.is_dir():
        _check_folder(path)
        return _from_folder(path, path.name, tokenizer, wanted_dtype, wanted_device, progress)
    if path.is_file():
        raise InputError.about(
            "source", str(source), "a file must be a .gguf", "Give the folder that holds config.json."
        )
    if isinstance(source, Path) or str(source).count("/") > 1 or str(source).startswith((".", "/", "~")):
        raise InputError.about("source", str(source), "there is no such folder or file", "Check the path.")
    return _from_folder(str(source), str(source), tokenizer, wanted_dtype, wanted_device, progress)


def _from_folder(
    place: Path | str,
    name: str,
    tokenizer: Any,
    dtype: torch.dtype,
    device: torch.device,
    progress: bool,
) -> ResidualModel:
    """Load a local folder, or a hub name (which transformers resolves to its cache or downloads)."""
    bars = transformers_logging.is_progress_bar_enabled()
    if not progress:
        transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        hf_model, info = AutoModelForCausalLM.from_pretrained(
            place,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        chosen = AutoTokenizer.from_pretrained(place, trust_remote_code=False) if tokenizer == "auto" else tokenizer
    except Exception as error:  # transformers raises a dozen kinds; each means that this source cannot be loaded
        raise _explained(place, error) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    missing = sorted(info["missing_keys"])
    if missing:
        raise InputError.about(
            "source",
            str(place),
            f"its weights lack {len(missing)} of the model's parameters ({', '.join(missing[:3])}, ...)",
            "They would be random numbers. Save the whole model, with the head it is used with.",
        )
    return _bridge(hf_model.to(device).eval(), chosen, name)


def _bridge(hf_model: Any, tokenizer: Any, name: str) -> ResidualModel:
    from transformer_lens.model_bridge.sources import build_bridge_from_module
    from transformer_lens.utilities.attn_implementation import force_eager_attention

    force_eager_attention(hf_model)
    architecture = (getattr(hf_model.config, "architectures", None) or [type(hf_model).__name__])[0]
    training = hf_model.training
    ids = probe_ids(hf_model.config.get_text_config().vocab_size, None)
    before = None if training else _plain_logits(hf_model, ids)
    try:
        # Not boot_transformers: without a tokenizer it goes to the hub for one, and it tells one to add a BOS.
        bridge = build_bridge_from_module(
            hf_model,
            architecture,
            hf_config=copying.deepcopy(hf_model.config),
            # TransformerLens sets pad tokens and BOS on what it is given; ours stays as its author made it.
            tokenizer=_offline_copy(tokenizer),
            model_name=name,
        )
    except torch.OutOfMemoryError:
        raise
    except (ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise UnsupportedModelError(
            f"{name}: TransformerLens cannot bridge a {architecture} ({type(error).__name__}: {error})."
        ) from error
    bridge.train(training)
    model = _proved(ResidualModel(bridge, tokenizer=tokenizer, name=name))
    if before is not None:
        gap = relative_gap(forward(model, ids, last_only=False, allow_hooks=True), before)
        if not gap <= model.gap_limit:
            raise UnsupportedModelError(
                f"{name}: through TransformerLens it gives other logits than Hugging Face's own model "
                f"(relative gap {gap:.1e}, limit {model.gap_limit:.0e}), so nothing shown of it would be true."
            )
    return model


@torch.no_grad()
def _plain_logits(hf_model: Any, ids: list[int]) -> torch.Tensor:
    """Logits of the Hugging Face model itself, before the bridge takes it over."""
    return hf_model(input_ids=torch.tensor([ids], device=hf_model.device), use_cache=False).logits[0]


def _proved(model: ResidualModel) -> ResidualModel:
    """Run the structure self-test now, so that a model which cannot be shown is refused at once."""
    if not model.bridge.training:
        structure_of(model)
    return model


def _offline_copy(tokenizer: Any) -> Any:
    if tokenizer is None:
        return None
    clone = copying.deepcopy(tokenizer)
    # Said to have its BOS already, it is not loaded anew (which fails without a network for a tokenizer in memory).
    clone.init_kwargs["add_bos_token"] = True
    clone.init_kwargs.setdefault("name_or_path", getattr(tokenizer, "name_or_path", ""))
    return clone


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be a model, before transformers meets it."""
    config = folder / "config.json"
    if not config.is_file():
        raise InputError.about("source", str(folder), "it has no config.json", "Give a folder in Hugging Face format.")
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError.about(
            "source", str(folder), f"its config.json is damaged ({error})", "Save the model again."
        ) from error
    if not list(folder.glob("*.safetensors")):
        pickled = [p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt")]
        rule = f"it holds pickled weights ({pickled[0]}), which can run code" if pickled else "it holds no weights"
        remedy = "Save them as safetensors: hf_model.save_pretrained(folder)."
        raise InputError.about("source", str(folder), rule, remedy)


def _explained(place: Path | str, error: Exception) -> Exception:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if Path(place).is_dir():
        if "does not recognize this architecture" in str(error) or "Unrecognized model" in str(error):
            return UnsupportedModelError(f"{place}: transformers does not know this architecture. {first_line}")
        return InputError.about(
            "source", str(place), f"it cannot be loaded ({type(error).__name__}: {first_line})", "Save the model again."
        )
    return InputError.about(
        "source",
        str(place),
        f"no folder, installed model or .gguf file of that name, and the hub did not give it ({first_line})",
        f"Give a local folder, or one of {', '.join(PACKAGED)}, or nothing for the bundled tiny model.",
    )


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    if dtype is None:
        return torch.float32
    found = _DTYPES.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise InputError.about("dtype", dtype, f"must be one of {', '.join(_DTYPES)}", "float32 is the default.")
    return found


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise InputError.about("device", device, "torch does not know it", "Use 'auto', 'cpu' or 'cuda'.") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise InputError.about("device", str(device), "torch sees no cuda device here", "Use 'auto' or 'cpu'.")
    return wanted
