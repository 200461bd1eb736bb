"""Which tile a product takes and over how many blocks its k's are split: by an estimate for an H100, not measured.

The busiest multiprocessor has ceil(blocks / 132) of the blocks, as many at once as its registers hold; fewer than 256
threads do not hide how long the products take. The choice depends on the problem only, so that results repeat.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from numconv.kernels.cuda.gemm_tile import DEPTH, LARGE, NARROW, SMALL, WIDE, Tile
from numconv.kernels.cuda.launch import blocks

PROCESSORS = 132
RATE = 50e12 / PROCESSORS  # of a busy multiprocessor; estimate: cuBLAS reaches 47 to 50 TFLOP/s of 67
EFFICIENCY = {
    SMALL: 0.92,
    NARROW: 0.97,
    WIDE: 0.97,
    LARGE: 1.0,
}  # of a busy multiprocessor: smaller tiles load more for a product
BANDWIDTH = 2.5e12
LAUNCH = 4e-6
TURNOVER = 2e-6  # of a block: first loads and last stores
FEWEST = 16  # slices of a part


class Schedule(NamedTuple):
    """How a product is computed: `slices` of each of `parts` parts, and the estimated seconds."""

    tile: Tile
    parts: int
    slices: int
    seconds: float


def pieces(depth: int, precision: str) -> int:
    """In how many sums so many products are added up, so that the error keeps to what the precision promises.

    Of products of one sign, the worst, the error of a sum grows with the root of their number: 1.0e-6 of 512, 3.4e-6
    of 4608 (the largest of some thousand sums). Of p sums it is a p-th of that. Of either sign it is below 2e-7.
    """
    return max(1, math.ceil(math.sqrt(depth / (256 if precision == "strict" else 6144))))


def error_bound(precision: str) -> float:
    """What sums in `pieces` keep to."""
    return 1e-6 if precision == "strict" else 5e-6


@functools.lru_cache(4096)
def schedule(
    rows: int, columns: int, depth: int, products: int, moved: int, room: int, least: int = 1
) -> Schedule:  # fmt: skip
    """The fastest one for `products` products of rows x depth by depth x columns.

    `moved` bytes are read and written at least once; `room` bytes of workspace may be used for partial sums, of which
    there are at least so many parts, if there is room.
    """
    slices, copy = blocks(depth, DEPTH), 4 * rows * columns * products
    found = []
    for tile in EFFICIENCY:
        tiles = blocks(rows, tile.rows) * blocks(columns, tile.columns) * products
        fitting = max(1, min(max(slices, 1), room // max(copy, 1)))
        useful = min(slices // FEWEST, 2 * PROCESSORS * tile.bounds[1] // max(tiles, 1))
        low, most = min(least, fitting), max(1, min(fitting, max(useful, least)))
        for parts in {low, *(most // by for by in (4, 3, 2, 1) if most >= low * by)}:
            each = blocks(slices, parts)
            used = blocks(slices, each) if each else 1
            found.append(
                Schedule(tile, used, each, _seconds(tile, tiles * used, each, moved, copy * (used > 1) * used))
            )
    return min(found, key=lambda s: (s.seconds, s.parts))


def _seconds(tile: Tile, total: int, slices: int, moved: int, partial: int) -> float:
    """Estimate for so many blocks, which store so many bytes of partial sums."""
    busiest = blocks(max(total, 1), PROCESSORS)
    threads = min(busiest, tile.bounds[1]) * tile.threads
    work = busiest * (2 * tile.rows * tile.columns * DEPTH * slices) / RATE / min(EFFICIENCY[tile], threads / 256)
    rounds = blocks(busiest, tile.bounds[1])
    more = LAUNCH + 2 * partial / BANDWIDTH if partial else 0.0
    return LAUNCH + max(work + TURNOVER * rounds, moved / BANDWIDTH) + more
