"""The tables of operations: algorithms from the first to try to the one that takes everything."""

from __future__ import annotations

from numconv.algorithm import Algorithm
from numconv.kernels.cuda.depthwise import Depthwise
from numconv.kernels.cuda.depthwise_weight import DepthwiseWeight, GroupedWeight
from numconv.kernels.cuda.direct import Direct, DirectWeight
from numconv.kernels.cuda.grouped import Grouped

TABLES: dict[str, tuple[Algorithm, ...]] = {}
for _n in (1, 2, 3):
    TABLES[f"conv{_n}d"] = TABLES[f"conv{_n}d_input"] = TABLES[f"conv_transpose{_n}d"] = (
        Depthwise(),
        Grouped(),
        Direct(),
    )
    TABLES[f"conv{_n}d_weight"] = (DepthwiseWeight(), GroupedWeight(), DirectWeight())
