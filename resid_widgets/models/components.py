"""Which components a user asks for, and which of them a model has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resid_widgets.errors import InputError
from resid_widgets.models.layers.shapes import layers_with, why_not
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import structure_of
from resid_widgets.sites import COMPONENTS, RESIDUAL, require_component


def wanted_components(keep: object) -> tuple[str, ...]:
    """Return the names in `keep`, checked; ``"logits"`` may be one. None stands for the stream and its writes.

    Raises
    ------
    InputError
        If it names nothing, or something unknown.
    """
    if keep is None:
        return RESIDUAL
    return named_components("keep", keep, (*COMPONENTS, "logits"))


def named_components(argument: str, given: object, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in `given`, one or several of those `allowed`, each once.

    Raises
    ------
    InputError
        If it names nothing, or something else.
    """
    example = f"For example {argument}=['resid_post']."
    if not isinstance(given, Iterable):
        raise InputError.about(argument, given, "names of components are needed", example)
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names:
        raise InputError.about(argument, names, "it names nothing", example)
    return tuple(dict.fromkeys(require_component(name, allowed) for name in names))


def offered_components(model: ResidualModel, wanted: Sequence[str], by_default: bool) -> tuple[str, ...]:
    """Return the components among `wanted`, after checking that the model has them; by default those that it has."""
    kept = tuple(c for c in wanted if c != "logits" and not (by_default and c not in structure_of(model).components))
    for component in kept:
        require_offered(model, component)
    return kept


def require_offered(model: ResidualModel, component: str) -> None:
    """Refuse a component that the model has at no layer.

    Raises
    ------
    InputError
        With the reason.
    """
    require_in_stream(model, component)
    if not layers_with(model, component):
        rule = f"no layer of {model.name} has any: {why_not(model, component, 0)}"
        raise InputError.about("component", component, rule, "Choose another component.")


def require_in_stream(model: ResidualModel, component: str) -> None:
    """Refuse a state of the stream that blocks with parallel attention and MLP do not have.

    Raises
    ------
    InputError
        Naming the states that there are.
    """
    if component in RESIDUAL and component not in structure_of(model).components:
        rule = f"{model.name} adds attention and MLP in parallel, so there is no state between them"
        raise InputError.about("component", component, rule, "Use 'resid_pre' or 'resid_post'.")
