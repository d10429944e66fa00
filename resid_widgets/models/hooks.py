"""The one place that installs hooks: each with its own handle, each checked to have fired exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.model import ResidualModel

Action = Callable[[Tensor], Tensor | None]
"""Reads an activation, or returns what to put in its place."""


_PLUMBING = ("transformer_lens.model_bridge.", "transformers.utils.output_capturing")
"""Hooks defined in these modules are the bridge's own, or transformers' (put there by the first pass that asks for
attentions, as ``run_with_cache`` does; they only look); any other is somebody's."""


def foreign_hooks(model: ResidualModel) -> list[str]:
    """Names of the modules that bear forward hooks which the bridge did not install itself."""
    bearers = [m for m in _hooked_modules(model) if any(_is_foreign(f) for _, f in _hook_functions(m))]
    found = model.module_names(bearers)
    if global_hooks._global_forward_hooks or global_hooks._global_forward_pre_hooks:
        found.append("every module (a global hook)")
    return found


def _hooked_modules(model: ResidualModel) -> list[nn.Module]:
    return [module for module in model.modules() if module._forward_hooks or module._forward_pre_hooks]


def _hook_functions(module: Any) -> list[tuple[int, Callable[..., Any]]]:
    """Key and function of each forward hook of `module`."""
    # A hook point wraps what it is given; its list of handles still has the function itself.
    given = {handle.hook.id: handle.user_hook for handle in getattr(module, "fwd_hooks", ())}
    tables = (module._forward_hooks, module._forward_pre_hooks)
    return [(key, given.get(key) or function) for table in tables for key, function in table.items()]


def _is_foreign(function: Callable[..., Any]) -> bool:
    origin = getattr(getattr(function, "func", function), "__module__", None) or ""
    return not origin.startswith(_PLUMBING)


@contextmanager
def without_foreign_hooks(model: ResidualModel) -> Iterator[None]:
    """Put other people's hooks aside, to find out what the model itself is; the caller holds its lock."""
    aside: list[tuple[Any, list[tuple[int, Any]]]] = []
    for module in _hooked_modules(model):
        foreign = {key for key, function in _hook_functions(module) if _is_foreign(function)}
        for table in (module._forward_hooks, module._forward_pre_hooks) if foreign else ():
            aside.append((table, list(table.items())))
            for key in foreign & table.keys():
                del table[key]
    try:
        yield
    finally:
        for table, items in aside:
            table.clear()  # the same object, for the hooks' handles refer to it; and in the same order
            table.update(items)


def refuse_foreign_hooks(model: ResidualModel) -> None:
    """Refuse a model that bears hooks that are not ours, for they change what is measured.

    Waits for whoever uses the model: the hooks that a running cell has on it for a moment are its own affair.

    Raises
    ------
    InputError
        Naming up to five of the hooked modules.
    """
    with model.lock:
        found = foreign_hooks(model)
    if found:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise InputError.about(
            "model",
            model.name,
            f"it bears hooks that are not ours, on {shown}",
            "Remove them (model.bridge.reset_hooks()), or pass allow_hooks=True to study the hooked model.",
        )


@contextmanager
def hooked(model: ResidualModel, actions: Mapping[str, Action]) -> Iterator[None]:
    """Run a forward pass inside with `actions` on TransformerLens hook points, then take them off again.

    Parameters
    ----------
    model
        The caller holds its lock.
    actions
        From hook name to a function of the activation.

    Raises
    ------
    UnsupportedModelError
        If a hook point does not exist, or did not fire exactly once.
    """
    handles: list[tuple[Any, Any]] = []
    with fired_once(model, actions) as counted:
        try:
            for name, action in counted.items():
                point: Any = model.hooks.get(name)
                if point is None:
                    raise UnsupportedModelError(f"{model.name} has no hook point {name}.")
                handles.append((point, point.add_hook(_without_hook_argument(action))))
            yield
        finally:
            # By handle: TransformerLens' own context manager would take a user's temporary hooks along.
            for point, handle in handles:
                handle.hook.remove()
                if handle in point.fwd_hooks:
                    point.fwd_hooks.remove(handle)


def _without_hook_argument(action: Action) -> Callable[..., Tensor | None]:
    return lambda value, hook: action(value)


@contextmanager
def fired_once(model: ResidualModel, actions: Mapping[str, Action]) -> Iterator[dict[str, Action]]:
    """Give `actions` that count their calls, and check afterwards that each was called exactly once.

    Raises
    ------
    UnsupportedModelError
        Naming the first one that was not.
    """
    fired = dict.fromkeys(actions, 0)
    yield {name: partial(_counted, fired, name, action) for name, action in actions.items()}
    wrong = next((name for name, n in fired.items() if n != 1), None)
    if wrong is not None:
        raise UnsupportedModelError(
            f"{model.name}: hook {wrong} fired {fired[wrong]} times in one pass, once was expected."
        )


def _counted(fired: dict[str, int], name: str, action: Action, value: Tensor) -> Tensor | None:
    fired[name] += 1
    return action(value)


@contextmanager
def plain_hooks(hooks: Sequence[tuple[nn.Module, str, Action]]) -> Iterator[None]:
    """Edit plain PyTorch modules, apart from TransformerLens: the independent reference of the self-tests.

    Parameters
    ----------
    hooks
        Module, ``"in"`` or ``"out"``, and a function of its first tensor argument or output.
    """
    with ExitStack() as registered:
        for module, side, action in hooks:
            if side == "in":
                handle = module.register_forward_pre_hook(partial(_before, action), with_kwargs=True)
            else:
                handle = module.register_forward_hook(partial(_after, action))
            registered.callback(handle.remove)
        yield


@contextmanager
def watched_calls(
    watchers: Sequence[tuple[nn.Module, Callable[[tuple[Any, ...], dict[str, Any]], None]]],
) -> Iterator[None]:
    """Tell each watcher with which arguments its module is called."""
    with ExitStack() as registered:
        for module, watcher in watchers:
            handle = module.register_forward_pre_hook(partial(_tell_call, watcher), with_kwargs=True)
            registered.callback(handle.remove)
        yield


@contextmanager
def cache_by_both_names(attention: nn.Module) -> Iterator[None]:
    """Let TransformerLens' attention find the cache of keys and values.

    TransformerLens 4.3 looks for ``past_key_values``, which transformers calls ``cache`` since 5.24. Where the
    attention of transformers itself is called in the end, it gets the one name that it knows.
    """
    inner = getattr(attention, "original_component", None)
    with ExitStack() as registered:
        registered.callback(attention.register_forward_pre_hook(_with_old_name, with_kwargs=True).remove)
        if isinstance(inner, nn.Module):
            registered.callback(inner.register_forward_pre_hook(_without_old_name, with_kwargs=True).remove)
        yield


def _with_old_name(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return (args, {**kwargs, "past_key_values": kwargs["cache"]}) if "cache" in kwargs else None


def _without_old_name(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if "cache" not in kwargs:
        return None
    return args, {name: value for name, value in kwargs.items() if name != "past_key_values"}


def _tell_call(watcher: Callable[..., None], _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    watcher(args, kwargs)


def _before(action: Action, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if args and isinstance(args[0], Tensor):
        new = action(args[0])
        return None if new is None else ((new, *args[1:]), kwargs)
    new = action(kwargs["hidden_states"])
    return None if new is None else (args, {**kwargs, "hidden_states": new})


def _after(action: Action, _: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    new = action(output[0] if isinstance(output, tuple) else output)
    if new is None:
        return None
    return (new, *output[1:]) if isinstance(output, tuple) else new
