"""Module: the base of layers and models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from numconv.nn import _hooks, _state
from numconv.nn._tree import Tree
from numconv.ops import arrays


class Module(Tree):
    """A layer, or a model made of layers. Subclasses make their parts in `__init__` and compute in `forward`.

    Attributes
    ----------
    training : bool
        Whether it trains or is used; `train` and `eval` set it.

    Examples
    --------
    >>> from numconv.nn import Module, Parameter
    >>> class Square(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = Parameter([2.0])
    ...     def forward(self, x):
    ...         return self.factor * x * x
    >>> [name for name, _ in Square().named_parameters()]
    ['factor']
    """

    optional_keys: tuple[str, ...] = ()  # of its state, which old weights lack
    training: bool

    def __init__(self) -> None:
        super().__init__()
        self._forward_pre_hooks: dict[int, Any] = {}
        self._forward_hooks: dict[int, Any] = {}
        self._backward_hooks: dict[int, Any] = {}
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    @property
    def hooked(self) -> bool:
        """Whether a hook of its own watches it."""
        return bool(self._forward_pre_hooks or self._forward_hooks or self._backward_hooks)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks or self._forward_hooks or self._backward_hooks:
            return _hooks.call(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # --- what is done to it

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call `function` with each module in it, then with itself."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def train(self, mode: bool = True) -> Module:
        """Train, or with False be used: what dropout and batch norm do depends on it."""
        if not isinstance(mode, bool):
            raise ValueError(f"mode must be True or False, got {mode!r}")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Be used: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Learn, or with False be frozen."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        for parameter in self.parameters():
            _state.zero_grad(parameter, set_to_none)

    def to(self, *wanted: Any, device: Any = None, dtype: Any = None) -> Module:
        """Convert parameters and buffers of a float dtype to another one, or move them to a device, in place.

        Parameters
        ----------
        *wanted : dtype or str
            A dtype, or a device's name.
        device : str, optional
            "cpu", or "cuda", the current GPU.
        dtype : dtype, optional
            Of parameters and buffers of a float dtype.

        Returns
        -------
        Module
            Itself.

        Raises
        ------
        ValueError
            For another device.
        TypeError
            For a dtype that is no float.
        numconv.cuda.MissingPart
            If there is no GPU, or a part of what it needs is missing, which the message names.
        """
        for value in wanted:
            if isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda"):
                device = value
            else:
                dtype = value
        if device not in (None, "cpu", "cuda"):
            raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
        members = [*self.parameters(), *self.buffers()]
        if dtype is not None:
            _state.convert(members, np.dtype(dtype))
        if device is not None:
            _state.move(members, device)
        return self

    def cuda(self) -> Module:
        """To the current GPU."""
        return self.to("cuda")

    def cpu(self) -> Module:
        """To the CPU."""
        return self.to("cpu")

    def float(self) -> Module:
        """To float32."""
        return self.to(np.float32)

    def double(self) -> Module:
        """To float64."""
        return self.to(np.float64)

    # --- hooks

    def register_forward_pre_hook(self, hook: Callable[[Module, Any], Any]) -> _hooks.RemovableHandle:
        """Call `hook(module, inputs)` before `forward`; what it returns, if anything, are the inputs."""
        return _hooks.RemovableHandle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Module, Any, Any], Any]) -> _hooks.RemovableHandle:
        """Call `hook(module, inputs, output)` after `forward`; what it returns, if anything, is the output."""
        return _hooks.RemovableHandle(self._forward_hooks, hook)

    def register_full_backward_hook(self, hook: Callable[[Module, Any, Any], Any]) -> _hooks.RemovableHandle:
        """Call `hook(module, grad_inputs, grad_outputs)` when these are known; it may return other `grad_inputs`."""
        return _hooks.RemovableHandle(self._backward_hooks, hook)

    # --- weights

    def state_dict(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Parameters and persistent buffers by name, as read-only NumPy arrays that share their memory.

        They follow what training changes: copy them to keep them (`copy.deepcopy`).
        """
        return {name: arrays.to_numpy(t.data, readonly=True) for name, t in _state.tensors(self, prefix)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> _state.IncompatibleKeys:
        """Copy weights by name into parameters and buffers.

        Parameters
        ----------
        state_dict : mapping of str to array_like
        strict : bool
            Whether names must be the same on both sides. Shapes must be the same anyway.

        Returns
        -------
        IncompatibleKeys
            `missing_keys` and `unexpected_keys`.

        Raises
        ------
        RuntimeError
            With a list of all that does not fit; nothing is loaded then.
        TypeError
            If `state_dict` is no mapping.
        """
        return _state.load(self, state_dict, strict)

    def summary(self, input_shape: Iterable[int], dtype: Any = None) -> Any:
        """Layers, shapes of their results, parameters, multiply-adds and receptive fields: `print` it.

        Parameters
        ----------
        input_shape : sequence of int
            With the batch, such as (1, 3, 224, 224).
        dtype : dtype, optional
            Of the input; that of the first parameter where left out.

        Returns
        -------
        Summary
        """
        from numconv.nn._summary import summarize

        return summarize(self, tuple(input_shape), dtype)

    # --- how it is shown

    def extra_repr(self) -> str:
        """What `repr` shows of the module itself."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        inner = [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        name = type(self).__name__
        if not inner and len(lines) <= 1:
            return f"{name}({extra})"
        return "\n  ".join([f"{name}(", *lines, *inner]) + "\n)"


def indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def shown(module: Module, *names: str) -> str:
    """Attributes as `extra_repr` lists them."""
    return ", ".join(f"{name}={getattr(module, name)}" for name in names)
