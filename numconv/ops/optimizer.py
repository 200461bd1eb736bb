"""Steps of optimisers on bare arrays, in place, each one pass over memory; and the norm of gradients.

Names and formulas are those of `torch.optim`. A step takes many parameters of one dtype. What is kept of earlier steps
is the caller's: arrays of zeros at first, from `state_like`, and `Places`. Half precision is computed in float32, in
which its state is kept too.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cpu.memory import flat, native
from numconv.ops.arrays import by_device
from numconv.ops.device import by_device_of_first, on_host
from numconv.problem import HALF


@by_device
def state_like(param: np.ndarray) -> np.ndarray:
    """Zeros to keep numbers of earlier steps in: of the parameter's shape, in the dtype that steps are computed in."""
    return np.zeros(param.shape, _work(param.dtype))


class Places:
    """Where the arrays of a step lie, as long as they are the same: NumPy takes 0.8 us to tell it of one."""

    def __init__(self) -> None:
        self._params: list[np.ndarray] = []
        self._kept: list[np.ndarray] = []
        self._table: Any = None

    def __reduce__(self) -> Any:
        return Places, ()  # a copy's arrays lie elsewhere

    def table(self, params: list[np.ndarray], states: list[list[np.ndarray]]) -> Any:
        """The table of `kernels.update` for flat arrays of `params` and `states`; None where they must be converted."""
        kept = list(itertools.chain(*states))
        if not (_same(params, self._params) and _same(kept, self._kept)):
            self._params, self._kept = params, kept
            self._table = _table(params, states)
        return self._table


