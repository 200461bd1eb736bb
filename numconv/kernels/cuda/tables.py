"""The tables of operations: algorithms from the first to try to the one that takes everything."""

from __future__ import annotations

from numconv.algorithm import Algorithm
from numconv.kernels.cuda.direct import Direct, DirectWeight
from numconv.kernels.cuda.im2col import Im2col
from numconv.kernels.cuda.implicit_gemm import ImplicitGemm
from numconv.kernels.cuda.implicit_gemm_weight import ImplicitGemmWeight

TABLES: dict[str, tuple[Algorithm, ...]] = {}
for _n in (1, 2, 3):
    TABLES[f"conv{_n}d"] = (ImplicitGemm(), Im2col(), Direct())
    TABLES[f"conv{_n}d_input"] = TABLES[f"conv_transpose{_n}d"] = (ImplicitGemm(), Direct())
    TABLES[f"conv{_n}d_weight"] = (ImplicitGemmWeight(), DirectWeight())
