"""Elements moved by their indices: the gradient of max pooling, unpooling, and the gradient of unpooling.

    add      plane[p] = sum of values[o] where index[o] = p      gradient of max pooling
    put      plane[p] = the last values[o] where index[o] = p    unpooling
    take     values[o] = plane[index[o]]                         gradient of unpooling

An element of a plane gathers: it asks the outputs whose indices may be its own, in order, so that nothing is added
atomically and results repeat. Windows are not known, and indices may be any; so which outputs to ask is found in the
indices first. A pass over them notes, for the outputs at each place along an axis, the lowest and the highest place
along that axis that one of them points to (in shared memory, by integer minima and maxima, which have no order); turned
round, that gives the first and the last output that each place along an axis may have come from. For 3x3 windows of
stride 2 an element so asks four outputs at most. The pass reads the indices once more: 22 % more bytes than the
gradient itself for such windows in float32. Of few outputs all are asked, without it.

Indices outside of the plane, -1 among them, are passed over.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy import int32, int64, uint32, uint64

from numconv.kernels.cuda import lanes as lane
from numconv.kernels.cuda import launch, memory, windows
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.pooling import THREADS, Arrays, PoolAlgorithm
from numconv.kernels.cuda.windows import Geometry
from numconv.problem import PoolProblem

ROOM = 4096  # pairs of lowest and highest in a block's shared memory: 32 KB
FEW = 4  # outputs of which all are asked
BLOCKS = 1056  # that read indices: 8 for each of an H100's 132 multiprocessors; estimate, not measured
NONE = (1 << 31) - 1  # above all places


def shifts(geometry: Geometry) -> tuple[int, int, int]:
    """By axis: 2 to the power of this many neighbouring outputs share a note, so that all have room."""
    each = ROOM // 3
    return tuple(max(0, -(-axis.positions // each) - 1).bit_length() for axis in geometry.axes)  # type: ignore[return-value]


def notes(geometry: Geometry) -> tuple[int, int, int]:
    """How many notes of lowest and highest there are, by axis."""
    return tuple(-(-axis.positions >> s) for axis, s in zip(geometry.axes, shifts(geometry)))  # type: ignore[return-value]


@launch.kernel(threads=THREADS)
def blank(pairs: int):
    """Notes of nothing: above all places, below all places."""

    def body(spans):
        i = cuda.grid(1)
        if i < pairs:
            spans[2 * i], spans[2 * i + 1] = NONE, -1

    return body


@launch.function
def noted():
    """A function that widens a note, if it must be: nearly none must after the first few."""

    def widen(seen, i, place):
        if place < seen[2 * i]:
            cuda.atomic.min(seen, 2 * i, place)
        if place > seen[2 * i + 1]:
            cuda.atomic.max(seen, 2 * i + 1, place)

    return widen


@launch.kernel(threads=THREADS)
def measure(geometry: Geometry):
    """Note where the outputs at each place along each axis point to."""
    depth, height, width = (axis.size for axis in geometry.axes)
    out_d, out_h, out_w = (axis.positions for axis in geometry.axes)
    shift_d, shift_h, shift_w = shifts(geometry)
    count_d, count_h, count_w = notes(geometry)
    pairs, size, channels = count_d + count_h + count_w, depth * height * width, geometry.channels
    index, note, room = uint64 if geometry.wide else uint32, noted(), 2 * pairs

    def body(indices, spans, count):
        seen = cuda.shared.array(room, np.int32)
        for i in range(cuda.threadIdx.x, pairs, cuda.blockDim.x):
            seen[2 * i], seen[2 * i + 1] = NONE, -1
        cuda.syncthreads()
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            place = indices[i]
            if 0 <= place < size:
                rest = index(index(i) // index(channels))
                o_w = int64(rest % index(out_w)) >> shift_w
                rest = index(rest // index(out_w))
                o_h = int64(rest % index(out_h)) >> shift_h
                w = int32(index(place) % index(width))
                rows = index(index(place) // index(width))
                note(seen, count_d + count_h + o_w, w)
                note(seen, count_d + o_h, int32(rows % index(height)))
                if out_d > 1:
                    o_d = int64(index(rest // index(out_h)) % index(out_d)) >> shift_d
                    note(seen, o_d, int32(rows // index(height)))
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, pairs, cuda.blockDim.x):
            if seen[2 * i + 1] >= 0:
                cuda.atomic.min(spans, 2 * i, seen[2 * i])
                cuda.atomic.max(spans, 2 * i + 1, seen[2 * i + 1])

    return body


@launch.kernel(threads=THREADS)
def turned(geometry: Geometry):
    """By place along each axis, d first: the first and the last output that may have pointed to it."""
    sizes, counts, steps = geometry.targets, notes(geometry), shifts(geometry)
    positions = tuple(axis.positions for axis in geometry.axes)
    pairs = sum(counts)

    def body(spans):
        i = cuda.grid(1)
        if i >= sizes[0] + sizes[1] + sizes[2]:
            return
        place, begin, count, step, last = i, 0, counts[0], steps[0], positions[0] - 1
        if i >= sizes[0] + sizes[1]:
            place, begin, count = i - sizes[0] - sizes[1], counts[0] + counts[1], counts[2]
            step, last = steps[2], positions[2] - 1
        elif i >= sizes[0]:
            place, begin, count = i - sizes[0], counts[0], counts[1]
            step, last = steps[1], positions[1] - 1
        low, high = last + 1, -1
        for j in range(count):
            if spans[2 * (begin + j)] <= place <= spans[2 * (begin + j) + 1]:
                low = min(low, j << step)
                high = min(((j + 1) << step) - 1, last)
        spans[2 * (pairs + i)], spans[2 * (pairs + i) + 1] = low, high

    return body


def lanes_of(geometry: Geometry, dtype: str) -> int:
    """Channels of a thread: four of 64 bits, with their indices, would need more than 64 registers."""
    return 1 if lane.number(dtype)().itemsize == 8 else geometry.lanes


def if_equal_added(total, value, index, place):
    return total + value if index == place else total


def if_equal_taken(total, value, index, place):
    return value if index == place else total


@launch.kernel(threads=lambda geometry, *_: (THREADS, 3 if geometry.wide else 4))
def gather(geometry: Geometry, dtype: str, how: str, few: bool):
    """The kernel of "add" and "put", for `count` elements of planes; `few` if all outputs are asked."""
    lanes, channels = lanes_of(geometry, dtype), geometry.channels
    index = uint64 if geometry.wide else uint32
    size_d, size_h, size_w = geometry.targets
    out_d, out_h, out_w = geometry.sources
    locate = windows.locate(geometry.targets, channels // lanes, geometry.wide)
    begin = sum(notes(geometry))
    kind = lane.number(dtype)
    load, store, load_index = lane.load(dtype, lanes), lane.store(dtype, lanes), lane.load("int64", lanes)
    fill, fill_index, cast = lane.alike(kind, lanes), lane.alike(np.int64, lanes), lane.cast(kind, lanes)
    take = lane.each4(if_equal_added if how == "add" else if_equal_taken, lanes)

    def body(indices, values, spans, out, count):
        i = index(cuda.grid(1))
        if i >= count:
            return
        picture, d, h, w, group = locate(i)
        base = picture * (out_d * out_h * out_w * channels) + group * lanes
        place = fill_index((d * size_h + h) * size_w + w)
        low_d, low_h, low_w, high_d, high_h, high_w = 0, 0, 0, out_d - 1, out_h - 1, out_w - 1
        if not few:
            at = 2 * (begin + size_d + size_h + w)
            low_w, high_w = int64(spans[at]), int64(spans[at + 1])
            at = 2 * (begin + size_d + h)
            low_h, high_h = int64(spans[at]), int64(spans[at + 1])
            if out_d > 1:
                low_d, high_d = int64(spans[2 * (begin + d)]), int64(spans[2 * (begin + d) + 1])
        total = fill(0)
        o_d = low_d
        while o_d <= high_d:
            o_h = low_h
            while o_h <= high_h:
                o_w = low_w
                while o_w <= high_w:
                    at = base + ((o_d * out_h + o_h) * out_w + o_w) * channels
                    total = cast(take(total, load(values, at), load_index(indices, at), place))
                    o_w += 1
                o_h += 1
            o_d += 1
        store(out, int64(i) * lanes, total)

    inner = launch.inlined(body)

    def all_outputs(indices, values, out, count):
        inner(indices, values, indices, out, count)

    return all_outputs if few else body


@launch.kernel(threads=THREADS)
def taken(geometry: Geometry, kind: str):
    """The kernel of "take", for `count` outputs of `kind`: elements are moved as they are."""
    outputs, size = math.prod(geometry.targets), math.prod(geometry.sources)
    index, channels = uint64 if geometry.wide else uint32, geometry.channels
    nothing = getattr(np, kind)(0)

    def body(indices, plane, out, count):
        i = index(cuda.grid(1))
        if i < count:
            picture = int64(i // index(outputs * channels))
            channel, place = int64(i % index(channels)), indices[i]
            value = nothing
            if 0 <= place < size:
                value = plane[picture * (size * channels) + place * channels + channel]
            out[i] = value

    return body


class _Gathered(PoolAlgorithm):
    """Elements of a plane ask for what was sent to them."""

    name = "gather"
    how = ""

    def cost(self, problem: PoolProblem) -> float:
        """The bytes of values, of indices twice, and of the plane; estimate, not measured."""
        outputs = problem.n * problem.channels * math.prod(problem.out_spatial)
        return 12e-6 + (problem.bytes + 16 * outputs) / 2.4e12

    def gather(self, problem: PoolProblem, indices: Any, values: Any, out: Any) -> None:
        """Measure where the indices point to, unless there are few, and gather."""
        geometry = windows.geometry(problem)
        few = math.prod(geometry.sources) <= FEW
        arrays, dtype = [flat(indices), flat(values)], problem.dtype.name
        if not few:
            arrays.append(spans_of(geometry, arrays[0]))
        count = out.size // lanes_of(geometry, dtype)
        kernel = gather(geometry, dtype, self.how, few)
        kernel(launch.blocks(count, THREADS), THREADS, *arrays, flat(out), count)


def spans_of(geometry: Geometry, indices: Any) -> Any:
    """Notes of what indices point to, then by place of each axis the first and the last output that may do so."""
    pairs, places = sum(notes(geometry)), sum(geometry.targets)
    spans = flat(memory.empty((2 * (pairs + places),), np.int32))
    blank(pairs)(launch.blocks(pairs, THREADS), THREADS, spans)
    measure(geometry)(min(BLOCKS, launch.blocks(indices.size, THREADS)), THREADS, indices, spans, indices.size)
    turned(geometry)(launch.blocks(places, THREADS), THREADS, spans)
    return spans


class MaxGradient(_Gathered):
    """Every element of the gradient goes where its maximum came from; half types are summed in float32."""

    how = "add"

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        self.gather(problem, inputs[0], inputs[1], outputs[0])


class Unpool(_Gathered):
    """Every element goes to its index."""

    how = "put"

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        self.gather(problem, inputs[1], inputs[0], outputs[0])


class UnpoolGradient(PoolAlgorithm):
    """Every element is read at its index."""

    name = "take"

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        indices, plane, out = map(flat, (*inputs, *outputs))
        kernel = taken(windows.geometry(problem), plane.dtype.name)
        kernel(launch.blocks(out.size, THREADS), THREADS, indices, plane, out, out.size)