def _same(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


@by_device_of_first
def sgd(
    params: list[np.ndarray],
    grads: list[np.ndarray],
    momentum_buffers: list[np.ndarray] | None,
    places: Places,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> None:
    """Gradient descent (Sutskever et al. 2013 for the momentum).

    Parameters
    ----------
    params : list of ndarray
        Changed in place, in any layout.
    grads : list of ndarray
        Of their shapes.
    momentum_buffers : list of ndarray or None
        Changed in place; needed where `momentum` is not 0. On its first step, when it is zeros, PyTorch takes the
        gradient undampened: give `dampening` 0.
    places : Places
        Of these parameters and what is kept of them.
    lr, momentum, dampening, weight_decay : float
    nesterov, maximize : bool

    Raises
    ------
    ValueError
        If shapes differ.
    TypeError
        If `param` is not of a real float dtype.
    """
    sign = -1.0 if maximize else 1.0
    numbers = sign, weight_decay, lr, momentum, 1.0 - dampening
    kernel = _kernels().sgd(bool(momentum), bool(nesterov))
    _step(kernel, params, grads, [momentum_buffers if momentum else None], places, numbers)


@by_device_of_first
def adam(
    params: list[np.ndarray],
    grads: list[np.ndarray],
    exp_avgs: list[np.ndarray],
    exp_avg_sqs: list[np.ndarray],
    max_exp_avg_sqs: list[np.ndarray] | None,
    places: Places,
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> None:
    """Adam (Kingma and Ba 2015); with `decoupled` weight decay AdamW (Loshchilov and Hutter 2019).

    Parameters
    ----------
    params, grads, places
        As in `sgd`.
    exp_avgs, exp_avg_sqs : list of ndarray
        Changed in place.
    max_exp_avg_sqs : list of ndarray or None
        Where given, changed in place: AMSGrad (Reddi, Kale and Kumar 2018).
    step : int
        From 1.
    lr, beta1, beta2, eps, weight_decay : float
    decoupled, maximize : bool

    Raises
    ------
    ValueError
        If shapes differ.
    TypeError
        If `param` is not of a real float dtype.
    """
    numbers = _adam_numbers(step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize)
    kernel = _kernels().adam(max_exp_avg_sqs is not None)
    _step(kernel, params, grads, [exp_avgs, exp_avg_sqs, max_exp_avg_sqs], places, numbers)


def _adam_numbers(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, maximize: bool
) -> tuple[float, ...]:
    """What the kernel takes."""
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    root, sign = math.sqrt(1 - beta2**step), -1.0 if maximize else 1.0
    return sign, decay, shrink, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**step), root, eps


@by_device_of_first
def rmsprop(
    params: list[np.ndarray],
    grads: list[np.ndarray],
    square_avgs: list[np.ndarray],
    grad_avgs: list[np.ndarray] | None,
    momentum_buffers: list[np.ndarray] | None,
    places: Places,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    maximize: bool = False,
) -> None:
    """RMSprop (Hinton 2012, lecture 6e).

    Parameters
    ----------
    params, grads, places
        As in `sgd`.
    square_avgs : list of ndarray
        Changed in place.
    grad_avgs : list of ndarray or None
        Where given, changed in place: the centred form (Graves 2013).
    momentum_buffers : list of ndarray or None
        Changed in place; needed where `momentum` is not 0.
    lr, alpha, eps, weight_decay, momentum : float
    maximize : bool

    Raises
    ------
    ValueError
        If shapes differ.
    TypeError
        If `param` is not of a real float dtype.
    """
    sign = -1.0 if maximize else 1.0
    numbers = sign, weight_decay, lr, alpha, 1 - alpha, eps, momentum
    kernel = _kernels().rmsprop(grad_avgs is not None, bool(momentum))
    _step(kernel, params, grads, [square_avgs, grad_avgs, momentum_buffers if momentum else None], places, numbers)


@by_device
def norm(array: np.ndarray, norm_type: float = 2.0) -> float:
    """The norm of all elements taken as one vector, summed in float64; inf is the largest magnitude."""
    if norm_type == 2:
        return math.sqrt(_kernels().sum_of_squares(_flat(array, _work(array.dtype))))
    if norm_type == math.inf:
        return float(np.max(np.abs(array), initial=0))
    return float(np.sum(np.abs(array).astype(np.float64) ** norm_type)) ** (1 / norm_type)


@by_device
def scale(array: np.ndarray, factor: float) -> None:
    """Multiply an array in place."""
    array *= array.dtype.type(factor)


@by_device
def clip(array: np.ndarray, limit: float) -> None:
    """Cut an array off in place at -limit and limit."""
    np.clip(array, -limit, limit, out=array)


@functools.cache
def _kernels() -> Any:
    return kernels("update")


@functools.cache
def _work(dtype: np.dtype) -> np.dtype:
    """The dtype that steps of parameters of a dtype are computed in."""
    if dtype.name in HALF:
        return np.dtype(np.float32)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"param must be of a real float dtype, got {dtype}")
    return dtype


def _flat(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The elements in their order, for reading."""
    if array.dtype is dtype and array.flags.carray:
        return array.reshape(-1)
    return flat(native(array.astype(dtype, order="C", copy=False)))[0]


def _step(
    kernel: Any,
    params: list[np.ndarray],
    grads: list[np.ndarray],
    states: list[list[np.ndarray] | None],
    places: Places,
    numbers: tuple[float, ...],
) -> None:
    if not params:
        return
    dtype = _work(params[0].dtype)
    kept = [params if state is None else state for state in states]  # a kernel reads none that is not given
    for others in (grads, *kept):
        for param, other in zip(params, others, strict=True):
            if other.shape != param.shape:
                raise ValueError(f"gradient and state must have the parameter's shape {param.shape}, got {other.shape}")
    table, targets = places.table(params, kept), params
    if table is None:
        targets = [native(p.astype(dtype, order="C")) for p in params]
        table = _table(targets, [targets if state is params else state for state in kept])
    table.launch(kernel, [_flat(grad, dtype) for grad in grads], np.array(numbers, dtype))
    if targets is not params:
        for param, target in zip(params, targets):
            param[...] = target


def _table(params: list[np.ndarray], states: list[list[np.ndarray]]) -> Any:
    """The table of arrays as they are; None where some must be converted."""
    dtype = _work(params[0].dtype)
    every = [params, *states]
    if not all(on_host("params", a).dtype == dtype and a.flags.carray for arrays in every for a in arrays):
        return None
    first, *rest = [[a.reshape(-1) for a in arrays] for arrays in every]
    return _kernels().Table(first, rest)
