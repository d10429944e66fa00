"""An independent reference: a Llama of Hugging Face, edited by plain PyTorch hooks on its own modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tests.architectures import build

Change = Callable[[Tensor], Tensor]
D_HEAD = 8  # of tests.architectures' Llama
HEADED = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "z": "o_proj"}


class PlainLlama:
    """A random Llama, the same weights as ``make_model("llama")``, without a bridge."""

    def __init__(self) -> None:
        self.model = build("llama")

    @torch.no_grad()
    def run(
        self, ids: Sequence[int], edits: Mapping[tuple[str, int], Change] | None = None
    ) -> tuple[Tensor, dict[tuple[str, int], Tensor]]:
        """Return logits ``[pos, d_vocab]`` and all components, ``[pos, ...]``, with `edits` applied."""
        edits = dict(edits or {})
        seen: dict[tuple[str, int], Tensor] = {}
        handles = []

        def changed(component: str, layer: int, value: Tensor) -> Tensor:
            shaped = value[0]
            shaped = shaped.reshape(len(ids), -1, D_HEAD) if component in HEADED else shaped
            new = edits[component, layer](shaped.clone()) if (component, layer) in edits else shaped
            seen[component, layer] = new
            return new.reshape(value.shape)

        def before(component: str, layer: int) -> Any:
            def hook(module: Any, args: Any, kwargs: Any) -> Any:
                if args:
                    return (changed(component, layer, args[0]), *args[1:]), kwargs
                return args, {**kwargs, "hidden_states": changed(component, layer, kwargs["hidden_states"])}

            return hook

        def after(component: str, layer: int) -> Any:
            def hook(module: Any, args: Any, output: Any) -> Any:
                value = output[0] if isinstance(output, tuple) else output
                new = changed(component, layer, value)
                if component == "attn_out":  # what the stream is between attention and MLP
                    entering = seen["resid_pre", layer][None]
                    new = changed("resid_mid", layer, entering + new) - entering
                return (new, *output[1:]) if isinstance(output, tuple) else new

            return hook

        for layer, block in enumerate(self.model.model.layers):
            handles.append(block.register_forward_pre_hook(before("resid_pre", layer), with_kwargs=True))
            handles.append(block.register_forward_hook(after("resid_post", layer)))
            handles.append(block.self_attn.register_forward_hook(after("attn_out", layer)))
            handles.append(block.mlp.register_forward_hook(after("mlp_out", layer)))
            for name, module in HEADED.items():
                target = getattr(block.self_attn, module)
                if name == "z":
                    handles.append(target.register_forward_pre_hook(before(name, layer), with_kwargs=True))
                else:
                    handles.append(target.register_forward_hook(after(name, layer)))
        try:
            logits = self.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return logits, seen


def putting(value: Tensor, pos: int | None = None, head: int | None = None) -> Change:
    """Return the change that puts another run's numbers at a site."""
    where = (slice(None) if pos is None else pos, *(() if head is None else (head,)))

    def change(old: Tensor) -> Tensor:
        old[where] = value[where]
        return old

    return change


def script_result(script: str, bridge: Any) -> Any:
    """Run a result's script, with the model that it was made with, and return its ``values``."""
    lines = [line for line in script.splitlines() if not line.startswith(("bridge = ", "bridge: "))]
    names: dict[str, Any] = {"bridge": bridge}
    exec("\n".join(lines), names)  # noqa: S102 - what the package itself wrote
    return names["values"]
