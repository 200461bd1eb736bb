"""Named small problems, chosen for the edges of kernels: vector tails, every padding, empty axes, lonely pixels.

A case is data. `conv_cases()` and `pool_cases()` list them all, or those with one tag; `arrays` fills one with numbers.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ConvCase:
    """A convolution, or a transposed one: `padding` holds a (before, after) pair per axis, the rest a number per axis.

    `ci` and `co` are the channels of the input and the result; of a transposed convolution likewise.
    """

    name: str
    n: int
    ci: int
    co: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    output_padding: tuple[int, ...]
    tags: frozenset[str]

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of the input, (N, C, *spatial)."""
        return (self.n, self.ci, *self.spatial)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight, (out, in/groups, *kernel), transposed (in, out/groups, *kernel)."""
        if self.transposed:
            return (self.ci, self.co // self.groups, *self.kernel)
        return (self.co, self.ci // self.groups, *self.kernel)

    @property
    def options(self) -> dict[str, object]:
        """Keyword arguments of the convolution, as the oracle takes them."""
        options: dict[str, object] = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        return options | {"output_padding": self.output_padding} if self.transposed else options


@dataclass(frozen=True)
class PoolCase:
    """A pooling of images (n, c, *spatial); `padding` holds a (before, after) pair per axis."""

    name: str
    n: int
    c: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    ceil_mode: bool
    tags: frozenset[str]

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of the input, (N, C, *spatial)."""
        return (self.n, self.c, *self.spatial)


def _pairs(padding, dims):
    """A pair per axis from an integer, from an integer per axis, or from pairs."""
    padding = _each(padding, dims)
    return tuple(tuple(p) if isinstance(p, tuple) else (p, p) for p in padding)


def _each(value, dims):
    return value if isinstance(value, tuple) else (value,) * dims


def _conv(
    name, tags, x_shape, co, kernel, stride=1, padding=0, dilation=1, groups=1, transposed=False, output_padding=0
):
    n, ci, *spatial = x_shape
    dims = len(spatial)
    return ConvCase(
        name, n, ci, co, tuple(spatial), _each(kernel, dims), _each(stride, dims), _pairs(padding, dims),
        _each(dilation, dims), groups, transposed, _each(output_padding, dims), frozenset([*tags.split(), f"{dims}d"]),
    )  # fmt: skip


def _transposed(name, tags, x_shape, co, kernel, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    return _conv(
        name, f"transposed {tags}", x_shape, co, kernel, stride, padding, dilation, groups, True, output_padding
    )


def _pool(name, tags, x_shape, kernel, stride, padding=0, dilation=1, ceil_mode=False):
    n, c, *spatial = x_shape
    dims = len(spatial)
    return PoolCase(
        name, n, c, tuple(spatial), _each(kernel, dims), _each(stride, dims), _pairs(padding, dims),
        _each(dilation, dims), ceil_mode, frozenset([*tags.split(), f"{dims}d"]),
    )  # fmt: skip


# One list of channels and one of widths, each around the vector sizes 8, 16 and 32, walked together.
_CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 15, 16, 17, 33)
_WIDTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70)

