"""load_model: from a name, a folder, a file or live objects to a ResidualModel."""

from __future__ import annotations

import copy as copying
from pathlib import Path
from typing import Any

import torch
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from resid_widgets.errors import InputError, ResidWidgetsError, UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.forward import forward
from resid_widgets.models.loading.adapters import adapter_base, adapter_on_hub, by_hand, with_adapter
from resid_widgets.models.loading.folder import check_folder, check_kind
from resid_widgets.models.loading.gguf import dense_folder
from resid_widgets.models.loading.live import check_numbers, moved, pair_of, taken
from resid_widgets.models.loading.packaged import PACKAGED, packaged_file
from resid_widgets.models.loading.placement import device_of, dtype_of
from resid_widgets.models.loading.tokenizer import given_tokenizer, offline_copy, own_tokenizer
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.structure import probe_ids, relative_gap, structure_of
from resid_widgets.models.trouble import refused_by_name

TINY = Path(__file__).parents[1] / "tiny" / "weights"
"""The bundled model, an ordinary local folder."""


@plain_pass()
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
        ``(hf_model, tokenizer)`` with tokenizer possibly None; or a live ``TransformerBridge``. A folder may hold an
        adapter (LoRA), whose base is loaded too; a live model may stand inside ``torch.compile``, DataParallel or a
        PeftModel.
    tokenizer
        ``"auto"`` loads the source's own. None: the model takes token ids only. A transformers tokenizer, a
        ``tokenizers.Tokenizer``, or the name or folder of one.
    dtype
        Default float32, also for checkpoints in half precision. A pair or live bridge stays as it is.
    device
        ``"auto"`` takes cuda where there is one.
    copy
        Whether an `hf_model` is copied first; the bridge rewrites the model it is given in place. A copy shares
        nothing with the original, and has its prunings and adapters computed into its weights (the runs say so).
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
        weights are never loaded and remote code is never run. If a live model cannot be copied, its copy would share
        a function with it, or its weights are elsewhere (offloaded) or no plain numbers (some quantised kinds).
    UnsupportedModelError
        If TransformerLens has no adapter for it, or its parts do not add up.
    """
    wanted_dtype = dtype_of(dtype)
    wanted_device = device_of(device)
    if isinstance(source, str) and not source.strip():
        raise InputError.about("source", source, "it is empty", "Leave it out for the bundled tiny model.")
    if source is None:
        return _from_folder(TINY, "tiny", tokenizer, wanted_dtype, wanted_device, progress=False)
    if not isinstance(source, (str, Path, ResidualModel, TransformerBridge)):
        given, own = pair_of(source)
        chosen = given_tokenizer(own if tokenizer == "auto" else tokenizer)
        hf_model, notes = taken(given, copy)
        hf_model = moved(hf_model, None if dtype is None else wanted_dtype, None if device == "auto" else wanted_device)
        return _bridge(hf_model, chosen, given.config.name_or_path or type(given).__name__, notes)
    if not isinstance(source, (str, Path)):
        if dtype is not None or device != "auto":
            raise InputError.about(
                "dtype/device", (dtype, device), "a live bridge stays as it is", "Move it first: bridge.to(...)."
            )
        model = as_model(source)
        if tokenizer != "auto":
            model = ResidualModel(model.bridge, tokenizer=given_tokenizer(tokenizer), name=model.name)
        return _proved(model)
    if str(source) in PACKAGED:
        folder = dense_folder(packaged_file(str(source)), progress=progress)
        return _from_folder(folder, str(source), tokenizer, wanted_dtype, wanted_device, progress)
    try:
        path = Path(source).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, a home of nobody
        raise InputError.about("source", str(source), f"it cannot be looked up ({error})", "Check the path.") from error
    if path.suffix.lower() == ".gguf":
        folder = dense_folder(path, progress=progress)
        return _from_folder(folder, path.stem, tokenizer, wanted_dtype, wanted_device, progress)
    if is_folder:
        if adapter_base(path) is None:
            check_folder(path)
        return _from_folder(path, path.resolve().name, tokenizer, wanted_dtype, wanted_device, progress)
    if is_file:
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
    base = adapter_base(place) if isinstance(place, Path) else None
    if tokenizer != "auto":
        tokenizer = given_tokenizer(tokenizer)
    bars = transformers_logging.is_progress_bar_enabled()
    if not progress:
        transformers_logging.disable_progress_bar()
    try:
        if base is None:
            hf_model, notes = _pretrained(place, name, dtype)
        else:
            hf_model, notes = with_adapter(_base_model(Path(place), base, dtype), Path(place))
        if tokenizer == "auto":
            own = base is None or any(Path(place).glob("tokenizer*"))
            tokenizer = own_tokenizer(place if own else str(base))
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    return _bridge(moved(hf_model, None, device).eval(), tokenizer, name, notes)


def _base_model(folder: Path, base: str, dtype: torch.dtype) -> Any:
    """Load what the adapter in a folder was trained on."""
    try:
        place = Path(base).expanduser()
        if place.is_dir():
            check_folder(place)
        return _pretrained(place if place.is_dir() else base, base, dtype)[0]
    except (ResidWidgetsError, OSError, RuntimeError) as error:
        rule = f"it holds an adapter, and its base model {base!r} cannot be loaded ({error})"
        raise InputError.about("source", str(folder), rule, by_hand(folder)) from error


def _pretrained(place: Path | str, name: str, dtype: torch.dtype) -> tuple[Any, tuple[str, ...]]:
    """Load a transformers model, and what a reader of its numbers should know of it."""
    config: Any = None
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        check_kind(name, config)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        hf_model, info = loaded
    except ResidWidgetsError:
        raise
    except Exception as error:  # transformers raises a dozen kinds; each means that this source cannot be loaded
        raise _explained(place, error, config) from error
    check_numbers(hf_model)
    missing = sorted(info["missing_keys"])
    if missing:
        raise InputError.about(
            "source",
            str(place),
            f"its weights lack {len(missing)} of the model's parameters ({', '.join(missing[:3])}, ...)",
            "They would be random numbers. Save the whole model, with the head it is used with.",
        )
    unused = sorted(info["unexpected_keys"])
    return hf_model, (f"{len(unused)} weights of its files are not used ({unused[0]}, ...)",) if unused else ()


def _bridge(hf_model: Any, tokenizer: Any, name: str, notes: tuple[str, ...] = ()) -> ResidualModel:
    from transformer_lens.model_bridge.sources import build_bridge_from_module
    from transformer_lens.utilities.attn_implementation import force_eager_attention

    # What the object is, before what its config says: a folder of GPT2Model loads as GPT2LMHeadModel.
    names = [c.__name__ for c in type(hf_model).__mro__] + (getattr(hf_model.config, "architectures", None) or [])
    architecture = next((n for n in names if n in SUPPORTED_ARCHITECTURES), names[0])
    if architecture not in SUPPORTED_ARCHITECTURES:
        raise UnsupportedModelError(f"{name}: TransformerLens cannot bridge a {architecture}: it knows no such models.")
    training = hf_model.training
    with refused_by_name(name, "TransformerLens cannot have its attention computed eagerly"):
        force_eager_attention(hf_model)
    ids = probe_ids(hf_model.config.get_text_config().vocab_size, None)
    before = None if training else _plain_logits(hf_model, ids, name)
    with refused_by_name(name, f"TransformerLens cannot bridge a {architecture}"):
        # Not boot_transformers: without a tokenizer it goes to the hub for one, and it tells one to add a BOS.
        bridge = build_bridge_from_module(
            hf_model,
            architecture,
            hf_config=copying.deepcopy(hf_model.config),
            # TransformerLens sets pad tokens and BOS on what it is given; ours stays as its author made it.
            tokenizer=offline_copy(tokenizer),
            model_name=name,
        )
    bridge.train(training)
    model = _proved(ResidualModel(bridge, tokenizer=tokenizer, name=name, notes=notes))
    if before is not None:
        gap = relative_gap(forward(model, ids, last_only=False, allow_hooks=True), before)
        # Where Hugging Face's own are not finite there is nothing to compare; each run then says so in red.
        if bool(torch.isfinite(before).all()) and not gap <= model.gap_limit:
            raise UnsupportedModelError(
                f"{name}: through TransformerLens it gives other logits than Hugging Face's own model "
                f"(relative gap {gap:.1e}, limit {model.gap_limit:.0e}), so nothing shown of it would be true."
            )
    return model


def _plain_logits(hf_model: Any, ids: list[int], name: str) -> torch.Tensor:
    """Logits of the Hugging Face model itself, before the bridge takes it over."""
    tokens = torch.tensor([ids], device=hf_model.device)
    with refused_by_name(name, f"a pass of {len(ids)} tokens through Hugging Face's own model fails"):
        output = hf_model(input_ids=tokens, use_cache=False)
    logits = getattr(output, "logits", None)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 3 or logits.shape[:2] != tokens.shape:
        raise UnsupportedModelError(f"{name}: it does not give one row of logits for each token.")
    return logits[0]


def _proved(model: ResidualModel) -> ResidualModel:
    """Run the structure self-test now, so that a model which cannot be shown is refused at once."""
    if not model.bridge.training:
        structure_of(model)
    return model


def _explained(place: Path | str, error: Exception, config: Any = None) -> Exception:
    lines = str(error).strip().splitlines()
    first_line = lines[0] if lines else type(error).__name__
    if "custom code" in str(error) or "trust_remote_code" in str(error):
        return UnsupportedModelError(f"{place}: it comes with code of its own, which is never run.")
    if "does not recognize this architecture" in str(error) or "Unrecognized model" in str(error):
        return UnsupportedModelError(f"{place}: transformers does not know this architecture. {first_line}")
    if getattr(config, "quantization_config", None):
        rule = f"it is quantised, and cannot be loaded here ({type(error).__name__}: {first_line})"
        remedy = "Save it unquantised where it can be: hf_model.dequantize().save_pretrained(folder)."
        return InputError.about("source", str(place), rule, remedy)
    if Path(place).is_dir():
        rule = f"it cannot be loaded ({type(error).__name__}: {first_line})"
        return InputError.about("source", str(place), rule, "Check its files against config.json, or save it again.")
    if adapter_on_hub(str(place)):
        rule = "it is an adapter on the hub"
        return InputError.about("source", str(place), rule, by_hand(str(place)))
    return InputError.about(
        "source",
        str(place),
        f"no folder, installed model or .gguf file of that name, and the hub did not give it ({first_line})",
        f"Give a local folder, or one of {', '.join(PACKAGED)}, or nothing for the bundled tiny model.",
    )
