"""How functions here are compiled: as the kernels are, whatever the flags of the function that calls them."""

from __future__ import annotations

from typing import Any

import numba

from numconv.kernels.cpu.jit import FASTMATH
from numconv.kernels.cpu.lowering import WideCompiler

_OPTIONS: dict[str, Any] = {
    "fastmath": FASTMATH,
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": WideCompiler,
}
compiled: Any = numba.njit(**_OPTIONS)
