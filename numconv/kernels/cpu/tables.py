"""The tables of operations: algorithms from the first to try to the one that takes everything."""

from __future__ import annotations

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import average_direct, average_pooling, max_direct, max_pooling
from numconv.kernels.cpu.depthwise import Depthwise
from numconv.kernels.cpu.direct import Direct, DirectWeight
from numconv.kernels.cpu.dot_weight import DotWeight
from numconv.kernels.cpu.fft import Fft
from numconv.kernels.cpu.im2col import Im2col
from numconv.kernels.cpu.im2col_weight import Im2colWeight
from numconv.kernels.cpu.indirect import Indirect
from numconv.kernels.cpu.lp_gradient import LpGradient
from numconv.kernels.cpu.outer_weight import OuterWeight
from numconv.kernels.cpu.pooling import PoolAlgorithm
from numconv.kernels.cpu.rows import Rows
from numconv.kernels.cpu.separable import Separable
from numconv.kernels.cpu.simd import PLAIN
from numconv.kernels.cpu.strip import Strip
from numconv.kernels.cpu.tiled_pooling import Tiled
from numconv.kernels.cpu.unpooling import MaxGradient, Unpool, UnpoolGradient
from numconv.kernels.cpu.winograd import Winograd
from numconv.kernels.cpu.winograd_line import WinogradLine
from numconv.kernels.cpu.winograd_weight import WinogradWeight

_FIRST: tuple[Algorithm, ...] = (Depthwise(), Winograd(4), Winograd(2), Indirect(), Fft())
_LAST: tuple[Algorithm, ...] = (Strip(), Direct())
_WEIGHT: tuple[Algorithm, ...] = (
    WinogradWeight(4), WinogradWeight(2), OuterWeight(), DotWeight(), Im2colWeight(), DirectWeight()
)  # fmt: skip

TABLES: dict[str, tuple[Algorithm, ...]] = {}
for _n in (1, 2, 3):
    _swept = ((WinogradLine(), *_FIRST), (Separable(), *_FIRST), _FIRST)[_n - 1]
    TABLES[f"conv{_n}d"] = (*_swept, Im2col(), *((Rows(),) if _n > 1 else ()), *_LAST)
    TABLES[f"conv{_n}d_input"] = TABLES[f"conv_transpose{_n}d"] = (*_swept, *_LAST)
    TABLES[f"conv{_n}d_weight"] = _WEIGHT

_SUMS: tuple[PoolAlgorithm, ...] = (average_pooling.Separable(), average_direct.Direct())
_MAXIMA: tuple[PoolAlgorithm, ...] = (max_pooling.Separable(), max_direct.Direct())
_MAX_GRADIENT = (MaxGradient(),)

for _name in ["global_{}_pool", *(f"{_kind}{{}}_pool{_n}d" for _kind in ("", "adaptive_") for _n in (1, 2, 3))]:
    TABLES[_name.format("avg")] = TABLES[_name.format("avg") + "_input"] = _SUMS
    TABLES[_name.format("max")] = _MAXIMA
    TABLES[_name.format("max") + "_input"] = _MAX_GRADIENT
for _n in (1, 2, 3):
    TABLES[f"weighted_avg_pool{_n}d"] = TABLES[f"weighted_avg_pool{_n}d_input"] = TABLES[f"lp_pool{_n}d"] = _SUMS
    TABLES[f"lp_pool{_n}d_input"] = tuple(LpGradient(algorithm) for algorithm in _SUMS)
    if _n < 3:
        TABLES[f"max_pool{_n}d"] = (Tiled(), *_MAXIMA)
        TABLES[f"avg_pool{_n}d"] = TABLES[f"avg_pool{_n}d_input"] = (Tiled(), *_SUMS)
    TABLES[f"max_unpool{_n}d"], TABLES[f"max_unpool{_n}d_input"] = (Unpool(),), (UnpoolGradient(),)

if PLAIN:
    TABLES = {operation: entries[-1:] for operation, entries in TABLES.items()}
