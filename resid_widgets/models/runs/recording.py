"""One base run, recorded so that any part of it can be run again: how each block was called, its keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.bare import BareModel
from resid_widgets.models.forward import cache_option, call_options, rows_of
from resid_widgets.models.hooks import Action, cache_by_both_names, hooked, plain_hooks, watched_calls
from resid_widgets.models.memory import storage_bytes
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import blocks_path
from resid_widgets.models.trouble import refused_by_name
from resid_widgets.models.watch import passing


class Prefix(DynamicCache):
    """Keys and values of the positions before a suffix, the same for all rows. Remembers nothing of what it is given.

    Attributes
    ----------
    seen
        How many positions come before.
    """

    def __init__(self, keys: Sequence[Tensor], values: Sequence[Tensor], seen: int) -> None:
        super().__init__()
        self._kept = keys, values
        self.seen = seen

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Return the prefix's keys and values followed by those given."""
        if self.seen == 0:
            return key_states, value_states
        rows = key_states.shape[0]
        before = (part[layer_idx][:, :, : self.seen].expand(rows, -1, -1, -1) for part in self._kept)
        return tuple(torch.cat(pair, dim=2) for pair in zip(before, (key_states, value_states), strict=True))

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many positions come before."""
        return self.seen


@dataclass(frozen=True)
class Call:
    """The arguments of one block, but for the hidden states and the cache, which have their place marked."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def replayed(self, hidden: Float[Tensor, "row suffix d_model"], prefix: Prefix) -> tuple[Any, dict[str, Any]]:
        """Return the arguments for rows of a suffix."""
        made = partial(_suffix_of, hidden=hidden, prefix=prefix)
        args = tuple(made(f"{n}", value) for n, value in enumerate(self.args))
        return args, {name: made(name, value) for name, value in self.kwargs.items()}


_HIDDEN, _CACHE = object(), object()


def _instead(new: Tensor, old: Tensor) -> Tensor:
    return new.to(old)


def _suffix_of(name: str, value: Any, hidden: Tensor, prefix: Prefix) -> Any:
    """Return one argument as it is for rows that hold the positions from ``prefix.seen`` on."""
    rows, start = hidden.shape[0], prefix.seen
    if value is _HIDDEN:
        return hidden
    if value is _CACHE:
        return prefix
    if isinstance(value, tuple) and value and all(isinstance(item, Tensor) for item in value):
        return tuple(_suffix_of(name, item, hidden, prefix) for item in value)
    if not isinstance(value, Tensor):
        return value
    if name == "alibi":  # [batch * head, 1, key] or [batch, head, 1, key]: that of the one batch row, for each row
        return value.repeat(rows, *(1 for _ in value.shape[1:]))
    if name == "position_bias":  # MPT's alibi [head, 1, key], of which its attention takes what it needs
        return value
    if value.ndim == 4:  # an attention mask [1, 1 or head, query, key]; some want one for each row
        return value[:, :, start:].expand(rows, -1, -1, -1)
    if value.ndim == 3:  # cos and sin of rotary embeddings [1, query, d]
        return value[:, start:]
    return value[..., start:]  # position_ids [1, query], cache_position [query]


class Recording:
    """What is needed to run any suffix of positions through any of the upper blocks again.

    With `embedded`, that enters the first block instead of the tokens' embedding. `actions` read on the way, by
    TransformerLens' name of the hook point, where the bare modules offer it.

    Attributes
    ----------
    model
        Whose run it is.
    ids
        Token ids.
    stream
        ``n_layers + 1`` tensors ``[pos, d_model]``: what enters each block, and what leaves the last.
    blocks
        The blocks themselves, without TransformerLens' wrappers; same weights.
    logits
        ``[1, d_vocab]``, of the last position.
    """

    def __init__(
        self,
        model: ResidualModel,
        ids: Sequence[int],
        embedded: Float[Tensor, "pos d_model"] | None = None,
        actions: Mapping[str, Action] | None = None,
    ) -> None:
        self.model = model
        self.ids = tuple(ids)
        self.bare = BareModel(model)
        self.blocks: list[nn.Module] = list(self.bare.root.get_submodule(blocks_path(model)))  # type: ignore[arg-type]
        self.stream: list[Tensor] = []
        self._calls: list[Call] = []
        cache = DynamicCache()
        tokens = torch.tensor([self.ids], device=model.device)
        root = self.bare.root
        options = call_options(root, last_only=True) | {"use_cache": True, cache_option(root): cache}
        last: list[Tensor] = []
        embedding = [] if embedded is None else [(self.blocks[0], "in", partial(_instead, embedded[None]))]
        with (
            plain_pass(),
            plain_hooks(embedding),  # before the watchers, which then see it
            watched_calls([(block, self._note) for block in self.blocks]),
            plain_hooks([(self.blocks[-1], "out", last.append)]),
            self.bare.acting(actions or {}),
            refused_by_name(model.name, f"a pass of {len(self.ids)} tokens that records keys and values fails"),
        ):
            self.logits = rows_of(root(input_ids=tokens, **options).logits, last_only=True)
        self.stream.append(last[0][0])
        if len(self._calls) != model.n_layers or len(cache.layers) != model.n_layers:
            raise UnsupportedModelError(f"{model.name} does not call each block once, with a cache of keys and values.")
        layers: Any = cache.layers
        self._keys: list[Tensor] = [layer.keys for layer in layers]
        self._values: list[Tensor] = [layer.values for layer in layers]

    @property
    def n_pos(self) -> int:
        """Number of positions."""
        return len(self.ids)

    @property
    def memory(self) -> int:
        """Bytes of the recorded stream, keys and values."""
        return storage_bytes(self.tensors)

    @property
    def tensors(self) -> list[Tensor]:
        """All that is held."""
        return [*self.stream, *self._keys, *self._values]

    def prefix(self, start: int) -> Prefix:
        """Return the keys and values of the positions before `start`."""
        return Prefix(self._keys, self._values, start)

    def call(
        self,
        layer: int,
        hidden: Float[Tensor, "row suffix d_model"],
        prefix: Prefix,
        actions: Mapping[str, Action] | None = None,
        bare: bool = True,
    ) -> Float[Tensor, "row suffix d_model"]:
        """Run one block on rows of the positions that follow `prefix`.

        Parameters
        ----------
        actions
            What acts inside it, by TransformerLens' name of the hook point.
        bare
            Whether they act on the bare modules. Otherwise TransformerLens' own block is run, with its hooks.
        """
        passing()
        args, kwargs = self._calls[layer].replayed(hidden, prefix)
        alone = refused_by_name(self.model.name, f"block {layer}, run alone, fails")
        if not actions:
            with alone:
                output = self.blocks[layer](*args, **kwargs)
        elif bare:
            with self.bare.acting(actions), alone:
                output = self.blocks[layer](*args, **kwargs)
        else:
            block = self.model.bridge.blocks[layer]
            with hooked(self.model, actions), cache_by_both_names(block.attn), alone:
                output = block(*args, **kwargs)
        return output[0] if isinstance(output, tuple) else output

    def _note(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        self.stream.append(hidden[0])

        def marked(value: Any) -> Any:
            return _HIDDEN if value is hidden else _CACHE if isinstance(value, Cache) else value

        self._calls.append(Call(tuple(map(marked, args)), {name: marked(value) for name, value in kwargs.items()}))
