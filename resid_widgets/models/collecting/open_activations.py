"""open_activations: what a store holds, read when it is asked for, and refused where it is another model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.collecting.activation_sources import Stored
from resid_widgets.models.collecting.activations import Activations
from resid_widgets.models.collecting.store import MANIFEST, Store
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.results import Check


@plain_state()
def open_activations(path: Any, model: Any = None) -> Activations:
    """Open a store that `collect` has written; its numbers are read when they are asked for.

    Parameters
    ----------
    path
        Folder of the store.
    model
        The model that they are of, for what goes on with it. Numbers can be read without.

    Raises
    ------
    InputError
        If there is no store, if it is damaged or unfinished, or if it holds activations of another model.
    """
    store = Store(path)
    if not store.manifest:
        raise InputError.about("path", str(path), f"there is no store (no {MANIFEST})", "Give the folder of a store.")
    store.require_finished()
    if model is not None:
        model = as_model(model)
        require_same_weights(store, model)
    return of_store(store, model)


def require_same_weights(store: Store, model: ResidualModel) -> None:
    """Refuse a store of another model.

    Raises
    ------
    InputError
        If its weights are others than those of `model`.
    """
    if store.header["weights_hash"] != model.weights_hash:
        rule = f"it holds activations of {store.header['model']}, with other weights than {model.name} has"
        raise InputError.about("store", str(store.folder), rule, "Give the model that it was made with.")


def of_store(store: Store, model: ResidualModel | None = None, peak: int = 0) -> Activations:
    """Return what the finished collections of a store hold."""
    plans = [store.plan(part) for part in range(len(store.finished))]
    source = Stored(store, store.header["widths"])
    checks = checks_of(store.finished)
    return Activations(source, store.header, plans, checks, model=model, path=store.folder, peak=peak)


def checks_of(parts: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Return what was tested while some parts were collected, and a red check if numbers are not finite."""
    found = dict.fromkeys(Check(**check) for part in parts for check in part["checks"])
    lost = sum(part["not_finite"] for part in parts)
    if lost:
        text = f"{lost} of the collected numbers are not finite (NaN or infinite)"
        found[Check("finite", "red", float(lost), 0.0, text)] = None
    return tuple(found)
