"""The array of the simulator and of recorded launches, made as strict as a device's.

Numba's own stand-in hands on all that NumPy's array inside of it can do. This one has what `DeviceNDArray` has, and
that `numconv` uses; so code that would fail on a GPU, or copy to the host unseen, fails in the simulator.
"""

from __future__ import annotations

from typing import Any

from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

_HANDED_ON = ("dtype", "ndim", "size", "strides")


class SimulatedArray(FakeCUDAArray):
    """An array whose elements only kernels and `memory` reach."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self._ary.shape

    def __getattr__(self, name: str) -> Any:
        if name in _HANDED_ON:
            return getattr(self._ary, name)
        raise AttributeError(f"an array on a GPU has no {name}")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("NumPy was given an array on a GPU, which it would have to copy to the host")

    def _host(self, *others: Any, **options: Any) -> Any:
        raise TypeError("an array on a GPU was computed with by NumPy")

    __array_ufunc__ = None
    __getitem__ = __setitem__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _host
    __add__ = __sub__ = __mul__ = __floordiv__ = __truediv__ = __mod__ = __pow__ = transpose = reshape = view = _host
    __hash__ = object.__hash__