CONV = (
    *(
        _conv(f"channels_{c}_to_{o}", "tail channels", (1, c, 5, 9), o, 3, padding=1)
        for c, o in zip(_CHANNELS, reversed(_CHANNELS))
    ),
    *(_conv(f"width_{w}", "tail width", (1, 3, 4, w), 5, 3, padding=1) for w in _WIDTHS),
    _conv("height_1", "tail", (1, 4, 1, 20), 6, 3, padding=1),
    _conv("height_70", "tail", (1, 2, 70, 3), 3, 3, padding=1),
    # padding
    _conv("unpadded", "padding", (2, 3, 8, 11), 4, 3),
    _conv("same_3x3", "padding", (2, 3, 8, 11), 4, 3, padding=1),
    _conv("full_5x3", "padding", (1, 2, 6, 7), 3, (5, 3), padding=(4, 2)),
    _conv("only_before", "padding asymmetric", (1, 3, 7, 9), 4, 3, padding=((2, 0), (1, 0))),
    _conv("only_after", "padding asymmetric", (1, 3, 7, 9), 4, 3, padding=((0, 2), (0, 1))),
    _conv("unlike_axes", "padding asymmetric", (1, 3, 7, 9), 4, (3, 5), padding=((0, 1), (3, 2))),
    _conv("same_even_kernel", "padding asymmetric", (1, 3, 7, 9), 4, (2, 4), padding=((0, 1), (1, 2))),
    _conv("same_strided", "padding asymmetric strided", (1, 3, 8, 8), 4, 3, 2, ((0, 1), (0, 1))),
    _conv("more_than_half", "padding beyond", (1, 2, 5, 6), 3, 3, padding=2),
    _conv("more_than_kernel", "padding beyond", (1, 2, 5, 6), 3, 2, padding=((4, 0), (3, 5))),
    _conv("padded_pointwise", "padding beyond pointwise", (1, 5, 4, 4), 3, 1, padding=1),
    _conv("causal_1d", "padding asymmetric dilated", (2, 4, 19), 6, 3, padding=((8, 0),), dilation=4),
    # dilation and stride
    _conv("dilated_2", "dilated", (1, 4, 11, 18), 5, 3, padding=2, dilation=2),
    _conv("dilated_unlike", "dilated", (1, 3, 9, 20), 4, (3, 2), padding=(3, 0), dilation=(3, 5)),
    _conv("dilated_strided", "dilated strided", (1, 3, 12, 17), 4, 3, 2, 2, dilation=2),
    _conv("dilated_past_image", "dilated padding beyond", (1, 3, 4, 5), 4, 3, padding=6, dilation=6),
    _conv("strided_2", "strided", (2, 3, 9, 18), 8, 3, 2, 1),
    _conv("strided_unlike", "strided", (1, 3, 10, 19), 4, (3, 5), (2, 3), (1, 2)),
    _conv("stem_7x7", "strided", (1, 3, 23, 25), 8, 7, 2, 3),
    _conv("stride_beyond_kernel", "strided", (1, 4, 11, 14), 5, 2, (3, 5)),
    _conv("stride_beyond_image", "strided", (1, 3, 4, 5), 4, 3, 7, 1),
    # groups
    _conv("grouped_2", "grouped", (2, 6, 7, 9), 10, 3, padding=1, groups=2),
    _conv("grouped_uneven", "grouped", (1, 15, 6, 10), 6, 3, (1, 2), 1, groups=3),
    _conv("grouped_pointwise", "grouped pointwise", (1, 12, 5, 7), 20, 1, groups=4),
    _conv("grouped_to_one", "grouped", (1, 24, 5, 6), 3, 3, padding=1, groups=3),
    _conv("depthwise_3x3", "depthwise", (1, 17, 8, 19), 17, 3, padding=1, groups=17),
    _conv("depthwise_5x5_strided", "depthwise strided", (1, 9, 11, 13), 9, 5, 2, 2, groups=9),
    _conv("depthwise_7x7", "depthwise", (1, 5, 9, 12), 5, 7, padding=3, groups=5),
    _conv("depthwise_dilated", "depthwise dilated", (2, 4, 9, 33), 4, 3, padding=2, dilation=2, groups=4),
    _conv("depthwise_asymmetric", "depthwise padding asymmetric", (1, 3, 6, 8), 3, 3, 2, ((0, 1), (2, 0)), groups=3),
    _conv("depthwise_multiplied", "depthwise multiplier", (1, 6, 7, 10), 18, 3, padding=1, groups=6),
    _conv("depthwise_1d", "depthwise", (2, 7, 40), 7, 4, padding=((3, 0),), groups=7),
    _conv("depthwise_3d", "depthwise", (1, 5, 4, 5, 6), 10, 3, padding=1, groups=5),
    _conv("depthwise_3d_single", "depthwise", (2, 18, 3, 6, 7), 18, (2, 3, 3), padding=1, stride=(1, 2, 1), groups=18),
    _conv("depthwise_ends", "depthwise padding", (1, 16, 3, 28), 16, 3, padding=1, groups=16),
    _conv("depthwise_far", "depthwise dilated", (1, 16, 3, 14), 16, 3, padding=(1, 20), dilation=(1, 9), groups=16),
    _conv("depthwise_wide", "depthwise", (1, 70, 6, 11), 70, 3, padding=1, groups=70),
    # kernels that are products of a column and a row
    _conv("rank_1_7x7", "rank1", (2, 1, 8, 70), 1, 7, padding=3),
    _conv("rank_1_depthwise", "rank1 depthwise strided", (1, 3, 21, 13), 3, (6, 5), (2, 3), ((2, 3), (1, 4)), groups=3),
    _conv("rank_1_dilated", "rank1 dilated", (1, 1, 27, 18), 1, (5, 6), (1, 2), (4, 9), (3, 2)),
    # as many taps as transforms are for
    _conv("long_1d", "long", (2, 2, 300), 3, 140, padding=((20, 100),)),
    _conv("large_2d", "long", (1, 2, 19, 37), 2, (12, 15), padding=(7, 3), groups=2),
    # degenerate
    _conv("one_pixel", "pixel", (1, 1, 1, 1), 1, 1),
    _conv("one_pixel_padded", "pixel padding", (2, 3, 1, 1), 4, 3, padding=1),
    _conv("one_pixel_out", "pixel", (1, 3, 5, 5), 7, 5),
    _conv("kernel_equals_image", "pixel", (2, 9, 6, 7), 5, (6, 7)),
    _conv("kernel_beyond_image", "padding beyond", (1, 3, 2, 3), 4, 5, padding=2),
    _conv("no_images", "empty", (0, 3, 5, 6), 4, 3, padding=1),
    _conv("no_channels", "empty", (2, 0, 5, 6), 4, 3, padding=1),
    _conv("no_images_1d", "empty strided", (0, 2, 9), 4, 3, 2),
    # pointwise, deep, other ranks
    _conv("pointwise", "pointwise", (2, 19, 5, 7), 23, 1),
    _conv("pointwise_strided", "pointwise strided", (1, 9, 9, 12), 10, 1, 2),
    _conv("pointwise_wide", "pointwise", (1, 64, 4, 17), 40, 1),
    _conv("deep_600_taps", "deep", (1, 67, 4, 6), 18, 3, padding=1),
    _conv("deep_pointwise_600", "deep pointwise", (1, 601, 3, 7), 9, 1),
    _conv("deep_one_output", "deep pixel", (1, 70, 3, 3), 5, 3),
    _conv("conv_1d", "", (2, 5, 35), 7, 5, padding=2),
    _conv("conv_1d_3_taps", "", (2, 6, 37), 9, 3, padding=1),
    _conv("many_9_taps_1d", "channels", (2, 17, 270), 19, 9, padding=4),
    _conv("many_7_taps_1d", "channels dilated", (1, 9, 61), 33, 7, padding=((9, 6),), dilation=3),
    _conv("many_2_taps_1d", "channels dilated", (1, 19, 75), 17, 2, dilation=16),
    _conv("conv_1d_strided", "strided", (1, 3, 50), 4, 10, 5, 3),
    _conv("conv_1d_pointwise", "pointwise", (3, 6, 21), 8, 1),
    _conv("conv_3d", "", (2, 3, 4, 5, 9), 5, 3, padding=1),
    _conv("conv_3d_one_channel", "", (1, 1, 3, 9, 11), 1, 3, padding=1),
    _conv("many_3x3", "large", (2, 35, 21, 23), 37, 3, padding=1),
    _conv("many_3x3_dilated", "large dilated", (1, 18, 19, 22), 34, 3, 1, (2, 3), (2, 3)),
    _conv("conv_3d_unlike", "strided dilated padding asymmetric", (1, 2, 6, 7, 8), 4, (1, 2, 3), (1, 2, 1),
          ((0, 0), (1, 0), (2, 1)), (1, 1, 2)),
    _conv("conv_3d_grouped", "grouped", (1, 4, 3, 4, 10), 6, (3, 1, 3), padding=(1, 0, 1), groups=2),
    # large enough that work is shared between threads and blocks are crossed
    _conv("large_dense", "large", (1, 32, 13, 14), 50, 3, padding=1),
    _conv("large_batch", "large", (5, 16, 14, 15), 18, 3, padding=1),
    _conv("large_depthwise", "large depthwise", (1, 70, 28, 30), 70, 3, padding=1, groups=70),
    _conv("large_pointwise", "large pointwise deep", (1, 260, 7, 11), 130, 1),
    # transposed
    _transposed("transposed_2x2", "", (2, 5, 4, 6), 7, 2, 2),
    _transposed("transposed_3x3_unit", "", (1, 4, 5, 7), 6, 3, padding=1),
    _transposed("transposed_4x4_doubling", "", (1, 8, 5, 9), 6, 4, 2, 1),
    _transposed("transposed_3x3_extra", "extra", (1, 6, 4, 8), 5, 3, 2, 1, 1),
    _transposed("transposed_extra_unlike", "extra", (1, 3, 3, 5), 4, (3, 2), (3, 2), (1, 0), (2, 1)),
    _transposed("transposed_gaps", "gaps", (1, 3, 4, 5), 4, (2, 1), 3),
    _transposed("transposed_gaps_extra", "gaps extra", (1, 3, 4, 5), 4, 1, 3, 0, 2),
    _transposed("transposed_asymmetric", "asymmetric", (1, 3, 4, 6), 5, 4, 2, ((2, 1), (0, 3))),
    _transposed("transposed_dilated", "dilated", (1, 4, 5, 6), 3, 3, 2, 2, 1, 2),
    _transposed("transposed_grouped", "grouped", (2, 6, 4, 5), 9, 3, 2, 1, groups=3),
    _transposed("transposed_depthwise", "depthwise", (1, 9, 5, 7), 9, 4, 2, 1, groups=9),
    _transposed("transposed_pointwise", "pointwise", (1, 7, 3, 5), 9, 1),
    _transposed("transposed_rank_1", "rank1 depthwise", (1, 2, 5, 8), 2, (7, 6), (2, 1), ((1, 2), (2, 0)), groups=2),
    _transposed("transposed_to_one_channel", "pointwise", (1, 2, 3, 4), 1, 1),
    _transposed("transposed_pixel", "pixel", (1, 17, 1, 1), 8, 4),
    _transposed("transposed_no_images", "empty", (0, 3, 4, 5), 2, 3, 2),
    _transposed("transposed_long_1d", "long", (2, 3, 90), 2, 40, padding=((7, 20),)),
    _transposed("transposed_3d_unit", "", (1, 2, 3, 4, 5), 3, (2, 3, 2), 1, (0, 1, 0)),
    _transposed("transposed_3_taps_1d", "", (2, 4, 19), 6, 3, padding=1),
    _transposed("transposed_3_taps_3d", "", (1, 3, 3, 6, 7), 5, 3, padding=1),
    _transposed("transposed_1d", "", (2, 4, 17), 5, 6, 3, ((2, 1),)),
    _transposed("transposed_3d", "", (1, 3, 3, 4, 5), 4, (2, 3, 2), (1, 2, 2), (0, 1, 0), (0, 1, 0)),
    _transposed("transposed_3d_depthwise", "depthwise", (2, 9, 2, 3, 4), 9, 3, 2, 1, groups=9),
    _transposed("transposed_1d_depthwise", "depthwise", (2, 9, 7), 9, 5, 2, 1, groups=9),
    _transposed("transposed_large", "large", (1, 24, 12, 13), 20, 4, 2, 1),
)  # fmt: skip

