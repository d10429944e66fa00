"""Copies of models that share nothing with what they were made from; and what belongs to one process."""

from __future__ import annotations

import copy
import dis
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, ClassVar
from weakref import ref

import torch
from torch import Tensor, nn

from resid_widgets.errors import InputError

_ENDS = (str, bytes, int, float, complex, type, ModuleType, BuiltinFunctionType, torch.dtype, torch.device, Tensor)
_LIBRARIES = ("torch", "transformers", "transformer_lens", "accelerate", "peft", "bitsandbytes", "numpy", "functools")
_BRIDGE = "transformer_lens."


class OneProcess:
    """What refers to a live model: it is copied inside its process, and never pickled."""

    INSTEAD: ClassVar[str]
    """What to do instead of pickling it."""

    AFRESH: ClassVar[Mapping[str, Any]] = {}
    """What a deep copy has instead of a copy: what was found out about the very model."""

    def __reduce_ex__(self, protocol: object) -> Any:
        """Refuse to be pickled, as it would be on its way to another process."""
        rule = "it belongs to a live model, and so to this process: it cannot be pickled"
        raise InputError.about("pickle", type(self).__name__, rule, self.INSTEAD)

    def __copy__(self) -> Any:
        """Return another object with the same contents."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return an independent object, with a model of its own."""
        made = memo[id(self)] = object.__new__(type(self))
        made.__dict__.update(copy.deepcopy({**self.__dict__, **self.AFRESH}, memo))
        return made


def deep_copy(root: nn.Module, memo: dict[int, Any] | None = None) -> Any:
    """Copy a model, what its modules hold included.

    What `copy.deepcopy` does, and two things that it does not: a tensor with a graph (kept by a hook, or computed by
    a pruning) becomes a plain one of the same values, and the bridge's own hooks refer to the copy.

    Raises
    ------
    Exception
        Whatever a part that cannot be copied raises.
    """
    memo = {} if memo is None else memo
    bound: list[FunctionType] = []
    if id(root) not in memo:
        for thing in reached(root):
            if isinstance(thing, Tensor) and not thing.is_leaf:
                memo[id(thing)] = thing.detach().clone()
            elif isinstance(thing, FunctionType) and thing.__closure__ and str(thing.__module__).startswith(_BRIDGE):
                bound.append(thing)
    cells = {id(cell): (CellType(), cell) for function in bound for cell in function.__closure__ or ()}
    for function in bound:
        own = tuple(cells[id(cell)][0] for cell in function.__closure__ or ())
        new = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, own)
        new.__module__, new.__kwdefaults__ = function.__module__, function.__kwdefaults__
        new.__dict__.update(function.__dict__)
        memo[id(function)] = new
    made = copy.deepcopy(root, memo)
    for new, old in cells.values():
        if (held := _contents(old)) is not _EMPTY:
            new.cell_contents = copy.deepcopy(held, memo)
    _rebind(memo)
    return made


def _rebind(memo: dict[int, Any]) -> None:
    """Bind to the copies what TransformerLens hands on as it is: methods that split joint query, key and value."""
    for part in [each for each in memo.values() if isinstance(each, nn.Module)]:
        for name, value in list(vars(part).items()):
            if isinstance(value, MethodType) and id(value.__self__) in memo:
                part.__dict__[name] = MethodType(value.__func__, memo[id(value.__self__)])


def shared_with(made: nn.Module, original: nn.Module) -> list[str]:
    """Where a copy still leads to modules or weights of its original: a function put on an instance, a hook.

    `copy.deepcopy` takes a function over as it is, with the modules that it knows by a closure or a global name.
    """
    theirs = {_mark(thing) for module in original.modules() for thing in (module, *_numbers(module))}
    own = {id(module) for module in made.modules()}
    found: list[str] = []
    for name, module in made.named_modules():
        for key, value in module.__dict__.items():
            if key in ("_parameters", "_buffers", "_modules") or isinstance(value, _ENDS):
                continue
            if any(_mark(thing) in theirs for thing in reached(value, own)):
                found.append(f"{name}.{key}".lstrip("."))
    return found


def reached(root: object, but: Collection[int] = ()) -> Iterator[object]:
    """Everything that `root` leads to, each once: attributes, items, and what its functions know.

    Parameters
    ----------
    but
        Ids of objects that are not gone into.
    """
    seen: set[int] = set()
    stack: list[object] = [root]
    kept: list[object] = []  # alive while their ids count
    while stack:
        thing = stack.pop()
        if thing is None or id(thing) in seen or id(thing) in but:
            continue
        seen.add(id(thing))
        kept.append(thing)
        yield thing
        if not isinstance(thing, _ENDS):
            stack += _inside(thing)


def _inside(thing: Any) -> list[object]:
    """What an object directly leads to."""
    found: list[object] = []
    if isinstance(thing, Mapping):
        found += thing.values()
    elif isinstance(thing, (list, tuple, set, frozenset)):
        found += thing
    elif isinstance(thing, FunctionType):
        found += [*map(_contents, thing.__closure__ or ()), thing.__defaults__, thing.__kwdefaults__]
        if str(thing.__module__).partition(".")[0] not in _LIBRARIES:
            found += [thing.__globals__.get(name) for name in _globals(thing.__code__)]
    elif isinstance(thing, MethodType):
        found += [thing.__self__, thing.__func__]
    elif isinstance(thing, partial):
        found += [thing.func, thing.args, thing.keywords]
    elif isinstance(thing, ref):
        found.append(thing())
    names = [name for each in type(thing).__mro__ for name in _slots(each)]
    found += [getattr(thing, name, None) for name in names]
    return [*found, *vars(thing).values()] if isinstance(getattr(thing, "__dict__", None), dict) else found


def _mark(thing: object) -> object:
    """What two objects have in common that share their content: a tensor's memory, or being the same."""
    memory = thing.untyped_storage().data_ptr() if isinstance(thing, Tensor) and thing.layout == torch.strided else 0
    return ("memory", memory) if memory else id(thing)


_EMPTY = type("Empty", (), {})


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return _EMPTY


def _globals(code: CodeType) -> set[str]:
    """Global names that a function reads, also in functions defined inside it."""
    names = {str(step.argval) for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_globals(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    slots = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in slots if name not in ("__dict__", "__weakref__") and not name.startswith("__"))


def _numbers(module: nn.Module) -> list[Tensor]:
    return [each for table in (module._parameters, module._buffers) for each in table.values() if each is not None]
