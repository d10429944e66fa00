"""A TransformerLens bridge with what every analysis needs to know about it."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.copies import OneProcess, deep_copy, shared_with
from resid_widgets.models.fingerprint.fingerprint import fingerprint, modules_under
from resid_widgets.models.tokenize import bos_added_by_default, piece_text, single_token_id
from resid_widgets.models.trouble import refused_by_name
from resid_widgets.models.unembedding import logits_of
from resid_widgets.sites import HOOK_NAMES

GAP_LIMITS = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference, relative to the largest reference value, that counts as equal in a dtype."""

_TWICE = "Load it a second time: rw.load_model(source)."


@dataclass
class Shared:
    """What all wrappers of one bridge have in common. Must not refer to the bridge."""

    lock: Any = field(default_factory=threading.RLock)
    given: dict[str, Any] = field(default_factory=dict)
    """Its tokenizer, name and notes."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What was found out by running it, forgotten when it changes."""


_shared: weakref.WeakKeyDictionary[TransformerBridge, Shared] = weakref.WeakKeyDictionary()
_shared_guard = threading.Lock()

_SEEN = "_resid_widgets_seen"  # on the bridge, for it refers to its parts: `Shared` would keep them alive


def shared_state(bridge: TransformerBridge) -> Shared:
    """Return the lock and the cached facts that belong to `bridge`."""
    with _shared_guard:
        return _shared.setdefault(bridge, Shared())


def living() -> list[TransformerBridge]:
    """Return the bridges that are alive."""
    with _shared_guard:
        return list(_shared)


def all_locks() -> list[Any]:
    """Return the locks of all bridges that are alive, always in the same order."""
    return sorted((shared_state(bridge).lock for bridge in living()), key=id)