POOL = (
    *(_pool(f"width_{w}", "tail", (1, 3, 4, w), 2, 2, ceil_mode=True) for w in _WIDTHS),
    *(_pool(f"channels_{c}", "tail", (2, c, 5, 6), 3, 2, 1) for c in (1, 7, 8, 17, 33)),
    _pool("halving", "", (2, 5, 8, 12), 2, 2),
    _pool("overlapping", "", (1, 4, 9, 21), 3, 2),
    _pool("stem", "padding", (1, 6, 14, 19), 3, 2, 1),
    _pool("unit_stride", "padding", (1, 3, 7, 18), 3, 1, 1),
    _pool("large_kernel", "padding", (1, 2, 13, 15), 9, 1, 4),
    _pool("unlike_axes", "padding", (1, 3, 9, 14), (2, 5), (3, 2), (1, 2)),
    _pool("asymmetric", "padding asymmetric", (1, 3, 8, 9), 3, 2, ((0, 1), (2, 0))),
    _pool("same_even", "padding asymmetric", (1, 3, 7, 9), 2, 1, ((0, 1), (0, 1))),
    _pool("same_lower_even", "padding asymmetric", (1, 3, 7, 9), 2, 1, ((1, 0), (1, 0))),
    _pool("identity", "pixel", (1, 3, 4, 5), 1, 1),
    _pool("subsampling", "strided", (1, 3, 9, 11), 1, 2),
    _pool("stride_beyond_kernel", "strided", (1, 4, 11, 17), 2, (3, 4)),
    _pool("dilated", "dilated", (1, 3, 9, 20), 3, 1, dilation=2),
    _pool("dilated_padded", "dilated padding", (1, 3, 8, 11), 3, 2, 2, (2, 3)),
    _pool("dilated_ceil", "dilated ceil", (1, 3, 8, 11), 2, 3, 1, 2, True),
    _pool("ceil", "ceil", (1, 3, 8, 10), 3, 2, ceil_mode=True),
    _pool("ceil_padded", "ceil padding", (1, 3, 7, 10), 3, 2, 1, ceil_mode=True),
    _pool("ceil_drops_window", "ceil padding", (1, 2, 4, 5), 2, (3, 4), 1, ceil_mode=True),
    _pool("ceil_asymmetric", "ceil padding asymmetric", (1, 2, 6, 9), 3, 2, ((0, 1), (1, 0)), ceil_mode=True),
    _pool("whole_image", "pixel", (2, 5, 6, 7), (6, 7), (6, 7)),
    _pool("one_pixel", "pixel", (1, 2, 1, 1), 1, 1),
    _pool("one_pixel_padded", "pixel padding", (1, 2, 1, 1), 3, 2, 1),
    _pool("no_images", "empty", (0, 3, 6, 7), 2, 2),
    _pool("pool_1d", "", (2, 3, 33), 2, 2),
    _pool("pool_1d_tiled", "", (2, 3, 34), 2, 2),
    _pool("pool_1d_padded", "padding ceil", (1, 5, 20), 5, 3, 2, ceil_mode=True),
    _pool("pool_1d_dilated", "dilated", (1, 2, 41), 3, 2, 1, 4),
    _pool("pool_3d", "", (1, 3, 4, 6, 9), 2, 2),
    _pool("pool_3d_padded", "padding", (1, 2, 5, 6, 7), 3, (1, 2, 2), 1),
    _pool("pool_3d_unlike", "padding asymmetric ceil", (1, 2, 4, 6, 9), (1, 3, 2), (1, 2, 3), ((0, 0), (1, 0), (0, 1)),
          ceil_mode=True),
    _pool("large", "large padding", (4, 33, 28, 30), 3, 2, 1),
    _pool("large_tiled", "large", (2, 9, 27, 40), (3, 4), (3, 4)),
)  # fmt: skip


