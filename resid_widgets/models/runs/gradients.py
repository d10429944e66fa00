"""The gradient of a number read from the logits, at every layer of a component or where one is something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from resid_widgets.models.ambient import plain_state
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import Action
from resid_widgets.models.layers.shapes import site_shape
from resid_widgets.models.runs.run import Run
from resid_widgets.models.runs.same_model import require_same_logits, require_same_model
from resid_widgets.models.trouble import refused_by_name


def gradients_of(
    run: Run,
    component: str,
    layers: Sequence[int],
    positions: Sequence[int],
    measure: Callable[[Float[Tensor, "1 read d_vocab"]], Float[Tensor, " 1"]],
) -> dict[int, Tensor]:
    """Return the gradient of a measure with respect to a component, at each of `layers`.

    Parameters
    ----------
    run
        Where the gradient is taken; a plain run, without interventions.
    component
        For ``resid_mid`` it is taken at ``attn_out``: adding to what attention writes is adding to the stream behind it
        (TransformerLens' hook_resid_mid only feeds the MLP).
    positions
        At which the logits are read, from 0.
    measure
        Differentiable.

    Returns
    -------
    dict[int, Tensor]
        By layer, of the shape of ``run.activation(component, layer)``.

    Raises
    ------
    InputError
        If the model bears hooks that are not ours, is in train mode, or does not give the run's logits any more.
    UnsupportedModelError
        If a hook does not fire exactly once, or the model gives no gradient.
    """
    model = run.model
    written = "attn_out" if component == "resid_mid" else component
    probes: dict[int, Tensor] = {}
    actions: dict[str, Action] = {model.hook_name(written, layer): partial(_probe, probes, layer) for layer in layers}
    allow = bool(run.provenance.options["allow_hooks"])
    last_only = set(positions) == {run.n_pos - 1}
    with model.lock, plain_state(), torch.enable_grad():
        logits = forward(model, run.token_ids, actions, last_only=last_only, allow_hooks=allow, gradients=True)
        require_same_logits(model, run.provenance, run.final_logits, logits[-1].detach())
        read = logits[[0] * len(positions)] if last_only else logits[list(positions)]
        total, leaves = measure(read[None]).sum(), [probes[layer] for layer in layers]
        with refused_by_name(model.name, f"it gives no gradient with respect to {component}"):
            found = torch.autograd.grad(total, leaves, allow_unused=True)
    return {
        layer: _shaped(run, component, layer, torch.zeros_like(probes[layer]) if gradient is None else gradient)
        for layer, gradient in zip(layers, found, strict=True)
    }


def gradient_at(
    run: Run,
    component: str,
    layer: int,
    value: Tensor,
    positions: Sequence[int],
    measure: Callable[[Float[Tensor, "1 read d_vocab"]], Float[Tensor, " 1"]],
) -> tuple[Tensor, float]:
    """Return the gradient of a measure where a component of one layer is `value`, and the measure there.

    Parameters
    ----------
    run, positions, measure
        As in `gradients_of`.
    value
        Of the shape of ``run.activation(component, layer)``.

    Raises
    ------
    InputError
        If the model bears hooks that are not ours, is in train mode, or has changed since the run.
    UnsupportedModelError
        As `gradients_of`.
    """
    model = run.model
    allow = bool(run.provenance.options["allow_hooks"])
    last_only = set(positions) == {run.n_pos - 1}
    leaf = value.detach().clone().requires_grad_()

    def put(old: Tensor) -> Tensor:
        return leaf.reshape(old.shape).to(old)

    with model.lock, plain_state(), torch.enable_grad():
        require_same_model(model, run.provenance)
        actions: dict[str, Action] = {model.hook_name(component, layer): put}
        logits = forward(model, run.token_ids, actions, last_only=last_only, allow_hooks=allow, gradients=True)
        read = logits[[0] * len(positions)] if last_only else logits[list(positions)]
        total = measure(read[None]).sum()
        with refused_by_name(model.name, f"it gives no gradient with respect to {component}"):
            (found,) = torch.autograd.grad(total, [leaf], allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found, float(total.detach())


def _shaped(run: Run, component: str, layer: int, value: Tensor) -> Tensor:
    """Return a value of a hook point in the shape of ``run.activation(component, layer)``."""
    inner = site_shape(run.model, component, layer)
    shape = (*inner, run.n_pos, run.n_pos) if component == "pattern" else (run.n_pos, *inner)
    return value.reshape(shape).detach()


def _probe(probes: dict[int, Tensor], layer: int, value: Tensor) -> Tensor:
    """Add zeros whose gradient is that of the value, whether or not the weights want gradients."""
    probes[layer] = torch.zeros_like(value, requires_grad=True)
    return value + probes[layer]
