"""The oracle: every operation by its definition, slow, obvious, never optimised.

Arrays are batched with channels first, ``(N, C, *spatial)``, in one, two or three spatial axes. `padding` is a
(before, after) pair per axis, every other option a tuple with a number per axis; None stands for the neutral value.
Sums are taken in float64 (complex128 for complex input) and returned so; integers are summed in int64, wrap as NumPy's
do, and are returned in the promoted type of the operands. Arguments are not checked.
"""

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