def conv_cases(tag: str | None = None) -> tuple[ConvCase, ...]:
    """All convolution cases, or those with a tag, such as "1d", "depthwise", "transposed", "large"."""
    return tuple(case for case in CONV if tag is None or tag in case.tags)


def pool_cases(tag: str | None = None) -> tuple[PoolCase, ...]:
    """All pooling cases, or those with a tag, such as "1d", "ceil", "dilated", "large"."""
    return tuple(case for case in POOL if tag is None or tag in case.tags)


def arrays(case: ConvCase | PoolCase, dtype=np.float32, seed: int = 0) -> tuple[np.ndarray, ...]:
    """(x, weight, bias) of a convolution case, (x,) of a pooling case, standard normal; integers from -8 to 8.

    The kernels of cases tagged "rank1" are products of a column and a row.
    """
    rng = np.random.default_rng(seed)

    def fill(*shape):
        if np.issubdtype(dtype, np.integer):
            return rng.integers(0 if np.issubdtype(dtype, np.unsignedinteger) else -8, 9, shape, dtype)
        if np.issubdtype(dtype, np.complexfloating):
            return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
        return rng.standard_normal(shape).astype(dtype)

    if isinstance(case, PoolCase):
        return (fill(*case.x_shape),)
    x, weight, bias = fill(*case.x_shape), fill(*case.weight_shape), fill(case.co)
    if "rank1" in case.tags:
        weight = weight[..., :, :1] * weight[..., :1, :]
    return x, weight, bias
