"""Steps of optimisers on bare arrays, in place, each one pass over memory; and the norm of gradients.

Names and formulas are those of `torch.optim`. What is kept of earlier steps is the caller's: arrays of zeros at first,
from `state_like`. Half precision is computed in float32, in which its state is kept too.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cpu.memory import flat, native
from numconv.ops.arrays import by_device
from numconv.problem import HALF


@by_device
def state_like(param: np.ndarray) -> np.ndarray:
    """Zeros to keep numbers of earlier steps in: of the parameter's shape, in the dtype that steps are computed in."""
    return np.zeros(param.shape, _work(param.dtype))


@by_device
def sgd(
    param: np.ndarray,
    grad: np.ndarray,
    momentum_buffer: np.ndarray | None,
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
    param : ndarray
        Changed in place, in any layout.
    grad : ndarray
        Of its shape.
    momentum_buffer : ndarray or None
        Changed in place; needed where `momentum` is not 0. On its first step, when it is zeros, PyTorch takes the
        gradient undampened: give `dampening` 0.
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
    _step(kernel, param, grad, (momentum_buffer if momentum else None,), numbers)


@by_device
def adam(
    param: np.ndarray,
    grad: np.ndarray,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    max_exp_avg_sq: np.ndarray | None,
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
    param : ndarray
        Changed in place, in any layout.
    grad : ndarray
        Of its shape.
    exp_avg, exp_avg_sq : ndarray
        Changed in place.
    max_exp_avg_sq : ndarray or None
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
    kernel = _kernels().adam(max_exp_avg_sq is not None)
    _step(kernel, param, grad, (exp_avg, exp_avg_sq, max_exp_avg_sq), numbers)


@functools.lru_cache(maxsize=16)
def _adam_numbers(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, maximize: bool
) -> tuple[float, ...]:
    """What the kernel takes."""
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    root, sign = math.sqrt(1 - beta2**step), -1.0 if maximize else 1.0
    return sign, decay, shrink, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**step), root, eps


@by_device
def rmsprop(
    param: np.ndarray,
    grad: np.ndarray,
    square_avg: np.ndarray,
    grad_avg: np.ndarray | None,
    momentum_buffer: np.ndarray | None,
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
    param : ndarray
        Changed in place, in any layout.
    grad : ndarray
        Of its shape.
    square_avg : ndarray
        Changed in place.
    grad_avg : ndarray or None
        Where given, changed in place: the centred form (Graves 2013).
    momentum_buffer : ndarray or None
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
    kernel = _kernels().rmsprop(grad_avg is not None, bool(momentum))
    _step(kernel, param, grad, (square_avg, grad_avg, momentum_buffer if momentum else None), numbers)


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


@functools.lru_cache(maxsize=64)
def _numbers(dtype: np.dtype, values: tuple[float, ...]) -> np.ndarray:
    """The same for all parameters of a step."""
    return np.array(values, dtype)


@functools.cache
def _none(dtype: np.dtype) -> np.ndarray:
    return np.zeros(1, dtype)


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
    param: np.ndarray,
    grad: np.ndarray,
    states: tuple[np.ndarray | None, ...],
    numbers: tuple[float, ...],
) -> None:
    dtype, shape = _work(param.dtype), param.shape
    if grad.shape != shape:
        raise ValueError(f"grad must have the parameter's shape {shape}, got {grad.shape}")
    kept = []
    for state in states:
        if state is not None and state.shape != shape:
            raise ValueError(f"state must have the parameter's shape {shape}, got {state.shape}")
        kept.append(_none(dtype) if state is None else state.reshape(-1))
    target = param if param.dtype is dtype and param.flags.carray else native(param.astype(dtype, order="C"))
    _kernels().launch(kernel, target.reshape(-1), _flat(grad, dtype), *kept, _numbers(dtype, numbers))
    if target is not param:
        param[...] = target
