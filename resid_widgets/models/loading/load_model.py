"""load_model: from a name, a folder, a file or live objects to a ResidualModel."""

from __future__ import annotations

import copy as copying
from pathlib import Path
from typing import Any

import torch
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from resid_widgets.errors import InputError, ResidWidgetsError, UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.forward import forward
from resid_widgets.models.loading.folder import check_folder, check_kind
from resid_widgets.models.loading.gguf import dense_folder
from resid_widgets.models.loading.packaged import PACKAGED, packaged_file
from resid_widgets.models.loading.placement import device_of, dtype_of
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
    wanted_dtype = dtype_of(dtype)
    wanted_device = device_of(device)
    if isinstance(source, str) and not source.strip():
        raise InputError.about("source", source, "it is empty", "Leave it out for the bundled tiny model.")
    if source is None:
        return _from_folder(TINY, "tiny", tokenizer, wanted_dtype, wanted_device, progress=False)
    if isinstance(source, (tuple, list, PreTrainedModel)):
        hf_model, own = _pair(source)
        if copy:
            hf_model = copying.deepcopy(hf_model)
        hf_model = hf_model.to(device=None if device == "auto" else wanted_device, dtype=dtype and wanted_dtype)
        chosen = own if tokenizer == "auto" else tokenizer
        return _bridge(hf_model, chosen, hf_model.config.name_or_path or type(hf_model).__name__)
    if not isinstance(source, (str, Path, ResidualModel, TransformerBridge)):
        rule = "a name, a folder, a .gguf file, (hf_model, tokenizer) or a TransformerBridge is needed"
        raise InputError.about("source", type(source).__name__, rule, "Leave it out for the bundled tiny model.")
    if not isinstance(source, (str, Path)):
        if dtype is not None or device != "auto":
            raise InputError.about(
                "dtype/device", (dtype, device), "a live bridge stays as it is", "Move it first: bridge.to(...)."
            )
        model = as_model(source)
        if tokenizer != "auto":
            model = ResidualModel(model.bridge, tokenizer=tokenizer, name=model.name)
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
    bars = transformers_logging.is_progress_bar_enabled()
    if not progress:
        transformers_logging.disable_progress_bar()
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
        chosen = _own_tokenizer(place) if tokenizer == "auto" else tokenizer
    except ResidWidgetsError:
        raise
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
    unused = sorted(info["unexpected_keys"])
    notes = (f"{len(unused)} weights of its files are not used ({unused[0]}, ...)",) if unused else ()
    return _bridge(hf_model.to(device).eval(), chosen, name, notes)


def _own_tokenizer(place: Path | str) -> Any:
    """Load the tokenizer of a folder or hub name."""
    remedy = "Pass tokenizer=None to work with token ids, or tokenizer=..."
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # as many kinds as for models
        if "custom code" in str(error) or "trust_remote_code" in str(error):
            rule = "its tokenizer comes with code of its own, which is never run"
        else:
            lines = str(error).strip().splitlines() or [""]
            rule = f"its tokenizer cannot be loaded ({type(error).__name__}: {lines[0]})"
        raise InputError.about("source", str(place), rule, remedy) from error
    # Where there are no files, transformers may make a tokenizer that knows nothing but its special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError.about("source", str(place), "it has no tokenizer", remedy)
    return tokenizer


def _pair(source: Any) -> tuple[Any, Any]:
    """Take apart ``(hf_model, tokenizer)``, or say why it is none."""
    if isinstance(source, PreTrainedModel):
        raise InputError.about(
            "source", type(source).__name__, "a tokenizer must come with it", "Give (hf_model, tokenizer or None)."
        )
    kinds = [type(part).__name__ for part in source]
    if len(source) != 2 or not isinstance(source[0], PreTrainedModel):
        raise InputError.about("source", kinds, "a pair is (hf_model, tokenizer)", "The tokenizer may be None.")
    if any(isinstance(module, GeneralizedComponent) for module in source[0].modules()):
        raise InputError.about(
            "source", kinds, "this hf_model already lives in a TransformerBridge", "Give the bridge itself."
        )
    without_head = source[0].get_output_embeddings() is None
    if without_head or getattr(source[0].config, "is_encoder_decoder", False):
        check_kind(kinds[0], source[0].config)  # a head would not help what predicts no next token
    if without_head:
        raise UnsupportedModelError(
            f"{kinds[0]} gives no logits. Load it with its language-model head: AutoModelForCausalLM."
        )
    return source[0], source[1]


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
            tokenizer=_offline_copy(tokenizer),
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


def _offline_copy(tokenizer: Any) -> Any:
    if tokenizer is None:
        return None
    clone = copying.deepcopy(tokenizer)
    # Said to have its BOS already, it is not loaded anew (which fails without a network for a tokenizer in memory).
    clone.init_kwargs["add_bos_token"] = True
    clone.init_kwargs.setdefault("name_or_path", getattr(tokenizer, "name_or_path", ""))
    return clone


def _explained(place: Path | str, error: Exception) -> Exception:
    lines = str(error).strip().splitlines()
    first_line = lines[0] if lines else type(error).__name__
    if "custom code" in str(error) or "trust_remote_code" in str(error):
        return UnsupportedModelError(f"{place}: it comes with code of its own, which is never run.")
    if "does not recognize this architecture" in str(error) or "Unrecognized model" in str(error):
        return UnsupportedModelError(f"{place}: transformers does not know this architecture. {first_line}")
    if Path(place).is_dir():
        rule = f"it cannot be loaded ({type(error).__name__}: {first_line})"
        return InputError.about("source", str(place), rule, "Check its files against config.json, or save it again.")
    return InputError.about(
        "source",
        str(place),
        f"no folder, installed model or .gguf file of that name, and the hub did not give it ({first_line})",
        f"Give a local folder, or one of {', '.join(PACKAGED)}, or nothing for the bundled tiny model.",
    )
