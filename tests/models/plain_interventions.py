"""Interventions written a second time: plain PyTorch hooks on Hugging Face modules, found by Hugging Face's names.

Nothing of TransformerLens and of the package's engine is used here. What a site is follows from the architecture
alone: the stream is what enters and leaves a block, resid_mid what the norm before the MLP reads, attn_out and mlp_out
what is added in between; q, k and v are what projections give, z and mlp_post what projections take; pattern acts
through ``z = pattern @ v``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.architectures import PARALLEL, build

D_HEAD = 8  # of all families in tests.architectures, where a layer does not say otherwise
Change = Callable[[Tensor], None]
"""Changes all positions of a component in place: ``[pos, ...]``, pattern ``[head, pos, key]``."""

PlainEdit = tuple[str, int, Change]
Seen = dict[tuple[str, int], Tensor]

_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_Z = ("o_proj", "out_proj", "c_proj", "dense")
_NEURONS = ("down_proj", "c_proj", "fc_out", "fc2", "dense_4h_to_h")
_MIDDLE = ("post_attention_layernorm", "ln_2", "final_layer_norm")
_BESIDE = ("router", "pre_feedforward_layernorm_2")  # Gemma 4's experts read the stream past the MLP's norm
_MIDDLE_OF = {"olmo2": "mlp", "olmo3": "mlp"} | dict.fromkeys(
    ("gemma2", "gemma3_text", "gemma4_text"), "pre_feedforward_layernorm"
)


def _named(block: nn.Module, names: Sequence[str]) -> nn.Module:
    """Return the one part of a block whose name is one of `names`."""
    (found,) = [module for name, module in block.named_children() if name in names]
    return found


class Plain:
    """A random model of a family (the same weights as the bridged one), never bridged."""

    def __init__(self, family: str, model: nn.Module | None = None) -> None:
        self.family = family
        self.model: Any = build(family) if model is None else model
        lists = [m for m in self.model.modules() if isinstance(m, nn.ModuleList)]
        self.blocks: Any = next(m for m in lists if len(m) == self.model.config.num_hidden_layers)
        self.parallel = family in PARALLEL
        self._known: dict[tuple[int, ...], tuple[Tensor, Seen]] = {}

    # --- one pass -----------------------------------------------------------------------------------------------

    def run(self, ids: Sequence[int], edits: Sequence[PlainEdit] = ()) -> tuple[Tensor, Seen]:
        """Return logits ``[pos, d_vocab]`` and every component as it is with `edits`."""
        if edits:
            return self._edited(ids, edits)
        if tuple(ids) not in self._known:
            self._known[tuple(ids)] = self._pass(ids, (), {})
        return self._known[tuple(ids)]

    def _edited(self, ids: Sequence[int], edits: Sequence[PlainEdit]) -> tuple[Tensor, Seen]:
        forced: dict[int, Tensor] = {}
        patterns: Seen = {}
        for layer in sorted({layer for component, layer, _ in edits if component == "pattern"}):
            _, seen = self._pass(ids, edits, forced)  # with all that comes before this pattern
            patterns["pattern", layer] = pattern = seen["pattern", layer].clone()
            for component, where, change in edits:
                if (component, where) == ("pattern", layer):
                    change(pattern)
            value = seen["v", layer]
            value = value.repeat_interleave(pattern.shape[0] // value.shape[1], dim=1)
            forced[layer] = torch.einsum("hqk,khd->qhd", pattern, value)
        logits, seen = self._pass(ids, edits, forced)
        return logits, seen | patterns

    @torch.no_grad()
    def _pass(
        self, ids: Sequence[int], edits: Sequence[PlainEdit], forced: Mapping[int, Tensor]
    ) -> tuple[Tensor, Seen]:
        seen: Seen = {}
        handles: list[Any] = []
        for layer, block in enumerate(self.blocks):
            _Layer(self, layer, block, len(ids), edits, forced, seen).watch(handles)
        try:
            logits = self.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return logits, seen


@dataclass
class _Layer:
    plain: Plain
    layer: int
    block: nn.Module
    n_pos: int
    edits: Sequence[PlainEdit]
    forced: Mapping[int, Tensor]
    seen: Seen

    def changed(self, component: str, value: Tensor) -> Tensor:
        """Apply the edits of a component, and note what it then is."""
        new = value.clone()
        for name, layer, change in self.edits:
            if (name, layer) == (component, self.layer):
                change(new)
        self.seen[component, self.layer] = new
        return new

    def watch(self, handles: list[Any]) -> None:
        block, parallel = self.block, self.plain.parallel
        attention = _named(block, _ATTENTION)
        self.d_head: int = getattr(attention, "head_dim", D_HEAD)
        handles.append(_before(block, self.entering))
        handles.append(_after(block, self.leaving_parallel if parallel else self.leaving))
        handles.append(attention.register_forward_hook(self.attended))
        if not parallel:
            family = self.plain.family.split()[0]
            middle = [_MIDDLE_OF[family]] if family in _MIDDLE_OF else _MIDDLE
            handles.append(_before(_named(block, middle), self.middle))
            handles += [_before(m, self.beside) for name, m in block.named_children() if name in _BESIDE]
        inside = [m for m in attention.modules() if m is not attention]
        names = {path.split(".")[-1]: module for path, module in attention.named_modules()}
        assert len(inside) >= 2
        if "q_proj" in names:
            for name in ("q", "k", "v"):
                if f"{name}_proj" in names:  # some layers of Gemma 4 take their keys for values
                    handles.append(_after(names[f"{name}_proj"], partial(self.projected, name)))
        else:
            joint = next(names[n] for n in ("c_attn", "query_key_value", "qkv_proj") if n in names)
            handles.append(_after(joint, self.joint))
        handles.append(_before(next(names[n] for n in _Z if n in names), self.mixed))
        if not {"gate", "router"} & {path.split(".")[-1] for path, _ in block.named_modules()}:  # no mixture of experts
            outside = [(p, m) for p, m in block.named_modules() if not any(part in _ATTENTION for part in p.split("."))]
            neurons = [m for path, m in outside if path.split(".")[-1] in _NEURONS]
            assert len(neurons) == 1
            handles.append(_before(neurons[0], self.neurons))

    # --- the stream ---------------------------------------------------------------------------------------------

    def entering(self, value: Tensor) -> Tensor:
        new = self.changed("resid_pre", value.reshape(self.n_pos, -1))
        return new.reshape(value.shape)

    def middle(self, value: Tensor) -> Tensor:
        """Between attention and MLP: shifts what the MLP reads, and in `leaving` the skip path."""
        self.old_middle = value.reshape(self.n_pos, -1)
        before = self.seen["resid_pre", self.layer]
        attn_out = self.changed("attn_out", self.old_middle - before)
        # A sum and a difference round: where nothing is edited, nothing changes.
        touched = any(layer == self.layer and name == "attn_out" for name, layer, _ in self.edits)
        self.new_middle = self.changed("resid_mid", before + attn_out if touched else self.old_middle)
        return self.new_middle.reshape(value.shape)

    def beside(self, value: Tensor) -> Tensor:
        return self.new_middle.reshape(value.shape)

    def leaving(self, value: Tensor) -> Tensor:
        old = value.reshape(self.n_pos, -1)
        # The skip path still carries what was there before the norm's input was shifted.
        mlp_out = self.changed("mlp_out", old - self.old_middle)
        return self.changed("resid_post", self.new_middle + mlp_out).reshape(value.shape)

    def leaving_parallel(self, value: Tensor) -> Tensor:
        before = self.seen["resid_pre", self.layer]
        attn_out = self.changed("attn_out", self.attention_gave)
        mlp_out = self.changed("mlp_out", value.reshape(self.n_pos, -1) - before - self.attention_gave)
        return self.changed("resid_post", before + attn_out + mlp_out).reshape(value.shape)

    # --- inside attention and MLP -------------------------------------------------------------------------------

    def attended(self, module: nn.Module, args: Any, output: Any) -> None:
        """Read the pattern, and in parallel blocks what attention adds."""
        parts = output if isinstance(output, tuple) else (output,)
        self.attention_gave = parts[0].reshape(self.n_pos, -1)
        for part in parts[1:]:
            if isinstance(part, Tensor) and part.ndim == 4:
                self.seen["pattern", self.layer] = part[0]

    def projected(self, name: str, value: Tensor) -> Tensor:
        return self.changed(name, value.reshape(self.n_pos, -1, self.d_head)).reshape(value.shape)

    def joint(self, value: Tensor) -> Tensor:
        """One projection that gives q, k and v, in each family's own layout."""
        flat, family = value.reshape(self.n_pos, -1), self.plain.family
        heads = self.plain.model.config.num_attention_heads
        if family.split()[0] in ("gpt_neox", "bloom") or family == "falcon sequential alibi":
            parts = list(flat.reshape(self.n_pos, heads, 3, D_HEAD).unbind(2))  # each head has its three
            new = torch.stack([self.changed(n, p) for n, p in zip("qkv", parts, strict=True)], dim=2)
        else:  # side by side; Falcon's one key and one value come last as well
            rest = (flat.shape[1] // D_HEAD - heads) // 2
            parts = list(flat.reshape(self.n_pos, -1, D_HEAD).split([heads, rest, rest], dim=1))
            new = torch.cat([self.changed(n, p) for n, p in zip("qkv", parts, strict=True)], dim=1)
        return new.reshape(value.shape)

    def mixed(self, value: Tensor) -> Tensor:
        z = value.reshape(self.n_pos, -1, self.d_head)
        return self.changed("z", self.forced.get(self.layer, z)).reshape(value.shape)

    def neurons(self, value: Tensor) -> Tensor:
        return self.changed("mlp_post", value.reshape(self.n_pos, -1)).reshape(value.shape)


def _before(module: nn.Module, action: Callable[[Tensor], Tensor]) -> Any:
    def hook(_: nn.Module, args: Any, kwargs: Any) -> Any:
        if args:
            return (action(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": action(kwargs["hidden_states"])}

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _after(module: nn.Module, action: Callable[[Tensor], Tensor]) -> Any:
    def hook(_: nn.Module, args: Any, output: Any) -> Any:
        return (action(output[0]), *output[1:]) if isinstance(output, tuple) else action(output)

    return module.register_forward_hook(hook)


# --- what each operation puts there ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Where:
    """A site in plain words."""

    component: str
    layer: int
    pos: int | None = None
    head: int | None = None
    neuron: int | None = None

    def index(self, pos: Any = None) -> tuple[Any, ...]:
        """Index of the site in all positions, or of the same head or neuron at other positions."""
        everything = slice(None)
        pos = pos if pos is not None else everything if self.pos is None else self.pos
        head = everything if self.head is None else self.head
        if self.component == "pattern":
            return (head, pos)
        if self.component == "mlp_post":
            return (pos, everything if self.neuron is None else self.neuron)
        return (pos, head) if self.component in ("q", "k", "v", "z") else (pos,)


def unmarked(seen: Seen, n_layers: int) -> list[int]:
    """Return the positions that count: not the first, and none whose norm exceeds ten times its layer's median."""
    norms = np.stack([seen["resid_post", layer].norm(dim=-1).numpy() for layer in range(n_layers)])
    middle = np.sort(norms, axis=1)[:, [(norms.shape[1] - 1) // 2]]
    massive = (norms > 10 * middle).any(axis=0)
    return [pos for pos in range(1, norms.shape[1]) if not massive[pos]] or list(range(norms.shape[1]))


def plain_edit(plain: Plain, ids: Sequence[int], op: str, where: Where, options: Mapping[str, Any]) -> PlainEdit:
    """Return what an operation does to the run of `ids`; sources are token ids, or ids with edits of their own."""
    _, base = plain.run(ids)
    n_layers, key = len(plain.blocks), (where.component, where.layer)

    def values(source: Any) -> tuple[Tensor, list[int]]:
        made = plain.run(*source)[1] if isinstance(source[0], tuple) else plain.run(source)[1]
        return made[key], unmarked(made, n_layers)

    def put(new: Tensor | float) -> Change:
        def change(value: Tensor) -> None:
            value[where.index()] = new

        return change

    def add(more: Tensor) -> Change:
        def change(value: Tensor) -> None:
            value[where.index()] += more

        return change

    here, counted = base[key], unmarked(base, n_layers)
    if op == "zero":
        return (*key, put(0.0))
    if op == "set_to":
        return (*key, put(torch.as_tensor(options["value"], dtype=torch.float32)))
    if op == "mean":
        sources = [(here, counted)] if options["over"] is None else [values(ids) for ids in options["over"]]
        pooled = torch.cat([value[where.index(kept)] for value, kept in sources])
        return (*key, put(pooled.mean(0)))
    if op == "noise":
        spread = here[where.index(counted)].double().numpy().std()
        drawn = torch.randn(here.shape, generator=torch.Generator().manual_seed(options["seed"]))
        return (*key, add(options["sigma"] * float(spread) * drawn[where.index()]))
    if op == "clamp":

        def clamp(value: Tensor) -> None:
            value[where.index()] = value[where.index()].clamp(options["low"], options["high"])

        return (*key, clamp)
    if op == "project_out":
        unit = torch.as_tensor(options["direction"], dtype=torch.float64)
        unit = (unit / unit.norm()).float()

        def project(value: Tensor) -> None:
            part = value[where.index()]
            value[where.index()] = part - (part @ unit)[..., None] * unit

        return (*key, project)
    if op == "add":
        return (*key, add(options["alpha"] * torch.as_tensor(options["direction"], dtype=torch.float32)))
    if op == "patch":
        return (*key, put(values(options["source"])[0][where.index()]))
    assert op == "resample"
    generator = torch.Generator().manual_seed(options["seed"])
    drawn = options["source"][int(torch.randint(len(options["source"]), (), generator=generator))]
    value, kept = values(drawn)
    if len(drawn) != len(ids):
        value = value[torch.tensor(kept)[torch.randint(len(kept), (len(ids),), generator=generator)]]
    return (*key, put(value[where.index()]))
