"""What a module is made of: parameters, buffers and modules are what is assigned to its attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numconv.autograd.tape import Tensor
from numconv.nn._parameter import Parameter
from numconv.ops import arrays

_KINDS = ("_parameters", "_buffers", "_modules")


class Tree:
    """Names of parameters, buffers and modules, and those of the modules in it."""

    def __init__(self) -> None:
        for name in _KINDS:
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_non_persistent", set())

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in _KINDS:
            entries = own.get(kind, ())
            if name in entries:
                return entries[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._put("_parameters", name, value)
        elif isinstance(value, Tree):
            self._put("_modules", name, value)
        elif name in own.get("_parameters", ()) and value is not None:
            raise TypeError(f"{name} is a parameter and must be a Parameter or None, got {type(value).__name__}")
        elif name in own.get("_modules", ()) and value is not None:
            raise TypeError(f"{name} is a module and must be a Module or None, got {type(value).__name__}")
        elif name in own.get("_buffers", ()) and not isinstance(value, Tensor | None):
            raise TypeError(f"{name} is a buffer and must be a Tensor or None, got {type(value).__name__}")
        else:
            kind = next((kind for kind in _KINDS if name in own.get(kind, ())), None)
            if kind is None:
                object.__setattr__(self, name, value)
            else:
                own[kind][name] = value

    def __delattr__(self, name: str) -> None:
        for kind in _KINDS:
            if self.__dict__[kind].pop(name, self) is not self:
                self._non_persistent.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _put(self, kind: str, name: str, value: Any) -> None:
        own = self.__dict__
        if kind not in own:
            raise AttributeError(f"{name} was assigned before Module.__init__() was called")
        if not isinstance(name, str) or "." in name or not name:
            raise ValueError(f"name must be a string that is not empty and has no dot in it, got {name!r}")
        own.pop(name, None)
        for other in _KINDS:
            if other != kind:
                own[other].pop(name, None)
        own[kind][name] = value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the name for none."""
        if not isinstance(param, Parameter | None):
            raise TypeError(f"param must be a Parameter or None, got {type(param).__name__}")
        self._check_free(name, "_parameters")
        self._put("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a Tensor that is kept, not learned, an array, of which a copy is kept, or None.

        `persistent` says whether `state_dict` has it.
        """
        self._check_free(name, "_buffers")
        if not isinstance(tensor, Tensor | None):
            tensor = Tensor(arrays.copy(arrays.asarray(tensor)))
        self._put("_buffers", name, tensor)
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)

    def register_module(self, name: str, module: Tree | None) -> None:
        """Add a module; None keeps the name for none."""
        if not isinstance(module, Tree | None):
            raise TypeError(f"module must be a Module or None, got {type(module).__name__}")
        self._check_free(name, "_modules")
        self._put("_modules", name, module)

    add_module = register_module

    def _check_free(self, name: str, kind: str) -> None:
        if isinstance(name, str) and hasattr(self, name) and name not in self.__dict__[kind]:
            raise KeyError(f"attribute {name!r} already exists")

    # --- what is in it

    def children(self) -> Iterator[Any]:
        """The modules directly in it, each once."""
        return (module for _, module in self.named_children())

    def named_children(self) -> Iterator[tuple[str, Any]]:
        seen: set[Any] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self) -> Iterator[Any]:
        """Itself and all modules in it, each once."""
        return (module for _, module in self.named_modules())

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        memo = set() if memo is None else memo
        if self not in memo:
            if remove_duplicate:
                memo.add(self)
            yield prefix, self
            for name, module in self._modules.items():
                if module is not None:
                    yield from module.named_modules(memo, prefix + "." * bool(prefix) + name, remove_duplicate)

    def _members(self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[Any] = set()
        found = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in found:
            for name, member in module.__dict__[kind].items():
                if member is not None and id(member) not in seen:
                    if remove_duplicate:
                        seen.add(id(member))
                    yield path + "." * bool(path) + name, member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, a shared one once."""
        return (parameter for _, parameter in self.named_parameters("", recurse))

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        return self._members("_parameters", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers, a shared one once."""
        return (buffer for _, buffer in self.named_buffers("", recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._members("_buffers", prefix, recurse, remove_duplicate)

    def get_submodule(self, target: str) -> Any:
        """The module of a dotted name; "" is itself."""
        module: Any = self
        for name in target.split(".") if target else ():
            inner = module._modules.get(name)
            if inner is None:
                raise AttributeError(f"{type(module).__name__} has no module {name!r}")
            module = inner
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        return self._get("_parameters", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name."""
        return self._get("_buffers", target)

    def _get(self, kind: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module.__dict__[kind].get(name) is None:
            raise AttributeError(f"{type(module).__name__} has no {kind[1:-1]} {name!r}")
        return module.__dict__[kind][name]
