"""FFT: overlap-save by a library's transforms, for long and large kernels.

    result[r, t] = sum over s of  inverse( transform(block[s]) * conj(transform(weight[r, s])) )[t]

The source is cut into blocks as large as a transform; each gives the results whose taps all lie within it, and the
others of its numbers are dropped (Stockham, High-speed convolution and correlation, AFIPS 1966). The weight is real, so
two blocks share one complex transform as its real and imaginary part, and everything is computed in place. Source
channels are added up before they are transformed back. Axes along which the kernel has one tap are not transformed.

Loops, outside in: item (group, some pairs of blocks of an image), channels of the result by parts; in each the steps
gather, transform, multiply, transform back, store. Items run on Python threads: transforms let go of the interpreter.
They are scipy's where it is installed, else NumPy's.

NaN and Inf of the input spread over both blocks of their pair (within an image), and so do rounding errors, which
are a part of the largest numbers of the pair. Transforms overflow where the sum of a block's numbers does.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from typing import Any, NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import jit
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import aligned
from numconv.kernels.cpu.overlap_save import LOW_D, PAIRS, gather, multiply, scatter
from numconv.problem import ConvProblem, remembered

POINTS = 1 << 15  # of the transforms in flight, about: 256 KB of complex64, twice that with their products
ITEMS = 8  # pairs are shared out to so many items where each has LEAST_POINTS
LEAST_POINTS = 1 << 14
LANES = 4  # transforms along one axis that scipy computes at once: one alone takes twice its part of the time


@functools.cache
def has_scipy() -> bool:
    """Whether scipy is installed. It is imported with the first transform: that takes longer than most calls."""
    return importlib.util.find_spec("scipy") is not None


def transform(array: np.ndarray, axes: tuple[int, ...], inverse: bool) -> None:
    """The transform along some axes, in place, divided by the root of its size.

    NumPy computes in the precision of that factor, and without one in complex128 in four times the memory.
    """
    library: Any = np.fft
    place: dict[str, Any] = {"out": array}
    if has_scipy():
        import scipy.fft

        library, place = scipy.fft, {"overwrite_x": True}
    if len(axes) == 1:  # 2 us less than as many axes
        result = (library.ifft if inverse else library.fft)(array, axis=axes[0], norm="ortho", **place)
    else:
        result = (library.ifftn if inverse else library.fftn)(array, axes=axes, norm="ortho", **place)
    if not np.may_share_memory(result, array):
        array[...] = result


class Cut(NamedTuple):
    """How a problem is cut."""

    table: np.ndarray
    sizes: tuple[int, int, int]  # of a block
    axes: tuple[int, ...]  # that are transformed, counted from the last
    pairs: int  # of an item
    channels: int  # of the result that are transformed back at once
    batches: int  # items of a group


@functools.cache
def block_size(reach: int) -> int:
    """The size 3 2^a or 5 2^a that makes results cheapest, by the transform and four passes more.

    It depends on the kernel alone, so that one packed weight serves images of all sizes. Powers of two would put
    the columns of a block into few sets of the caches (512^2: 4.4 ns a number, 640^2: 3.4).
    """
    sizes = [m << a for m in (3, 5) for a in range(1, 50) if reach < m << a <= max(64 * reach, 64)]
    return min(sizes, key=lambda size: size * (math.log2(size) + 4) / (size - reach)) if reach else 1


@remembered
def cut_up(problem: ConvProblem) -> Cut:
    """Blocks, pairs and items."""
    swept = geo.sweep(problem)
    offsets = swept.taps[:, geo.OFFSET_D : geo.OFFSET_W + 1]
    low, reach = offsets.min(axis=0).tolist(), np.ptp(offsets, axis=0).tolist()
    counts = [int(c) for c in swept.phases[0, geo.COUNT_D : geo.COUNT_W + 1]]
    sizes = tuple(block_size(r) for r in reach)
    useful = [s - r for s, r in zip(sizes, reach)]
    blocks = [-(-c // u) for c, u in zip(counts, useful)]
    of_image = -(-math.prod(blocks) // 2)
    points, total = math.prod(sizes), problem.n * of_image
    sources, results = swept.source_channels, swept.result_channels
    least, most = (numbers // (points * sources) for numbers in (LEAST_POINTS, POINTS))
    pairs = max(min(max(-(-total * problem.groups // ITEMS), least), most), 1)
    if np.count_nonzero(reach) == 1:
        pairs = -(-pairs * sources // LANES) * LANES // sources or 1
    channels = max(min(POINTS // (points * pairs), results), 1)
    table = np.array([*sizes, *useful, *blocks, *low, of_image], np.int64)
    axes = tuple(a - 3 for a in range(3) if sizes[a] > 1)
    return Cut(table, sizes, axes, pairs, channels, -(-total // pairs))  # type: ignore[arg-type]


class Fft(Algorithm):
    """Forward and input pass without stride."""

    name = "fft"
    accepts = ("long_1d", "large_2d", "depthwise_7x7", "conv_3d", "transposed_long_1d", "transposed_3d_unit")

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.precision == "strict":
            return "precision 'strict' allows direct summation only"
        if problem.dtype.name not in ("float32", "float64"):
            return f"transforms are of float32 and float64, not {problem.dtype}"
        if set(problem.stride) != {1}:
            return f"stride {problem.stride} drops results, and transforms make all of them"
        if set(problem.kernel) == {1}:
            return "a kernel of one tap has nothing to transform"
        return "there are no channels to transform" if problem.ci == 0 or problem.co == 0 else None

    def worker_bytes(self, problem: ConvProblem) -> int:
        cut, swept = cut_up(problem), geo.sweep(problem)
        in_flight = cut.pairs * (swept.source_channels + cut.channels) * math.prod(cut.sizes)
        return 2 * problem.dtype.itemsize * (in_flight + 2 * LANES * max(cut.sizes))  # and the library's own

    def items(self, problem: ConvProblem) -> int:
        return problem.groups * cut_up(problem).batches

    def packed_bytes(self, problem: ConvProblem) -> int:
        weights = math.prod(problem.weight_shape[:2]) * math.prod(cut_up(problem).sizes)
        return 2 * problem.dtype.itemsize * weights

    def cost(self, problem: ConvProblem) -> float:
        """More than the estimate: where times are near, direct sums are preferred, which keep NaN where it belongs."""
        return 1.25 * seconds(problem)

    def error_bound(self, problem: ConvProblem) -> float:
        return 1e-12 if problem.dtype.itemsize >= 8 else 5e-6

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        cut, swept = cut_up(problem), geo.sweep(problem)
        groups, points = problem.groups, math.prod(cut.sizes)
        packed = aligned(self.packed_bytes(problem) // problem.dtype.itemsize, problem.dtype)
        packed[...] = 0
        grouped = weight.reshape(groups, problem.co // groups, problem.ci // groups, -1)
        if problem.direction == "input":
            grouped = grouped.swapaxes(1, 2)
        spectra = packed.view(_complex(problem)).reshape(*grouped.shape[:3], *cut.sizes)
        d, h, w = (swept.taps[:, geo.OFFSET_D + a] - cut.table[LOW_D + a] for a in range(3))
        spectra[..., d, h, w] = grouped[..., swept.taps[:, geo.TAP]] * math.sqrt(points)
        transform(spectra, cut.axes, False)
        np.conjugate(spectra, out=spectra)
        return packed

    def run(self, problem, packed, x, bias, residual, out, workspace):
        cut, swept = cut_up(problem), geo.sweep(problem)
        given = geo.operands(problem, x, bias, residual, out)
        sources, results, points = swept.source_channels, swept.result_channels, math.prod(cut.sizes)
        total = problem.n * int(cut.table[PAIRS])
        kind, each = _complex(problem), self.worker_bytes(problem)

        def work(start: int, stop: int, worker: int) -> None:
            own = workspace[worker * each : (worker + 1) * each].view(kind)
            for item in range(start, stop):
                g, batch = divmod(item, cut.batches)
                first, last = batch * cut.pairs, min((batch + 1) * cut.pairs, total)
                some, first = last - first, g * total + first
                blocks, products = own[: some * sources * points], own[cut.pairs * sources * points :]
                numbers = blocks.view(problem.dtype)
                gather().serial(first * sources, (first + some) * sources, 0, given.x, numbers, given.header, cut.table)
                transform(blocks.reshape(-1, *cut.sizes), cut.axes, False)
                for r in range(0, results, cut.channels):
                    past = min(r + cut.channels, results)
                    here = products[: some * (past - r) * points]
                    sums = here.view(problem.dtype)
                    multiply().serial(
                        0, some * (past - r), 0, numbers, packed, (g * results + r) * sources, past - r, sources,
                        points, sums,
                    )  # fmt: skip
                    transform(here.reshape(-1, *cut.sizes), cut.axes, True)
                    scatter(swept.kind).serial(
                        first, first + some, 0, sums, r, past, given.bias, given.residual, given.out, given.header,
                        swept.phases, cut.table, given.parameter,
                    )  # fmt: skip

        items = problem.groups * cut.batches
        workers = min(jit.workers(seconds(problem) / jit.PYTHON_THREADS_COST), workspace.size // each, max(items, 1))
        if workers == 1:
            work(0, items, 0)
        else:
            jit._on_python_threads(work, workers, items, ())


def _complex(problem: ConvProblem) -> np.dtype:
    return np.dtype(f"c{2 * problem.dtype.itemsize}")


@remembered
def seconds(problem: ConvProblem) -> float:
    """Estimate for one thread.

    scipy's transforms in complex64 take 0.17 ns a number and doubling along one axis, 0.26 along two, 0.3 along three,
    NumPy's twice that; gathering and storing 0.7 ns a number, a product 0.5 ns, a step 5 us.
    """
    cut, swept = cut_up(problem), geo.sweep(problem)
    sources, results, points = swept.source_channels, swept.result_channels, math.prod(cut.sizes)
    pairs = problem.n * problem.groups * int(cut.table[PAIRS])
    wide = problem.dtype.itemsize / 4
    per_number = (1.7e-10, 2.6e-10, 3e-10)[len(cut.axes) - 1] * math.log2(points) * wide * (1 if has_scipy() else 2)
    steps = pairs * points * ((sources + results) * (per_number + 7e-10) + sources * results * 5e-10 * wide)
    calls = problem.groups * cut.batches * (2 + 3 * -(-results // cut.channels))
    return 1e-5 + steps + calls * 5e-6
