"""The tables of operations: algorithms from the first to try to the one that takes everything."""

from __future__ import annotations

from numconv.algorithm import Algorithm
from numconv.kernels.cuda.depthwise import Depthwise
from numconv.kernels.cuda.depthwise_weight import DepthwiseWeight, GroupedWeight
from numconv.kernels.cuda.direct import Direct, DirectWeight
from numconv.kernels.cuda.grouped import Grouped
from numconv.kernels.cuda.implicit_gemm import ImplicitGemm
from numconv.kernels.cuda.implicit_gemm_weight import ImplicitGemmWeight
from numconv.kernels.cuda.tensor_core import TensorCore

_SWEPT = (Depthwise(), Grouped(), TensorCore(), ImplicitGemm(), Direct())
_WEIGHT = (DepthwiseWeight(), GroupedWeight(), ImplicitGemmWeight(), DirectWeight())

TABLES: dict[str, tuple[Algorithm, ...]] = {}
for _n in (1, 2, 3):
    TABLES[f"conv{_n}d"] = TABLES[f"conv{_n}d_input"] = TABLES[f"conv_transpose{_n}d"] = _SWEPT
    TABLES[f"conv{_n}d_weight"] = _WEIGHT
