"""The tables of operations: algorithms from the first to try to the one that takes everything."""

from __future__ import annotations

from numconv.algorithm import Algorithm
from numconv.kernels.cuda.direct import Direct, DirectWeight
from numconv.kernels.cuda.tensor_core import TensorCore
from numconv.kernels.cuda.tensor_core_weight import TensorCoreWeight

TABLES: dict[str, tuple[Algorithm, ...]] = {}
for _n in (1, 2, 3):
    TABLES[f"conv{_n}d"] = TABLES[f"conv{_n}d_input"] = TABLES[f"conv_transpose{_n}d"] = (TensorCore(), Direct())
    TABLES[f"conv{_n}d_weight"] = (TensorCoreWeight(), DirectWeight())
