"""The tables of operations: algorithms from the first to try to the one that takes everything."""

from __future__ import annotations

from numconv.algorithm import Algorithm
from numconv.kernels.cpu.depthwise import Depthwise
from numconv.kernels.cpu.direct import Direct, DirectWeight
from numconv.kernels.cpu.im2col import Im2col
from numconv.kernels.cpu.im2col_weight import Im2colWeight

_SWEPT: tuple[Algorithm, ...] = (Depthwise(), Im2col(), Direct())
_WEIGHT: tuple[Algorithm, ...] = (Im2colWeight(), DirectWeight())

TABLES: dict[str, tuple[Algorithm, ...]] = {}
for _n in (1, 2, 3):
    TABLES[f"conv{_n}d"] = TABLES[f"conv{_n}d_input"] = TABLES[f"conv_transpose{_n}d"] = _SWEPT
    TABLES[f"conv{_n}d_weight"] = _WEIGHT
