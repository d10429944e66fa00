"""The tokenizer that goes with a model: given, named, or its own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast, ProcessorMixin

from resid_widgets.errors import InputError


def given_tokenizer(tokenizer: Any) -> PreTrainedTokenizerBase | None:
    """Return what a tokenizer, a name or folder of one, or None means.

    Raises
    ------
    InputError
        If it is no tokenizer, or none of that name can be loaded.
    """
    if tokenizer is None or isinstance(tokenizer, PreTrainedTokenizerBase):
        return tokenizer
    if isinstance(tokenizer, Tokenizer):
        return _wrapped(tokenizer)
    if isinstance(tokenizer, (str, Path)) and str(tokenizer).strip():
        return own_tokenizer(tokenizer, "tokenizer")
    inner = getattr(tokenizer, "tokenizer", None)
    if isinstance(tokenizer, ProcessorMixin) and isinstance(inner, PreTrainedTokenizerBase):
        return inner
    shown = tokenizer if isinstance(tokenizer, (str, Path)) else type(tokenizer).__name__
    rule = "a transformers tokenizer, a tokenizers.Tokenizer, a name, a folder or None is needed"
    raise InputError.about("tokenizer", shown, rule, "None: the model takes token ids only.")


def own_tokenizer(place: Path | str, argument: str = "source") -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or hub name.

    Raises
    ------
    InputError
        If there is none, it cannot be loaded, or it comes with code of its own.
    """
    remedy = "Pass tokenizer=None to work with token ids, or tokenizer=..."
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # as many kinds as for models
        if "custom code" in str(error) or "trust_remote_code" in str(error):
            rule = "its tokenizer comes with code of its own, which is never run"
        else:
            lines = str(error).strip().splitlines() or [""]
            rule = f"its tokenizer cannot be loaded ({type(error).__name__}: {lines[0]})"
        raise InputError.about(argument, str(place), rule, remedy) from error
    # Where there are no files, transformers may make a tokenizer that knows nothing but its special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError.about(argument, str(place), "it has no tokenizer", remedy)
    return tokenizer


def offline_copy(tokenizer: Any) -> Any:
    """What TransformerLens gets: it sets pad tokens and BOS on what it is given."""
    if tokenizer is None:
        return None
    clone = copy.deepcopy(tokenizer)
    # Said to have its BOS already, it is not loaded anew (which fails without a network for a tokenizer in memory).
    clone.init_kwargs["add_bos_token"] = True
    clone.init_kwargs.setdefault("name_or_path", getattr(tokenizer, "name_or_path", ""))
    return clone


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerBase:
    """A bare tokenizer in transformers' frame: the same ids, and its special tokens by what they are used for."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    any_text = tokenizer.encode("a")
    first = any_text.tokens[0] if sum(any_text.special_tokens_mask[:1]) else None
    used = {"unk_token": getattr(tokenizer.model, "unk_token", None), "bos_token": first}
    known = {name: token for name, token in used.items() if token in special}
    return PreTrainedTokenizerFast(tokenizer_object=copy.deepcopy(tokenizer), **known)
