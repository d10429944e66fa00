"""The model under a bridge, bare: the same modules and weights without TransformerLens' wrappers, to record quickly.

A bridge adds Python around every module, which at a few tokens costs as much as some of the layers. A recording only
reads, so it can run on a throw-away copy of the module tree that shares all weights and leaves the wrappers out. The
model itself is not touched and bears no hook meanwhile. Each hook point has first to prove that it gives the same bits
both ways; what does not is recorded through the bridge.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

from resid_widgets.models.ambient import plain_pass
from resid_widgets.models.forward import call_options, forward, rows_of
from resid_widgets.models.hooks import Action, fired_once, plain_hooks, without_foreign_hooks
from resid_widgets.models.layers.shapes import layers_with
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import probe_ids, relative_gap
from resid_widgets.models.trouble import TROUBLE, refused_by_name
from resid_widgets.sites import COMPONENTS, STREAM

_HOOK_TABLES = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)


class BareModel:
    """A copy of the module tree under a bridge: own modules and hooks, the same parameters and buffers.

    Attributes
    ----------
    root
        The Hugging Face model as if it had never been bridged.
    """

    def __init__(self, model: ResidualModel) -> None:
        self._model = model
        self._copies: dict[int, nn.Module] = {}
        self._places: dict[int, tuple[nn.Module, str]] = {}
        self.root = self._copy(model.bridge.original_model)

    def _copy(self, module: nn.Module) -> nn.Module:
        """Copy a module and what is below it, without wrappers, and note at whose side each wrapper's hooks sit."""
        if id(module) in self._copies:
            return self._copies[id(module)]
        if isinstance(module, GeneralizedComponent):
            original = module._modules["_original_component"]
            assert original is not None, "a wrapper stands around something"
            copy = self._copy(original)
            self._places[id(module.hook_in)] = copy, "in"
            self._places[id(module.hook_out)] = copy, "out"
        else:
            copy = object.__new__(type(module))
            copy.__dict__.update(module.__dict__, **{table: OrderedDict() for table in _HOOK_TABLES})
            below = module._modules.items()
            copy.__dict__["_modules"] = {name: child if child is None else self._copy(child) for name, child in below}
        self._copies[id(module)] = copy
        return copy

    def offers(self, name: str) -> bool:
        """Whether the hook point `name` has a place in the bare model."""
        return id(self._model.hooks.get(name)) in self._places

    @plain_pass()
    def forward(
        self, ids: Sequence[int], actions: Mapping[str, Action], *, last_only: bool
    ) -> Float[Tensor, "rows d_vocab"]:
        """Run `ids` once, with `actions` that only read, by name of TransformerLens' hook point.

        Raises
        ------
        UnsupportedModelError
            If one is not called exactly once.
        """
        tokens = torch.tensor([list(ids)], device=self._model.device)
        with self.acting(actions), refused_by_name(self._model.name, f"a pass of {len(ids)} tokens fails"):
            output = self.root(input_ids=tokens, **call_options(self.root, last_only))
        return rows_of(output.logits, last_only)

    @contextmanager
    def acting(self, actions: Mapping[str, Action]) -> Iterator[None]:
        """Let `actions` act on the bare modules, by name of TransformerLens' hook point.

        Raises
        ------
        UnsupportedModelError
            If one is not called exactly once.
        """
        with fired_once(self._model, actions) as counted:
            hooks = [(*self._places[id(self._model.hooks[name])], action) for name, action in counted.items()]
            with plain_hooks(hooks):
                yield


def record(
    model: ResidualModel,
    ids: Sequence[int],
    actions: Mapping[str, Action],
    weights_hash: str,
    *,
    last_only: bool = True,
    allow_hooks: bool = False,
) -> Float[Tensor, "rows d_vocab"]:
    """Do what `forward` does with `actions` that only read, on the bare model where that gives the same bits.

    Parameters
    ----------
    model
        The caller holds its lock, and has refused train mode and, unless `allow_hooks`, foreign hooks.
    weights_hash
        The model's present one: after any edit of a weight the proof is made anew.
    """
    if allow_hooks or model.folded or not proven(model, actions, weights_hash):
        return forward(model, ids, actions, last_only=last_only, allow_hooks=allow_hooks)
    return BareModel(model).forward(ids, actions, last_only=last_only)


def proven(model: ResidualModel, names: Iterable[str], weights_hash: str) -> bool:
    """Whether each hook point gives the same bits in the bare model and through the bridge; remembered."""
    facts = model._shared.facts
    if facts.get("bare", (None,))[0] != weights_hash:
        facts["bare"] = weights_hash, {}
    known: dict[str, bool] = facts["bare"][1]
    unknown = [name for name in names if name not in known]
    if unknown:
        known.update(_compare(model, unknown))
    return all(known[name] for name in names)


def _compare(model: ResidualModel, names: Sequence[str]) -> dict[str, bool]:
    """Run a few tokens both ways; no name holds where the logits differ."""
    ids = probe_ids(model.d_vocab, model.n_ctx)
    expected: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    reads = {name: partial(expected.__setitem__, name) for name in names}
    logits = forward(model, ids, reads, last_only=False)
    try:
        bare = BareModel(model)
        reads = {name: partial(found.__setitem__, name) for name in names if bare.offers(name)}
        same = torch.equal(bare.forward(ids, reads, last_only=False), logits)
    except TROUBLE:
        same = False  # a model whose code leans on the bridge: that is what the bridge is for
    # Where TransformerLens shows a value in another shape (heads apart), it is not the same.
    return {name: same and name in found and torch.equal(found[name], expected[name]) for name in names}


def bare_components(model: ResidualModel) -> set[str]:
    """Return the components that the bare modules show as TransformerLens does, heads side by side or apart.

    Found out once a bridge: each is recorded both ways in every layer that has it. ``resid_mid`` is there with
    ``attn_out``.
    """
    facts = model._shared.facts
    with model.lock:
        if "bare components" not in facts:
            with without_foreign_hooks(model):
                facts["bare components"] = _find_bare_components(model)
    return facts["bare components"]


def _find_bare_components(model: ResidualModel) -> set[str]:
    ids = probe_ids(model.d_vocab, model.n_ctx)
    names = {
        component: [model.hook_name(component, layer) for layer in layers_with(model, component)]
        for component in COMPONENTS
        if component not in STREAM
    }
    names = {component: of for component, of in names.items() if of}
    expected: dict[str, Tensor] = {}
    reads = {name: partial(expected.__setitem__, name) for of in names.values() for name in of}
    forward(model, ids, reads, last_only=False, allow_hooks=True)
    bare, found = BareModel(model), set()
    for component, of in names.items():
        seen: dict[str, Tensor] = {}
        try:
            bare.forward(ids, {name: partial(seen.__setitem__, name) for name in of}, last_only=True)
        except TROUBLE:
            continue  # its code calls another module than the one that TransformerLens names
        pairs = [(seen[name].reshape(len(ids), -1), expected[name].reshape(len(ids), -1)) for name in of]
        if component != "pattern" and all(
            a.shape == b.shape and relative_gap(a, b) <= model.gap_limit for a, b in pairs
        ):
            found |= {component, "resid_mid"} if component == "attn_out" else {component}
    return found
