"""Activations. `inplace` is taken and shown for PyTorch's sake: results are new arrays all the same."""

from __future__ import annotations

from typing import Any

from numconv.autograd import functional as F
from numconv.nn._module import Module, shown


class _Plain(Module):
    """A function of one number, without parameters."""

    _function: Any

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return self._function(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_Plain):
    """max(x, 0)."""

    _function = staticmethod(F.relu)


class ReLU6(_Plain):
    """min(max(x, 0), 6)."""

    _function = staticmethod(F.relu6)


class SiLU(_Plain):
    """x sigmoid(x)."""

    _function = staticmethod(F.silu)


class Hardswish(_Plain):
    """x min(max(x + 3, 0), 6) / 6."""

    _function = staticmethod(F.hardswish)

    def extra_repr(self) -> str:
        return ""  # as PyTorch's


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Any) -> Any:
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Any) -> Any:
        return F.tanh(input)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Any) -> Any:
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}{', inplace=True' if self.inplace else ''}"


class ELU(Module):
    """x where x > 0, else alpha (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Any) -> Any:
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}{', inplace=True' if self.inplace else ''}"


class GELU(Module):
    """x times the normal distribution function at x, or its approximation "tanh"."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softmax(Module):
    """exp(x) / sum(exp(x)) along an axis: `dim`, or where it is left out, PyTorch's choice, the channels'."""

    _function: Any = staticmethod(F.softmax)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        implicit = 0 if input.ndim in (0, 1, 3) else 1
        return self._function(input, implicit if self.dim is None else self.dim)

    def extra_repr(self) -> str:
        return shown(self, "dim")


class LogSoftmax(Softmax):
    """The logarithm of `Softmax`; arguments as there."""

    _function = staticmethod(F.log_softmax)
