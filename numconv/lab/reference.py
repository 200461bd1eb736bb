"""The oracle: every operation by its definition, slow, obvious, never optimised.

Arrays are batched with channels first, ``(N, C, *spatial)``, in one, two or three spatial axes. `padding` is a
(before, after) pair per axis, every other option a tuple with a number per axis; None stands for the neutral value.
Sums are taken in float64 (complex128 for complex input) and returned so; integers are summed in int64, wrap as NumPy's
do, and are returned in the promoted type of the operands. Arguments are not checked.
"""

import math
from collections.abc import Callable
from itertools import product

import numpy as np


def _work(*arrays):
    """The arrays in the type in which sums are taken, and the type of the result."""
    arrays = [np.asarray(a) for a in arrays]
    if all(a.dtype.kind in "iu" for a in arrays) and np.result_type(*arrays).kind in "iu":
        return [a.astype(np.int64) for a in arrays], np.result_type(*arrays)
    wide = np.complex128 if any(a.dtype.kind == "c" for a in arrays) else np.float64
    return [a.astype(wide) for a in arrays], np.dtype(wide)


def _geometry(kernel, stride, padding, dilation):
    n = len(kernel)
    return stride or (1,) * n, padding or ((0, 0),) * n, dilation or (1,) * n


def _links(size, kernel, out, stride, padding, dilation):
    """All (output position, tap, input position) of which the input position lies inside the image."""
    axes = []
    for length, taps, outputs, step, (before, _), gap in zip(size, kernel, out, stride, padding, dilation):
        touching = [(o, k, o * step + k * gap - before) for o in range(outputs) for k in range(taps)]
        axes.append([(o, k, i) for o, k, i in touching if 0 <= i < length])
    for link in product(*axes):
        yield tuple(zip(*link))


def _split(x, groups):
    """(N, C, *spatial) as (*spatial, groups, N, C/groups)."""
    x = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return np.moveaxis(x, (1, 0, 2), (-3, -2, -1))


def _join(y):
    """The inverse of `_split`."""
    y = np.moveaxis(y, (-3, -2, -1), (1, 0, 2))
    return np.ascontiguousarray(y).reshape(y.shape[0], y.shape[1] * y.shape[2], *y.shape[3:])


def _split_weight(weight, groups):
    """(O, C/groups, *kernel) as (*kernel, groups, C/groups, O/groups)."""
    weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return np.moveaxis(weight, (0, 2, 1), (-3, -2, -1))


def _join_weight(weight):
    """The inverse of `_split_weight`."""
    weight = np.moveaxis(weight, (-3, -2, -1), (0, 2, 1))
    return np.ascontiguousarray(weight).reshape(weight.shape[0] * weight.shape[1], *weight.shape[2:])


def _add_bias(y, bias):
    for b in bias:
        y = y + b.reshape(1, -1, *(1,) * (y.ndim - 2))
    return y


def conv_size(size, kernel, stride=None, padding=None, dilation=None):
    """Output size of a convolution, per axis."""
    stride, padding, dilation = _geometry(kernel, stride, padding, dilation)
    return tuple(
        (length + sum(pair) - gap * (taps - 1) - 1) // step + 1
        for length, taps, step, pair, gap in zip(size, kernel, stride, padding, dilation)
    )


def conv_transpose_size(size, kernel, stride=None, padding=None, output_padding=None, dilation=None):
    """Output size of a transposed convolution, per axis."""
    stride, padding, dilation = _geometry(kernel, stride, padding, dilation)
    output_padding = output_padding or (0,) * len(kernel)
    return tuple(
        (length - 1) * step - sum(pair) + gap * (taps - 1) + extra + 1
        for length, taps, step, pair, extra, gap in zip(size, kernel, stride, padding, output_padding, dilation)
    )


