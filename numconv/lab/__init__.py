"""The oracle, named cases, benchmark shapes; kernels of one's own, checked, raced, swept and explained."""

import importlib
from typing import Any

from numconv.lab.checking import check as check
from numconv.lab.inspection import inspect as inspect
from numconv.lab.layers import problems as problems
from numconv.lab.racing import race as race
from numconv.lab.starter import new as new
from numconv.lab.sweeping import sweep as sweep
from numconv.lab.user_kernel import UserKernel as UserKernel
from numconv.lab.user_kernel import kernel as kernel


def __getattr__(name: str) -> Any:
    """`blocks` loads Numba, and so is loaded when it is asked for."""
    if name == "blocks":
        return importlib.import_module("numconv.lab.blocks")
    raise AttributeError(f"module 'numconv.lab' has no attribute {name!r}")
