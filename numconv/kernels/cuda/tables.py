"""The tables of operations: algorithms from the first to try to the one that takes everything."""

from __future__ import annotations

from numconv.algorithm import Algorithm
from numconv.kernels.cuda.average_pooling import Average
from numconv.kernels.cuda.depthwise import Depthwise
from numconv.kernels.cuda.depthwise_weight import DepthwiseWeight, GroupedWeight
from numconv.kernels.cuda.direct import Direct, DirectWeight
from numconv.kernels.cuda.global_pooling import Global
from numconv.kernels.cuda.grouped import Grouped
from numconv.kernels.cuda.im2col import Im2col
from numconv.kernels.cuda.implicit_gemm import ImplicitGemm
from numconv.kernels.cuda.implicit_gemm_weight import ImplicitGemmWeight
from numconv.kernels.cuda.max_pooling import Max
from numconv.kernels.cuda.tensor_core import TensorCore
from numconv.kernels.cuda.tensor_core_weight import TensorCoreWeight
from numconv.kernels.cuda.unpooling import MaxGradient, Unpool, UnpoolGradient

_FIRST = (Depthwise(), Grouped(), TensorCore(), ImplicitGemm())
_WEIGHT = (DepthwiseWeight(), GroupedWeight(), TensorCoreWeight(), ImplicitGemmWeight(), DirectWeight())

TABLES: dict[str, tuple[Algorithm, ...]] = {}
for _n in (1, 2, 3):
    TABLES[f"conv{_n}d"] = (*_FIRST, Im2col(), Direct())
    TABLES[f"conv{_n}d_input"] = TABLES[f"conv_transpose{_n}d"] = (*_FIRST, Direct())
    TABLES[f"conv{_n}d_weight"] = _WEIGHT

for _name in ["global_{}_pool", *(f"{_kind}{{}}_pool{_n}d" for _kind in ("", "adaptive_") for _n in (1, 2, 3))]:
    _whole: tuple[Algorithm, ...] = () if _name.startswith("{}") else (Global(),)
    TABLES[_name.format("avg")], TABLES[_name.format("max")] = (*_whole, Average()), (*_whole, Max())
    TABLES[_name.format("avg") + "_input"], TABLES[_name.format("max") + "_input"] = (Average(),), (MaxGradient(),)
for _n in (1, 2, 3):
    TABLES[f"max_unpool{_n}d"], TABLES[f"max_unpool{_n}d_input"] = (Unpool(),), (UnpoolGradient(),)