@np.errstate(over="ignore", invalid="ignore")
def conv(x, weight, bias=None, stride=None, padding=None, dilation=None, groups=1):
    """Convolution as frameworks mean it: out[o] = sum over taps k of x[o*stride + k*dilation - before] * weight[k]."""
    (x, weight, *bias), kind = _work(x, weight, *([] if bias is None else [bias]))
    stride, padding, dilation = _geometry(weight.shape[2:], stride, padding, dilation)
    out = conv_size(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    y = np.zeros((*out, groups, x.shape[0], weight.shape[0] // groups), x.dtype)
    xs, ws = _split(x, groups), _split_weight(weight, groups)
    for o, k, i in _links(x.shape[2:], weight.shape[2:], out, stride, padding, dilation):
        y[o] += xs[i] @ ws[k]
    return _add_bias(_join(y), bias).astype(kind)


@np.errstate(over="ignore", invalid="ignore")
def conv_input(input_size, weight, grad_output, stride=None, padding=None, dilation=None, groups=1):
    """The transpose of `conv` in x: every link of the convolution followed backwards (complex: not conjugated)."""
    (weight, grad_output), kind = _work(weight, grad_output)
    stride, padding, dilation = _geometry(weight.shape[2:], stride, padding, dilation)
    size, out = input_size[2:], grad_output.shape[2:]
    grad = np.zeros((*size, groups, input_size[0], input_size[1] // groups), weight.dtype)
    gs, ws = _split(grad_output, groups), _split_weight(weight, groups)
    for o, k, i in _links(size, weight.shape[2:], out, stride, padding, dilation):
        grad[i] += gs[o] @ ws[k].swapaxes(-1, -2)
    return _join(grad).astype(kind)


@np.errstate(over="ignore", invalid="ignore")
def conv_weight(input, weight_size, grad_output, stride=None, padding=None, dilation=None, groups=1):
    """The transpose of `conv` in the weight (complex: not conjugated)."""
    (x, grad_output), kind = _work(input, grad_output)
    kernel = weight_size[2:]
    stride, padding, dilation = _geometry(kernel, stride, padding, dilation)
    grad = np.zeros((*kernel, groups, weight_size[1], weight_size[0] // groups), x.dtype)
    gs, xs = _split(grad_output, groups), _split(x, groups)
    for o, k, i in _links(x.shape[2:], kernel, grad_output.shape[2:], stride, padding, dilation):
        grad[k] += xs[i].swapaxes(-1, -2) @ gs[o]
    return _join_weight(grad).astype(kind)


@np.errstate(over="ignore", invalid="ignore")
def conv_transpose(x, weight, bias=None, stride=None, padding=None, output_padding=None, groups=1, dilation=None):
    """Every x[i] adds x[i] * weight[k] to out[i*stride + k*dilation - before]; weight is (in, out/groups, *kernel)."""
    (x, weight, *bias), kind = _work(x, weight, *([] if bias is None else [bias]))
    size = conv_transpose_size(x.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation)
    shape = (x.shape[0], weight.shape[1] * groups, *size)
    y = conv_input(shape, weight, x, stride, padding, dilation, groups)
    return _add_bias(y, bias).astype(kind)


def scale(operation, *operands, **options):
    """Denominator of an error bound: the largest element of `operation` on the operands' absolute values.

    For a convolution it is max(|x| convolved with |weight|); `scale(conv_input, size, weight, grad_output)` and the
    others likewise. Leave the bias out: it belongs to no sum of products.
    """
    absolute = [np.abs(_work(a)[0][0]).astype(np.float64) if isinstance(a, np.ndarray) else a for a in operands]
    return float(operation(*absolute, **options).max(initial=0.0))


def convolution_matrix(x_shape, weight, stride=None, padding=None, dilation=None, groups=1):
    """The matrix M with conv(x, weight).ravel() == M @ x.ravel() for one x of shape (C, *spatial), column by column."""
    columns = []
    for position in np.ndindex(*x_shape):
        unit = np.zeros((1, *x_shape), np.asarray(weight).dtype)
        unit[(0, *position)] = 1
        columns.append(conv(unit, weight, None, stride, padding, dilation, groups).ravel())
    return np.stack(columns, axis=1)


def activate(activation, y):
    """An activation by name, or (name, parameter) for leaky_relu's slope and elu's alpha, element by element."""
    name, *parameter = (activation,) if isinstance(activation, str) else activation
    y = np.asarray(y).astype(np.float64)
    return np.array([_ACTIVATIONS[name](float(v), *parameter) for v in y.flat], np.float64).reshape(y.shape)


def _clip(v, low, high):
    """The value between two limits; NaN stays NaN."""
    return low if v < low else high if v > high else v


def _sigmoid(v):
    return 1 / (1 + math.exp(-v)) if v >= 0 else math.exp(v) / (1 + math.exp(v))


_ACTIVATIONS: dict[str, Callable[..., float]] = {
    "relu": lambda v: _clip(v, 0.0, math.inf),
    "relu6": lambda v: _clip(v, 0.0, 6.0),
    "leaky_relu": lambda v, slope=0.01: slope * v if v < 0 else v,
    "elu": lambda v, alpha=1.0: alpha * math.expm1(v) if v < 0 else v,
    "gelu": lambda v: 0.5 * v * math.erfc(-v / math.sqrt(2)),
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "silu": lambda v: v * _sigmoid(v),
    "hardswish": lambda v: v * _clip(v + 3, 0.0, 6.0) / 6,
}


def pool_size(size, kernel, stride=None, padding=None, dilation=None, ceil_mode=False):
    """Output size of a pooling, per axis; with `ceil_mode` the last window starts inside the image or before it."""
    stride, padding, dilation = _geometry(kernel, stride or kernel, padding, dilation)
    out = []
    for length, taps, step, (before, after), gap in zip(size, kernel, stride, padding, dilation):
        room = length + before + after - gap * (taps - 1) - 1
        count = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (count - 1) * step >= length + before:
            count -= 1
        out.append(count)
    return tuple(out)


def _windows(size, kernel, stride, padding, dilation, ceil_mode=False):
    """For every output position: the (tap, input position) inside the image, how many lie inside the padded image."""
    stride, padding, dilation = _geometry(kernel, stride or kernel, padding, dilation)
    for o in np.ndindex(*pool_size(size, kernel, stride, padding, dilation, ceil_mode)):
        inside, padded = [], 1
        for at, length, taps, step, (before, after), gap in zip(o, size, kernel, stride, padding, dilation):
            window = [(k, at * step + k * gap - before) for k in range(taps)]
            inside.append([(k, i) for k, i in window if 0 <= i < length])
            padded *= sum(i < length + after for _, i in window)
        yield o, [tuple(zip(*pairs)) for pairs in product(*inside)], padded


def _regions(size, out):
    """For every output position of an adaptive pooling: the input positions that it covers."""
    for o in np.ndindex(*out):
        axes = [range(i * n // m, -(-(i + 1) * n // m)) for i, n, m in zip(o, size, out)]
        yield o, list(product(*axes))


def _largest(x, out, windows):
    """Values and flat positions of the largest element of each window: the first one, or the last NaN, as in PyTorch.

    A window without any position inside the image gives the lowest value of the type and the position -1.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "iu":
        x = x.astype(np.float64)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    values = np.full((*x.shape[:2], *out), lowest, x.dtype)
    indices = np.full(values.shape, -1, np.int64)
    for o, positions in windows:
        for i in positions:
            new, best, place = x[:, :, *i], values[:, :, *o], indices[:, :, *o]
            wins = (new > best) | np.isnan(new) | (place < 0)
            values[:, :, *o] = np.where(wins, new, best)
            indices[:, :, *o] = np.where(wins, np.ravel_multi_index(i, x.shape[2:]), place)
    return values, indices


def max_pool(x, kernel, stride=None, padding=None, dilation=None, ceil_mode=False):
    """Largest element of each window and its index, flat over the spatial plane; padding never wins."""
    size = x.shape[2:]
    windows = _windows(size, kernel, stride, padding, dilation, ceil_mode)
    places = ((o, [i for _, i in inside]) for o, inside, _ in windows)
    return _largest(x, pool_size(size, kernel, stride, padding, dilation, ceil_mode), places)


def adaptive_max_pool(x, output_size):
    """Largest element of each region and its index, flat over the spatial plane."""
    return _largest(x, output_size, _regions(x.shape[2:], output_size))


def max_pool_input(input_size, indices, grad_output):
    """Gradient of both max poolings: every element goes where its maximum came from, index -1 nowhere."""
    (grad_output,), kind = _work(grad_output)
    grad = np.zeros((*input_size[:2], math.prod(input_size[2:])), grad_output.dtype)
    for n, c, *o in np.ndindex(*indices.shape):
        if indices[n, c, *o] >= 0:
            grad[n, c, indices[n, c, *o]] += grad_output[n, c, *o]
    return grad.reshape(input_size).astype(kind)


adaptive_max_pool_input = max_pool_input


def max_unpool(x, indices, output_size):
    """Zeros of the spatial shape `output_size`, each element of x at its index; of equal indices the last wins."""
    (x,), kind = _work(x)
    y = np.zeros((*x.shape[:2], math.prod(output_size)), x.dtype)
    for n, c, *o in np.ndindex(*x.shape):
        y[n, c, indices[n, c, *o]] = x[n, c, *o]
    return y.reshape(*x.shape[:2], *output_size).astype(kind)


def max_unpool_input(indices, grad_output):
    """Gradient of `max_unpool`: each element read at its flat index."""
    (grad_output,), kind = _work(grad_output)
    flat = grad_output.reshape(*grad_output.shape[:2], math.prod(grad_output.shape[2:]))
    grad = np.zeros(indices.shape, flat.dtype)
    for n, c, *o in np.ndindex(*indices.shape):
        grad[n, c, *o] = flat[n, c, indices[n, c, *o]]
    return grad.astype(kind)


def _weighted(x, out, windows):
    """Each output position is the sum of weight * x over its (weight, input position), over its divisor."""
    x = np.asarray(x).astype(np.float64)
    y = np.zeros((*x.shape[:2], *out))
    for o, terms, divisor in windows:
        for weight, i in terms:
            y[:, :, *o] += weight * x[:, :, *i]
        if terms:
            y[:, :, *o] /= divisor
    return y


def _weighted_input(input_size, grad_output, windows):
    """The transpose of `_weighted`."""
    grad_output = np.asarray(grad_output).astype(np.float64)
    grad = np.zeros(input_size)
    for o, terms, divisor in windows:
        for weight, i in terms:
            grad[:, :, *i] += weight * grad_output[:, :, *o] / divisor
    return grad


def _averages(size, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation):
    for o, inside, padded in _windows(size, kernel, stride, padding, dilation, ceil_mode):
        yield o, [(1, i) for _, i in inside], divisor_override or (padded if count_include_pad else len(inside))


def avg_pool(
    x, kernel, stride=None, padding=None, ceil_mode=False, count_include_pad=True, divisor_override=None, dilation=None
):
    """Mean of each window. It divides by the taps inside the padded image, or inside the image, or by the override.

    A window without any position inside the image gives 0.
    """
    options = kernel, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation
    out = pool_size(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    return _weighted(x, out, _averages(x.shape[2:], *options))


def avg_pool_input(
    input_size,
    grad_output,
    kernel,
    stride=None,
    padding=None,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    dilation=None,
):
    """Gradient of `avg_pool`."""
    options = kernel, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation
    return _weighted_input(input_size, grad_output, _averages(input_size[2:], *options))


def _weights(size, kernel, stride, padding, weights):
    for o, inside, _ in _windows(size, kernel, stride, padding, None):
        yield o, [(weights[k], i) for k, i in inside], sum(weights[k] for k, _ in inside)


def weighted_avg_pool(x, kernel, stride=None, padding=None, *, weights):
    """Mean of each window with a weight per tap, over the weights that lie inside the image."""
    out = pool_size(x.shape[2:], kernel, stride, padding)
    return _weighted(x, out, _weights(x.shape[2:], kernel, stride, padding, weights))


def weighted_avg_pool_input(input_size, grad_output, kernel, stride=None, padding=None, *, weights):
    """Gradient of `weighted_avg_pool`."""
    return _weighted_input(input_size, grad_output, _weights(input_size[2:], kernel, stride, padding, weights))


def _means(size, out):
    for o, positions in _regions(size, out):
        yield o, [(1, i) for i in positions], len(positions)


def adaptive_avg_pool(x, output_size):
    """Mean of each region from floor(i*n/m) to ceil((i+1)*n/m)."""
    return _weighted(x, output_size, _means(x.shape[2:], output_size))


def adaptive_avg_pool_input(input_size, grad_output):
    """Gradient of `adaptive_avg_pool`."""
    return _weighted_input(input_size, grad_output, _means(input_size[2:], grad_output.shape[2:]))


@np.errstate(over="ignore", invalid="ignore")
def lp_pool(x, norm_type, kernel, stride=None, ceil_mode=False, *, padding=None, dilation=None):
    """(sum of x**p)**(1/p) over each window, signs kept, as in PyTorch; p = inf gives max |x| and -inf min |x|.

    As there, a window that `ceil_mode` lets hang over the edge counts its missing taps at the mean of the others.
    """
    x = np.asarray(x).astype(np.float64)
    if math.isinf(norm_type):
        sign = math.copysign(1, norm_type)
        return sign * max_pool(sign * np.abs(x), kernel, stride, padding, dilation, ceil_mode)[0]
    mean = avg_pool(x**norm_type, kernel, stride, padding, ceil_mode, dilation=dilation)
    return (mean * math.prod(kernel)) ** (1 / norm_type)


@np.errstate(all="ignore")
def lp_pool_input(x, norm_type, kernel, grad_output, stride=None, ceil_mode=False, *, padding=None, dilation=None):
    """Gradient of `lp_pool`, 0 where the sum is 0."""
    x = np.asarray(x).astype(np.float64)
    if math.isinf(norm_type):
        _, indices = max_pool(math.copysign(1, norm_type) * np.abs(x), kernel, stride, padding, dilation, ceil_mode)
        return max_pool_input(x.shape, indices, grad_output) * np.sign(x)
    total = math.prod(kernel) * avg_pool(x**norm_type, kernel, stride, padding, ceil_mode, dilation=dilation)
    outer = np.where(total == 0, 0.0, grad_output * total ** (1 / norm_type - 1) * math.prod(kernel))
    inner = avg_pool_input(x.shape, outer, kernel, stride, padding, ceil_mode, dilation=dilation)
    return inner * x ** (norm_type - 1)


def unfold(x, kernel, dilation=None, padding=None, stride=None):
    """The matrix of im2col, (N, C*taps, output positions): every window of the image as a column."""
    (x,), kind = _work(x)
    stride, padding, dilation = _geometry(kernel, stride, padding, dilation)
    out = conv_size(x.shape[2:], kernel, stride, padding, dilation)
    columns = np.zeros((*x.shape[:2], *kernel, *out), x.dtype)
    for o, k, i in _links(x.shape[2:], kernel, out, stride, padding, dilation):
        columns[:, :, *k, *o] = x[:, :, *i]
    return columns.reshape(x.shape[0], x.shape[1] * math.prod(kernel), math.prod(out)).astype(kind)


def fold(columns, output_size, kernel, dilation=None, padding=None, stride=None):
    """The transpose of `unfold`: every column added back to its window of an image of `output_size`."""
    (columns,), kind = _work(columns)
    stride, padding, dilation = _geometry(kernel, stride, padding, dilation)
    out = conv_size(output_size, kernel, stride, padding, dilation)
    n, c = columns.shape[0], columns.shape[1] // math.prod(kernel)
    columns = columns.reshape(n, c, *kernel, *out)
    x = np.zeros((n, c, *output_size), columns.dtype)
    for o, k, i in _links(output_size, kernel, out, stride, padding, dilation):
        x[:, :, *i] += columns[:, :, *k, *o]
    return x.astype(kind)


def pad(x, pairs, mode="constant", value=0):
    """x with a (before, after) pair added to each of its last axes; a negative number crops.

    "reflect" leaves the edge out (c b | a b c | b a), "symmetric" repeats it (b a | a b c | c b), "replicate" goes on
    with it, "circular" starts again from the other end.
    """
    x = np.asarray(x)
    for axis, (before, after) in zip(range(x.ndim - len(pairs), x.ndim), pairs):
        length = x.shape[axis]
        y = np.full((*x.shape[:axis], before + length + after, *x.shape[axis + 1 :]), value, x.dtype)
        for o in range(y.shape[axis]):
            i = _SOURCES[mode](o - before, length)
            if 0 <= i < length:
                y[(slice(None),) * axis + (o,)] = x.take(i, axis)
        x = y
    return x


def _mirror(i, period):
    """Position i folded back and forth between 0 and period/2."""
    return min(i % period, -i % period) if period else 0


_SOURCES: dict[str, Callable[[int, int], int]] = {
    "constant": lambda i, n: i,
    "replicate": lambda i, n: _clip(i, 0, n - 1),
    "circular": lambda i, n: i % n,
    "reflect": lambda i, n: _mirror(i, 2 * (n - 1)),
    "symmetric": lambda i, n: min(i % (2 * n), (-i - 1) % (2 * n)),
}


def convolve(a, v, mode="full", *, numpy_shapes=None):
    """Convolution of mathematics, out[i] = sum over k of a[i - k] * v[k], over all axes of two arrays.

    "same" has NumPy's shape, that of the larger operand, in one axis, and SciPy's, that of `a`, in more, unless
    `numpy_shapes` says which.
    """
    (a, v), kind = _work(a, v)
    full = np.zeros([m + n - 1 for m, n in zip(a.shape, v.shape)], a.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in np.ndindex(*v.shape):
            full[tuple(slice(i, i + m) for i, m in zip(k, a.shape))] += a * v[k]
    return full[_crop(a.shape, v.shape, mode, numpy_shapes)].astype(kind)


def _crop(a_shape, v_shape, mode, numpy_shapes):
    if numpy_shapes is None:
        numpy_shapes = len(a_shape) == 1
    slices = []
    for m, n in zip(a_shape, v_shape):
        if mode == "full":
            start, length = 0, m + n - 1
        elif mode == "valid":
            start, length = min(m, n) - 1, abs(m - n) + 1
        else:
            length = max(m, n) if numpy_shapes else m
            start = (m + n - 1 - length) // 2
        slices.append(slice(start, start + length))
    return tuple(slices)


def correlate(a, v, mode="valid", *, numpy_shapes=None):
    """Correlation as NumPy and SciPy mean it, out[i] = sum over k of a[i + k] * conj(v[k]).

    Of a longer v NumPy takes the correlation of v with a, reversed; it shows in "same" only.
    """
    if numpy_shapes is None:
        numpy_shapes = np.ndim(a) == 1
    if numpy_shapes and np.size(v) > np.size(a):
        return np.conj(np.flip(correlate(v, a, mode)))
    return convolve(a, np.conj(np.flip(v)), mode, numpy_shapes=numpy_shapes)


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=False):
    """Resampling of the spatial axes as in PyTorch, one axis after the other.

    `size` or `scale_factor` is a tuple; a given scale factor is also the one that positions are computed with. Modes:
    nearest, nearest-exact, linear (bilinear, trilinear), bicubic (a = -0.75), area. Where a nearest position falls on
    the border of two, rounding decides: PyTorch keeps the step in float32 unless x is float64, the position always.
    """
    size = size or tuple(math.floor(n * s) for n, s in zip(x.shape[2:], scale_factor))
    if mode == "area":
        return adaptive_avg_pool(x, size)
    step_type = np.float64 if mode not in _NEAREST or x.dtype == np.float64 else np.float32
    x = np.asarray(x).astype(np.float64)
    for axis, out in enumerate(size, 2):
        n = x.shape[axis]
        step = float(step_type(1 / scale_factor[axis - 2] if scale_factor else n / out))
        if align_corners:
            step = (n - 1) / (out - 1) if out > 1 else 0.0
        y = np.zeros((*x.shape[:axis], out, *x.shape[axis + 1 :]))
        for o in range(out):
            for i, weight in _samples(o, n, step, mode, align_corners):
                y[(slice(None),) * axis + (o,)] += weight * x.take(_clip(i, 0, n - 1), axis)
        x = y
    return x


_NEAREST = {"nearest": 0.0, "nearest-exact": 0.5}


def _samples(o, n, step, mode, align_corners):
    """The input positions, before clipping, and weights that make up the output position `o` of an axis of length n."""
    if mode in _NEAREST:
        return [(math.floor(np.float32((o + _NEAREST[mode]) * step)), 1.0)]
    at = o * step if align_corners else (o + 0.5) * step - 0.5
    if mode == "bicubic":
        first, t = math.floor(at), at - math.floor(at)
        return [(first + k, _cubic(abs(t - k))) for k in (-1, 0, 1, 2)]
    at = max(at, 0.0)
    first, t = math.floor(at), at - math.floor(at)
    return [(first, 1 - t), (first + 1, t)]


def _cubic(distance, a=-0.75):
    """Keys' kernel of cubic convolution."""
    if distance <= 1:
        return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    return a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
