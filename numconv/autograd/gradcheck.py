"""Gradients against finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numconv.autograd.gradients import grad
from numconv.autograd.tape import Tensor
from numconv.ops import arrays, differences


def gradcheck(
    f: Callable[..., Any], inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    fast_mode: bool = False, seed: int = 0,
) -> bool:  # fmt: skip
    """Compare the gradients of a function with central differences.

    What is compared is the gradient of the sum of all results, each element times a random number, so that mistakes do
    not cancel.

    Parameters
    ----------
    f : callable
        Takes Tensors, gives one or several.
    inputs : Tensor or sequence
        Those float64 Tensors that require grad are checked; everything else is handed through.
    eps : float
        The step of the differences.
    atol, rtol : float
        How far a gradient may be from the difference: atol + ``rtol |difference|``.
    fast_mode : bool
        Whether to step each input once, in a random direction, and element by element only where that differs.
    seed : int
        Of the random numbers.

    Returns
    -------
    bool
        True.

    Raises
    ------
    ValueError
        If no input is checked, one is not float64, or a gradient is wrong: which input, which element, both numbers.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("inputs must have a Tensor that requires grad")
    for i in checked:
        if str(inputs[i].dtype) != "float64":
            raise ValueError(f"inputs to check must be float64, input {i} is {inputs[i].dtype}")
    results = _results(f(*inputs))
    factors = [differences.random(y.data, seed + i) for i, y in enumerate(results)]
    found = grad(results, [inputs[i] for i in checked], factors, allow_unused=True)
    for i, gradient in zip(checked, found):
        x = inputs[i]
        exact = arrays.zeros(x.data) if gradient is None else gradient.data
        if exact.shape != x.shape:
            raise ValueError(f"the gradient of input {i} must have its shape {x.shape}, got {exact.shape}")

        def value_at(array: Any, place: int = i) -> float:
            moved = [Tensor(array) if j == place else _detached(other) for j, other in enumerate(inputs)]
            return differences.weighted([y.data for y in _results(f(*moved))], factors)

        where = differences.wrong(value_at, x.data, exact, eps, atol, rtol, fast_mode, seed)
        if where is not None:
            index, ours, difference = where
            raise ValueError(
                f"the gradient of input {i}, of shape {x.shape}, is wrong at element {index}: "
                f"the rule gives {ours:.8g}, finite differences {difference:.8g}"
            )
    return True


def gradgradcheck(f: Callable[..., Any], inputs: Any, **options: Any) -> bool:
    """Compare second derivatives with finite differences of first ones: `gradcheck` of the gradients of `f`.

    Parameters and errors are those of `gradcheck`.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    results = _results(f(*inputs))
    factors = [Tensor(differences.random(y.data, 17 + i), requires_grad=True) for i, y in enumerate(results)]
    count = len(inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]

    def gradients(*given: Any) -> Any:
        xs = [x.detach().requires_grad_() if i in checked and not x.requires_grad else x for i, x in enumerate(given)]
        return grad(_results(f(*xs[:count])), [xs[i] for i in checked], xs[count:], create_graph=True)

    return gradcheck(gradients, (*inputs, *factors), **options)


def _results(value: Any) -> list[Tensor]:
    """The Tensors among what a function gives that have a gradient, or could have."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    return [y for y in values if isinstance(y, Tensor) and y.dtype.kind == "f"]


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value
