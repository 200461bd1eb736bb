"""What optimisers share: groups of parameters, what is kept of earlier steps, and both as a dictionary to resume from.

An optimiser says in `_update` what one step does to one parameter.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from numconv.autograd.modes import enable_grad
from numconv.autograd.tape import Tensor
from numconv.ops import arrays
from numconv.ops.optimizer import Places, state_like


class Optimizer:
    """Base of the optimisers.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        A dict is a group: its "params", and options of its own in place of the defaults.
    defaults : dict
        Options of groups that do not say otherwise.

    Attributes
    ----------
    param_groups : list of dict
        "params" and the options of each group; may be changed between steps.
    state : dict
        What is kept of each parameter.

    Raises
    ------
    ValueError
        If there are no parameters, or one is in two groups or was computed.
    TypeError
        If one is not a Tensor.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params must be an iterable of Tensors or dicts, got a Tensor")
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._places: defaultdict[Any, Places] = defaultdict(Places)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("params must not be empty")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add ``{"params": parameters, **options}``, for instance of layers that were frozen before."""
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"params must be Tensors, got {type(p).__name__}")
            if p.node is not None:
                raise ValueError("params must be leaves: one of them was computed from others")
            if id(p) in known:
                raise ValueError("a parameter must be in one group and once, one of them appears twice")
            known.add(id(p))
        options = {name: value for name, value in group.items() if name != "params"}
        self.check(merged := self.defaults | options)
        self.param_groups.append({"params": params, **merged})

    def check(self, options: dict[str, Any]) -> None:
        """Refuse options that make no sense."""
        for name in ("lr", "weight_decay", "momentum", "eps", "alpha"):
            if not options.get(name, 0) >= 0:
                raise ValueError(f"{name} must be at least 0, got {options[name]!r}")

    def _update(
        self, params: list[Any], grads: list[Any], states: list[dict[str, Any]], options: dict[str, Any], places: Places
    ) -> None:
        """Take one step with parameters of one dtype of which alike is kept: bare arrays.

        The parameters and what is kept of each, in its dictionary of `states`, are changed in place.
        """
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient and requires one.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and the gradients first.

        Returns
        -------
        What `closure` returns, else None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            alike: dict[Any, list[tuple[Any, ...]]] = {}
            for p in group["params"]:
                if p.grad is not None and p.requires_grad:
                    state = self.state.get(p)
                    if state is None:
                        state = self.state[p] = {}
                    kind = p.data.dtype, state.get("step"), len(state)
                    alike.setdefault(kind, []).append((p.data, p.grad.data, state))
                    p.bump()
            for (dtype, *_), found in alike.items():
                params, grads, states = ([each[i] for each in found] for i in range(3))
                self._update(params, grads, states, group, self._places[number, dtype])
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else Tensor(arrays.zeros(p.grad.data))

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number of a parameter: what is kept of it}, "param_groups": [options, numbers of "params"]}.

        Arrays are those that the next step changes: copy them to keep them.
        """
        numbers = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [{**group, "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": {numbers[id(p)]: dict(kept) for p, kept in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy what `state_dict` returned, also PyTorch's with its tensors as arrays.

        Raises
        ------
        ValueError
            If its groups or the shapes in it are not those of this optimiser's parameters.
        """
        groups = state_dict["param_groups"]
        sizes = [[len(group["params"]) for group in some] for some in (self.param_groups, groups)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"state_dict must have groups of {sizes[0]} parameters, got {sizes[1]}")
        params = [p for group in self.param_groups for p in group["params"]]
        of_number = dict(zip((i for group in groups for i in group["params"]), params))
        state = {of_number[i]: _loaded(of_number[i], kept) for i, kept in state_dict["state"].items()}
        for group, given in zip(self.param_groups, groups):
            group.update(copy.deepcopy({name: value for name, value in given.items() if name != "params"}))
        self.state = state

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


def kept(states: list[dict[str, Any]], name: str, params: list[Any]) -> list[Any]:
    """What is kept of each parameter under a name: zeros at first."""
    for state, param in zip(states, params):
        if name not in state:
            state[name] = state_like(param)
    return [state[name] for state in states]


def counted(states: list[dict[str, Any]]) -> int:
    """The number of this step, the same for all."""
    step = states[0].get("step", 0) + 1
    for state in states:
        state["step"] = step
    return step


def _loaded(param: Tensor, kept: dict[str, Any]) -> dict[str, Any]:
    """A copy of what is kept of a parameter: counts as integers, arrays as steps need them."""
    found: dict[str, Any] = {}
    for name, value in kept.items():
        if name == "step":
            found[name] = int(value)
        elif value is not None:
            if np.shape(value) != param.shape:
                raise ValueError(f"{name} must have its parameter's shape {param.shape}, got {np.shape(value)}")
            found[name] = state_like(param.data)
            found[name][...] = value
    return found