class ResidualModel(OneProcess):
    """A model whose residual stream can be read, with its true structure found out by running it.

    `copy.copy` is another handle on the same bridge; `copy.deepcopy` is a model of its own, with its own lock.

    Parameters
    ----------
    bridge
        A ``TransformerBridge`` with a local PyTorch model.
    tokenizer
        The tokenizer as its author made it. By default the bridge's own, which TransformerLens may have
        told to add a BOS. None where there is none: the model then takes token ids only.
    name
        What to call the model in pictures and files.
    notes
        Sentences about how it was loaded that a reader of its numbers should know.

    Raises
    ------
    UnsupportedModelError
        If the model's parts do not add up to what it computes, or it has no residual stream to show.
    """

    INSTEAD = "Load it again in the other process: rw.load_model(source)."

    def __init__(
        self,
        bridge: TransformerBridge,
        *,
        tokenizer: Any = "bridge",
        name: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        if not isinstance(bridge, TransformerBridge):
            rule = "a ResidualModel or TransformerBridge is needed"
            raise InputError.about("model", type(bridge).__name__, rule, "Use rw.load_model().")
        self.bridge = bridge
        self._seen: dict[str, Any] = bridge.__dict__.setdefault(_SEEN, {})
        self._shared = shared_state(bridge)
        given = self._shared.given
        self.tokenizer = given.setdefault("tokenizer", bridge.tokenizer) if tokenizer == "bridge" else tokenizer
        self.name = str(name or given.get("name") or getattr(bridge.cfg, "model_name", None) or "model")
        self.notes = notes or given.get("notes", ())
        given.update(tokenizer=self.tokenizer, name=self.name, notes=self.notes)

    @plain_pass()
    def __deepcopy__(self, memo: dict[int, Any]) -> ResidualModel:
        """Return an independent model, as it is now; what is known about it is found out anew."""
        with self.lock:
            self._seen.pop("fingerprint", None)
            try:
                bridge = deep_copy(self.bridge, memo)
            except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
                raise InputError.about("model", self.name, f"it cannot be copied ({error})", _TWICE) from error
            if shared := shared_with(bridge, self.bridge):
                raise InputError.about("model", self.name, f"a copy would share its {shared[0]} with it", _TWICE)
            tokenizer = copy.deepcopy(self.tokenizer, memo)
        memo[id(self)] = made = ResidualModel(bridge, tokenizer=tokenizer, name=self.name, notes=self.notes)
        return made

    @property
    def lock(self) -> Any:
        """The lock that every forward pass of this bridge takes (re-entrant)."""
        return self._shared.lock

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return int(self.bridge.cfg.n_layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.bridge.cfg.d_model)

    @property
    def n_heads(self) -> int:
        """Number of query heads a layer."""
        return int(self.bridge.cfg.n_heads)

    @property
    def n_ctx(self) -> int | None:
        """Longest sequence in tokens, or None where the model states none."""
        n_ctx = getattr(self.bridge.cfg, "n_ctx", None)
        return int(n_ctx) if n_ctx else None

    @property
    def d_vocab(self) -> int:
        """Number of token ids."""
        return int(self.bridge.cfg.d_vocab)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(p.dtype for p in self.bridge.original_model.parameters() if p.is_floating_point())

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return next(self.bridge.original_model.parameters()).device

    @property
    def gap_limit(self) -> float:
        """Relative difference that counts as equal in this model's dtype."""
        return GAP_LIMITS.get(self.dtype, 1e-4)

    @property
    def weights_hash(self) -> str:
        """A fingerprint of the model: it changes when a weight, a buffer, a flag, a module or a function of it does.

        What was found out about the model before is then forgotten.
        """
        before = self._seen.get("digest")
        now = self._seen["digest"] = fingerprint(self.bridge.original_model, self._seen)
        if before not in (None, now):
            with self.lock:
                self._shared.facts.clear()
        return now

    @property
    def folded(self) -> bool:
        """Whether TransformerLens has folded norms into the weights or centred them, which moves the stream."""
        return bool(getattr(self.bridge, "_weights_processed", False))

    @cached_property
    def hooks(self) -> dict[str, nn.Module]:
        """Hook points by name, aliases included."""
        return dict(self.bridge.hook_dict)

    def modules(self) -> list[nn.Module]:
        """Every module of the bridge and the model inside it; looked up anew, for users replace some."""
        return modules_under(self.bridge, self.bridge.original_model)

    def module_names(self, modules: list[nn.Module]) -> list[str]:
        """What to call `modules` in an error message."""
        if not modules:
            return []
        names = {id(m): f"original_model.{n}".rstrip(".") for n, m in self.bridge.original_model.named_modules()}
        names |= {id(m): n or "the bridge itself" for n, m in self.bridge.named_modules()}
        names |= {id(point): name for name, point in self.hooks.items()}
        return [names[id(m)].replace("_original_component.", "") for m in modules]

    def hook_name(self, component: str, layer: int) -> str:
        """TransformerLens' name for `component` at `layer`."""
        return HOOK_NAMES[component].format(layer=layer)

    def has(self, component: str, layer: int = 0) -> bool:
        """Whether the bridge offers a hook point for `component`."""
        return self.hook_name(component, layer) in self.hooks

    def require_eval(self) -> None:
        """Refuse a model in train mode, whose dropout would make every number random.

        Raises
        ------
        InputError
            Naming the first module that is in train mode.
        """
        training = [module for module in self.modules() if module.training]
        if training:
            where = self.module_names(training)[0]
            raise InputError.about("model", self.name, f"it is in train mode ({where})", "Call model.bridge.eval().")

    @plain_pass()
    def unembed(
        self, h: Float[Tensor, "... d_model"], token_ids: Sequence[int] | None = None, *, normed: bool = False
    ) -> Float[Tensor, "... d_vocab"]:
        """Logits that the model would give if the stream ended as `h`.

        ``output_transform(unembed(ln_final(h)))`` with the normalisation statistics of `h` itself; the transform
        is the architecture's soft-cap or scale. The logit lens (nostalgebraist, 2020).

        Parameters
        ----------
        token_ids, normed
            Only the logits of these tokens are computed, in this order; whether `h` went through ``ln_final`` already.

        Returns
        -------
        Float[Tensor, "... d_vocab"]
            float32 (float64 for a float64 model).
        """
        flat = h.reshape(1, -1, h.shape[-1]).to(self.device, self.dtype)
        with self.lock, refused_by_name(self.name, "unembedding fails"):
            logits = logits_of(self.bridge, flat, token_ids, self._shared.facts, self.gap_limit, normed)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return logits.reshape(*h.shape[:-1], logits.shape[-1])

    @property
    def adds_bos(self) -> bool:
        """Whether the tokenizer adds a BOS on its own."""
        return self.tokenizer is not None and bos_added_by_default(self.tokenizer)

    def token_strings(self, ids: list[int] | tuple[int, ...]) -> list[str]:
        """Text of each token id, spaces and all; ``[id]`` where there is no tokenizer."""
        return [piece_text(self.tokenizer, int(i)) for i in ids]

    def token_id(self, token: Any) -> int:
        """Return the id of one token, a string or an id.

        Raises
        ------
        InputError
            If the string is not exactly one token, the id is out of range, or a string is given
            to a model without tokenizer.
        """
        return single_token_id(self.tokenizer, token, self.d_vocab)

    def __repr__(self) -> str:
        return (
            f"ResidualModel({self.name!r}: {self.n_layers} layers, d_model {self.d_model}, {self.n_heads} heads, "
            f"{str(self.dtype).removeprefix('torch.')} on {self.device})"
        )


def as_model(model: Any) -> ResidualModel:
    """Return `model` as a ResidualModel; a bare TransformerBridge is wrapped.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(model, ResidualModel):
        return model
    if isinstance(model, TransformerBridge):
        if not hasattr(model, "blocks"):
            raise UnsupportedModelError(
                f"{type(model.original_model).__name__} has no single stack of blocks, so no one residual stream."
            )
        return ResidualModel(model)
    what = model if isinstance(model, str) else type(model).__name__
    rule = "a ResidualModel or a TransformerBridge is needed"
    raise InputError.about("model", what, rule, "Load it first: model = rw.load_model(...).")
