"""What decides a model's numbers beside its tensors: its modules' classes, flags and functions, and its config.

An adapter that is switched off, another activation function, another scale of attention or a ``forward`` put in place
of the class's own change no weight. `Settings` describes them in words that are the same in each process, and sees
quickly whether anything has changed since.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

_PLAIN = (bool, int, float, complex, str, type(None), torch.dtype)
_DEEPEST, _LONGEST = 3, 256

_INTERNAL = {*nn.Module().__dict__, "_is_hf_initialized", "_hf_hook", "name_or_path", "max_seq_len_cached"}
"""Attributes that every module has, marks of loading, and what rotary embeddings note of the last prompt."""

_UNTOLD = {
    *("name_or_path", "transformers_version", "architectures", "dtype", "id2label", "label2id", "problem_type"),
    *("use_cache", "return_dict", "output_attentions", "output_hidden_states", "tie_word_embeddings", "is_decoder"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "auto_map"),
}
"""What a config says that no pass over token ids depends on, or that loading and saving change."""


_LIBRARIES = {"torch", "transformers", "transformer_lens", "peft", "accelerate"}


class Settings:
    """The settings of `modules` as they are now.

    Attributes
    ----------
    digest
        The same in each process for the same settings (16 hex digits).
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._kinds = [(module, type(module)) for module in modules]
        self._forwards = {kind: kind.forward for _, kind in self._kinds}
        self._sizes = [(m.__dict__, len(m.__dict__)) for m in modules if not _is_bridge(m)]
        self._held: list[tuple[Mapping[str, Any], str, object]] = []
        self._copies: list[tuple[Mapping[str, Any], str, object]] = []
        told = hashlib.blake2b(digest_size=8)
        for kind in sorted(self._forwards, key=_name):
            told.update(f"{_name(kind)} {_told(self._forwards[kind])}".encode())
        for name, held in _sources(self._forwards):
            for called, function in held.items():
                if isinstance(function, FunctionType):
                    self._held.append((held, called, function))
                    if not _is_of_library(function):
                        told.update(f"\n{name}.{called}={_told(function)}".encode())
        configs: dict[int, PreTrainedConfig] = {}
        for module in modules:
            told.update(f"\n{_name(type(module))}".encode())
            # What is absent must stay so.
            self._held.append((module.__dict__, "forward", module.__dict__.get("forward", _NOTHING)))
            for name, value in _settings_of(module):
                told.update(f" {name}={self._note(module.__dict__, name, value)}".encode())
            if isinstance(config := module.__dict__.get("config"), PreTrainedConfig):
                self._held.append((module.__dict__, "config", config))
                configs.setdefault(id(config), config)
        for config in configs.values():
            for owner, name, value in _settings_of_config(config):
                told.update(f"\n{name}={self._note(owner, name, value)}".encode())
        self.digest = told.hexdigest()

    def _note(self, owner: Mapping[str, Any], name: str, value: object) -> object:
        plain = _plain(value)
        if plain is value or callable(value):
            self._held.append((owner, name, value))
        else:
            self._copies.append((owner, name, plain))  # a list may be written in place
        return plain

    @property
    def unchanged(self) -> bool:
        """Whether all that was looked at is what it was: some hundred comparisons, quick enough for each click."""
        return (
            all(type(module) is kind for module, kind in self._kinds)
            and all(kind.forward is forward for kind, forward in self._forwards.items())
            and all(len(held) == size for held, size in self._sizes)
            and all(owner.get(name, _NOTHING) is value for owner, name, value in self._held)
            and all(_plain(owner.get(name, _NOTHING)) == plain for owner, name, plain in self._copies)
        )


_NOTHING = object()


def _is_bridge(module: nn.Module) -> bool:
    """Whether it is one of TransformerLens' own parts, which hold names and what they saw last."""
    return type(module).__module__.startswith("transformer_lens.")


def _sources(kinds: Iterable[type[nn.Module]]) -> list[tuple[str, dict[str, Any]]]:
    """Names and contents of the files that say what the modules compute: functions there may be replaced."""
    names = sorted({kind.__module__ for kind in kinds} & sys.modules.keys() - {"__main__"})
    return [(name, vars(sys.modules[name])) for name in names if not name.startswith(("torch.", "transformer_lens."))]


def _settings_of(module: nn.Module) -> Iterator[tuple[str, object]]:
    """Flags and functions on the module itself."""
    whole = isinstance(module, PreTrainedModel)  # whose private attributes are plans for many devices
    for name, value in sorted(module.__dict__.items()):
        untold = _is_bridge(module) or name in _INTERNAL or (whole and name.startswith("_"))
        if (name == "forward" or not untold) and _plain(value) is not _NOTHING:
            yield name, value


def _settings_of_config(config: PreTrainedConfig) -> Iterator[tuple[Mapping[str, Any], str, object]]:
    """Owner, name and value of what a config says, and the configs inside it."""
    for name, value in sorted(config.__dict__.items()):
        if name == "_attn_implementation_internal" or not (name.startswith("_") or name in _UNTOLD):
            if isinstance(value, PreTrainedConfig):
                yield from _settings_of_config(value)
            elif _plain(value) is not _NOTHING:
                yield config.__dict__, name, value


def _plain(value: object, depth: int = 0) -> Any:
    """A number, a word, a short collection of them, or a function in words; `_NOTHING` for anything else."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple | set | frozenset | Mapping):
        if depth == _DEEPEST or len(value) > _LONGEST:
            return _NOTHING
        if isinstance(value, Mapping):
            items = [(str(key), _plain(item, depth + 1)) for key, item in value.items()]
            return _NOTHING if any(item is _NOTHING for _, item in items) else ("of", *sorted(items, key=str))
        parts = [_plain(item, depth + 1) for item in value]
        if isinstance(value, set | frozenset):
            parts.sort(key=str)
        return _NOTHING if any(part is _NOTHING for part in parts) else tuple(parts)
    if callable(value) and not isinstance(value, type | nn.Module):
        return _told(value)
    return _NOTHING


def _told(function: Callable[..., Any]) -> str:
    """A function by its name; one that does not come with the libraries by its code and what it closes over, too."""
    if isinstance(function, partial):
        fixed = [value for value in (*function.args, *function.keywords.values()) if isinstance(value, _PLAIN)]
        return f"{_told(function.func)} of {fixed}"
    if isinstance(function, MethodType):
        return _told(function.__func__)
    if not isinstance(function, FunctionType) or _is_of_library(function):
        return _name(function if hasattr(function, "__qualname__") else type(function))
    code = function.__code__
    nearby = (*code.co_consts, *(function.__defaults__ or ()), *inspect.getclosurevars(function).nonlocals.values())
    values = [value for value in nearby if isinstance(value, _PLAIN)]
    return f"{_name(function)} {hashlib.blake2b(code.co_code, digest_size=8).hexdigest()} {values}"


def _is_of_library(function: Any) -> bool:
    return (function.__module__ or "").partition(".")[0] in _LIBRARIES


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
