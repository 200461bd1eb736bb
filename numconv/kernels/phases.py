"""The phases of a pass along one axis: result positions that see the source at a fixed step. The same on every device.

Forward there is one, of all positions, and a tap k looks at offset k * dilation - padding. Of the input's gradient and
the transposed convolution there is one for each residue q of the result's position modulo the stride; its taps are the
k with (q + padding - k * dilation) a multiple of the stride, and the offset is that quotient.
"""

from __future__ import annotations

from numconv.problem import ConvProblem


def axis_phases(problem: ConvProblem, axis: int) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """(start, count, [(offset, k)]) for each phase of an axis."""
    kernel, stride, dilation = problem.kernel[axis], problem.stride[axis], problem.dilation[axis]
    before = problem.padding[axis][0]
    if problem.direction != "input":
        return [(0, problem.out_spatial[axis], [(k * dilation - before, k) for k in range(kernel)])]
    found = []
    # Phases with taps are there whatever the image's size, so that packed weights fit every size.
    tapped = {(k * dilation - before) % stride for k in range(kernel)}
    for q in sorted(tapped.union(range(min(stride, problem.spatial[axis])))):
        hits = [(q + before - k * dilation, k) for k in range(kernel) if (q + before - k * dilation) % stride == 0]
        found.append((q, max(-(-(problem.spatial[axis] - q) // stride), 0), [(o // stride, k) for o, k in hits]))
    return found
