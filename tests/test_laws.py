"""Laws of convolution on random problems, and random problems against the oracle."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import arrays_like

import numconv as nc
from numconv.lab import reference

BOUND = 1e-12
examples = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def problems(draw, transposed=False, **fixed):
    """(x shape, weight shape, options) of a convolution in which the kernel fits."""
    ndim = fixed.get("ndim") or draw(st.integers(1, 3))
    groups = fixed.get("groups") or draw(st.sampled_from([1, 1, 1, 2, 3]))
    ci, co = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 5))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(ndim))
    stride = tuple(fixed.get("stride") or draw(st.integers(1, 3)) for _ in range(ndim))
    dilation = tuple(fixed.get("dilation") or draw(st.integers(1, 3)) for _ in range(ndim))
    pads = tuple((draw(st.integers(0, 4)), draw(st.integers(0, 4))) for _ in range(ndim))
    spatial = []
    for k, s, d, (before, after) in zip(kernel, stride, dilation, pads):
        reach = d * (k - 1) + 1
        # A transposed convolution must leave something: (n - 1) s + reach > before + after.
        least = -(-(before + after - reach + 1) // s) + 1 if transposed else reach - before - after
        spatial.append(max(least, 1) + draw(st.integers(0, (17, 9, 5)[ndim - 1])))
    n = draw(st.integers(1, 3))
    weight = (ci, co // groups, *kernel) if transposed else (co, ci // groups, *kernel)
    options = {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups}
    return (n, ci, *spatial), weight, options


def public(form, x_shape):
    return getattr(nc, form.format(len(x_shape) - 2))


def near(actual, expected, scale):
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0) <= BOUND * scale


def inner(a, b):
    assert a.shape == b.shape
    return float((a * b).sum())


# random problems against the oracle, every algorithm


@examples
@given(problems(), st.booleans())
def test_forward_agrees_with_the_oracle(problem, last):
    x_shape, weight_shape, options = problem
    x, weight, bias = arrays_like(x_shape, weight_shape, weight_shape[:1], np.float64)
    expected = reference.conv(x, weight, bias, **options)
    scale = reference.scale(reference.conv, x, weight, **options) + np.abs(bias).max()
    shown = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    options = options | {"data_format": "channels_last" if last else None}
    check(f"conv{len(x_shape) - 2}d", (shown, weight, bias), options, expected, scale, last)


@examples
@given(problems(transposed=True), st.booleans())
def test_transposed_agrees_with_the_oracle(problem, last):
    x_shape, weight_shape, options = problem
    x, weight = arrays_like(x_shape, weight_shape, np.float64)
    expected = reference.conv_transpose(x, weight, **options)
    scale = reference.scale(reference.conv_transpose, x, weight, **options)
    shown = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    options = options | {"data_format": "channels_last" if last else None}
    check(f"conv_transpose{len(x_shape) - 2}d", (shown, weight), options, expected, scale, last)


@examples
@given(problems())
def test_gradients_agree_with_the_oracle(problem):
    x_shape, weight_shape, options = problem
    x, weight = arrays_like(x_shape, weight_shape, np.float64)
    (grad,) = arrays_like(reference.conv(x, weight, **options).shape, np.float64)
    ndim = len(x_shape) - 2
    for name, oracle, operands in (
        (f"conv{ndim}d_input", reference.conv_input, (x_shape, weight, grad)),
        (f"conv{ndim}d_weight", reference.conv_weight, (x, weight_shape, grad)),
    ):
        check(name, operands, options, oracle(*operands, **options), reference.scale(oracle, *operands, **options))


def check(operation, operands, options, expected, scale, last=False):
    for algorithm in ("auto", *nc.algorithms(operation)):
        try:
            actual = getattr(nc, operation)(*operands, algorithm=algorithm, **options)
        except ValueError as refusal:
            assert algorithm != "auto" and "rejects this problem" in str(refusal)
            continue
        near(np.moveaxis(actual, -1, 1) if last else actual, expected, scale)


# laws


@examples
@given(problems(), st.floats(-3, 3), st.floats(-3, 3))
def test_linear_in_x_and_in_weight(problem, a, b):
    x_shape, weight_shape, options = problem
    x, other, weight, kernel = arrays_like(x_shape, x_shape, weight_shape, weight_shape, np.float64)

    def conv(x, weight):
        return public("conv{}d", x_shape)(x, weight, **options)

    scale = 20 * conv(np.abs(x) + np.abs(other), np.abs(weight) + np.abs(kernel)).max()
    near(conv(a * x + b * other, weight), a * conv(x, weight) + b * conv(other, weight), scale)
    near(conv(x, a * weight + b * kernel), a * conv(x, weight) + b * conv(x, kernel), scale)


@examples
@given(problems(stride=1), st.integers(1, 3))
def test_a_shifted_image_gives_a_shifted_result(problem, shift):
    x_shape, weight_shape, options = problem
    x, weight = arrays_like(x_shape, weight_shape, np.float64)
    options = options | {"padding": "full"}
    conv = public("conv{}d", x_shape)
    after = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(shift, 0)])
    plain, shifted = conv(x, weight, **options), conv(after, weight, **options)
    scale = conv(np.abs(x), np.abs(weight), **options).max()
    near(shifted[..., shift:], plain, scale)
    assert np.abs(shifted[..., :shift]).max() == 0


@examples
@given(problems())
def test_gradients_are_adjoint(problem):
    x_shape, weight_shape, options = problem
    x, weight = arrays_like(x_shape, weight_shape, np.float64)
    y = public("conv{}d", x_shape)(x, weight, **options)
    (grad,) = arrays_like(y.shape, np.float64)
    to_x = public("conv{}d_input", x_shape)(x_shape, weight, grad, **options)
    to_weight = public("conv{}d_weight", x_shape)(x, weight_shape, grad, **options)
    scale = 1e-12 * (inner(np.abs(public("conv{}d", x_shape)(np.abs(x), np.abs(weight), **options)), np.abs(grad)) + 1)
    assert abs(inner(y, grad) - inner(x, to_x)) <= scale
    assert abs(inner(y, grad) - inner(weight, to_weight)) <= scale


@examples
@given(problems())
def test_transposed_is_the_gradient_of_the_input(problem):
    x_shape, weight_shape, options = problem
    ndim = len(x_shape) - 2
    x, weight = arrays_like(x_shape, weight_shape, np.float64)
    (grad,) = arrays_like(reference.conv(x, weight, **options).shape, np.float64)
    spatial = tuple(np.shape(x)[2:])
    transposed = public("conv_transpose{}d", x_shape)
    least = reference.conv_transpose_size(grad.shape[2:], weight.shape[2:], options["stride"], options["padding"], None,
                                          options["dilation"])  # fmt: skip
    extra = tuple(n - m for n, m in zip(spatial, least))
    if any(e and e >= max(s, d) for e, s, d in zip(extra, options["stride"], options["dilation"])):
        return
    if min(least) < 1:
        return
    expected = public("conv{}d_input", x_shape)(x_shape, weight, grad, **options)
    assert len(spatial) == ndim
    actual = transposed(grad, weight, output_padding=extra, **options)
    near(actual, expected, np.abs(expected).max() + 1)


@examples
@given(problems(groups=3))
def test_groups_are_convolutions_side_by_side(problem):
    x_shape, weight_shape, options = problem
    x, weight = arrays_like(x_shape, weight_shape, np.float64)
    conv = public("conv{}d", x_shape)
    one = options | {"groups": 1}
    parts = [conv(a, b, **one) for a, b in zip(np.split(x, 3, axis=1), np.split(weight, 3, axis=0))]
    scale = conv(np.abs(x), np.abs(weight), **options).max()
    near(conv(x, weight, **options), np.concatenate(parts, axis=1), scale)


@examples
@given(problems())
def test_dilation_is_a_kernel_with_zeros_between(problem):
    x_shape, weight_shape, options = problem
    x, weight = arrays_like(x_shape, weight_shape, np.float64)
    conv = public("conv{}d", x_shape)
    dilation = options["dilation"]
    stuffed = np.zeros((*weight.shape[:2], *(d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation))))
    stuffed[(..., *(slice(None, None, d) for d in dilation))] = weight
    scale = conv(np.abs(x), np.abs(weight), **options).max()
    near(conv(x, stuffed, **options | {"dilation": 1}), conv(x, weight, **options), scale)


@examples
@given(problems())
def test_a_stride_skips_results(problem):
    x_shape, weight_shape, options = problem
    x, weight = arrays_like(x_shape, weight_shape, np.float64)
    conv = public("conv{}d", x_shape)
    every = conv(x, weight, **options | {"stride": 1})
    kept = every[(..., *(slice(None, None, s) for s in options["stride"]))]
    near(conv(x, weight, **options), kept, conv(np.abs(x), np.abs(weight), **options).max())


@examples
@given(problems(stride=1, dilation=1, groups=1, ndim=2), st.integers(1, 3), st.integers(1, 3))
def test_two_convolutions_are_one_with_the_convolved_kernel(problem, height, width):
    """Associativity: x * a * b = x * (a * b), for cross-correlation with the full convolution of the kernels."""
    x_shape, weight_shape, _ = problem
    co, ci = weight_shape[:2]
    x, first, second = arrays_like(x_shape, weight_shape, (3, co, height, width), np.float64)
    twice = nc.conv2d(nc.conv2d(x, first, padding="full"), second, padding="full")
    joined = nc.conv_transpose2d(second, first)
    assert joined.shape[:2] == (3, ci)
    once = nc.conv2d(x, joined, padding="full")
    scale = nc.conv2d(nc.conv2d(np.abs(x), np.abs(first), padding="full"), np.abs(second), padding="full").max()
    near(once, twice, scale)


@st.composite
def shapes(draw, count):
    """Shapes of one number of axes, one to three."""
    ndim = draw(st.integers(1, 3))
    return [tuple(draw(st.integers(1, (30, 9, 5)[ndim - 1])) for _ in range(ndim)) for _ in range(count)]


@examples
@given(shapes(3))
def test_convolve_is_commutative_associative_and_distributive(three):
    a, b, c = arrays_like(*three, np.float64)
    (d,) = arrays_like(three[2], np.float64)
    scale = nc.convolve(nc.convolve(np.abs(a), np.abs(b)), np.abs(c) + np.abs(d)).max()
    near(nc.convolve(a, b), nc.convolve(b, a), scale)
    near(nc.convolve(nc.convolve(a, b), c), nc.convolve(a, nc.convolve(b, c)), scale)
    near(nc.convolve(a, c + d), nc.convolve(a, c) + nc.convolve(a, d), scale)
    one = np.ones((1,) * a.ndim)
    near(nc.convolve(a, one), a, scale)


@examples
@given(shapes(2))
def test_correlate_is_convolve_with_the_kernel_turned_round(two):
    a, v = arrays_like(*two, np.float64)
    turned = v[(slice(None, None, -1),) * v.ndim]
    near(nc.correlate(a, v, "full"), nc.convolve(a, turned, "full"), nc.convolve(np.abs(a), np.abs(turned)).max())
