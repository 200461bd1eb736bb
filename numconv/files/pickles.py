"""Pickles of plain values, containers and a few named things, read without Python's unpickler.

A pickle is a program for a stack machine. Python's own machine calls whatever the program names; this one builds plain
values and containers, and calls what the caller lists, nothing else: it imports nothing, sets no attribute, and builds
nothing much larger than the file. `pickletools.genops` of the standard library takes the program apart.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

DEPTH = 100  # containers inside one another
STEPS = 5_000_000  # of one program; a tensor takes about 40
_ATOMS = (str, bytes, int, float, complex, bool, type(None))
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING")
_VALUES = {*_NUMBERS, *_TEXTS, "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}


class Name:
    """A name of the program, and what is done where the program calls it."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


def read(
    file: Any,
    names: Mapping[str, Any],
    persistent: Callable[[Any], Any],
    build: Callable[[Any, Any], None],
) -> Any:
    """Run one pickle.

    Parameters
    ----------
    file : file
        Is read up to the end of the pickle.
    names : mapping of str to object
        What each `module.name` stands for: a `Name` may be called, any other object is a value.
    persistent : callable
        Gives the object of a persistent identity.
    build : callable
        Is told the object and the state where the program gives a state to an object.

    Returns
    -------
    object
        Values, containers (an ordered dict is a dict) and what `names` and `persistent` gave. Containers may hold
        themselves; `replaced` finds that.

    Raises
    ------
    ValueError
        If the pickle names another thing, or makes no sense.
    """
    machine = _Machine({**_PLAIN, **names}, persistent, build)
    for step, (opcode, argument, position) in enumerate(pickletools.genops(file)):
        if step >= STEPS:
            raise ValueError(f"its pickle has more than {STEPS} steps")
        try:
            machine.step(opcode.name, argument)
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its pickle makes no sense at byte {position}: {opcode.name}, {error}") from error
    if not machine.stack:
        raise ValueError("its pickle leaves nothing on the stack")
    return machine.stack.pop()


class _Machine:
    """The stack, the stacks below the marks, and what is remembered by number."""

    def __init__(
        self, names: Mapping[str, Any], persistent: Callable[[Any], Any], build: Callable[[Any, Any], None]
    ) -> None:
        self.names, self.persistent, self.build = names, persistent, build
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        push, pop = self.stack.append, self.stack.pop
        match name:
            case _ if name in _VALUES:
                push(argument)
            case _ if name in _CONSTANTS:
                push(_CONSTANTS[name])
            case _ if name in _EMPTY:
                push(_EMPTY[name]())
            case "LIST":
                items = self.group()
                self.stack.append(items)
            case "TUPLE":
                items = self.group()
                self.stack.append(tuple(items))
            case "FROZENSET":
                items = self.group()
                self.stack.append(_set(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple([pop() for _ in range(int(name[-1]))][::-1]))
            case "DICT":
                items = self.group()
                self.stack.append(_dict(zip(items[::2], items[1::2], strict=True)))
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "POP_MARK":
                self.group()
            case "POP":
                pop()
            case "DUP":
                push(self.stack[-1])
            case "APPEND":
                item = pop()
                _of(list, self.stack[-1]).append(item)
            case "APPENDS":
                items = self.group()
                _of(list, self.stack[-1]).extend(items)
            case "SETITEM":
                value, key = pop(), pop()
                _of(dict, self.stack[-1]).update(_dict([(key, value)]))
            case "SETITEMS":
                items = self.group()
                _of(dict, self.stack[-1]).update(_dict(zip(items[::2], items[1::2], strict=True)))
            case "ADDITEMS":
                items = self.group()
                _of(set, self.stack[-1]).update(_set(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "GLOBAL":
                push(self.named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                last, module = pop(), pop()
                push(self.named(_of(str, module), _of(str, last)))
            case "REDUCE" | "NEWOBJ":
                arguments = _of(tuple, pop())
                push(_of(Name, pop()).call(*arguments))
            case "BUILD":
                state = pop()
                self.build(self.stack[-1], state)
            case "BINPERSID":
                push(self.persistent(pop()))
            case "PERSID":
                push(self.persistent(argument))
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _:
                raise ValueError(f"its pickle uses {name}, which no tensor and no plain container needs")

    def group(self) -> list[Any]:
        """Take what stands above the last mark, with the mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def named(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in self.names:
            raise ValueError(
                f"it names {full!r}, which is neither a tensor nor a plain container, and is not run; "
                "of PyTorch's models save the state_dict"
            )
        return self.names[full]


def replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Copy containers, with what is neither a container nor a plain value replaced.

    Raises
    ------
    ValueError
        If a container contains itself, or containers are nested too deeply.
    """
    done: dict[int, Any] = {}  # by identity: what is shared stays shared

    def walk(value: Any, depth: int) -> Any:
        if isinstance(value, _ATOMS):
            return value
        if depth > DEPTH:
            raise ValueError(f"its containers are nested more than {DEPTH} deep, or contain themselves")
        if id(value) not in done:
            if isinstance(value, dict):
                done[id(value)] = {key: walk(item, depth + 1) for key, item in value.items()}
            elif isinstance(value, (list, tuple)):
                done[id(value)] = type(value)(walk(item, depth + 1) for item in value)
            elif isinstance(value, (set, frozenset)):
                done[id(value)] = value
            else:
                done[id(value)] = replace(value)
        return done[id(value)]

    return walk(value, 0)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__.lower()} expected, {type(value).__name__} found")
    return value


def _keys(items: Iterable[Any]) -> list[Any]:
    """Items that can be hashed in no time: a tuple's hash recurs without a limit, large integers share one."""
    items = list(items)
    for item in items:
        small = item.bit_length() < 64 if isinstance(item, int) else isinstance(item, (str, bytes, float, type(None)))
        if not small:
            raise TypeError(f"a key of type {type(item).__name__}, or too large a one")
    return items


def _dict(pairs: Iterable[Any] = ()) -> dict:
    pairs = [(key, value) for key, value in pairs]
    _keys(key for key, _ in pairs)
    return dict(pairs)


def _set(items: Iterable[Any] = ()) -> frozenset:
    return frozenset(_keys(items))


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, which protocol 2 writes as a text of bytes."""
    if encoding != "latin1":
        raise ValueError(f"its pickle encodes by {encoding!r}")
    return _of(str, text).encode("latin1")


def _mutable_set(items: Iterable[Any] = ()) -> set:
    return set(_keys(items))


_CALLS: dict[str, Callable[..., Any]] = {"set": _mutable_set, "frozenset": _set, "complex": complex}
_PLAIN = {
    "collections.OrderedDict": Name(_dict),
    "_codecs.encode": Name(_encode),
    **{f"{module}.{name}": Name(call) for module in ("builtins", "__builtin__") for name, call in _CALLS.items()},
}
